package generator

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pgha-gen/generator/cloud"
	"pgha-gen/generator/effect"
	"pgha-gen/generator/emit"
	"pgha-gen/generator/recipe"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
	"pgha-gen/generator/yc"
)

// What a change of the spec can mean beside what effect has: its files are
// not all that follows from a spec.
const (
	Join    effect.Effect = "join"    // a machine is created
	Leave   effect.Effect = "leave"   // a machine is deleted
	Secrets effect.Effect = "secrets" // there are others, or they are of other names
	Grow    effect.Effect = "grow"    // a data disk becomes larger, while its machine runs
	Image   effect.Effect = "image"   // another one is baked
	Around  effect.Effect = "around"  // what is around the machines in the cloud is changed, while they run
	Beside  effect.Effect = "beside"  // so is what has the machines for its targets
)

// Change is what one key of the spec means that is not what it was; or several
// keys, if none of them alone makes a good spec.
type Change struct {
	Keys    []Difference
	Effects []Consequence // none: nothing on the machines follows from it
}

// Difference is a key with two values, each as specfile.Encode gives it; nil
// if there is none.
type Difference struct {
	Key      string
	Old, New any
}

// Consequence is what happens on machines of one role.
type Consequence struct {
	effect.Effect
	Role  string
	Nodes []string
	What  string   // a sentence without its full stop; may be empty
	Of    []string // what differs: path#key of files, or options of the commands that create machines
}

// Diff says of each key of the spec that differs what follows from that, in
// the order of the new spec. Each is judged by itself: by what is generated of
// the old spec with this key alone as in the new one.
func Diff(old, new *role.Cluster, roles []*role.Role) ([]Change, error) {
	d := &differ{roles: roles, old: old, before: document(old), after: document(new)}
	d.mix(func(key string, old, new any) bool {
		d.all = append(d.all, Difference{key, known(old), known(new)})
		return true
	})
	changes, err := d.changes()
	if err != nil {
		return nil, err
	}
	return d.together(changes, new)
}

// document is the spec with every default, as a value.
func document(c *role.Cluster) emit.Map {
	roles := emit.Map{}
	for _, group := range c.Groups {
		roles = append(roles, emit.Pair{Key: group.Name, Value: specfile.Encode(group.Settings)})
	}
	return specfile.Encode(c).(emit.Map).Set("roles", roles)
}

func known(v any) any {
	if isAbsent(v) {
		return nil
	}
	return v
}

type differ struct {
	roles         []*role.Role
	old           *role.Cluster
	before, after emit.Map
	all           []Difference
}

func (d *differ) mix(take func(key string, old, new any) bool) any {
	return mix("", d.before, d.after, take)
}

// with is the old cluster with these keys as in the new one; nil if that makes
// no good spec.
func (d *differ) with(keys []string) (*role.Cluster, error) {
	text, err := emit.YAML(d.mix(func(key string, _, _ any) bool { return slices.Contains(keys, key) }))
	if err != nil {
		return nil, err
	}
	// A target changes nothing by itself, so it must not tie other keys together.
	c, err := read(specfile.Parse("spec", text), d.roles)
	if problems := (specfile.Problems)(nil); errors.As(err, &problems) {
		return nil, nil
	}
	return c, err
}

// changes are the keys, each alone or with those that it needs, and what
// follows.
func (d *differ) changes() ([]Change, error) {
	groups, err := d.groups()
	if err != nil {
		return nil, err
	}
	var all []Change
	for _, keys := range groups {
		c, err := d.with(keys)
		if err != nil || c == nil {
			return nil, cmp.Or(err, fmt.Errorf("internal error: %q make no good spec together", keys))
		}
		consequences, err := Consequences(d.old, c)
		if err != nil {
			return nil, err
		}
		change := Change{Effects: consequences}
		for _, difference := range d.all {
			if slices.Contains(keys, difference.Key) {
				change.Keys = append(change.Keys, difference)
			}
		}
		all = append(all, change)
	}
	return all, nil
}

// groups are the keys, those together that need each other, in the order of
// the first of each.
func (d *differ) groups() ([][]string, error) {
	var groups [][]string
	for _, difference := range d.all {
		if slices.ContainsFunc(groups, func(g []string) bool { return slices.Contains(g, difference.Key) }) {
			continue
		}
		group, err := d.least([]string{difference.Key})
		if err != nil {
			return nil, err
		}
		// What another group needs, too, makes them one.
		at := len(groups)
		for i := 0; i < len(groups); i++ {
			if !slices.ContainsFunc(groups[i], func(key string) bool { return slices.Contains(group, key) }) {
				continue
			}
			if group, err = d.least(slices.Concat(groups[i], group)); err != nil {
				return nil, err
			}
			at = min(at, i)
			groups = slices.Delete(groups, i, i+1)
			i = -1 // it may share keys with those before
		}
		groups = slices.Insert(groups, at, group)
	}
	return groups, nil
}

