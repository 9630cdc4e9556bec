// Package demo reads the reference of the spec for tests, as it is or edited.
package demo

import (
	"os"
	"path/filepath"
	"testing"

	"pgha-gen/generator"
	"pgha-gen/generator/role"
	"pgha-gen/generator/tree"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles"
)

// Path is where the reference is, seen from the test's folder.
func Path(t testing.TB) string {
	t.Helper()
	for _, up := range []string{".", "..", "../..", "../../..", "../../../.."} {
		path := filepath.Join(up, "generator", "example.yaml")
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatal("no generator/example.yaml in a folder above")
	return ""
}

// Spec is the reference with these edits, one after the other.
func Spec(t testing.TB, edits ...string) string {
	t.Helper()
	text := testkit.Text(t, Path(t))
	for _, e := range edits {
		text = Edit(t, text, e)
	}
	return text
}

// Cluster is what Spec says.
func Cluster(t testing.TB, edits ...string) *role.Cluster {
	t.Helper()
	return Read(t, Spec(t, edits...))
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
