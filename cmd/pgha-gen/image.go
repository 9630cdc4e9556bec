package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/deploy/image"
)

func (a *app) imageCommand() *cobra.Command {
	return cli.Group(&cobra.Command{Use: "image", Short: "Check an image that was baked"}, a.imageCheckCommand())
}

func (a *app) imageCheckCommand() *cobra.Command {
	var file cli.SpecFile
	var want string
	var strict bool
	cmd := &cobra.Command{
		Use:   "check PATH",
		Short: "Check that an image fits the spec",
		Long: `Compare an image with the spec: its role, contract number, recipe, versions and age.
PATH is the image's manifest.json, or a folder with the image's root file system.
A root file system must also be as the bake left it: sealed, with its units enabled,
and every file and package as its bill of materials lists it.`,
		Example: `  pgha-gen image check manifest.json --role etcd
  pgha-gen image check /mnt`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usagef("check takes one path, of a manifest.json or of an image's root, but got %d", len(args))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if names := a.roleNames(); want != "" && !slices.Contains(names, want) {
				return cli.Usagef("unknown role %q (want %s)", want, strings.Join(names, ", "))
			}
			return a.checkImage(args[0], file, want, strict)
		},
	}
	file.Flag(cmd)
	cmd.Flags().StringVar(&want, "role", "", "the role that the image must have")
	cmd.Flags().BoolVar(&strict, "strict", false, "fail on warnings, too")
	return cmd
}

func (a *app) checkImage(path string, file cli.SpecFile, want string, strict bool) error {
	// The spec's own warnings are for validate to say.
	c, err := a.load(file)
	if err != nil {
		return err
	}
	img, err := image.Open(path)
	if err != nil {
		return fmt.Errorf("cannot read %q: %w", path, cli.Cause(err))
	}
	defer img.Close()
	findings, err := img.Check(c, time.Now())
	if err != nil {
		return err
	}
	m := img.Manifest
	if want != "" && m.Role != want {
		findings = append([]image.Finding{{What: fmt.Sprintf("it is an image of role %q, and --role asks for %s (bake packer/%s)", m.Role, want, want)}}, findings...)
	}
	problems, warnings := 0, 0
	for _, f := range findings {
		fmt.Fprintf(a.Err, "%s: %s\n", path, f)
		if f.Warning {
			warnings++
		} else {
			problems++
		}
	}
	if problems > 0 {
		return fmt.Errorf("%s: %s", path, cli.Count(problems, "problem"))
	}
	if err := strictly(strict, warnings, path); err != nil {
		return err
	}
	var components []string
	for _, component := range m.Components {
		components = append(components, component.Name+" "+component.Version)
	}
	_, err = fmt.Fprintf(a.Out, "%s: an image of role %s that fits cluster %s: %s\n", path, m.Role, c.Name, strings.Join(components, ", "))
	return err
}
