// Package manifest says whether an image is the one that a spec asks for.
package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"pgha-gen/generator/recipe"
	"pgha-gen/generator/role"
)

// Format is the format of the manifests that this program reads; base.sh writes it.
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

// Finding is something of an image that does not fit, and what to do. A warning
// is what works and should still be known.
type Finding struct {
	Warning bool
	What    string
}

func (f Finding) String() string {
	if f.Warning {
		return "warning: " + f.What
	}
	return f.What
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

// Check is everything that keeps an image with this manifest from being one of
// the cluster's, and what is to be known of it: now is for its age.
func (m *Manifest) Check(c *role.Cluster, now time.Time) ([]Finding, error) {
	var f findings
	m.complete(&f)
	m.age(&f, now)
	if m.Contract != role.Contract {
		f.wrong("it speaks contract %d, this pgha-gen speaks %d (bake it again, or use the pgha-gen that baked it)", m.Contract, role.Contract)
	}
	part := c.Group(m.Role)
	if part == nil {
		var want []string
		for _, p := range c.Groups {
			want = append(want, p.Name)
		}
		f.wrong("it is an image of role %q, and the spec has no such role (want %s)", m.Role, strings.Join(want, ", "))
		return f, nil
	}
	baked, err := recipe.New(c, part)
	if err != nil {
		return nil, err
	}
	if m.Recipe != baked.Digest {
		f.warn("it was baked from recipe %q, and the spec renders %q now (bake it again to have what has changed since)", m.Recipe, baked.Digest)
	}
	service := part.Plan
	for _, want := range service.Requires {
		m.require(&f, want)
	}
	for _, want := range service.Exact {
		name, version, _ := strings.Cut(want, "=")
		if found := m.version(name); !isVersion(found, version) {
			f.wrong("it has %s, and the spec wants %s %s (bake it again, or change the version in the spec)", named(name, found), name, version)
		}
	}
	for _, component := range m.Components {
		for _, defect := range part.Settings.Advisories(component.Name, component.Version) {
			f.warn("%s %s %s", component.Name, component.Version, defect)
		}
	}
	return f, nil
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
	at := strings.IndexAny(want, "<>=")
	holds := func(order int) bool { return order < 0 }
	name, version, known := strings.Cut(want, "<")
	if at >= 0 && strings.HasPrefix(want[at:], ">=") {
		name, version, known = want[:at], want[at+2:], true
		holds = func(order int) bool { return order >= 0 }
	}
	found := m.version(name)
	switch {
	case !known || name == "" || version == "" || strings.ContainsAny(version, "<>="):
		f.wrong("user-data requires %q, which is neither name>=version nor name<version", want)
	case found == "" || !holds(compare(found, version)):
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

type findings []Finding

func (f *findings) wrong(format string, args ...any) {
	*f = append(*f, Finding{What: fmt.Sprintf(format, args...)})
}

func (f *findings) warn(format string, args ...any) {
	*f = append(*f, Finding{Warning: true, What: fmt.Sprintf(format, args...)})
}
