package cli

import (
	"strings"
	"testing"
)

func TestPrintable(t *testing.T) {
	for _, test := range []struct{ name, reason, text, want string }{
		{"plain", "nothing is lost", "pg-1\tстрока ok – 5 %\n", "pg-1\tстрока ok – 5 %\n"},
		{"escape", "it could write anywhere on the screen", "\x1b[2Jall is well", "?[2Jall is well"},
		{"title", "it could set the title, and some terminals read it back", "\x1b]0;x\a", "?]0;x?"},
		{"one byte", "the same, in eight bits", "\u009b31m", "?31m"},
		{"carriage return", "it could write over what was said before", "refused\rall is well", "refused?all is well"},
		{"delete and backspace", "the same", "a\b\x7f", "a??"},
	} {
		if got := Printable(test.text); got != test.want {
			t.Errorf("%s: %q, want %q: %s", test.name, got, test.want, test.reason)
		}
	}
	var said strings.Builder
	Streams{Name: "x", Err: &said}.Say("it says %s", "\x1b[2J")
	if said.String() != "x: it says ?[2J\n" {
		t.Errorf("said %q", said.String())
	}
}
