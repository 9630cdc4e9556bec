package secrets

import (
	"pgha-gen/generator/role"
)

// Place is how Generate gives a staged file its name.
func Place(staged, target string, replace bool) error { return place(staged, target, replace) }

// GenerateBy is Generate with another Place.
func GenerateBy(dir string, c *role.Cluster, rotate Rotation, w World, place func(staged, target string, replace bool) error) (*Written, error) {
	return generate(dir, c, rotate, w, place)
}

// Decode reads a payload file.
func Decode(data []byte) (Payload, error) { return decodePayload(data) }

// Encode is what a payload file holds.
func (p Payload) Encode() ([]byte, error) { return p.encode() }
