package packer

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"strings"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/spec"
	"pgha-gen/generator/tree"
)

//go:embed template
var templates embed.FS

// Recipe is what makes the image of a role out of a plain machine, whoever
// gives the machine: Files in one folder there, and bake.sh of them run with
// Environment, whose values are texts.
type Recipe struct {
	Files       tree.Tree // base.sh bake.sh rootfs/
	Environment emit.Map
	Digest      string // of both: what the image is made of, as far as the spec decides it
}

// NewRecipe gives the recipe of a role's image.
func NewRecipe(c *role.Cluster, part *role.Group) (*Recipe, error) {
	files := tree.Tree{}
	if err := files.AddFS("", Base()); err != nil {
		return nil, err
	}
	if err := files.AddFS("", part.Files); err != nil {
		return nil, fmt.Errorf("recipe of %s: %w", part.Name, err)
	}
	environment := append(emit.Map{
		{Key: "PGHA_ROLE", Value: part.Name},
		{Key: "PGHA_CONTRACT", Value: fmt.Sprint(role.Contract)},
		{Key: "PGHA_ARCHITECTURE", Value: string(c.Images.Architecture)},
		{Key: "PGHA_REQUIRES", Value: strings.Join(part.Plan.Requires, " ")},
	}, part.Plan.Bake...)
	env, err := emit.JSON(environment)
	if err != nil {
		return nil, fmt.Errorf("recipe of %s: %w", part.Name, err)
	}
	sum := sha256.Sum256(append(files.Sums(), env...))
	digest := hex.EncodeToString(sum[:6])
	environment = append(environment, emit.Pair{Key: "PGHA_RECIPE", Value: digest})
	return &Recipe{files, environment, digest}, nil
}

// Template is what Packer runs a recipe by, for one builder. It is the same for
// all roles.
type Template struct{ image, plugins []byte }

// NewTemplate gives a builder's template: its source, and the build that all
// builders share, pointed at that source.
func NewTemplate(b role.Builder) (*Template, error) {
	source, err := templates.ReadFile("template/" + string(b) + ".pkr.hcl")
	if err != nil {
		return nil, err
	}
	build, err := templates.ReadFile("template/build.pkr.hcl")
	if err != nil {
		return nil, err
	}
	plugins, err := templates.ReadFile("template/" + string(b) + "-plugins.pkr.hcl")
	if err != nil {
		return nil, err
	}
	kind := string(b)
	if b == role.SSH {
		kind = "null" // Packer's name for a machine that it does not make
	}
	build, err = emit.HCLAttribute(build, "build", "sources", []string{"source." + kind + ".image"})
	if err != nil {
		return nil, err
	}
	return &Template{append(append(source, '\n'), build...), plugins}, nil
}

// Add puts the recipe of a role's image into t, below dir, with the template:
//
//	image.pkr.hcl            source and build
//	plugins.pkr.hcl          required_plugins alone: Packer before 1.7 refuses it
//	image.auto.pkrvars.json  the values; Packer loads it by itself
//	base.sh bake.sh rootfs/  what the build uploads and runs, whatever the builder
func (p *Template) Add(t tree.Tree, dir string, c *role.Cluster, part *role.Group) error {
	recipe, err := NewRecipe(c, part)
	if err != nil {
		return err
	}
	values, err := emit.JSON(append(variables(c, part, recipe.Digest),
		emit.Pair{Key: "environment", Value: recipe.Environment}))
	if err != nil {
		return fmt.Errorf("recipe of %s: %w", part.Name, err)
	}
	for name, data := range map[string][]byte{
		"image.pkr.hcl":           p.image,
		"plugins.pkr.hcl":         p.plugins,
		"image.auto.pkrvars.json": values,
	} {
		if err := recipe.Files.Add(name, data); err != nil {
			return err
		}
	}
	for path, file := range recipe.Files {
		if err := t.Add(dir+"/"+path, file.Data); err != nil {
			return err
		}
	}
	return nil
}

// variables are the values of a builder's template.
func variables(c *role.Cluster, part *role.Group, digest string) emit.Map {
	base, family := c.Images.Base, c.ImageFamily(part.Name)
	login := emit.Pair{Key: "ssh_username", Value: base.User}
	size := emit.Pair{Key: "disk_size_gb", Value: int(c.Images.Bake.DiskSize / spec.GiB)}
	switch c.Images.Builder {
	case role.QEMU:
		return emit.Map{
			{Key: "base_url", Value: base.URL},
			{Key: "base_checksum", Value: base.Checksum},
			{Key: "image_name", Value: family},
			login, size,
		}
	case role.SSH:
		return emit.Map{{Key: "host", Value: base.Host}, login}
	}
	baseFamily := base.Family
	if base.ImageID != "" {
		baseFamily = "" // the plugin refuses both at once
	}
	return emit.Map{
		{Key: "folder_id", Value: c.Cloud.FolderID},
		{Key: "zone", Value: c.Images.Bake.Zone},
		{Key: "subnet_id", Value: c.Images.Bake.SubnetID},
		{Key: "source_image_id", Value: base.ImageID},
		{Key: "source_image_family", Value: baseFamily},
		{Key: "image_family", Value: family},
		{Key: "image_description", Value: strings.TrimSuffix(part.Doc, ".")},
		{Key: "image_labels", Value: emit.Map{
			{Key: "pgha-cluster", Value: c.Name},
			{Key: "pgha-role", Value: part.Name},
			{Key: "pgha-contract", Value: fmt.Sprint(role.Contract)},
			{Key: "pgha-recipe", Value: digest},
		}},
		login, size,
	}
}
