package spec_test

import (
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/spec"
)

// thing has a field of every shape that Decode knows.
type thing struct {
	base
	Name     string            `yaml:"name,required"`
	Count    int               `yaml:"count"`
	On       bool              `yaml:"on"`
	Colour   colour            `yaml:"colour"`
	Note     spec.Text         `yaml:"note"`
	Size     spec.Size         `yaml:"size"`
	Pause    spec.Duration     `yaml:"pause"`
	Address  netip.Addr        `yaml:"address"`
	Networks []netip.Prefix    `yaml:"networks"`
	Words    map[string]string `yaml:"words"`
	Any      map[string]any    `yaml:"any"`
	Parts    []part            `yaml:"parts"`
	Others   spec.Elsewhere    `yaml:"others"`
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
		base: base{Kind: "plain"}, Name: "n", Count: 3, On: true, Colour: "red", Note: "x", Size: spec.GiB, Pause: spec.Second,
		Words: map[string]string{"a": "b"}, Hidden: 7, Untagged: 8,
	}
}

func problems(d *spec.Document) []string {
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
			d := spec.Parse("f", []byte(test.src))
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
	d := spec.Parse("f", []byte("{name: [], count: x, on: 1, colour: blue, note: \"\\0\", size: 1, pause: 1, words: 1, kind: {}}"))
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
	d := spec.Parse("f", []byte("a: 1"))
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
			spec.Parse("f", []byte("c: 1")).Root().Decode(&v)
		},
		"encode": func() { spec.Encode(make(chan int)) },
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
		base: base{Kind: "no"}, Name: "1.10", Count: -3, On: true, Colour: "green", Note: "\n a\n\tb\n\n", Size: 3 * spec.MiB, Pause: 1500 * spec.Millisecond,
		Address: netip.MustParseAddr("10.0.0.1"), Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Words: map[string]string{"z": "~", "a": "", "m": "x: y"},
		Any: map[string]any{"n": nil, "t": true, "i": 5, "x": 2.0, "s": "true", "l": []any{1, "1", nil, []any{}},
			"m": map[string]any{"k": map[string]any{}}},
		Parts: []part{{base{"a"}, 0}, {base{}, 2}},
	}
	for name, want := range map[string]thing{"full": full, "defaults": defaults()} {
		t.Run(name, func(t *testing.T) {
			want.Hidden, want.Untagged = 0, 0
			text, err := emit.YAML(spec.Encode(want))
			if err != nil {
				t.Fatal(err)
			}
			d := spec.Parse("f", text)
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
	if diff := cmp.Diff(want, spec.Encode([]*part{{base{"k"}, 1}, none})); diff != "" {
		t.Errorf("pointers are what they point to (-want +got):\n%s", diff)
	}
}

func TestPosition(t *testing.T) {
	const src = `a:
  b: 1
  c:
    - x
    - k: v
d: [1, {e: 2}]
f: {g: "h", "i.j": 3}
l: |
  text
`
	tests := []struct {
		name, reason string
		at           func(spec.Place) spec.Place
		path         string
		line, column int
		keyColumn    int // of a problem with the key itself
	}{
		{"root", "the whole file begins at its begin", func(p spec.Place) spec.Place { return p }, "", 1, 1, 1},
		{"scalar", "a value is shown itself", func(p spec.Place) spec.Place { return p.Key("a").Key("b") }, "a.b", 2, 6, 3},
		{"mapping", "a mapping in block style is shown at its key", func(p spec.Place) spec.Place { return p.Key("a") }, "a", 1, 1, 1},
		{"list", "a list in block style, too", func(p spec.Place) spec.Place { return p.Key("a").Key("c") }, "a.c", 3, 3, 3},
		{"item", "an item has no key", func(p spec.Place) spec.Place { return p.Key("a").Key("c").Index(0) }, "a.c[0]", 4, 7, 7},
		{"mapping as item", "the first key of the item is where it begins", func(p spec.Place) spec.Place { return p.Key("a").Key("c").Index(1) }, "a.c[1]", 5, 7, 7},
		{"value in an item", "paths go through lists", func(p spec.Place) spec.Place { return p.Key("a").Key("c").Index(1).Key("k") }, "a.c[1].k", 5, 10, 7},
		{"list in brackets", "what has brackets begins at them", func(p spec.Place) spec.Place { return p.Key("d") }, "d", 6, 4, 1},
		{"mapping in braces", "in a list, too", func(p spec.Place) spec.Place { return p.Key("d").Index(1) }, "d[1]", 6, 8, 8},
		{"value in braces", "to the end", func(p spec.Place) spec.Place { return p.Key("d").Index(1).Key("e") }, "d[1].e", 6, 12, 9},
		{"quoted", "the quote is the begin", func(p spec.Place) spec.Place { return p.Key("f").Key("g") }, "f.g", 7, 8, 5},
		{"key with a dot", "it stands in quotes, or the path would lie", func(p spec.Place) spec.Place { return p.Key("f").Key("i.j") }, `f."i.j"`, 7, 20, 13},
		{"block of text", "it begins at its mark", func(p spec.Place) spec.Place { return p.Key("l") }, "l", 8, 4, 1},
		{"missing key", "shown at the mapping that lacks it", func(p spec.Place) spec.Place { return p.Key("a").Key("z") }, "a.z", 1, 1, 1},
		{"missing far below", "at the deepest thing that is there", func(p spec.Place) spec.Place { return p.Key("a").Key("b").Key("z").Index(7).Key("q") }, "a.b.z[7].q", 2, 6, 3},
		{"missing item", "at the list", func(p spec.Place) spec.Place { return p.Key("d").Index(9) }, "d[9]", 6, 4, 1},
		{"index of a mapping", "a wrong kind of step leads nowhere", func(p spec.Place) spec.Place { return p.Key("a").Index(0) }, "a[0]", 1, 1, 1},
		{"key of a list", "in either direction", func(p spec.Place) spec.Place { return p.Key("d").Key("z") }, "d.z", 6, 4, 1},
		{"key that cannot be seen", "control characters do not reach a terminal", func(p spec.Place) spec.Place { return p.Key("a\x1b[") }, `"a\x1b["`, 1, 1, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := spec.Parse("f.yaml", []byte(src))
			at := test.at(d.Root())
			if got := at.String(); got != test.path {
				t.Errorf("path: got %q, want %q", got, test.path)
			}
			at.Problem("%s", "value")
			at.KeyProblem("%s", "key")
			at.Warn("%s", "careful")
			errs, warnings := d.Problems()
			if len(errs) != 2 || len(warnings) != 1 {
				t.Fatalf("got %v and %v, want two problems and a warning", errs, warnings)
			}
			for _, p := range append(errs, warnings...) {
				column := test.column
				if p.Text == "key" {
					column = test.keyColumn
				}
				if p.Line != test.line || p.Column != column || p.Path != test.path || p.File != "f.yaml" {
					t.Errorf("%s: got %s, want %d:%d: %s", test.reason, p, test.line, column, test.path)
				}
			}
		})
	}
}

func TestPlacesDoNotShare(t *testing.T) {
	at := spec.Parse("f", []byte("a: 1")).Root().Key("a").Key("b").Key("c")
	first, second := at.Key("first"), at.Key("second")
	if first.String() != "a.b.c.first" || second.String() != "a.b.c.second" {
		t.Errorf("got %s and %s: the second child overwrote the first", first, second)
	}
}

func TestGiven(t *testing.T) {
	root := spec.Parse("f", []byte("a: {b: ~}")).Root()
	for _, test := range []struct {
		at   spec.Place
		want bool
	}{{root, true}, {root.Key("a").Key("b"), true}, {root.Key("a").Key("c"), false}, {root.Key("a").Index(0), false}} {
		if got := test.at.Given(); got != test.want {
			t.Errorf("%s: got %v, want %v", test.at, got, test.want)
		}
	}
}

func TestWithoutReporting(t *testing.T) {
	d := spec.Parse("f", []byte("a: x"))
	d.WithoutReporting(func(root spec.Place) { root.Key("a").Problem("forgotten") })
	if found := problems(d); found != nil {
		t.Errorf("got %q of a quiet reading, want nothing", found)
	}
}

func TestProblems(t *testing.T) {
	d := spec.Parse("f", []byte("a: 1\nb: 2"))
	d.Root().Key("b").Problem("second")
	d.Root().Key("a").Warn("warned")
	d.Root().Key("a").Problem("first")
	errs, warnings := d.Problems()
	if got, want := errs.Error(), "f:1:4: a: first\nf:2:4: b: second"; got != want {
		t.Errorf("errors: got %q, want %q: one a line, in file order", got, want)
	}
	if got, want := warnings.Error(), "f:1:4: warning: a: warned"; got != want {
		t.Errorf("warnings: got %q, want %q", got, want)
	}
}

func TestExcerpt(t *testing.T) {
	tests := []struct {
		name, reason, src string
		at                func(spec.Place) spec.Place
		want              string
	}{
		{"plain", "the carets are as wide as the value", "a: bcd",
			func(p spec.Place) spec.Place { return p.Key("a") }, "" +
				"    1 | a: bcd\n" +
				"      |    ^^^\n"},
		{"quoted", "with its quotes", "a: 'b c'",
			func(p spec.Place) spec.Place { return p.Key("a") }, "" +
				"    1 | a: 'b c'\n" +
				"      |    ^^^^^\n"},
		{"escapes", "never beyond the line's end", `a: "\u0041\u0042"`,
			func(p spec.Place) spec.Place { return p.Key("a") }, "" +
				`    1 | a: "\u0041\u0042"` + "\n" +
				"      |    ^^^^\n"},
		{"list", "what is no single word gets one caret", "a: [b, c]",
			func(p spec.Place) spec.Place { return p.Key("a") }, "" +
				"    1 | a: [b, c]\n" +
				"      |    ^\n"},
		{"several lines", "the carets end with the first", "a: b\n  c d e f",
			func(p spec.Place) spec.Place { return p.Key("a") }, "" +
				"    1 | a: b\n" +
				"      |    ^\n"},
		{"tab", "a tab above is a tab below, however wide it is", "a:\tb",
			func(p spec.Place) spec.Place { return p.Key("a") }, "" +
				"    1 | a:\tb\n" +
				"      |   \t^\n"},
		{"wide before", "a character may take two columns", "{漢字: b}",
			func(p spec.Place) spec.Place { return p.Key("漢字") }, "" +
				"    1 | {漢字: b}\n" +
				"      |        ^\n"},
		{"wide itself", "and two carets", "a: 漢b",
			func(p spec.Place) spec.Place { return p.Key("a") }, "" +
				"    1 | a: 漢b\n" +
				"      |    ^^^\n"},
		{"combining", "or none", "e\u0301: b",
			func(p spec.Place) spec.Place { return p.Key("e\u0301") }, "" +
				"    1 | e\u0301: b\n" +
				"      |    ^\n"},
		{"behind the end", "a value that is missing is shown where it would be", "a:",
			func(p spec.Place) spec.Place { return p.Key("a") }, "" +
				"    1 | a:\n" +
				"      |   ^\n"},
		{"long file", "five digits fit", strings.Repeat("#\n", 12344) + "a: b",
			func(p spec.Place) spec.Place { return p.Key("a") }, "" +
				"12345 | a: b\n" +
				"      |    ^\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := spec.Parse("f", []byte(test.src))
			test.at(d.Root()).Problem("wrong")
			errs, _ := d.Problems()
			if diff := cmp.Diff(test.want, errs[0].Excerpt()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

func TestExcerptOfNothing(t *testing.T) {
	errs, _ := spec.Parse("f", nil).Problems()
	if got := errs[0].Excerpt(); got != "" {
		t.Errorf("got %q for an empty line, want nothing", got)
	}
}

func TestSize(t *testing.T) {
	tests := []struct {
		text, reason string
		want         spec.Size
		back         string
		err          string
	}{
		{"512MB", "PostgreSQL's way", 512 * spec.MiB, "512MB", ""},
		{"512MiB", "the other way means the same", 512 * spec.MiB, "512MB", ""},
		{"8 GB", "one blank is common", 8 * spec.GiB, "8GB", ""},
		{"1024GB", "printed in the largest unit", spec.TiB, "1TB", ""},
		{"1536MiB", "that leaves no fraction", 1536 * spec.MiB, "1536MB", ""},
		{"64kB", "PostgreSQL's kilobytes", 64 * spec.KiB, "64kB", ""},
		{"64KiB", "all three spellings", 64 * spec.KiB, "64kB", ""},
		{"64KB", "of them", 64 * spec.KiB, "64kB", ""},
		{"0kB", "nothing is a size", 0, "0kB", ""},
		{"8388607TB", "the largest that an int64 holds", 8388607 * spec.TiB, "8388607TB", ""},
		{"8388608TB", "one more would be negative", 0, "", `want a size below 8388608TB, have "8388608TB"`},
		{"8", "a number without a unit may be anything", 0, "", `want a size such as 512MB or 8GB, have "8"`},
		{"8G", "half a unit may be a thousand or 1024", 0, "", `want a size such as 512MB or 8GB, have "8G"`},
		{"1.5GB", "no fractions", 0, "", `want a size such as 512MB or 8GB, have "1.5GB"`},
		{"-1GB", "no debts", 0, "", `want a size such as 512MB or 8GB, have "-1GB"`},
		{"8GB\n", "nothing behind it", 0, "", `want a size such as 512MB or 8GB, have "8GB\n"`},
		{"", "nothing", 0, "", `want a size such as 512MB or 8GB, have ""`},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			var got spec.Size
			err := got.UnmarshalText([]byte(test.text))
			if message(err) != test.err {
				t.Fatalf("%s: got error %q, want %q", test.reason, message(err), test.err)
			}
			if got != test.want || err == nil && got.String() != test.back {
				t.Errorf("%s: got %d, %s, want %d, %s", test.reason, got, got, test.want, test.back)
			}
		})
	}
}

func TestDuration(t *testing.T) {
	tests := []struct {
		text, reason string
		want         spec.Duration
		back         string
		err          string
	}{
		{"500ms", "milliseconds", 500 * spec.Millisecond, "500ms", ""},
		{"2000ms", "printed in the largest unit", 2 * spec.Second, "2s", ""},
		{"90s", "that leaves no fraction", 90 * spec.Second, "90s", ""},
		{"120s", "minutes", 2 * spec.Minute, "2m", ""},
		{"24h", "hours are the largest", 24 * spec.Hour, "24h", ""},
		{"0h", "no time is a time", 0, "0s", ""},
		{"2562047h", "the longest that an int64 holds", 2562047 * spec.Hour, "2562047h", ""},
		{"2562048h", "one more does not", 0, "", `want a time below 2562048h, have "2562048h"`},
		{"1.5s", "HAProxy reads no fractions", 0, "", `want a time such as 500ms, 2s or 30m, have "1.5s"`},
		{"1m30s", "nor compounds", 0, "", `want a time such as 500ms, 2s or 30m, have "1m30s"`},
		{"10", "seconds to one program, milliseconds to another", 0, "", `want a time such as 500ms, 2s or 30m, have "10"`},
		{"1d", "days are not for all", 0, "", `want a time such as 500ms, 2s or 30m, have "1d"`},
		{"-1s", "no time before now", 0, "", `want a time such as 500ms, 2s or 30m, have "-1s"`},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			var got spec.Duration
			err := got.UnmarshalText([]byte(test.text))
			if message(err) != test.err {
				t.Fatalf("%s: got error %q, want %q", test.reason, message(err), test.err)
			}
			if got != test.want || err == nil && got.String() != test.back {
				t.Errorf("%s: got %d, %s, want %d, %s", test.reason, got, got, test.want, test.back)
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// FuzzUnits holds that what a size or time prints, it reads, as the same.
func FuzzUnits(f *testing.F) {
	for _, n := range []int64{0, 1, 1 << 20, 3 << 30, math.MaxInt64} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, n int64) {
		if n < 0 {
			return
		}
		size := spec.Size(n) / spec.KiB * spec.KiB // the least unit
		var s spec.Size
		if err := s.UnmarshalText([]byte(size.String())); err == nil && s != size {
			t.Errorf("size %d was read back from %q as %d", size, size.String(), s)
		} else if err != nil && size < 1<<49 { // twelve digits of kB
			t.Error(err)
		}
		pause := spec.Duration(n) / spec.Millisecond * spec.Millisecond
		var d spec.Duration
		if err := d.UnmarshalText([]byte(pause.String())); err == nil && d != pause {
			t.Errorf("time %d was read back from %q as %d", pause, pause.String(), d)
		} else if err != nil && pause < 1e9*spec.Millisecond { // nine digits of ms
			t.Error(err)
		}
	})
}

func TestSchema(t *testing.T) {
	text := emit.Map{{Key: "type", Value: []any{"string", "number", "boolean"}}}
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
			property("colour", emit.Map{{Key: "enum", Value: []any{"red", "green"}}}),
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
		{Key: "required", Value: []any{"name"}},
	}
	got := spec.Schema(&thing{}, func(path string) string {
		if path == "parts[].weight" {
			return ""
		}
		return "about " + path
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
