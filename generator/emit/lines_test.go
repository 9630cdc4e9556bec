package emit

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
)

func TestWordLine(t *testing.T) {
	tests := []struct {
		name, reason string
		words        []string
		want         string
	}{
		{"bare", "conditions and addresses stay readable", []string{"acl", "up", "{", "srv(a/b)", "ge", "1", "}", "*:5431", "10.0.0.1:80,x", "!x"}, "acl up { srv(a/b) ge 1 } *:5431 10.0.0.1:80,x !x"},
		{"quotes", "a word with a blank or a comment sign is still one word", []string{"a b", "#c", `\n`, `"q"`, ""}, `'a b' '#c' '\n' '"q"' ''`},
		{"single quote", "nothing is an escape in single quotes", []string{"it's", "'"}, `'it'\''s' ''\'''`},
		{"bracket", "it would open a scope at the start of a line", []string{"[x]"}, "'[x]'"},
		{"dollar", "text is never expanded", []string{"$HOME", "${HOME}", "${OTHER"}, "'$HOME' '${HOME}' '${OTHER'"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := WordLine(test.words)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

func TestWordLineRefused(t *testing.T) {
	tests := []struct {
		name, reason string
		words        []string
		want         string
	}{
		{"line break", "it would be a second keyword", []string{"a", "b\nc"}, `"b\nc" holds the control character U+000A`},
		{"NUL", "it ends a string in the reader", []string{"a\x00"}, `"a\x00" holds the control character U+0000`},
		{"not UTF-8", "no text", []string{"\xff"}, `"\xff" is not UTF-8`},
		{"empty", "a line with nothing to say is a mistake", nil, "a line without words"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got, err := WordLine(test.words); err == nil || err.Error()[:min(len(err.Error()), len(test.want))] != test.want {
				t.Errorf("got %q and error %v, want error %q: %s", got, err, test.want, test.reason)
			}
		})
	}
}

// readWords reads a line by the rules of the format.
func readWords(line string) (list []string, ok bool) {
	var b strings.Builder
	started, single := false, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\'':
			single, started = !single, true
		case single:
			b.WriteByte(c)
		case c == '\\':
			if i++; i == len(line) || line[i] != '\'' {
				return nil, false
			}
			b.WriteByte(line[i])
			started = true
		case c == ' ':
			if started {
				list = append(list, b.String())
			}
			b.Reset()
			started = false
		case c == '"' || c == '#' || c == '$' || c == '[' && !started && len(list) == 0 || c < ' ':
			return nil, false
		default:
			b.WriteByte(c)
			started = true
		}
	}
	if started {
		list = append(list, b.String())
	}
	return list, !single
}

func FuzzWordLine(f *testing.F) {
	for _, s := range nasty(100, true) {
		f.Add(s, "x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		line, err := WordLine([]string{a, b, "end"})
		if err != nil {
			return
		}
		got, ok := readWords(line)
		if want := []string{a, b, "end"}; !ok || !slices.Equal(got, want) {
			t.Errorf("%q is read as %q (%t), want %q", line, got, ok, want)
		}
	})
}

