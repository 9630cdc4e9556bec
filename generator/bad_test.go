package generator_test

import (
	"bytes"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator"
	"pgha-gen/generator/specfile"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles"
)

// TestBad reads specs that say themselves what is wrong with them: each line
// with a problem ends in " # want: " and what follows the problem's place. What
// they are edits of is good.
func TestBad(t *testing.T) {
	demo.Read(t, []byte(testkit.Text(t, "testdata/bad/base.yaml")))
	eachSpec(t, "bad", func(t *testing.T, src []byte) {
		_, err := generator.Read("pgha.yaml", src, demo.Roles())
		var found specfile.Problems
		if !errors.As(err, &found) {
			t.Fatalf("got %v, want problems", err)
		}
		if diff := cmp.Diff(comments(src, "want"), places(t, found, src)); diff != "" {
			t.Errorf("problems (-want +got):\n%s", diff)
		}
	})
}

// notAKey has the form of a private key and holds none. It is made here, so that
// nothing in the project's own files looks like one.
func notAKey() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte("no key")}))
}

// TestWarn does the same for good specs, with " # warn: ".
func TestWarn(t *testing.T) {
	eachSpec(t, "warn", func(t *testing.T, src []byte) {
		c, err := generator.Read("pgha.yaml", src, roles.All())
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range c.Warnings {
			if !w.Warning {
				t.Errorf("%s: among the warnings, but not marked as one", w)
			}
		}
		if diff := cmp.Diff(comments(src, "warn"), places(t, c.Warnings, src)); diff != "" {
			t.Errorf("warnings (-want +got):\n%s", diff)
		}
	})
}

// TestGood reads specs with nothing to say about.
func TestGood(t *testing.T) {
	eachSpec(t, "good", func(t *testing.T, src []byte) {
		if c := demo.Read(t, src); len(c.Warnings) > 0 {
			t.Errorf("got warnings:\n%v", c.Warnings)
		}
	})
}

// comments are the expected problems, as "line: path: text".
func comments(src []byte, mark string) []string {
	var all []string
	for i, line := range strings.Split(string(src), "\n") {
		for _, text := range strings.Split(line, " # "+mark+": ")[1:] {
			all = append(all, fmt.Sprintf("%d: %s", i+1, text))
		}
	}
	return all
}

// places are the problems found, as comments gives them. All must be in the
// file, in file order.
func places(t *testing.T, found specfile.Problems, src []byte) []string {
	t.Helper()
	var all []string
	line, column := 0, 0
	for _, p := range found {
		if !inside(p, src) {
			t.Errorf("%s: not a place in the file", p)
		}
		if p.Line < line || p.Line == line && p.Column < column {
			t.Errorf("%s: not in file order", p)
		}
		line, column = p.Line, p.Column
		text := p.Text
		if p.Path != "" {
			text = p.Path + ": " + text
		}
		all = append(all, fmt.Sprintf("%d: %s", p.Line, text))
	}
	return all
}

// inside says whether a problem points at a character of src, or just behind
// the end of one of its lines.
func inside(p specfile.Problem, src []byte) bool {
	lines := bytes.Split(bytes.TrimPrefix(src, []byte("\ufeff")), []byte("\n"))
	return p.Line >= 1 && p.Line <= len(lines) && p.Column >= 1 && p.Column <= utf8.RuneCount(lines[p.Line-1])+1
}

