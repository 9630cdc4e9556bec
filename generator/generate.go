package generator

import (
	"pgha-gen/generator/emit"
	"pgha-gen/generator/recipe"
	"pgha-gen/generator/role"
	"pgha-gen/generator/spec"
	"pgha-gen/generator/tree"
	"pgha-gen/generator/yc"
)

// Generate is everything that the cluster needs, as the files of one folder.
// The same cluster gives the same bytes, always.
func Generate(c *role.Cluster) (tree.Tree, error) {
	t := tree.Tree{}
	if err := recipe.Add(t, c); err != nil {
		return nil, err
	}
	userData := map[string]int{}
	for _, part := range c.Groups {
		data, err := UserData(c, part)
		if err != nil {
			return nil, err
		}
		userData[part.Name] = len(data)
		if err := t.Add("user-data/"+part.Name+".yaml", data); err != nil {
			return nil, err
		}
	}
	create, err := yc.Create(c)
	if err != nil {
		return nil, err
	}
	if err := t.Add("deploy/create.sh", create); err != nil {
		return nil, err
	}
	effective, err := Effective(c)
	if err != nil {
		return nil, err
	}
	if err := t.Add("cluster.yaml", effective); err != nil {
		return nil, err
	}
	bake, err := recipe.Step(c)
	if err != nil {
		return nil, err
	}
	text, err := readme(c, bake, userData)
	if err != nil {
		return nil, err
	}
	return t, t.Add("README.md", text)
}

// Effective is the spec with every default written out. Reading it gives the
// same cluster again.
func Effective(c *role.Cluster) ([]byte, error) {
	parts := emit.Map{}
	for _, p := range c.Groups {
		parts = append(parts, emit.Pair{Key: p.Name, Value: spec.Encode(p.Settings)})
	}
	return emit.YAML(append(spec.Encode(c).(emit.Map), emit.Pair{Key: "roles", Value: parts}))
}