func TestShell(t *testing.T) {
	got, err := Shell("yc", "create", "--name=a b", "it's $5", "", "if", "A=b")
	if err != nil {
		t.Fatal(err)
	}
	if want := `yc create '--name=a b' "it's \$5" '' 'if' 'A=b'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, refused := range [][]string{nil, {"a", "b\nc"}, {"\x00"}, {"\xff"}} {
		if got, err := Shell(refused...); err == nil {
			t.Errorf("Shell(%q) = %q, want an error", refused, got)
		}
	}
}

func TestShReadsShell(t *testing.T) {
	// A tab is in strange only, and POSIX quoting cannot hold it.
	want := nasty(4000, false)
	var script bytes.Buffer
	for part := range slices.Chunk(want, 100) {
		line, err := Shell(append([]string{"printf", `%s\0`}, part...)...)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&script, line)
	}
	if diff := cmp.Diff(want, records(output(t, script.Bytes(), "sh"))); diff != "" {
		t.Errorf("sh reads differently (-want +got):\n%s", diff)
	}
	// The first word is special: it could be an assignment, a keyword or an alias.
	for _, name := range []string{"A=b", "if", "!", "{", "in", "a b", "~"} {
		dir := t.TempDir()
		testkit.OK(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho here\n"), 0o700))
		line, err := Shell(name)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", line)
		cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin"}
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "here\n" {
			t.Errorf("%s does not run %q: %v, %s", line, name, err, out)
		}
	}
}

func TestHBA(t *testing.T) {
	tests := []struct {
		name, reason string
		words        []string
		want         string
	}{
		{"keywords", "they stay keywords", []string{"hostssl", "all", "+ops", "10.0.0.0/8", "scram-sha-256"}, "hostssl all +ops 10.0.0.0/8 scram-sha-256"},
		{"names", "they mean only themselves", []string{"host", HBAName("all"), HBAName("+a"), "samenet", "reject"}, `host "all" "+a" samenet reject`},
		{"list", "names can be joined by commas", []string{"host", HBAName("a,b") + "," + HBAName("c d"), HBAName("#x"), "all", "trust"}, `host "a,b","c d" "#x" all trust`},
		{"quote", "a quote is written twice", []string{"local", HBAName(`a"b`), HBAName(""), "peer"}, `local "a""b" "" peer`},
		{"regular expression", "given as such, bare", []string{"local", "/^a.*$", "all", "peer"}, "local /^a.*$ all peer"},
		{"option", "a value in quotes", []string{"hostssl", "all", "all", "all", "cert", `map="a b"`}, `hostssl all all all cert map="a b"`},
		{"backslash in a name", "the line ends with a quote, not with it", []string{"local", "all", HBAName(`a\`)}, `local all "a\"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := HBA(test.words...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

func TestHBARefused(t *testing.T) {
	tests := []struct {
		name, reason string
		words        []string
		want         string
	}{
		{"nothing", "no record", nil, "without words"},
		{"empty word", "the words after it would move", []string{"local", ""}, "an empty word"},
		{"blank", "it would be two words", []string{"local", "a b"}, `"a b" holds a blank or '#'`},
		{"comment", "the rest of the record would be lost", []string{"local", "a#b"}, `"a#b" holds a blank or '#'`},
		{"line break", "it would be a second record", []string{"local", HBAName("a\nlocal all all trust")}, "control character U+000A"},
		{"open quote", "it would swallow the next word", []string{"local", `"a`, "all"}, "not closed"},
		{"comma at the end", "the next word would join the list", []string{"local", "a,", "all"}, "has a comma at an end"},
		{"comma at the start", "nothing stands before it", []string{"local", ",a", "all"}, "has a comma at an end"},
		{"slash in quotes", "it would be a regular expression", []string{"local", HBAName("/a"), "all"}, "read as a regular expression"},
		{"slash in a list", "it would be a regular expression", []string{"local", "a," + HBAName("/a"), "all"}, "read as a regular expression"},
		{"backslash at the end", "it continues the line", []string{"local", `a\`}, "ends with a backslash"},
		{"not UTF-8", "no text", []string{"local", "\xff"}, "is not UTF-8"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got, err := HBA(test.words...); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q and error %v, want error %q: %s", got, err, test.want, test.reason)
			}
		})
	}
}

// readHBAWord reads the first word of a record by the rules of the file: a
// quote opens and closes, and where it opens again at once it is one.
func readHBAWord(record string) (word, rest string) {
	var b strings.Builder
	open := false
	for i := 0; i < len(record); i++ {
		switch c := record[i]; {
		case c == '"':
			if !open && i > 0 && record[i-1] == '"' {
				b.WriteByte(c)
			}
			open = !open
		case !open && strings.IndexByte(" ,#", c) >= 0:
			return b.String(), record[i:]
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}

func FuzzHBAName(f *testing.F) {
	for _, s := range nasty(100, true) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		record, err := HBA(HBAName(name), "end")
		if err != nil {
			return
		}
		if word, rest := readHBAWord(record); word != name || rest != " end" {
			t.Errorf("%q is read as %q and %q, want %q", record, word, rest, name)
		}
	})
}