// least are these keys, and as few of the others as make a good spec of them.
func (d *differ) least(keys []string) ([]string, error) {
	var all, others []string
	for _, difference := range d.all {
		all = append(all, difference.Key)
		if !slices.Contains(keys, difference.Key) {
			others = append(others, difference.Key)
		}
	}
	return d.without(all, others)
}

// without is a good spec's keys less as many of others as go: all, or else
// those of each half that do.
func (d *differ) without(keys, others []string) ([]string, error) {
	fewer := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return slices.Contains(others, key) })
	c, err := d.with(fewer)
	switch {
	case err != nil:
		return nil, err
	case c != nil:
		return fewer, nil
	case len(others) < 2:
		return keys, nil
	}
	half := len(others) / 2
	if keys, err = d.without(keys, others[:half]); err != nil {
		return nil, err
	}
	return d.without(keys, others[half:])
}

// together takes away what one key does to a file and another undoes, such as
// the numbers that follow from how many nodes there are; and adds what follows
// from no key by itself, but from all of them.
func (d *differ) together(changes []Change, new *role.Cluster) ([]Change, error) {
	whole, err := Consequences(d.old, new)
	if err != nil {
		return nil, err
	}
	remains := map[string]bool{}
	for _, c := range whole {
		for _, of := range c.Of {
			remains[c.Role+" "+of] = true
		}
	}
	said := map[string]bool{}
	for i, change := range changes {
		var kept []Consequence
		for _, c := range change.Effects {
			had := len(c.Of)
			c.Of = slices.DeleteFunc(c.Of, func(of string) bool { return isFile(of) && !remains[c.Role+" "+of] })
			if len(c.Of) > 0 || had == 0 {
				kept = append(kept, c)
			}
			for _, of := range c.Of {
				said[c.Role+" "+of] = true
			}
		}
		changes[i].Effects = kept
	}
	var more []Consequence
	for _, c := range whole {
		c.Of = slices.DeleteFunc(c.Of, func(of string) bool { return said[c.Role+" "+of] })
		if len(c.Of) > 0 {
			more = append(more, c)
		}
	}
	if len(more) > 0 {
		changes = append(changes, Change{Keys: d.all, Effects: more})
	}
	return changes, nil
}

// isFile says whether something that differs is of a file of the machine.
func isFile(of string) bool { return strings.HasPrefix(of, "/") }

// Consequences are all that follows for the machines if one cluster becomes
// the other, role by role.
func Consequences(old, new *role.Cluster) ([]Consequence, error) {
	var all []Consequence
	for _, g := range old.Groups {
		if new.Group(g.Name) == nil {
			all = append(all, Consequence{Leave, g.Name, names(g.Nodes()), g.Plan.Leaves, nil})
		}
	}
	for _, g := range new.Groups {
		before := old.Group(g.Name)
		if before == nil {
			all = append(all, Consequence{Join, g.Name, names(g.Nodes()), g.Plan.Joins, nil})
			continue
		}
		more, err := between(old, new, before, g)
		if err != nil {
			return nil, fmt.Errorf("role %s: %w", g.Name, err)
		}
		all = append(all, more...)
	}
	return all, nil
}

// between are the consequences for a role's machines.
func between(oldCluster, newCluster *role.Cluster, old, new *role.Group) ([]Consequence, error) {
	stay, come, gone := compareNodes(old.Nodes(), new.Nodes())
	var all []Consequence
	add := func(kind effect.Effect, nodes []string, what, of string) {
		for i, c := range all {
			switch {
			case c.Effect != kind || c.What != what:
			case slices.Equal(c.Nodes, nodes):
				all[i].Of = append(all[i].Of, of)
				return
			case slices.Equal(c.Of, []string{of}):
				all[i].Nodes = append(c.Nodes, nodes...)
				return
			}
		}
		all = append(all, Consequence{kind, new.Name, slices.Clone(nodes), what, []string{of}})
	}
	if len(come) > 0 {
		all = append(all, Consequence{Join, new.Name, come, new.Plan.Joins, nil})
	}
	if len(gone) > 0 {
		all = append(all, Consequence{Leave, new.Name, gone, old.Plan.Leaves, nil})
	}
	for _, s := range otherSecrets(oldCluster, newCluster, old, new) {
		add(Secrets, nil, "", s)
	}
	if err := files(oldCluster, newCluster, old, new, func(c effect.Change) {
		add(c.Effect, stay, c.What, effect.Name(c.File, c.Key))
	}); err != nil {
		return nil, err
	}
	image, err := images(oldCluster, newCluster, old, new)
	if err != nil {
		return nil, err
	}
	for _, of := range image {
		add(Image, stay, new.Plan.Replaced, of)
	}
	oldPlan, newPlan := cloud.New(oldCluster), cloud.New(newCluster)
	for _, c := range cloud.Changes(oldPlan, newPlan, new.Name) {
		kind := Beside
		if c.Before {
			kind = Around
		}
		add(kind, stay, c.What, c.Name)
	}
	for _, name := range stay {
		changes, err := yc.Changes(newPlan, oldPlan.Machine(name), newPlan.Machine(name))
		if err != nil {
			return nil, err
		}
		for _, c := range changes {
			of := strings.TrimSpace(c.Option + " " + c.New)
			switch {
			case c.WhileRunning != "":
				add(Grow, []string{name}, c.WhileRunning, of)
			case c.Disk:
				add(effect.Machine, []string{name}, "with another data disk, onto which the data is copied again: "+new.Plan.Replaced, of)
			default:
				add(effect.Machine, []string{name}, new.Plan.Replaced, of)
			}
		}
	}
	if slices.ContainsFunc(all, func(c Consequence) bool { return c.Effect == effect.Refused }) {
		// Nothing of it happens.
		all = slices.DeleteFunc(all, func(c Consequence) bool { return c.Effect != effect.Refused })
	}
	return all, nil
}

