package cli_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/generator/specfile"
	"pgha-gen/internal/testkit"
)

func TestSpecFile(t *testing.T) {
	t.Chdir(t.TempDir())
	large := strings.Repeat("x", specfile.MaxSize+10)
	for name, text := range map[string]string{"a.yaml": "name: a\n", "large.yaml": large} {
		testkit.OK(t, os.WriteFile(name, []byte(text), 0o600))
	}
	testkit.OK(t, os.Mkdir("dir", 0o700))
	tests := []struct {
		name, reason string
		file         cli.SpecFile
		in           string
		want, err    string
	}{
		{"a file", "its text", "a.yaml", "", "name: a\n", ""},
		{"standard input", "its text", "-", "name: b\n", "name: b\n", ""},
		{"too large", "enough of it to be refused", "large.yaml", "", large[:specfile.MaxSize+1], ""},
		{"endless input", "enough of it to be refused", "-", large, large[:specfile.MaxSize+1], ""},
		{"not there", "how to have one", "no.yaml", "", "", `there is no file "no.yaml" (pgha-gen init writes pgha.yaml; -f names another)`},
		{"a folder", "which file?", "dir", "", "", `"dir" is a folder (-f names the file in it)`},
		{"below a file", "what the system says", "a.yaml/b", "", "", `cannot read "a.yaml/b": not a directory`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text, err := test.file.Read(strings.NewReader(test.in))
			said := ""
			if err != nil {
				said = err.Error()
			}
			if string(text) != test.want || said != test.err {
				t.Errorf("%s: %d bytes, %q, want %d bytes, %q", test.reason, len(text), said, len(test.want), test.err)
			}
		})
	}
	_, err := cli.SpecFile("-").Read(iotest.ErrReader(errors.New("no more")))
	if want := `cannot read "<stdin>": no more`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestCause(t *testing.T) {
	_, err := os.Open(filepath.Join(t.TempDir(), "x"))
	if got := cli.Cause(err).Error(); got != "no such file or directory" {
		t.Errorf("got %q, want the system's words alone", got)
	}
}