// TestBadForm is for files that cannot say in a comment what is wrong.
func TestBadForm(t *testing.T) {
	laughs := "a: &a [x, x]\n"
	for c := 'b'; c <= 'j'; c++ {
		laughs += fmt.Sprintf("%c: &%c [*%c, *%c]\n", c, c, c-1, c-1)
	}
	var laughed []string
	for i := range 10 {
		key := string(rune('a' + i))
		laughed = append(laughed, fmt.Sprintf("%d:4: %s: anchors and aliases are not supported (write the value out)", i+1, key))
		if i > 0 {
			laughed = append(laughed,
				fmt.Sprintf("%d:8: %s[0]: anchors and aliases are not supported (write the value out)", i+1, key),
				fmt.Sprintf("%d:12: %s[1]: anchors and aliases are not supported (write the value out)", i+1, key))
		}
	}
	const text = "format: pgha/v1\nname: demo\n"
	tests := []struct {
		name, reason string
		src          string
		want         []string
	}{
		{"empty", "nothing at all is not a mapping with nothing in it",
			"", []string{"1:1: the file is empty (pgha-gen init writes an example)"}},
		{"only blanks", "a file may be empty to a person only",
			"\n \n\n", []string{"1:1: the file is empty (pgha-gen init writes an example)"}},
		{"only a comment", "all commented out is empty, too",
			"# name: demo\n", []string{"1:1: the file is empty (pgha-gen init writes an example)"}},
		{"only a mark", "a document that holds nothing",
			"---\n", []string{"1:1: the file is empty (pgha-gen init writes an example)"}},
		{"null", "the word for nothing",
			"~\n", []string{"1:1: the file is empty (pgha-gen init writes an example)"}},
		{"binary", "an image was given in place of the spec",
			"\x89PNG\r\n\x1a\n", []string{"1:1: not UTF-8 text: byte 0x89 (save it as UTF-8)"}},
		{"Latin-1", "the place is the letter",
			text + "# caf\xe9\n", []string{"3:6: not UTF-8 text: byte 0xe9 (save it as UTF-8)"}},
		{"too large", "ten megabytes are no spec, and need not be parsed",
			strings.Repeat("x", 10<<20), []string{"1:1: the file has 10485760 bytes (a spec has at most 1048576)"}},
		{"billion laughs", "aliases are refused one by one and never expanded",
			laughs, laughed},
		{"CRLF", "saved on Windows; said once, not on every line",
			strings.ReplaceAll(text, "\n", "\r\n"), []string{"1:16: a carriage return (save the file with Unix line ends: LF, not CRLF)"}},
		{"UTF-16 LE", "saved by an editor on Windows",
			utf16Text(binary.LittleEndian, text), []string{"1:1: the file is UTF-16 (save it as UTF-8)"}},
		{"UTF-16 BE", "the other order of bytes",
			utf16Text(binary.BigEndian, text), []string{"1:1: the file is UTF-16 (save it as UTF-8)"}},
		{"private key", "a spec is kept where many read it",
			"roles:\n  haproxy:\n    extra: |\n      " + strings.ReplaceAll(notAKey(), "\n", "\n      "),
			[]string{"3:12: roles.haproxy.extra: this looks like a private key (a spec holds no secrets: put it into Lockbox and give its id)"}},
		{"NUL", "a hole in the file after a crash",
			text + "\x00\x00", []string{"3:1: not text: control character U+0000 (remove it)"}},
		{"escape", "a terminal that shows the line would obey it",
			"name: \x1b[31mdemo\n", []string{"1:7: not text: control character U+001B (remove it)"}},
		{"escape in eight bits", "some terminals obey this one as well",
			"name: \u009b31mdemo\n", []string{"1:7: not text: control character U+009B (remove it)"}},
		{"line separator", "YAML takes it for the end of a line, editors do not: line numbers would be wrong",
			"name: a\u2028b\n", []string{"1:8: not text: control character U+2028 (remove it)"}},
		{"tab indent", "the commonest mistake in YAML; the library only speaks of tokens",
			"cloud:\n\tregion: x\n", []string{"2:1: a tab in the indent (indent with blanks)"}},
		{"tab after blanks", "the caret is at the tab",
			"cloud:\n  region: x\n  \tdomain: y\n", []string{"3:3: a tab in the indent (indent with blanks)"}},
		{"second document", "it would be ignored",
			text + "---\n" + text, []string{"3:1: a second document (a spec is one: remove the line --- and all on one side of it)"}},
		{"second document, first empty", "the first is no less ignored",
			"---\n---\n" + text, []string{"2:1: a second document (a spec is one: remove the line --- and all on one side of it)"}},
		{"unclosed quote", "shown where the quote begins",
			text + "cloud:\n  region: \"x\naccess: 1\n", []string{"4:3: not YAML: found unexpected end of stream (a quote is not closed)"}},
		{"unclosed bracket", "shown where it must have been closed",
			text + "access: {clients: [a, b}\nfailover: fast\n", []string{"3:1: not YAML: did not find expected ',' or ']' (a bracket is not closed)"}},
		{"unclosed brace", "shown where it begins, since the next line could still belong to it",
			"cloud: {region: x\nname: demo\n", []string{"1:1: not YAML: did not find expected ',' or '}' (a brace is not closed)"}},
		{"wrong indent", "the library names the line before the mapping",
			text + "cloud:\n    region: x\n    folder_id: y\n  domain: z\naccess: {}\n", []string{"6:3: not YAML: did not find expected key (is it indented like its neighbours, and is each quote closed?)"}},
		{"wrong indent in a list", "the same for an item",
			"a:\n  - b\n - c\n", []string{"3:2: not YAML: did not find expected key (is it indented like its neighbours, and is each quote closed?)"}},
		{"key in a list", "a list that goes on as a mapping",
			"- b\nc: d\n", []string{"2:1: not YAML: did not find expected '-' indicator (is it indented like its neighbours?)"}},
		{"colon in text", "text with a colon and a blank needs quotes",
			"name: demo: two\n", []string{"1:1: not YAML: mapping values are not allowed in this context (is the indent wrong, is there no colon above, or does a text with a colon want quotes?)"}},
		{"key without colon", "a forgotten colon",
			text + "failover fast\ndurability: sync\n", []string{"3:1: not YAML: could not find expected ':' (a key wants a colon and a blank behind it)"}},
		{"no-break space behind a colon", "YAML stumbles over the line behind",
			text + "cloud:\n  region:\u00a0x\n  folder_id: y\n", []string{"4:10: a blank that is not the usual one, such as a no-break space (write it anew)"}},
		{"no-break space on the last line", "there is no line behind",
			text + "failover:\u00a0fast\n", []string{"3:10: a blank that is not the usual one, such as a no-break space (write it anew)"}},
		{"no-break space in the indent", "to YAML a key that begins with it",
			text + "cloud:\n\u00a0\u00a0region: x\n  folder_id: y\n", []string{"4:1: a blank that is not the usual one, such as a no-break space (write it anew)"}},
		{"no-break space on the first line", "there is no line before",
			"format:\u00a0pgha/v1\nname: demo\n", []string{"1:8: a blank that is not the usual one, such as a no-break space (write it anew)"}},
		{"unknown anchor", "the library names no line at all",
			text + "access: *there\n", []string{"3:1: not YAML: unknown anchor 'there' referenced (a text that begins with * wants quotes)"}},
		{"key without colon above", "shown where YAML can no longer make sense of it",
			"roles:\n  etcd\n    version: x\n", []string{"3:5: not YAML: mapping values are not allowed in this context (is the indent wrong, is there no colon above, or does a text with a colon want quotes?)"}},
		{"quote within quotes", "the text ends at the second",
			"name: 'it's'\n", []string{"1:1: not YAML: did not find expected key (is it indented like its neighbours, and is each quote closed?)"}},
		{"sign", "a text that begins with a sign of YAML's",
			text + "failover: @fast\n", []string{"3:1: not YAML: found character that cannot start any token (a text that begins with @, %, ` or a tab wants quotes)"}},
		{"backslash", "a path as other systems write it",
			text + "failover: \"C:\\quick\"\n", []string{"3:1: not YAML: found unknown escape character (in double quotes a backslash is written \\\\; in single ones it means itself)"}},
		{"error in the second document", "whatever it is, it is not one document",
			text + "---\n[\n", []string{"4:1: not YAML: did not find expected node content"}},
		{"20000 brackets", "a parser that recurses must not run out of stack",
			strings.Repeat("[", 20000), []string{"1:1: not YAML: exceeded max depth of 10000"}},
		{"5000 brackets", "deep enough to make paths of five thousand steps",
			strings.Repeat("[", 5000) + strings.Repeat("]", 5000), []string{"1:52: nested too deep (want at most 50 levels)"}},
		{"a scalar", "a word is a document to YAML",
			"demo\n", []string{"1:1: want a mapping, have \"demo\""}},
		{"a list", "a list is a document to YAML",
			"- format: pgha/v1\n", []string{"1:1: want a mapping, have a list"}},
		{"byte order mark", "some editors write one; columns count without it",
			"\ufeffcolour: red\nformat: pgha/v1\nname: x\ncloud: {folder_id: xy, subnets: {ru-central1-a: xy}, service_accounts: {}}\naccess: {clients: [10.0.0.0/24]}\nsecrets: {lockbox: {}}\nroles: {etc: {}}\n",
			[]string{"1:1: colour: unknown key (did you mean cloud?)", "7:9: roles.etc: unknown role (did you mean etcd?)"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := generator.Read("pgha.yaml", []byte(test.src), roles.All())
			var found specfile.Problems
			if !errors.As(err, &found) {
				t.Fatalf("got %v, want problems: %s", err, test.reason)
			}
			var got []string
			for _, p := range found {
				if len(test.src) < specfile.MaxSize && !strings.HasPrefix(test.name, "UTF-16") && !inside(p, []byte(test.src)) {
					t.Errorf("%s: not a place in the file", p)
				}
				got = append(got, strings.TrimPrefix(p.String(), "pgha.yaml:"))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// TestManyProblems reads a file that is wrong on every line. It takes a second;
// looking for the place of each problem from the top would take minutes.
func TestManyProblems(t *testing.T) {
	var src strings.Builder
	for i := range 90_000 {
		fmt.Fprintf(&src, "k%d: 1\n", i)
	}
	_, err := generator.Read("pgha.yaml", []byte(src.String()), roles.All())
	var found specfile.Problems
	if !errors.As(err, &found) || len(found) != 90_000+5 {
		t.Fatalf("got %d problems, want one for each line and for the five keys that are missing", len(found))
	}
	if got, want := found[len(found)-1].String(), "pgha.yaml:90000:1: k89999: unknown key"; !strings.HasPrefix(got, want) {
		t.Errorf("the last is %s, want %s…", got, want)
	}
}

func utf16Text(order binary.AppendByteOrder, s string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune("\ufeff" + s)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}
