package emit_test

import (
	"testing"

	"pgha-gen/generator/emit"
)

func TestWords(t *testing.T) {
	got, err := emit.Words([][]string{{"admit", "5432", "10.0.0.0/8"}, {"limit", "8008", "16"}, {"admit", "1", "p-1.ru-central1.internal"}, {"one"}})
	if want := "admit 5432 10.0.0.0/8\nlimit 8008 16\nadmit 1 p-1.ru-central1.internal\none\n"; string(got) != want || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if got, err := emit.Words(nil); len(got) != 0 || err != nil {
		t.Errorf("no lines: got %q, %v", got, err)
	}
}

func TestWordsRefused(t *testing.T) {
	for _, test := range []struct{ word, reason, want string }{
		{"", "it would not be seen", `line 2: "" is no plain word`},
		{"a b", "it would be two", `line 2: "a b" is no plain word`},
		{"a\tb", "so would this", `line 2: "a\tb" is no plain word`},
		{"a\nadmit 22 0.0.0.0/0", "and this another line", `line 2: "a\nadmit 22 0.0.0.0/0" is no plain word`},
		{"'a'", "nobody takes the quotes off", `line 2: "'a'" is no plain word`},
		{"$(reboot)", "a shell splits the line", `line 2: "$(reboot)" is no plain word`},
		{"*", "a shell would name files", `line 2: "*" is no plain word`},
		{"ä", "a reader's bytes are not letters", `line 2: "ä" is no plain word`},
	} {
		got, err := emit.Words([][]string{{"fine"}, {"admit", test.word}})
		if err == nil || err.Error() != test.want || got != nil {
			t.Errorf("%q (%s): got %q, %v, want %s", test.word, test.reason, got, err, test.want)
		}
	}
}
