package generator_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"pgha-gen/generator"
	"pgha-gen/generator/specfile"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles"
)

func schemaText(t *testing.T) []byte {
	t.Helper()
	text, err := generator.Schema(roles.All())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// notInSchema are the problems of shape that a schema cannot know, and why.
var notInSchema = []struct {
	text   *regexp.Regexp
	reason string
}{
	{regexp.MustCompile("^want text(, have the character|, have a tab| on one line)"), "what no text may hold would be a pattern at every key"},
	{regexp.MustCompile("^want a (size|time) below "), "a pattern does not count"},
	{regexp.MustCompile(`^want a whole number, have "\d{19,}"`), "a whole number of JSON has no bounds"},
	{regexp.MustCompile("^want a decimal number"), "JSON has one way to write a number, YAML has several"},
}

// TestSchema holds the schema against what Read says of shapes: an editor that
// has it shows the same problems, and no others.
func TestSchema(t *testing.T) {
	schema := compiled(t)
	used := map[string]bool{}
	agree := func(t *testing.T, src []byte) {
		doc := specfile.Parse("pgha.yaml", src)
		if errs, _ := doc.Problems(); len(errs) > 0 {
			return // of form: a schema sees only what a reader of YAML makes of the file
		}
		generator.Decode(doc, roles.All())
		found, _ := doc.Problems()
		unknowable := 0
		for _, p := range found {
			for _, known := range notInSchema {
				if known.text.MatchString(p.Text) {
					used[known.reason] = true
					unknowable++
				}
			}
		}
		v, err := asJSON(src)
		if err != nil && unknowable > 0 {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		refused := schema.Validate(v)
		if len(found) > unknowable && refused == nil || len(found) == unknowable && refused != nil {
			t.Errorf("problems of shape:\n%v\nthe schema says: %v", found, refused)
		}
	}
	for _, folder := range []string{"good", "warn", "bad"} {
		eachSpec(t, folder, agree)
	}
	agree(t, reference())
	agree(t, []byte(understood(t, reference())))
	for _, known := range notInSchema {
		if !used[known.reason] {
			t.Errorf("no spec shows that %s", known.reason)
		}
	}
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaText(t)))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	testkit.OK(t, compiler.AddResource("pgha.json", parsed))
	schema, err := compiler.Compile("pgha.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func asJSON(src []byte) (any, error) {
	var v any
	if err := yaml.Unmarshal(src, &v); err != nil {
		return nil, err
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(text))
}
