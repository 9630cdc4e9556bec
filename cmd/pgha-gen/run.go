package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
boot, and the commands that create the machines.

Exit status: 0 done, 1 the spec or the world is wrong, 2 the command line is.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(*cobra.Command, []string) error {
			return usageError{errors.New("no command given (see pgha-gen --help)")}
		},
		SuggestionsMinimumDistance: 2,
	}
	root.Version = version()
	root.SetVersionTemplate("pgha-gen {{.Version}}\n")
	root.Args = func(_ *cobra.Command, args []string) error { return unknownCommand(root, args) }
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		var value *pflag.InvalidValueError
		if errors.As(err, &value) && value.GetFlag().Value.Type() == "bool" {
			err = fmt.Errorf("--%s cannot be %q (it takes no value)", value.GetFlag().Name, value.GetValue())
		}
		return usageError{fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
	})
	root.AddCommand(a.initCommand(), a.validateCommand(), a.renderCommand(), a.imageCommand(), a.schemaCommand(), a.secretsCommand())
	strictHelp(root)
	return root
}

// strictHelp makes cobra's own commands refuse what they do not know; by
// themselves they print a page and report success.
func strictHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Args = func(_ *cobra.Command, args []string) error {
				if _, rest, _ := root.Find(args); len(rest) > 0 {
					return unknownCommand(root, rest)
				}
				return nil
			}
		case "completion":
			shells := func(_ *cobra.Command, args []string) error {
				if len(args) > 0 {
					return usageError{fmt.Errorf("unknown shell %q (want bash, fish, powershell or zsh)", args[0])}
				}
				return usageError{errors.New("completion for which shell? (bash, fish, powershell or zsh)")}
			}
			cmd.Args, cmd.RunE = cobra.ArbitraryArgs, shells
			for _, shell := range cmd.Commands() {
				shell.Args = noArguments
			}
		}
	}
}

func unknownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	near := root.SuggestionsFor(args[0])
	if len(near) == 0 {
		return usageError{fmt.Errorf("unknown command %q (see pgha-gen --help)", args[0])}
	}
	return usageError{fmt.Errorf("unknown command %q (did you mean %s?)", args[0], strings.Join(near, " or "))}
}

// noArguments is for commands that take flags only.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if cmd.Flags().Lookup("file") != nil {
		hint = " (-f names the spec)"
	}
	return usageError{fmt.Errorf("%s takes no argument, but got %q%s", cmd.Name(), args[0], hint)}
}

// oneArgument is for commands that take one thing at most.
func oneArgument(thing string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usageError{fmt.Errorf("%s takes one %s, but got %d: %q", cmd.Name(), thing, len(args), args)}
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
