package emit

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHCLAttribute(t *testing.T) {
	for _, test := range []struct{ name, reason, src, want, err string }{
		{"set", "only the value changes", "build {\n  sources = [\"a\"]\n  x       = \"${y}\"\n}\n",
			"build {\n  sources = [\"b\"]\n  x       = \"${y}\"\n}\n", ""},
		{"no block", "a template that lost its build must not pass", "source {}\n", "", `no block "build" to set "sources" in`},
		{"not HCL", "a broken template must not pass", "build {", "", "not HCL: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := HCLAttribute([]byte(test.src), "build", "sources", []string{"b"})
			if test.err != "" {
				if err == nil || len(err.Error()) < len(test.err) || err.Error()[:len(test.err)] != test.err {
					t.Fatalf("got error %v, want %q: %s", err, test.err, test.reason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s\n%s", diff, test.reason)
			}
		})
	}
}
