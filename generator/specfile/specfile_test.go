package specfile_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/specfile"
)

// thing has a field of every shape that Decode knows.
type thing struct {
	base
	Name     string            `yaml:"name,required"`
	Count    int               `yaml:"count"`
	On       bool              `yaml:"on"`
	Colour   colour            `yaml:"colour"`
	Note     specfile.Text     `yaml:"note"`
	Size     specfile.Size     `yaml:"size"`
	Pause    specfile.Duration `yaml:"pause"`
	Address  netip.Addr        `yaml:"address"`
	Networks []netip.Prefix    `yaml:"networks"`
	Words    map[string]string `yaml:"words"`
	Any      map[string]any    `yaml:"any"`
	Parts    []part            `yaml:"parts"`
	Others   specfile.Deferred `yaml:"others"`
	Hidden   int               `yaml:"-"`
	Untagged int
}

type base struct {
	Kind string `yaml:"kind"`
}

type part struct {
	base
	Weight int `yaml:"weight"`
}

func (p *part) Defaults() { p.Weight = 1 }

type colour string

func (colour) Values() []string { return []string{"red", "green"} }

func defaults() thing {
	return thing{
		base: base{Kind: "plain"}, Name: "n", Count: 3, On: true, Colour: "red", Note: "x", Size: specfile.GiB, Pause: specfile.Second,
		Words: map[string]string{"a": "b"}, Hidden: 7, Untagged: 8,
	}
}

func problems(d *specfile.Document) []string {
	errs, warnings := d.Problems()
	var all []string
	for _, p := range append(errs, warnings...) {
		all = append(all, p.String())
	}
	return all
}

func TestDecode(t *testing.T) {
	with := func(change func(*thing)) thing {
		v := defaults()
		change(&v)
		return v
	}
	tests := []struct {
		name, reason, src string
		want              thing
	}{
		{"nothing but what is required", "defaults are kept", "name: m",
			with(func(v *thing) { v.Name = "m" })},
		{"zeros", "0, false and nothing can be said", `{name: "", count: 0, on: false, note: "", size: 0kB, pause: 0s, words: {}}`,
			with(func(v *thing) {
				v.Name, v.Count, v.On, v.Note, v.Size, v.Pause, v.Words = "", 0, false, "", 0, 0, map[string]string{}
			})},
		{"embedded", "the keys of an embedded struct stand beside the others", "{name: n, kind: k}",
			with(func(v *thing) { v.Kind = "k" })},
		{"numbers as text", "what was typed is what is meant, whatever YAML takes it for",
			"{name: 1.10, kind: no, words: {a: 0x10, b: 2001-01-01, c: true}}",
			with(func(v *thing) {
				v.Name, v.Kind, v.Words = "1.10", "no", map[string]string{"a": "0x10", "b": "2001-01-01", "c": "true"}
			})},
		{"negative number", "a sign is part of a number", "{name: n, count: -1}",
			with(func(v *thing) { v.Count = -1 })},
		{"items with defaults", "a Defaulter is asked before each item is read",
			"{name: n, parts: [{kind: a}, {weight: 0}]}",
			with(func(v *thing) { v.Parts = []part{{base{"a"}, 1}, {base{}, 0}} })},
		{"empty list", "a list that was given is not one that was not", "{name: n, networks: []}",
			with(func(v *thing) { v.Networks = []netip.Prefix{} })},
		{"lines", "Text may have several, and tabs", "name: n\nnote: |\n  a\n  \tb\n",
			with(func(v *thing) { v.Note = "a\n\tb\n" })},
		{"addresses", "the types of net/netip", "{name: n, address: 10.0.0.1, networks: [10.0.0.0/8]}",
			with(func(v *thing) {
				v.Address, v.Networks = netip.MustParseAddr("10.0.0.1"), []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
			})},
		{"anything", "raw values keep their types",
			"{name: n, any: {n: ~, t: true, f: False, i: -5, x: 1.5, e: 1e3, s: a, q: '5', d: 2001-01-01, l: [1, [a]], m: {k: {}}}}",
			with(func(v *thing) {
				v.Any = map[string]any{"n": nil, "t": true, "f": false, "i": -5, "x": 1.5, "e": 1000.0, "s": "a", "q": "5",
					"d": "2001-01-01", "l": []any{1, []any{"a"}}, "m": map[string]any{"k": map[string]any{}}}
			})},
		{"elsewhere", "somebody else reads that part, even if it is nothing", "{name: n, others: }", defaults()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := specfile.Parse("f", []byte(test.src))
			got := defaults()
			d.Root().Decode(&got)
			if found := problems(d); found != nil {
				t.Fatalf("%s: got problems %q", test.reason, found)
			}
			if diff := cmp.Diff(test.want, got, options()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

func options() cmp.Options {
	return cmp.Options{cmp.AllowUnexported(thing{}, part{}), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})}
}

func TestDecodeKeepsTheDefaultOfWhatIsWrong(t *testing.T) {
	d := specfile.Parse("f", []byte("{name: [], count: x, on: 1, colour: blue, note: \"\\0\", size: 1, pause: 1, words: 1, kind: {}}"))
	got := defaults()
	d.Root().Decode(&got)
	if n := len(problems(d)); n != 9 {
		t.Errorf("got %d problems, want 9: %q", n, problems(d))
	}
	if diff := cmp.Diff(defaults(), got, options()); diff != "" {
		t.Errorf("a value that cannot be read changed something (-want +got):\n%s", diff)
	}
}

func TestDecodeWhatIsNotThere(t *testing.T) {
	d := specfile.Parse("f", []byte("a: 1"))
	got := defaults()
	d.Root().Key("b").Key("c").Decode(&got)
	if diff := cmp.Diff(defaults(), got, options()); diff != "" {
		t.Errorf("a part that the file does not have changed something (-want +got):\n%s", diff)
	}
	if keys := d.Root().Key("b").Keys(); keys != nil {
		t.Errorf("got keys %q of a part that the file does not have", keys)
	}
	if found := problems(d); found != nil {
		t.Errorf("got problems %q, want none: whether it may be missing is for others to say", found)
	}
}

func TestTypesThatNobodyWrites(t *testing.T) {
	for name, use := range map[string]func(){
		"decode": func() {
			var v struct {
				C chan int `yaml:"c"`
			}
			specfile.Parse("f", []byte("c: 1")).Root().Decode(&v)
		},
		"encode": func() { specfile.Encode(make(chan int)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("a Go type that has no form in YAML is a mistake of the program: want a panic")
				}
			}()
			use()
		})
	}
}

