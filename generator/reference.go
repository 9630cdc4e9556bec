package generator

import (
	_ "embed"
	"strings"

	"pgha-gen/generator/role"
)

//go:embed reference.yaml
var common string

// Reference is the reference of the spec: a good spec with every key, its
// default and a sentence on it. What each role has of its own is in the
// role's reference.yaml.
func Reference(roles []*role.Role) string {
	var b strings.Builder
	for line := range strings.Lines(common) {
		b.WriteString(line)
		switch key, _, _ := strings.Cut(strings.TrimSpace(line), ":"); key {
		case "service_accounts":
			ids(&b, roles, "aje")
		case "lockbox":
			ids(&b, roles, "e6q")
		}
	}
	for i, r := range roles {
		if i > 0 {
			b.WriteByte('\n')
		}
		for line := range strings.Lines(r.Reference) {
			if line != "\n" {
				b.WriteString("  ")
			}
			b.WriteString(line)
		}
	}
	return b.String()
}

// ids writes an id, which starts like those of its kind, for each role that
// reads secrets.
func ids(b *strings.Builder, roles []*role.Role, start string) {
	for _, r := range roles {
		if r.ReadsSecrets {
			b.WriteString("    " + r.Name + ": " + start + "example" + r.Name + "\n")
		}
	}
}
