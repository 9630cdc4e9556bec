package generator_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"pgha-gen/generator"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

// TestFixed: the reference marks the keys that a cluster takes only once, and
// the cluster's README lists them.
func TestFixed(t *testing.T) {
	c := demo.Read(t, reference())
	files := demo.Files(t, c)
	var fixed, marked []string
	for _, f := range generator.Fixed(c) {
		fixed = append(fixed, f.Key)
		if row := "| `" + f.Key + "` | " + f.Only + " |\n"; !strings.Contains(string(files["README.md"].Data), row) {
			t.Errorf("README.md has no row %s", row)
		}
	}
	var walk func(at string, n *yaml.Node)
	walk = func(at string, n *yaml.Node) {
		if n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i < len(n.Content); i += 2 {
			k, v := n.Content[i], n.Content[i+1]
			if strings.Contains(k.LineComment+v.LineComment, "fixed at bootstrap") {
				marked = append(marked, at+k.Value)
			}
			walk(at+k.Value+".", v)
		}
	}
	var document yaml.Node
	testkit.OK(t, yaml.Unmarshal(reference(), &document))
	walk("", document.Content[0])
	slices.Sort(fixed)
	slices.Sort(marked)
	if diff := cmp.Diff(fixed, marked); diff != "" {
		t.Errorf("-fixed +marked in the reference:\n%s", diff)
	}
}
