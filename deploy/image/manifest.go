// Package manifest says whether an image is the one that a spec asks for.
package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"pault.ag/go/debian/version"

	"pgha-gen/generator/role"
)

// Format is the format of the manifests that this program reads; seal.sh writes it.
const Format = "pgha-image/v1"

// oldest is how many days old an image may be before the updates that its base
// has had since are called missing.
const oldest = 60

// Manifest is what a bake says of its image.
type Manifest struct {
	Format     string      `json:"format"`
	Role       string      `json:"role"`
	Contract   int         `json:"contract"`
	Recipe     string      `json:"recipe"` // the digest of what the image was made of
	Baked      string      `json:"baked"`  // the day, as 2026-01-31, in UTC
	Base       Base        `json:"base"`
	Components []Component `json:"components"` // what the role is about
	Packages   []Component `json:"packages"`   // every Debian package
}

// Base is the system that the image was made from, as os-release names it.
type Base struct {
	ID      string `json:"id"`
	Version string `json:"version"`
}

// Component is a program or a package. SHA256 is of what no package brought.
type Component struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256,omitempty"`
}

// Parse reads a manifest. Refused is what is no manifest of this format; what
// is missing from one is for Check to find.
func Parse(data []byte) (*Manifest, error) {
	var m Manifest
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&m); err != nil {
		return nil, fmt.Errorf("no manifest of an image: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("no manifest of an image: there is more after its end")
	}
	if m.Format != Format {
		return nil, fmt.Errorf("a manifest of format %q (want %q: use the pgha-gen that baked the image)", m.Format, Format)
	}
	return &m, nil
}

// version of a component, or "".
func (m *Manifest) version(name string) string {
	for _, c := range m.Components {
		if c.Name == name {
			return c.Version
		}
	}
	return ""
}

// checkItself is of what every manifest says.
func (m *Manifest) checkItself(f *findings, now time.Time) {
	m.complete(f)
	m.age(f, now)
	if m.Contract != role.Contract {
		f.wrong("it speaks contract %d, this pgha-gen speaks %d (bake it again, or use the pgha-gen that baked it)", m.Contract, role.Contract)
	}
}

// checkRole holds the manifest to what the cluster wants of images of its role.
func (m *Manifest) checkRole(f *findings, g *role.Group, recipe string) {
	if m.Recipe != recipe {
		f.warn("it was baked from recipe %q, and the spec renders %q now (bake it again to have what has changed since)", m.Recipe, recipe)
	}
	for _, want := range g.Plan.Requires {
		m.require(f, want)
	}
	for _, exact := range g.Plan.Exact {
		name, want, _ := strings.Cut(exact, "=")
		if found := m.version(name); !isVersion(found, want) {
			f.wrong("it has %s, and the spec wants %s %s (bake it again, or change the version in the spec)", named(name, found), name, want)
		}
	}
	for _, defects := range g.Defects {
		found := m.version(defects.Component)
		for _, defect := range defects.Of(found) {
			f.warn("%s %s %s", defects.Component, found, defect)
		}
	}
}

// complete looks for what every bake writes.
func (m *Manifest) complete(f *findings) {
	const rebake = "(no bake leaves that out: bake it again)"
	if m.Recipe == "" {
		f.wrong("its manifest does not say from which recipe it was baked %s", rebake)
	}
	if m.Base.ID == "" || m.Base.Version == "" {
		f.wrong("its manifest does not say from which base it was baked %s", rebake)
	}
	for _, list := range []struct {
		what string
		all  []Component
	}{{"component", m.Components}, {"package", m.Packages}} {
		if len(list.all) == 0 {
			f.wrong("its manifest lists no %ss %s", list.what, rebake)
		}
		seen := map[string]bool{}
		for i, c := range list.all {
			switch {
			case c.Name == "":
				f.wrong("its manifest has no name for %s %d %s", list.what, i+1, rebake)
			case c.Version == "":
				f.wrong("its manifest has no version for %s %q %s", list.what, c.Name, rebake)
			case list.what == "component" && seen[c.Name]:
				f.wrong("its manifest lists %s %q twice %s", list.what, c.Name, rebake)
			}
			seen[c.Name] = true
		}
	}
}

// age warns of an image that lacks the updates of many days. The day is of
// another machine's clock.
func (m *Manifest) age(f *findings, now time.Time) {
	day, err := time.Parse(time.DateOnly, m.Baked)
	switch days := int(now.Sub(day).Hours() / 24); {
	case m.Baked == "":
		f.warn("its manifest does not say on which day it was baked, so that nobody knows which security updates it has (bake it again)")
	case err != nil:
		f.warn("its manifest gives %.80q as the day on which it was baked (want a date such as 2026-01-31: bake it again)", m.Baked)
	case days < -1:
		f.warn("it was baked on %s, which is still to come: a clock was wrong, there or here (bake it again if it was there)", m.Baked)
	case days > oldest:
		f.warn("it was baked %d days ago, on %s, and has no security update since (bake it again)", days, m.Baked)
	}
}

// require holds the image to name>=version or name<version, as the machine's
// contract.sh does at boot.
func (m *Manifest) require(f *findings, want string) {
	name, bound, least := strings.Cut(want, ">=")
	if !least {
		name, bound, _ = strings.Cut(want, "<")
	}
	limit, err := version.Parse(bound)
	if err != nil || name == "" || strings.ContainsAny(name, "<>=") {
		f.wrong("user-data requires %q, which is neither name>=version nor name<version", want)
		return
	}
	found := m.version(name)
	v, err := version.Parse(found)
	if err != nil || version.Compare(v, limit) < 0 == least {
		f.wrong("it has %s, and user-data requires %s (bake it again)", named(name, found), want)
	}
}

func named(name, version string) string {
	if version == "" {
		return "no " + name
	}
	return name + " " + fmt.Sprintf("%.80q", version)
}

// isVersion says whether a package has the version, to which a distribution may
// have appended its own.
func isVersion(found, want string) bool {
	rest, ok := strings.CutPrefix(found, want)
	return ok && (rest == "" || rest[0] == '-' || rest[0] == '+')
}
