// Package recipe is what the image of a role is made of, and the Packer
// templates that make it.
package recipe

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/tree"
	"pgha-gen/packer"
)

// Recipe is what makes the image of a role out of a plain machine, whoever
// gives the machine: Files in one folder there, and bake.sh of them run with
// Environment, whose values are texts.
type Recipe struct {
	Files       tree.Tree // base.sh seal.sh bake.sh rootfs/
	Environment emit.Map
	Digest      string // of both: what the image is made of, as far as the spec decides it
}

// New gives the recipe of a role's image. Refused is a role with a file of
// the path of one that all images have.
func New(c *role.Cluster, group *role.Group) (*Recipe, error) {
	files := tree.Tree{}
	if err := files.AddFS("", packer.Common()); err != nil {
		return nil, err
	}
	if err := files.AddFS("", group.Files); err != nil {
		return nil, fmt.Errorf("recipe of %s: %w", group.Name, err)
	}
	environment := append(emit.Map{
		{Key: "PGHA_ROLE", Value: group.Name},
		{Key: "PGHA_CONTRACT", Value: fmt.Sprint(role.Contract)},
		{Key: "PGHA_ARCHITECTURE", Value: string(c.Images.Architecture)},
		{Key: "PGHA_REQUIRES", Value: strings.Join(group.Plan.Requires, " ")},
	}, group.Plan.Bake...)
	env, err := emit.JSON(environment)
	if err != nil {
		return nil, fmt.Errorf("recipe of %s: %w", group.Name, err)
	}
	sum := sha256.Sum256(append(files.Sums(), env...))
	digest := hex.EncodeToString(sum[:6])
	return &Recipe{files, environment.Set("PGHA_RECIPE", digest), digest}, nil
}
