package generator

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"pgha-gen/generator/emit"
)

// parsed is YAML as a value that emit writes; every scalar is a text.
func parsed(t *testing.T, text string) any {
	t.Helper()
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	var value func(n *yaml.Node) any
	value = func(n *yaml.Node) any {
		switch n.Kind {
		case yaml.MappingNode:
			m := emit.Map{}
			for i := 0; i < len(n.Content); i += 2 {
				m = m.Set(n.Content[i].Value, value(n.Content[i+1]))
			}
			return m
		case yaml.SequenceNode:
			list := []any{}
			for _, c := range n.Content {
				list = append(list, value(c))
			}
			return list
		}
		return n.Value
	}
	return value(document.Content[0])
}

func TestMix(t *testing.T) {
	tests := []struct {
		name, reason, old, new string
		keys                   string // all that differ
		take                   string // of them; empty: all
		want                   string
	}{
		{"same", "nothing differs", "{l: [{name: a}]}", "{l: [{name: a}]}", "", "", "{l: [{name: a}]}"},
		{"values", "each is taken or left", "{a: 1, b: 1}", "{a: 2, b: 2}", "a b", "b", "{a: 1, b: 2}"},
		{"keys come and go", "each by itself", "{a: 1, b: 1}", "{b: 1, c: 1}", "a c", "c", "{a: 1, b: 1, c: 1}"},
		{"a mapping comes", "as a whole", "{}", "{m: {a: 1, b: 1}}", "m", "", "{m: {a: 1, b: 1}}"},
		{"odd key", "it is quoted as in messages", "{m: {a.b: 1}}", "{m: {a.b: 2}}", `m."a.b"`, "", "{m: {a.b: 2}}"},
		{"list", "without names it is one value", "{l: [a]}", "{l: [a, b]}", "l", "", "{l: [a, b]}"},
		{"items", "each by its name", "{l: [{name: a}, {name: b, v: 1}]}", "{l: [{name: b, v: 2}, {name: c}]}", "l[a] l[b].v l[c]", "l[b].v", "{l: [{name: a}, {name: b, v: 2}]}"},
		{"all items", "it gives the new version", "{l: [{name: a}, {name: b, v: 1}]}", "{l: [{name: c}, {name: b, v: 2}]}", "l[a] l[b].v l[c]", "", "{l: [{name: c}, {name: b, v: 2}]}"},
		{"place of a new item", "it stands where it does in the new version", "{l: [{name: a}, {name: c}]}", "{l: [{name: a}, {name: b}, {name: c}]}", "l[b]", "", "{l: [{name: a}, {name: b}, {name: c}]}"},
		{"new first item", "it may stand before all", "{l: [{name: b}]}", "{l: [{name: a}, {name: b}]}", "l[a]", "", "{l: [{name: a}, {name: b}]}"},
		{"first items", "an empty list has names, too", "{l: []}", "{l: [{name: a}, {name: b}]}", "l[a] l[b]", "l[b]", "{l: [{name: b}]}"},
		{"last item goes", "the list is there, and empty", "{l: [{name: a}]}", "{l: []}", "l[a]", "", "{l: []}"},
		{"order", "it is a difference of its own", "{l: [{name: a}, {name: b}]}", "{l: [{name: b}, {name: a}]}", "l", "", "{l: [{name: b}, {name: a}]}"},
		{"order left", "the old one stays", "{l: [{name: a}, {name: b, v: 1}]}", "{l: [{name: b, v: 2}, {name: a}]}", "l[b].v l", "l[b].v", "{l: [{name: a}, {name: b, v: 2}]}"},
		{"order beside an item that stays", "it stands behind the others", "{l: [{name: x}, {name: a}, {name: b}]}", "{l: [{name: b}, {name: a}]}", "l[x] l", "l", "{l: [{name: b}, {name: a}, {name: x}]}"},
		{"the same name twice", "then names tell nothing", "{l: [{name: a}, {name: a}]}", "{l: [{name: a}]}", "l", "", "{l: [{name: a}]}"},
		{"another kind", "it is one value", "{a: 1}", "{a: {b: 1}}", "a", "", "{a: {b: 1}}"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			keys := []string{}
			got := mix("", parsed(t, test.old), parsed(t, test.new), func(key string, _, _ any) bool {
				keys = append(keys, key)
				return test.take == "" || slices.Contains(strings.Fields(test.take), key)
			})
			if diff := cmp.Diff(parsed(t, test.want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
			if diff := cmp.Diff(strings.Fields(test.keys), keys); diff != "" {
				t.Errorf("%s: keys that differ (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}
