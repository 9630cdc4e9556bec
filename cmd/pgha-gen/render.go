package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"pgha-gen/generator"
)

func (a *app) renderCommand() *cobra.Command {
	var file, dir string
	var names []string
	for _, r := range a.roles {
		names = append(names, r.Name)
	}
	cmd := &cobra.Command{
		Use:   "render [ROLE] [-o DIR]",
		Short: "Write a role's user-data, or everything that a cluster needs",
		Long: `With a role, write the user-data of that role's machines to standard output.
With -o, write everything under DIR/<cluster>: user-data, Packer templates, and
the commands that create the machines. What is there from an earlier render is
replaced; anything else is left alone, and the command refuses.`,
		Example: `  pgha-gen render etcd > user-data
  pgha-gen render -o out`,
		Args:      oneArgument("role"),
		ValidArgs: names,
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && dir == "":
				return usageError{fmt.Errorf("render what? (a role, for its user-data on standard output: %s; or -o DIR, for everything)", strings.Join(names, ", "))}
			case len(args) == 1 && dir != "":
				return usageError{errors.New("render takes a role or -o DIR, not both")}
			case len(args) == 0:
				return a.renderAll(file, dir)
			case !slices.Contains(names, args[0]):
				return usageError{fmt.Errorf("unknown role %q (want %s)", args[0], strings.Join(names, ", "))}
			}
			return a.renderRole(file, args[0])
		},
	}
	fileFlag(cmd, &file)
	cmd.Flags().StringVarP(&dir, "output", "o", "", "write everything under this folder")
	return cmd
}

func (a *app) renderRole(file, want string) error {
	c, err := a.read(file)
	if err != nil {
		return err
	}
	for _, p := range c.Groups {
		if p.Name != want {
			continue
		}
		data, err := generator.UserData(c, p)
		if err != nil {
			return err
		}
		_, err = a.out.Write(data)
		return err
	}
	return fmt.Errorf("%s has no role %s (add roles.%s)", name(file), want, want)
}

func (a *app) renderAll(file, dir string) error {
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
	fmt.Fprintf(a.err, "pgha-gen: wrote %s (%d files; next: %s)\n", target, len(t), filepath.Join(target, "README.md"))
	return nil
}
