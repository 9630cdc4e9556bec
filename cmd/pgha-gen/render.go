package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/generator"
)

func (a *app) renderCommand() *cobra.Command {
	var file cli.SpecFile
	var dir string
	names := a.roleNames()
	cmd := &cobra.Command{
		Use:   "render [ROLE] [-o DIR]",
		Short: "Write a role's user-data, or everything that a cluster needs",
		Long: `With a role, write the user-data of that role's machines to standard output.
With -o, write everything under DIR/<cluster>: user-data, Packer templates, and
the commands that create the machines. The output of an earlier render is replaced;
nothing else is overwritten.`,
		Example: `  pgha-gen render etcd > user-data
  pgha-gen render -o out`,
		Args:      cli.OneArgument("role"),
		ValidArgs: names,
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && dir == "":
				return cli.Usagef("render needs a role, for its user-data (%s), or -o DIR, for everything", strings.Join(names, ", "))
			case len(args) == 1 && dir != "":
				return cli.Usagef("render takes a role or -o DIR, not both")
			case len(args) == 0:
				return a.renderAll(file, dir)
			case !slices.Contains(names, args[0]):
				return cli.Usagef("unknown role %q (want %s)", args[0], strings.Join(names, ", "))
			}
			return a.renderRole(file, args[0])
		},
	}
	file.Flag(cmd)
	cmd.Flags().StringVarP(&dir, "output", "o", "", "write everything under this folder")
	return cmd
}

func (a *app) renderRole(file cli.SpecFile, want string) error {
	c, err := a.read(file)
	if err != nil {
		return err
	}
	for _, g := range c.Groups {
		if g.Name != want {
			continue
		}
		data, err := generator.UserData(c, g)
		if err != nil {
			return err
		}
		_, err = a.Out.Write(data)
		return err
	}
	return fmt.Errorf("%s has no role %s (add roles.%s)", file, want, want)
}

func (a *app) renderAll(file cli.SpecFile, dir string) error {
	c, err := a.read(file)
	if err != nil {
		return err
	}
	t, err := generator.Generate(c)
	if err != nil {
		return err
	}
	target := filepath.Join(dir, c.Name)
	// Only from here on does an interrupt leave something to tidy up.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := t.Write(ctx, target); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted (%s is as it was)", target)
		}
		return err
	}
	a.Say("wrote %s (%d files; next: %s)", target, len(t), filepath.Join(target, "README.md"))
	return nil
}
