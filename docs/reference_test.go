package docs_test

import (
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"pgha-gen/generator"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

// The defaults that the reference gives by failover are those of the presets.
func TestReferenceByFailover(t *testing.T) {
	byFailover := regexp.MustCompile(`by failover: ([^;]+)`)
	reference := values(t, testkit.Text(t, "reference.yaml"))
	presets := []string{"fast", "balanced", "safe"}
	defaults := map[string]map[string]*yaml.Node{}
	for _, preset := range presets {
		text, err := generator.Effective(demo.Small(t, "failover: "+preset))
		if err != nil {
			t.Fatal(err)
		}
		defaults[preset] = values(t, string(text))
	}
	told := 0
	for path, node := range reference {
		m := byFailover.FindStringSubmatch(node.LineComment)
		if m == nil {
			continue
		}
		told++
		var want []string
		for _, preset := range presets {
			want = append(want, defaults[preset][path].Value)
		}
		if want := strings.Join(want, ", "); m[1] != want {
			t.Errorf("%s: by failover: %s, want %s", path, m[1], want)
		}
	}
	if told < 8 {
		t.Errorf("%d keys have defaults by failover, want at least 8", told)
	}
}

// values are the scalars of a document by their path, but for those in lists.
func values(t *testing.T, text string) map[string]*yaml.Node {
	t.Helper()
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	all := map[string]*yaml.Node{}
	var walk func(path string, n *yaml.Node)
	walk = func(path string, n *yaml.Node) {
		switch n.Kind {
		case yaml.ScalarNode:
			all[path] = n
		case yaml.MappingNode:
			for i := 0; i < len(n.Content); i += 2 {
				walk(path+"."+n.Content[i].Value, n.Content[i+1])
			}
		}
	}
	walk("", document.Content[0])
	return all
}
