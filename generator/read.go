// Package generator turns the spec of a cluster into everything that its
// machines need.
package generator

import (
	"slices"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// Read gives the cluster that src describes, file being the name to use in
// messages. Or it gives every problem, in file order, as a specfile.Problems: all
// of shape, and those of meaning that do not depend on what has the wrong
// shape. The warnings of a good spec are in the cluster.
func Read(file string, src []byte, roles []*role.Role) (*role.Cluster, error) {
	doc := specfile.Parse(file, src)
	if errs, _ := doc.Problems(); len(errs) > 0 {
		return nil, errs
	}
	c := decode(doc, roles)
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

// decode reads twice: some defaults follow from values that the file gives,
// so a first reading, whose problems the second finds again, makes them
// known.
func decode(doc *specfile.Document, roles []*role.Role) *role.Cluster {
	first := role.Defaults()
	doc.WithoutReporting(func(root specfile.Place) { root.Decode(first) })
	c := role.Defaults()
	c.DeriveDefaults(first)
	doc.Root().Decode(c)

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
		c.Groups = append(c.Groups, &role.Group{Role: r, Settings: settings})
	}
	return c
}
