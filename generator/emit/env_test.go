package emit

import (
	"fmt"
	"os"
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
	testkit.OK(t, os.WriteFile(file, text, 0o600))
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
