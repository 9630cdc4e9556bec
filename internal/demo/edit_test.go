package demo

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMerge(t *testing.T) {
	const base = "a: 1 # one\nb:\n  c: 2\n  d:\n    - 3\ne: |\n  4\n"
	tests := []struct{ name, reason, edit, want, err string }{
		{"value", "it takes the line's place, comment and all", "a: 9 # nine\n", "a: 9 # nine\nb:\n  c: 2\n  d:\n    - 3\ne: |\n  4\n", ""},
		{"value in a mapping", "its neighbours stay", "b:\n  c: 9\n", "a: 1 # one\nb:\n  c: 9\n  d:\n    - 3\ne: |\n  4\n", ""},
		{"head of a mapping", "its comment is the edit's", "b: # here\n  c: 9\n", "a: 1 # one\nb: # here\n  c: 9\n  d:\n    - 3\ne: |\n  4\n", ""},
		{"list", "it is replaced as a whole", "b:\n  d:\n    - 8\n    - 9\n", "a: 1 # one\nb:\n  c: 2\n  d:\n    - 8\n    - 9\ne: |\n  4\n", ""},
		{"text of lines", "as a whole, too", "e: |\n  8\n\n  9\n", "a: 1 # one\nb:\n  c: 2\n  d:\n    - 3\ne: |\n  8\n\n  9\n", ""},
		{"nothing for a mapping", "this is how a value is forgotten", "b:\n", "a: 1 # one\nb:\ne: |\n  4\n", ""},
		{"new", "first, or behind its neighbour", "x: 8\nb:\n  c: 2\n  y: 9\n", "x: 8\na: 1 # one\nb:\n  c: 2\n  y: 9\n  d:\n    - 3\ne: |\n  4\n", ""},
		{"renamed", "the new one is where the old one was", "-b:\nf: 5\n", "a: 1 # one\nf: 5\ne: |\n  4\n", ""},
		{"deeper", "it stands below nothing", "  c: 9\n", "", `cannot put "  c: 9" among keys of another indent`},
		{"taken away below", "what is not there cannot be meant", "b:\n  -x:\n", "", "cannot take away x: it is not there"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := merge(lines(base), lines(test.edit))
			if err != nil {
				if err.Error() != test.err {
					t.Errorf("%s: got error %q, want %q", test.reason, err, test.err)
				}
				return
			}
			if diff := cmp.Diff(lines(test.want), got); diff != "" || test.err != "" {
				t.Errorf("%s, want error %q (-want +got):\n%s", test.reason, test.err, diff)
			}
		})
	}
}
