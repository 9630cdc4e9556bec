package recipe

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"
	"text/template"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/tree"
	"pgha-gen/packer"
)

// Add puts into t what bakes the images of all roles:
//
//	packer/common/           base.sh seal.sh rootfs/, which all images share
//	packer/<role>/           bake.sh rootfs/, the role's own, and:
//	image.pkr.hcl            the builder's source, and the build
//	plugins.pkr.hcl          required_plugins alone: Packer before 1.7 refuses it
//	image.auto.pkrvars.json  the values; Packer loads it by itself
//	packer/images.sh         bakes them side by side, where Packer makes the machines
//
// Packer reads the templates of one folder and no others, so each role has
// the builder's two files.
func Add(t tree.Tree, c *role.Cluster) error {
	builder := c.Images.Builder
	image, err := read(string(builder)+"/source.pkr.hcl", "build.pkr.hcl")
	if err != nil {
		return err
	}
	plugins, err := read(string(builder) + "/plugins.pkr.hcl")
	if err != nil {
		return err
	}
	if err := t.AddFS("packer/common", packer.Common()); err != nil {
		return err
	}
	for _, group := range c.Groups {
		recipe, err := New(c, group)
		if err != nil {
			return err
		}
		values, err := emit.JSON(builder.Variables(c, group, recipe.Digest).Set("environment", recipe.Environment))
		if err != nil {
			return fmt.Errorf("recipe of %s: %w", group.Name, err)
		}
		dir := "packer/" + group.Name
		if err := t.AddFS(dir, group.Files); err != nil {
			return err
		}
		for name, data := range map[string][]byte{
			"image.pkr.hcl":           image,
			"plugins.pkr.hcl":         plugins,
			"image.auto.pkrvars.json": values,
		} {
			if err := t.Add(dir+"/"+name, data); err != nil {
				return err
			}
		}
	}
	if !builder.MakesMachines() { // all would bake on the one that there is
		return nil
	}
	return t.Add("packer/images.sh", packer.Images())
}

// read is template files of packer, with an empty line between them.
func read(names ...string) ([]byte, error) {
	var texts [][]byte
	for _, name := range names {
		text, err := fs.ReadFile(packer.Template(), "template/"+name)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return bytes.Join(texts, []byte("\n")), nil
}

// Step is what a person does to bake the images, in Markdown.
func Step(c *role.Cluster) (string, error) {
	step, err := template.ParseFS(packer.Template(), "template/"+string(c.Images.Builder)+"/README.md")
	if err != nil {
		return "", err
	}
	var text strings.Builder
	err = step.Execute(&text, c)
	return strings.TrimSuffix(text.String(), "\n"), err
}
