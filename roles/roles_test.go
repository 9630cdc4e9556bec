package roles_test

import (
	"slices"
	"testing"

	"pgha-gen/generator/role"
	"pgha-gen/roles"
)

// A role's plan reads those of the roles that it uses, and its machines are
// created when theirs are there.
func TestRolesComeAfterWhatTheyUse(t *testing.T) {
	var offered []role.Capability
	for _, r := range roles.All() {
		for _, what := range r.Uses {
			if !slices.Contains(offered, what) {
				t.Errorf("%s uses %s, which no role before it offers", r.Name, what)
			}
		}
		offered = append(offered, r.Offers...)
	}
}
