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

func TestEnv(t *testing.T) {
	tests := []struct {
		name, reason string
		vars         Map
		want         string
	}{
		{"types", "text, numbers and bools are what variables hold", Map{{"B", "x"}, {"A_1", -5}, {"_C", true}}, "B=x\nA_1=-5\n_C=true\n"},
		{"bare", "lists of addresses stay readable", Map{{"A", "n1=https://10.0.0.1:2380,n2=https://a-b.c:1"}}, "A=n1=https://10.0.0.1:2380,n2=https://a-b.c:1\n"},
		{"empty", "set, and empty", Map{{"A", ""}}, "A=\n"},
		{"single quotes", "a dollar has no meaning in them", Map{{"A", "a $b"}, {"C", `"\`}, {"D", "~"}}, "A='a $b'\nC='\"\\'\nD='~'\n"},
		{"double quotes", "single quotes cannot hold a single quote", Map{{"A", "it's $5 \\ \"q\" `"}}, "A=\"it's \\$5 \\\\ \\\"q\\\" \\`\"\n"},
		{"comment signs", "a comment in one of the readers", Map{{"A", "#a"}, {"B", ";b"}}, "A='#a'\nB=';b'\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := Env(test.vars)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

func TestEnvRefused(t *testing.T) {
	tests := []struct {
		name, reason string
		vars         Map
		want         string
	}{
		{"small letters", "not our convention", Map{{"a", ""}}, `"a": not the name of a variable`},
		{"digit first", "no shell takes it", Map{{"1A", ""}}, `"1A": not the name`},
		{"no name", "a line that begins with =", Map{{"", ""}}, `"": not the name`},
		{"two lines in a name", "it would be a second variable", Map{{"A=b\nC", ""}}, `"A=b\nC": not the name`},
		{"duplicate", "the second would win unseen", Map{{"A", 1}, {"A", 2}}, "A: duplicate variable"},
		{"line break", "systemd alone would keep it", Map{{"A", "b\nC=d"}}, `A: "b\nC=d" holds the control character U+000A`},
		{"NUL", "no variable can hold it", Map{{"A", "\x00"}}, "A: \"\\x00\" holds the control character U+0000"},
		{"tab", "a control character like others", Map{{"A", "\t"}}, `A: "\t" holds the control character U+0009`},
		{"not UTF-8", "systemd refuses it", Map{{"A", "\xff"}}, `A: "\xff" is not UTF-8`},
		{"noncharacter", "systemd would drop the whole file", Map{{"A", "\ufdd0"}}, "A: \"\\ufdd0\" holds a Unicode noncharacter"},
		{"last noncharacter", "systemd would drop the whole file", Map{{"A", "\ufdef"}}, "A: \"\\ufdef\" holds a Unicode noncharacter"},
		{"noncharacter of another plane", "systemd would drop the whole file", Map{{"A", "\U0001ffff"}}, "A: \"\\U0001ffff\" holds a Unicode noncharacter"},
		{"float", "nobody needs it here", Map{{"A", 1.5}}, "A: cannot write a float64"},
		{"nothing", "absent and empty are two things", Map{{"A", nil}}, "A: cannot write a <nil>"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got, err := Env(test.vars); err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got %q and error %v, want error %q: %s", got, err, test.want, test.reason)
			}
		})
	}
}

// nastyEnv is a file of nasty values, and what a reader must make of it.
func nastyEnv(t *testing.T) (file string, want []string) {
	t.Helper()
	var vars Map
	for i, s := range nasty(4000, false) {
		vars = append(vars, Pair{fmt.Sprintf("V_%d", i), s})
		want = append(want, fmt.Sprintf("V_%d=%s", i, s))
	}
	text, err := Env(vars)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "test.env")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file, want
}

func TestShellReadsEnv(t *testing.T) {
	file, want := nastyEnv(t)
	const script = `. "$1"; i=0; while [ "$i" -lt "$2" ]; do eval "v=\$V_$i"; printf 'V_%s=%s\0' "$i" "$v"; i=$((i+1)); done`
	got := output(t, nil, "sh", "-euc", script, "sh", file, fmt.Sprint(len(want)))
	if diff := cmp.Diff(want, records(got)); diff != "" {
		t.Errorf("sh reads differently (-want +got):\n%s", diff)
	}
}

// A unit cannot be started on most machines that run tests, but the library
// that holds the reader of EnvironmentFile= is wherever systemd is.
func TestSystemdReadsEnv(t *testing.T) {
	var libraries []string
	for _, pattern := range []string{"/usr/lib/*/systemd/libsystemd-shared-*.so", "/usr/lib/systemd/libsystemd-shared-*.so", "/usr/lib64/systemd/libsystemd-shared-*.so"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		libraries = append(libraries, found...)
	}
	if len(libraries) == 0 {
		testkit.Missing(t, "no libsystemd-shared is on this machine")
	}
	file, want := nastyEnv(t)
	got := records(output(t, nil, python(t, "ctypes"), "testdata/read_env.py", libraries[0], file))
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("systemd reads differently (-want +got):\n%s", diff)
	}
}

func records(b []byte) []string {
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}

// readEnvValue reads one value by the rules that systemd and the shell share;
// ok is false for all on which they may differ.
func readEnvValue(s string) (value string, ok bool) {
	if strings.HasPrefix(s, "'") {
		inner, closed := strings.CutSuffix(s[1:], "'")
		return inner, closed && !strings.Contains(inner, "'")
	}
	if !strings.HasPrefix(s, `"`) {
		return s, !strings.ContainsAny(s, " \t#;'\"\\$`~*?[]{}()<>|&!^")
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), i == len(s)-1
		case '$', '`':
			return "", false
		case '\\':
			if i++; i == len(s) || !strings.ContainsRune("\"\\$`", rune(s[i])) {
				return "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", false
}

func FuzzEnv(f *testing.F) {
	for _, s := range nasty(100, true) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, err := Env(Map{{"V", s}})
		if err != nil {
			return
		}
		line, found := strings.CutPrefix(string(text), "V=")
		line, ended := strings.CutSuffix(line, "\n")
		got, ok := readEnvValue(line)
		if !found || !ended || strings.ContainsAny(line, "\n\x00") || !ok || got != s {
			t.Errorf("%q is written as %q and read as %q (%t)", s, text, got, ok)
		}
	})
}

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
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho here\n"), 0o700); err != nil {
			t.Fatal(err)
		}
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
