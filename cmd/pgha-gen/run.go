package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pgha-gen/generator"
	"pgha-gen/generator/role"
	"pgha-gen/generator/spec"
	"pgha-gen/roles"
)

// The exit status: done; the spec or the world is wrong; the command line is.
const (
	done  = 0
	wrong = 1
	usage = 2
)

// usageError is a command line that cannot be meant.
type usageError struct{ error }

// app is one run of the command. Results go to out, everything else to err, as
// sentences that start with "pgha-gen:", but for the problems of a file, which
// start with their place.
type app struct {
	in       io.Reader
	out, err io.Writer
	roles    []*role.Role
}

func run(args []string, in io.Reader, out, err io.Writer) int {
	a := &app{in, out, err, roles.All()}
	root := a.command()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(err)
	failure := root.Execute()
	var problems spec.Problems
	var misuse usageError
	switch {
	case failure == nil:
		return done
	case errors.As(failure, &problems):
		a.report(problems)
		fmt.Fprintf(err, "pgha-gen: %s\n", count(len(problems), "problem"))
		return wrong
	case errors.As(failure, &misuse):
		fmt.Fprintf(err, "pgha-gen: %v\n", failure)
		return usage
	}
	fmt.Fprintf(err, "pgha-gen: %v\n", failure)
	return wrong
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "pgha-gen",
		Short: "Images, user-data and commands for a highly available PostgreSQL cluster",
		Long: `pgha-gen turns one file, pgha.yaml, into everything that a highly available
PostgreSQL cluster needs on Yandex Cloud: per role a Packer template that bakes
an image, cloud-init user-data with which the machine configures itself at first
boot, and the commands that create the machines.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          misuse(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usageError{errors.New("no command given (see pgha-gen --help)")}
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(a.initCommand(), a.validateCommand(), a.renderCommand(), a.schemaCommand())
	return root
}

func (a *app) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [NAME]",
		Short: "Write a commented pgha.yaml to start from",
		Long: `Write pgha.yaml for a cluster of the given name (demo, if none is given) into
the current folder: every key with its default and a sentence. A file that is
there already is left alone.`,
		Args: misuse(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			name := "demo"
			if len(args) == 1 {
				name = args[0]
			}
			text, err := generator.Example(name)
			if err != nil {
				return usageError{err}
			}
			file, err := os.OpenFile(defaultSpec, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if errors.Is(err, os.ErrExist) {
				return fmt.Errorf("%s is there already (move it away to start anew)", defaultSpec)
			}
			if err != nil {
				return err
			}
			_, err = file.Write(text)
			if err := errors.Join(err, file.Close()); err != nil {
				return err
			}
			fmt.Fprintf(a.err, "pgha-gen: wrote %s (put in your ids, then: pgha-gen validate)\n", defaultSpec)
			return nil
		},
	}
}

func (a *app) validateCommand() *cobra.Command {
	var file string
	var strict bool
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Say everything that is wrong with a spec, and where",
		Args:  misuse(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			c, err := a.read(file)
			if err != nil {
				return err
			}
			if strict && len(c.Warnings) > 0 {
				return fmt.Errorf("%s: %s, and --strict was asked for", name(file), count(len(c.Warnings), "warning"))
			}
			var parts []string
			for _, p := range c.Parts {
				parts = append(parts, fmt.Sprintf("%d %s", len(p.Settings.Nodes()), p.Name))
			}
			fmt.Fprintf(a.out, "%s: cluster %s is fine: %s\n", name(file), c.Name, strings.Join(parts, ", "))
			return nil
		},
	}
	fileFlag(cmd, &file)
	cmd.Flags().BoolVar(&strict, "strict", false, "fail on warnings, too")
	return cmd
}

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
		Args:      misuse(cobra.MaximumNArgs(1)),
		ValidArgs: names,
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && dir == "":
				return usageError{fmt.Errorf("render what? (a role, for its user-data on standard output: %s; or -o DIR, for everything)", strings.Join(names, ", "))}
			case len(args) == 1 && dir != "":
				return usageError{errors.New("render takes a role or -o DIR, not both")}
			case len(args) == 1:
				return a.renderRole(file, args[0], names)
			}
			return a.renderAll(file, dir)
		},
	}
	fileFlag(cmd, &file)
	cmd.Flags().StringVarP(&dir, "output", "o", "", "write everything under this folder")
	return cmd
}

func (a *app) renderRole(file, want string, names []string) error {
	known := false
	for _, n := range names {
		known = known || n == want
	}
	if !known {
		return usageError{fmt.Errorf("unknown role %q (want %s)", want, strings.Join(names, ", "))}
	}
	c, err := a.read(file)
	if err != nil {
		return err
	}
	for _, p := range c.Parts {
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
	if err := t.Write(target); err != nil {
		return err
	}
	fmt.Fprintf(a.err, "pgha-gen: wrote %s (%d files; next: %s)\n", target, len(t), filepath.Join(target, "README.md"))
	return nil
}

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Write the JSON Schema of pgha.yaml, for editors",
		Args:  misuse(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			data, err := generator.Schema(a.roles)
			if err != nil {
				return err
			}
			_, err = a.out.Write(data)
			return err
		},
	}
}

const defaultSpec = "pgha.yaml"

func fileFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "file", "f", defaultSpec, "the spec; - is standard input")
}

// read gives the cluster of a spec, its warnings said.
func (a *app) read(file string) (*role.Cluster, error) {
	src, err := a.load(file)
	if err != nil {
		return nil, err
	}
	c, err := generator.Read(name(file), src, a.roles)
	if err != nil {
		return nil, err
	}
	a.report(c.Warnings)
	return c, nil
}

func (a *app) load(file string) ([]byte, error) {
	in := a.in
	if file != "-" {
		f, err := os.Open(file)
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("there is no %s (pgha-gen init writes one; -f names another)", file)
		}
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	// One byte more than is allowed, so that Read can refuse it.
	src, err := io.ReadAll(io.LimitReader(in, spec.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name(file), err)
	}
	return src, nil
}

func name(file string) string {
	if file == "-" {
		return "<stdin>"
	}
	return file
}

// report says problems, one a line; on a terminal with the source line and a
// caret below each.
func (a *app) report(problems spec.Problems) {
	f, ok := a.err.(*os.File)
	excerpts := ok && term.IsTerminal(int(f.Fd()))
	for _, p := range problems {
		fmt.Fprintln(a.err, p)
		if excerpts {
			fmt.Fprint(a.err, p.Excerpt())
		}
	}
}

// misuse makes the complaint of a check of arguments a usageError.
func misuse(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