func names(nodes []role.Node) []string {
	all := make([]string, len(nodes))
	for i, n := range nodes {
		all[i] = n.Name
	}
	return all
}

// compareNodes are the names of those that are in both lists, only in the
// second, and only in the first.
func compareNodes(old, new []role.Node) (stay, come, gone []string) {
	before, after := names(old), names(new)
	for _, n := range after {
		if slices.Contains(before, n) {
			stay = append(stay, n)
		} else {
			come = append(come, n)
		}
	}
	for _, n := range before {
		if !slices.Contains(after, n) {
			gone = append(gone, n)
		}
	}
	return stay, come, gone
}

// files reports what differs in those that the user-data writes.
func files(oldCluster, newCluster *role.Cluster, old, new *role.Group, report func(effect.Change)) error {
	versions := [2]map[string][]byte{{}, {}}
	for i, of := range []struct {
		c *role.Cluster
		g *role.Group
	}{{oldCluster, old}, {newCluster, new}} {
		all, err := userFiles(of.c, of.g)
		if err != nil {
			return err
		}
		for _, f := range all {
			versions[i][f.Path] = f.Data
		}
	}
	rules, err := effects(newCluster, new)
	if err != nil {
		return err
	}
	changes, err := rules.Changes(versions[0], versions[1])
	for _, c := range changes {
		report(c)
	}
	return err
}

// images says what of a role's image is another: variables of the bake, files
// of the recipe, or else values of the Packer template.
func images(oldCluster, newCluster *role.Cluster, old, new *role.Group) ([]string, error) {
	before, err := recipe.New(oldCluster, old)
	if err != nil {
		return nil, err
	}
	after, err := recipe.New(newCluster, new)
	if err != nil {
		return nil, err
	}
	var all []string
	differing := func(old, new emit.Map) {
		for _, p := range slices.Concat(old, new) {
			if a, b := valueOf(old, p.Key), valueOf(new, p.Key); fmt.Sprint(a) != fmt.Sprint(b) && !slices.Contains(all, p.Key) {
				all = append(all, p.Key)
			}
		}
	}
	differing(before.Environment, after.Environment)
	for _, name := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(before.Files.Names(), after.Files.Names())))) {
		if a, b := before.Files[name], after.Files[name]; !bytes.Equal(a.Data, b.Data) {
			all = append(all, name)
		}
	}
	if oldCluster.Images.Builder != newCluster.Images.Builder {
		all = append(all, "images.builder")
	} else {
		differing(oldCluster.Images.Builder.Variables(oldCluster, old, ""), newCluster.Images.Builder.Variables(newCluster, new, ""))
	}
	// The digest is of what is named already.
	return slices.DeleteFunc(all, func(name string) bool { return name == "PGHA_RECIPE" }), nil
}

// otherSecrets are the entries in Lockbox that a role's machines need now and
// did not, or that are to be made anew because they are for other names.
func otherSecrets(oldCluster, newCluster *role.Cluster, old, new *role.Group) []string {
	before := secrets(oldCluster, old)
	after := secrets(newCluster, new)
	var all []string
	for _, p := range after {
		if valueOf(before, p.Key) != p.Value {
			all = append(all, p.Key)
		}
	}
	return all
}

// secrets are a role's entries, each with what it is made for.
func secrets(c *role.Cluster, g *role.Group) emit.Map {
	entries := emit.Map{}
	for _, s := range g.Plan.Secrets {
		var proxies []string
		for _, p := range s.ProxiedBy {
			proxies = append(proxies, p.Host(c), c.FQDN(p.Name))
		}
		proxies = append(proxies, s.Names...)
		for _, n := range g.Nodes() {
			made := fmt.Sprint(s.Kind, s.CommonName, s.Variables, proxies)
			if s.Kind == role.Certificate && s.PerNode {
				made += n.Host(c) + c.FQDN(n.Name)
			}
			entries = entries.Set(s.Entry(n.Name), made)
		}
	}
	return entries
}
