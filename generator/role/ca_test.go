package role_test

import (
	"strings"
	"testing"

	"pgha-gen/generator/role"
	"pgha-gen/packer/packertest"
)

func TestSameCA(t *testing.T) {
	a, b := packertest.NewCA(t).PEM, packertest.NewCA(t).PEM
	for _, test := range []struct {
		name, reason string
		one, other   string
		want         bool
	}{
		{"the same", "nothing to say", a + b, a + b, true},
		{"another order", "all are trusted", a + b, b + a, true},
		{"another form", "people indent and add lines", a + b, "\n" + a + "\n\n" + strings.TrimSpace(b), true},
		{"twice", "trusted once or twice is the same", a, a + a, true},
		{"one less", "somebody is not trusted", a + b, a, false},
		{"one more", "somebody is still trusted", a, a + b, false},
		{"another", "a stranger", a, b, false},
		{"none", "not made yet", "", a, false},
		{"damaged", "it is not what it was", a, a[:100], false},
	} {
		if got := role.SameCA(test.one, test.other); got != test.want {
			t.Errorf("%s: %v, want %v: %s", test.name, got, test.want, test.reason)
		}
	}
}
