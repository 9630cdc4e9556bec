package specfile_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/specfile"
)

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
		at           func(specfile.Place) specfile.Place
		path         string
		line, column int
		keyColumn    int // of a problem with the key itself
	}{
		{"root", "the whole file begins at its begin", func(p specfile.Place) specfile.Place { return p }, "", 1, 1, 1},
		{"scalar", "a value is shown itself", func(p specfile.Place) specfile.Place { return p.Key("a").Key("b") }, "a.b", 2, 6, 3},
		{"mapping", "a mapping in block style is shown at its key", func(p specfile.Place) specfile.Place { return p.Key("a") }, "a", 1, 1, 1},
		{"list", "a list in block style, too", func(p specfile.Place) specfile.Place { return p.Key("a").Key("c") }, "a.c", 3, 3, 3},
		{"item", "an item has no key", func(p specfile.Place) specfile.Place { return p.Key("a").Key("c").Index(0) }, "a.c[0]", 4, 7, 7},
		{"mapping as item", "the first key of the item is where it begins", func(p specfile.Place) specfile.Place { return p.Key("a").Key("c").Index(1) }, "a.c[1]", 5, 7, 7},
		{"value in an item", "paths go through lists", func(p specfile.Place) specfile.Place { return p.Key("a").Key("c").Index(1).Key("k") }, "a.c[1].k", 5, 10, 7},
		{"list in brackets", "what has brackets begins at them", func(p specfile.Place) specfile.Place { return p.Key("d") }, "d", 6, 4, 1},
		{"mapping in braces", "in a list, too", func(p specfile.Place) specfile.Place { return p.Key("d").Index(1) }, "d[1]", 6, 8, 8},
		{"value in braces", "to the end", func(p specfile.Place) specfile.Place { return p.Key("d").Index(1).Key("e") }, "d[1].e", 6, 12, 9},
		{"quoted", "the quote is the begin", func(p specfile.Place) specfile.Place { return p.Key("f").Key("g") }, "f.g", 7, 8, 5},
		{"key with a dot", "it stands in quotes, or the path would lie", func(p specfile.Place) specfile.Place { return p.Key("f").Key("i.j") }, `f."i.j"`, 7, 20, 13},
		{"block of text", "it begins at its mark", func(p specfile.Place) specfile.Place { return p.Key("l") }, "l", 8, 4, 1},
		{"missing key", "shown at the mapping that lacks it", func(p specfile.Place) specfile.Place { return p.Key("a").Key("z") }, "a.z", 1, 1, 1},
		{"missing far below", "at the deepest thing that is there", func(p specfile.Place) specfile.Place { return p.Key("a").Key("b").Key("z").Index(7).Key("q") }, "a.b.z[7].q", 2, 6, 3},
		{"missing item", "at the list", func(p specfile.Place) specfile.Place { return p.Key("d").Index(9) }, "d[9]", 6, 4, 1},
		{"index of a mapping", "a wrong kind of step leads nowhere", func(p specfile.Place) specfile.Place { return p.Key("a").Index(0) }, "a[0]", 1, 1, 1},
		{"key of a list", "in either direction", func(p specfile.Place) specfile.Place { return p.Key("d").Key("z") }, "d.z", 6, 4, 1},
		{"key that cannot be seen", "control characters do not reach a terminal", func(p specfile.Place) specfile.Place { return p.Key("a\x1b[") }, `"a\x1b["`, 1, 1, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := specfile.Parse("f.yaml", []byte(src))
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
	at := specfile.Parse("f", []byte("a: 1")).Root().Key("a").Key("b").Key("c")
	first, second := at.Key("first"), at.Key("second")
	if first.String() != "a.b.c.first" || second.String() != "a.b.c.second" {
		t.Errorf("got %s and %s: the second child overwrote the first", first, second)
	}
}

func TestGiven(t *testing.T) {
	root := specfile.Parse("f", []byte("a: {b: ~}")).Root()
	for _, test := range []struct {
		at   specfile.Place
		want bool
	}{{root, true}, {root.Key("a").Key("b"), true}, {root.Key("a").Key("c"), false}, {root.Key("a").Index(0), false}} {
		if got := test.at.Given(); got != test.want {
			t.Errorf("%s: got %v, want %v", test.at, got, test.want)
		}
	}
}

func TestWithoutReporting(t *testing.T) {
	d := specfile.Parse("f", []byte("a: x"))
	d.WithoutReporting(func(root specfile.Place) { root.Key("a").Problem("forgotten") })
	if found := problems(d); found != nil {
		t.Errorf("got %q of a quiet reading, want nothing", found)
	}
}

func TestProblems(t *testing.T) {
	d := specfile.Parse("f", []byte("a: 1\nb: 2"))
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
		at                func(specfile.Place) specfile.Place
		want              string
	}{
		{"plain", "the carets are as wide as the value", "a: bcd",
			func(p specfile.Place) specfile.Place { return p.Key("a") }, "" +
				"    1 | a: bcd\n" +
				"      |    ^^^\n"},
		{"quoted", "with its quotes", "a: 'b c'",
			func(p specfile.Place) specfile.Place { return p.Key("a") }, "" +
				"    1 | a: 'b c'\n" +
				"      |    ^^^^^\n"},
		{"escapes", "never beyond the line's end", `a: "\u0041\u0042"`,
			func(p specfile.Place) specfile.Place { return p.Key("a") }, "" +
				`    1 | a: "\u0041\u0042"` + "\n" +
				"      |    ^^^^\n"},
		{"list", "what is no single word gets one caret", "a: [b, c]",
			func(p specfile.Place) specfile.Place { return p.Key("a") }, "" +
				"    1 | a: [b, c]\n" +
				"      |    ^\n"},
		{"several lines", "the carets end with the first", "a: b\n  c d e f",
			func(p specfile.Place) specfile.Place { return p.Key("a") }, "" +
				"    1 | a: b\n" +
				"      |    ^\n"},
		{"tab", "a tab above is a tab below, however wide it is", "a:\tb",
			func(p specfile.Place) specfile.Place { return p.Key("a") }, "" +
				"    1 | a:\tb\n" +
				"      |   \t^\n"},
		{"wide before", "a character may take two columns", "{漢字: b}",
			func(p specfile.Place) specfile.Place { return p.Key("漢字") }, "" +
				"    1 | {漢字: b}\n" +
				"      |        ^\n"},
		{"wide itself", "and two carets", "a: 漢b",
			func(p specfile.Place) specfile.Place { return p.Key("a") }, "" +
				"    1 | a: 漢b\n" +
				"      |    ^^^\n"},
		{"combining", "or none", "e\u0301: b",
			func(p specfile.Place) specfile.Place { return p.Key("e\u0301") }, "" +
				"    1 | e\u0301: b\n" +
				"      |    ^\n"},
		{"behind the end", "a value that is missing is shown where it would be", "a:",
			func(p specfile.Place) specfile.Place { return p.Key("a") }, "" +
				"    1 | a:\n" +
				"      |   ^\n"},
		{"long file", "five digits fit", strings.Repeat("#\n", 12344) + "a: b",
			func(p specfile.Place) specfile.Place { return p.Key("a") }, "" +
				"12345 | a: b\n" +
				"      |    ^\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := specfile.Parse("f", []byte(test.src))
			test.at(d.Root()).Problem("wrong")
			errs, _ := d.Problems()
			if diff := cmp.Diff(test.want, errs[0].Excerpt()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

func TestExcerptOfNothing(t *testing.T) {
	errs, _ := specfile.Parse("f", nil).Problems()
	if got := errs[0].Excerpt(); got != "" {
		t.Errorf("got %q for an empty line, want nothing", got)
	}
}
