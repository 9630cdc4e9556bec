package secrets

import (
	"io"
	"time"

	"pgha-gen/generator/role"
)

// Place is how Generate gives a staged file its name.
func Place(staged, target string, replace bool) error { return place(staged, target, replace) }

// GenerateBy is Generate with another Place.
func GenerateBy(dir string, c *role.Cluster, rotate Rotation, now time.Time, random io.Reader, place func(staged, target string, replace bool) error) (*Written, error) {
	return generate(dir, c, rotate, now, random, place)
}

// Decode reads a payload file.
func Decode(data []byte) (Payload, error) { return decodePayload(data) }

// Encode is what a payload file holds.
func (p Payload) Encode() ([]byte, error) { return p.encode() }
