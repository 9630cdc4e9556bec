package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pgha-gen/generator/manifest"
)

func (a *app) imageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Look at an image that was baked",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageError{errors.New("image needs a command: check (see pgha-gen image --help)")}
		},
	}
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return usageError{fmt.Errorf("unknown command %q (did you mean pgha-gen image check?)", args[0])}
	}
	cmd.AddCommand(a.imageCheckCommand())
	return cmd
}

func (a *app) imageCheckCommand() *cobra.Command {
	var file, want string
	var strict bool
	var names []string
	for _, r := range a.roles {
		names = append(names, r.Name)
	}
	cmd := &cobra.Command{
		Use:   "check PATH",
		Short: "Say whether an image is the one that the spec asks for",
		Long: `Compare an image with the spec: its role, contract number, recipe, versions and age.
PATH is the image's manifest.json, or a folder that holds the image's root. Of a
root, also say whether it is as the bake left it: sealed, its units enabled, and
every file and package as its bill of materials lists it.`,
		Example: `  pgha-gen image check manifest.json --role etcd
  pgha-gen image check /mnt`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("check takes one path, of a manifest.json or of an image's root, but got %d", len(args))}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if want != "" && !slices.Contains(names, want) {
				return usageError{fmt.Errorf("unknown role %q (want %s)", want, strings.Join(names, ", "))}
			}
			return a.checkImage(args[0], file, want, strict)
		},
	}
	fileFlag(cmd, &file)
	cmd.Flags().StringVar(&want, "role", "", "the role that the image must be of")
	cmd.Flags().BoolVar(&strict, "strict", false, "fail on warnings, too")
	return cmd
}

func (a *app) checkImage(path, file, want string, strict bool) error {
	// The spec's own warnings are for validate to say.
	c, err := a.understand(file)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("cannot read %q: %w", path, cause(err))
	}
	read := readManifest
	if info.IsDir() {
		read = manifest.ReadRoot
	}
	m, err := read(path)
	if err != nil {
		return fmt.Errorf("cannot read %q: %w", path, cause(err))
	}
	var findings []manifest.Finding
	if info.IsDir() {
		findings, err = manifest.CheckRoot(path, c, time.Now())
	} else {
		findings, err = m.Check(c, time.Now())
	}
	if err != nil {
		return err
	}
	if want != "" && m.Role != want {
		findings = append([]manifest.Finding{{What: fmt.Sprintf("it is an image of role %q, and --role asks for %s (bake packer/%s)", m.Role, want, want)}}, findings...)
	}
	problems, warnings := 0, 0
	for _, f := range findings {
		fmt.Fprintf(a.err, "%s: %s\n", path, f)
		if f.Warning {
			warnings++
		} else {
			problems++
		}
	}
	switch {
	case problems > 0:
		return fmt.Errorf("%s: %s", path, count(problems, "problem"))
	case warnings > 0 && strict:
		return fmt.Errorf("%s: %s, and --strict was asked for", path, count(warnings, "warning"))
	}
	var components []string
	for _, component := range m.Components {
		components = append(components, component.Name+" "+component.Version)
	}
	_, err = fmt.Fprintf(a.out, "%s: an image of role %s that fits cluster %s: %s\n", path, m.Role, c.Name, strings.Join(components, ", "))
	return err
}

func readManifest(path string) (*manifest.Manifest, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, manifest.Largest+1))
	if err != nil {
		return nil, err
	}
	return manifest.Parse(data)
}
