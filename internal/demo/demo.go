// Package demo reads specs for tests: one with every key and a small one, as they
// are or edited. An edit is "old=>new" for a text that is there once, or else what
// Edit takes.
package demo

import (
	_ "embed"
	"strings"
	"testing"

	"pgha-gen/generator"
	"pgha-gen/generator/role"
	"pgha-gen/generator/tree"
	"pgha-gen/roles"
	"pgha-gen/roles/etcd"
	"pgha-gen/roles/haproxy"
	"pgha-gen/roles/patroni"
)

// Roles are those of the specs here, whatever others there are.
func Roles() []*role.Role { return []*role.Role{etcd.Role(), patroni.Role(), haproxy.Role()} }

// Spec is the reference for Roles with these edits, one after the other.
func Spec(t testing.TB, edits ...string) string {
	t.Helper()
	return Edited(t, generator.Reference(Roles()), edits...)
}

// Edited is a text with these edits, one after the other.
func Edited(t testing.TB, text string, edits ...string) string {
	t.Helper()
	for _, e := range edits {
		old, fresh, found := strings.Cut(e, "=>")
		switch {
		case !found:
			text = Edit(t, text, e)
		case strings.Count(text, old) != 1:
			t.Fatalf("edit %q: its text is in the spec %d times, want once", e, strings.Count(text, old))
		default:
			text = strings.Replace(text, old, fresh, 1)
		}
	}
	return text
}

// Cluster is what Spec says.
func Cluster(t testing.TB, edits ...string) *role.Cluster {
	t.Helper()
	return Read(t, Spec(t, edits...))
}

//go:embed small.yaml
var small string

// Small is a cluster of three etcd, three Patroni and two HAProxy nodes whose
// spec has what is required, and nothing that a test would want to change.
func Small(t testing.TB, edits ...string) *role.Cluster {
	t.Helper()
	return Read(t, Edited(t, small, edits...))
}

// Read is the cluster of a good spec.
func Read[T string | []byte](t testing.TB, spec T) *role.Cluster {
	t.Helper()
	c, err := generator.Read("pgha.yaml", []byte(spec), roles.All())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Files are all that a cluster needs.
func Files(t testing.TB, c *role.Cluster) tree.Tree {
	t.Helper()
	files, err := generator.Generate(c)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// UserFiles are those that the user-data of a role's machines writes, by path.
func UserFiles(t testing.TB, c *role.Cluster, name string) map[string]string {
	t.Helper()
	if err := c.Plan(); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range c.Group(name).Plan.Files {
		files[f.Path] = string(f.Data)
	}
	return files
}
