package generator

import (
	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/spec"
	"pgha-gen/generator/tree"
	"pgha-gen/generator/yc"
	"pgha-gen/packer"
)

// Generate is everything that the cluster needs, as the files of one folder.
// The same cluster gives the same bytes, always.
func Generate(c *role.Cluster) (tree.Tree, error) {
	template, err := packer.NewTemplate(c.Images.Builder)
	if err != nil {
		return nil, err
	}
	t := tree.Tree{}
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
		if err := template.Add(t, "packer/"+part.Name, c, part); err != nil {
			return nil, err
		}
	}
	if c.Images.Builder != role.SSH { // there all would bake on one machine
		if err := t.Add("packer/images.sh", packer.Images()); err != nil {
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
	return t, t.Add("README.md", readme(c, userData))
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
