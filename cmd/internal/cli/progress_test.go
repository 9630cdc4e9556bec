package cli_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"pgha-gen/cmd/internal/cli"
)

func TestProgress(t *testing.T) {
	type shown struct {
		lines []string
		view  string
		want  string
	}
	tests := []struct {
		name, reason string
		width        int
		shown        []shown
	}{
		{"no terminal", "lines alone, and nothing but text", 0, []shown{
			{nil, "baking\n", ""}, {[]string{"baked", "booted"}, "a\nb\n", "baked\nbooted\n"}, {nil, "", ""}}},
		{"terminal", "the view is replaced, lines stay above it", 60, []shown{
			{nil, "baking\n", "baking\n"}, {[]string{"baked"}, "a\nb\n", "\x1b[1A\x1b[Jbaked\na\nb\n"}, {nil, "", "\x1b[2A\x1b[J"}, {nil, "", ""}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			p := cli.NewProgress(&out, test.width)
			for i, s := range test.shown {
				out.Reset()
				p.Show(s.lines, s.view)
				if out.String() != s.want {
					t.Errorf("%s: %d: got %q, want %q", test.reason, i, out.String(), s.want)
				}
			}
		})
	}
}

// A file and a buffer are no terminals. What one sees is in the txtar scripts.
func TestNoTerminal(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, s := range []cli.Streams{{Err: file}, {Err: &bytes.Buffer{}}} {
		if got := s.Width(); got != 0 {
			t.Errorf("%T: width %d, want 0", s.Err, got)
		}
	}
}

// Where there is no terminal nobody is asked.
func TestConfirmNobody(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, s := range []cli.Streams{{In: file, Err: file}, {In: strings.NewReader("y\n"), Err: file}} {
		if yes, ok := s.Confirm("go on?"); yes || ok {
			t.Errorf("%T: %t, %t", s.In, yes, ok)
		}
	}
	if said, err := os.ReadFile(file.Name()); err != nil || len(said) > 0 {
		t.Errorf("said %q, %v", said, err)
	}
}
