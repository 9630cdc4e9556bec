package specfile_test

import (
	"testing"

	"pgha-gen/generator/specfile"
)

func TestKnown(t *testing.T) {
	type inner struct {
		Count int `yaml:"count"`
		Other int `yaml:"other"`
	}
	type outer struct {
		Name   string  `yaml:"name,required"`
		Inner  inner   `yaml:"inner"`
		List   []inner `yaml:"list"`
		Absent int     `yaml:"absent"`
	}
	tests := []struct {
		name, reason string
		src          string
		known        []string // keys of the root
		unknown      []string
	}{
		{"all", "what is left out is known to be left out", "name: x\n",
			[]string{"name", "inner", "list", "absent"}, nil},
		{"a wrong shape", "what holds it is known in part only", "name: x\ninner: {count: one}\n",
			[]string{"name", "list", "absent"}, []string{"inner"}},
		{"in a list", "the same", "name: x\nlist: [{}, {count: one}]\n",
			[]string{"name", "inner", "absent"}, []string{"list"}},
		{"a key that is missing", "it has no default", "absent: 1\n",
			[]string{"inner", "list", "absent"}, []string{"name"}},
		{"a misspelt key", "it is the one that is near", "name: x\nabsnt: 1\n",
			[]string{"name", "inner", "list"}, []string{"absent"}},
		{"an unknown key", "nobody knows which was meant, but those that are there", "name: x\nzzzzzzzzzzzz: 1\n",
			[]string{"name"}, []string{"inner", "list", "absent"}},
		{"a key that is there already", "so another was meant", "name: x\nnaem: y\n",
			[]string{"name"}, []string{"inner", "list", "absent"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := specfile.Parse("x.yaml", []byte(test.src)).Root()
			root.Decode(&outer{})
			for _, key := range test.known {
				if !specfile.Known(root.Key(key)) {
					t.Errorf("%s is not known: %s", key, test.reason)
				}
			}
			for _, key := range test.unknown {
				if specfile.Known(root.Key(key)) {
					t.Errorf("%s is known: %s", key, test.reason)
				}
			}
		})
	}
}

// TestProblemOfUnknown: what is not known is not judged, and a key by itself is.
func TestProblemOfUnknown(t *testing.T) {
	doc := specfile.Parse("x.yaml", []byte("count: one\n"))
	root := doc.Root()
	root.Decode(&struct {
		Count int `yaml:"count"`
	}{})
	root.Key("count").Problem("zero (want more)")
	root.Key("count").Key("below").Problem("not seen")
	root.Key("count").KeyProblem("cannot be set")
	found, _ := doc.Problems()
	if len(found) != 2 || found[0].Text != "cannot be set" {
		t.Errorf("got %v, want the shape and the key", found)
	}
}
