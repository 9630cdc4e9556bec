package role_test

import (
	"fmt"
	"strings"
	"testing"

	"pgha-gen/generator/role"
)

func TestRules(t *testing.T) {
	type list struct{ Refused map[string]string }
	if got := role.Rules[list]([]byte("refused: {a: why}\n")).Refused["a"]; got != "why" {
		t.Errorf("have %q, want why", got)
	}
	for _, test := range []struct{ name, src, want string }{
		{"misspelt list", "refsued: {a: why}\n", "field refsued not found"},
		{"twice", "refused: {a: why, a: how}\n", `key "a" already defined`},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, test.want) {
					t.Errorf("have %s, want a panic with %q", got, test.want)
				}
			}()
			role.Rules[list]([]byte(test.src))
		})
	}
}
