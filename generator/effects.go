package generator

import (
	"fmt"
	"slices"

	"pgha-gen/generator/effect"
	"pgha-gen/generator/recipe"
	"pgha-gen/generator/role"
)

// effects say how a change of what a group's machines are given takes effect:
// what its plan knows, and then the lists.
func effects(c *role.Cluster, group *role.Group) (effect.Rules, error) {
	lists, err := effectsLists(c, group)
	return slices.Concat(group.Plan.Effects, lists), err
}

// effectsLists are the lists of a group's image, the role's first, as
// refresh.py reads them.
func effectsLists(c *role.Cluster, group *role.Group) (effect.Rules, error) {
	r, err := recipe.New(c, group)
	if err != nil {
		return nil, err
	}
	var all effect.Rules
	for _, name := range []string{"role.list", "base.list"} {
		name = "rootfs/usr/lib/pgha/effects/" + name
		file, ok := r.Files[name]
		if !ok {
			continue // a role without files of its own
		}
		rules, err := effect.Parse(name, file.Data)
		if err != nil {
			return nil, fmt.Errorf("role %s: %w", group.Name, err)
		}
		all = append(all, rules...)
	}
	return all, nil
}
