package generator

import (
	"pgha-gen/generator/cloud"
	"pgha-gen/generator/emit"
	"pgha-gen/generator/recipe"
	"pgha-gen/generator/role"
	"pgha-gen/generator/terraform"
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
	sizes := map[string]int{} // of the user-data of each role
	for _, group := range c.Groups {
		data, err := UserData(c, group)
		if err != nil {
			return nil, err
		}
		sizes[group.Name] = len(data)
		if err := t.Add("user-data/"+group.Name+".yaml", data); err != nil {
			return nil, err
		}
	}
	plan := cloud.New(c)
	for _, file := range []struct {
		name string
		text func() ([]byte, error)
	}{
		{"deploy/create.sh", func() ([]byte, error) { return yc.Create(plan) }},
		{"deploy/destroy.sh", func() ([]byte, error) { return yc.Destroy(plan) }},
		{"deploy/replace.sh", func() ([]byte, error) { return yc.Replace(plan) }},
		{"deploy/main.tf.json", func() ([]byte, error) { return terraform.Module(plan) }},
		{"deploy/refresh.sh", func() ([]byte, error) { return yc.Refresh(plan) }},
		{"cluster.yaml", func() ([]byte, error) { return Effective(c) }},
		{"README.md", func() ([]byte, error) { return readme(c, sizes) }},
	} {
		text, err := file.text()
		if err != nil {
			return nil, err
		}
		if err := t.Add(file.name, text); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Effective is the spec with every default written out. Reading it gives the
// same cluster again.
func Effective(c *role.Cluster) ([]byte, error) {
	return emit.YAML(document(c))
}