func TestEncode(t *testing.T) {
	full := thing{
		base: base{Kind: "no"}, Name: "1.10", Count: -3, On: true, Colour: "green", Note: "\n a\n\tb\n\n", Size: 3 * specfile.MiB, Pause: 1500 * specfile.Millisecond,
		Address: netip.MustParseAddr("10.0.0.1"), Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Words: map[string]string{"z": "~", "a": "", "m": "x: y"},
		Any: map[string]any{"n": nil, "t": true, "i": 5, "x": 2.0, "s": "true", "l": []any{1, "1", nil, []any{}},
			"m": map[string]any{"k": map[string]any{}}},
		Parts: []part{{base{"a"}, 0}, {base{}, 2}},
	}
	for name, want := range map[string]thing{"full": full, "defaults": defaults()} {
		t.Run(name, func(t *testing.T) {
			want.Hidden, want.Untagged = 0, 0
			text, err := emit.YAML(specfile.Encode(want))
			if err != nil {
				t.Fatal(err)
			}
			d := specfile.Parse("f", text)
			got := thing{}
			if want.Any == nil { // a map that is nil is written as an empty one
				want.Any = map[string]any{}
			}
			if want.Networks == nil {
				want.Networks, want.Parts = []netip.Prefix{}, []part{}
			}
			d.Root().Decode(&got)
			if found := problems(d); found != nil {
				t.Fatalf("what Encode wrote has problems %q:\n%s", found, text)
			}
			if diff := cmp.Diff(want, got, options()); diff != "" {
				t.Errorf("Encode and Decode (-want +got):\n%s\n%s", diff, text)
			}
		})
	}
}

func TestEncodePointer(t *testing.T) {
	var none *part
	want := []any{emit.Map{{Key: "kind", Value: "k"}, {Key: "weight", Value: 1}}, nil}
	if diff := cmp.Diff(want, specfile.Encode([]*part{{base{"k"}, 1}, none})); diff != "" {
		t.Errorf("pointers are what they point to (-want +got):\n%s", diff)
	}
}

func TestSchema(t *testing.T) {
	text := emit.Map{{Key: "type", Value: []string{"string", "number", "boolean"}}}
	property := func(key string, m emit.Map) emit.Pair {
		return emit.Pair{Key: key, Value: append(emit.Map{{Key: "description", Value: "about " + key}}, m...)}
	}
	kind := func(path string) emit.Pair {
		return emit.Pair{Key: "kind", Value: append(emit.Map{{Key: "description", Value: "about " + path}}, text...)}
	}
	typed := func(t string, more ...emit.Pair) emit.Map {
		return append(emit.Map{{Key: "type", Value: t}}, more...)
	}
	want := emit.Map{
		{Key: "type", Value: "object"},
		{Key: "properties", Value: emit.Map{
			kind("kind"),
			property("name", text),
			property("count", typed("integer")),
			property("on", typed("boolean")),
			property("colour", emit.Map{{Key: "enum", Value: []string{"red", "green"}}}),
			property("note", text),
			property("size", typed("string", emit.Pair{Key: "pattern", Value: `^(\d{1,12}) ?(kB|KB|KiB|MB|MiB|GB|GiB|TB|TiB)$`})),
			property("pause", typed("string", emit.Pair{Key: "pattern", Value: `^\d{1,9}(ms|s|m|h)$`})),
			property("address", typed("string", emit.Pair{Key: "anyOf", Value: []any{
				emit.Map{{Key: "format", Value: "ipv4"}}, emit.Map{{Key: "format", Value: "ipv6"}},
			}})),
			property("networks", typed("array", emit.Pair{Key: "items", Value: typed("string", emit.Pair{Key: "pattern", Value: `^[0-9A-Fa-f.:]+/\d{1,3}$`})})),
			property("words", typed("object", emit.Pair{Key: "additionalProperties", Value: text})),
			property("any", typed("object")),
			property("parts", typed("array", emit.Pair{Key: "items", Value: emit.Map{
				{Key: "type", Value: "object"},
				{Key: "properties", Value: emit.Map{
					kind("parts[].kind"),
					{Key: "weight", Value: emit.Map{{Key: "type", Value: "integer"}}}, // nothing is said of it
				}},
				{Key: "additionalProperties", Value: false},
			}})),
			property("others", nil),
		}},
		{Key: "additionalProperties", Value: false},
		{Key: "required", Value: []string{"name"}},
	}
	got := specfile.Schema(&thing{}, func(path string) string {
		if path == "parts[].weight" {
			return ""
		}
		return "about " + path
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
