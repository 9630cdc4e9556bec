// Package generator turns the spec of a cluster into everything that its
// machines need.
package generator

import (
	"cmp"
	"slices"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// Read gives the cluster that src describes, file being the name to use in
// messages. Or it gives every problem, in file order, as a specfile.Problems: all
// of shape, and those of meaning that do not depend on what has the wrong
// shape. Of a spec that is good otherwise, it refuses targets that the prediction
// misses. The warnings of a good spec are in the cluster.
func Read(file string, src []byte, roles []*role.Role) (*role.Cluster, error) {
	doc := specfile.Parse(file, src)
	c, err := read(doc, roles)
	if err != nil {
		return nil, err
	}
	checkTargets(c, doc.Root().Key("targets"), func(preset role.Failover) (*role.Cluster, error) {
		return readWith(specfile.Parse(file, src), preset, roles)
	})
	if errs, _ := doc.Problems(); len(errs) > 0 {
		return nil, errs
	}
	return c, nil
}

// read is Read without a look at the targets.
func read(doc *specfile.Document, roles []*role.Role) (*role.Cluster, error) {
	return readWith(doc, "", roles)
}

// readWith is read, with another preset than the document's if one is given.
func readWith(doc *specfile.Document, preset role.Failover, roles []*role.Role) (*role.Cluster, error) {
	if errs, _ := doc.Problems(); len(errs) > 0 {
		return nil, errs
	}
	c := decodeCommon(doc)
	c.Failover = cmp.Or(preset, c.Failover)
	c.Groups = decodeRoles(doc, c, roles)
	c.DeriveSubnets()
	c.Check(doc.Root())
	errs, warnings := doc.Problems()
	if len(errs) > 0 {
		return nil, errs
	}
	c.Warnings = warnings
	if err := c.Plan(); err != nil {
		return nil, err
	}
	return c, nil
}

// decodeCommon reads twice: some defaults follow from values that the file gives,
// so a first reading, whose problems the second finds again, makes them
// known.
func decodeCommon(doc *specfile.Document) *role.Cluster {
	first := role.Defaults()
	doc.WithoutReporting(func(root specfile.Place) { root.Decode(first) })
	c := role.Defaults()
	c.DeriveDefaults(first)
	doc.Root().Decode(c)
	return c
}

// decodeRoles are the roles of a cluster whose common part is known.
func decodeRoles(doc *specfile.Document, c *role.Cluster, roles []*role.Role) []*role.Group {
	at := doc.Root().Key("roles")
	var names []string
	for _, r := range roles {
		names = append(names, r.Name)
	}
	given := at.Keys()
	for _, key := range given {
		if !slices.Contains(names, key) {
			at.Key(key).Unknown("role", names)
		}
	}
	var groups []*role.Group
	for _, r := range roles {
		if !slices.Contains(given, r.Name) {
			continue
		}
		settings := r.New(c)
		if f, ok := settings.(role.DefaultsDeriver); ok {
			doc.WithoutReporting(func(root specfile.Place) { root.Key("roles").Key(r.Name).Decode(settings) })
			f.DeriveDefaults()
		}
		at.Key(r.Name).Decode(settings)
		groups = append(groups, &role.Group{Role: r, Settings: settings})
	}
	return groups
}
