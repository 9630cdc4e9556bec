// Package cli is what the commands share: exit status, usage errors, the file
// of the spec, its problems, the operator's folder, and progress.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pgha-gen/generator/specfile"
)

// The exit status: success; a wrong spec or a failure; a wrong command line.
const (
	Done  = 0
	Wrong = 1
	Usage = 2
)

// Streams are a command's. Results go to Out. Everything else goes to Err, as
// sentences that start with the command's name, but for the problems of a file,
// which start with their place.
type Streams struct {
	Name     string // of the command
	In       io.Reader
	Out, Err io.Writer
}

type usageError struct{ error }

type reportedError struct{ error }

// UsageError is an error of the command line: it ends the command with Usage.
func UsageError(err error) error { return usageError{err} }

// Usagef is a UsageError of a formatted text.
func Usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Reported is an error that the user has been told of: it ends the command with
// Wrong, and nothing more is said.
func Reported(err error) error { return reportedError{err} }

// Run executes a command with its arguments, says what went wrong, and gives
// the exit status.
func Run(ctx context.Context, root *cobra.Command, args []string, s Streams) int {
	prepare(root)
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	err := root.ExecuteContext(ctx)
	status, said := Wrong, ""
	var problems specfile.Problems
	switch {
	case err == nil:
		return Done
	case errors.As(err, &reportedError{}):
		return Wrong
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		said = "interrupted"
	case errors.As(err, &problems):
		s.Report(problems)
		said = Count(len(problems), "problem")
	case errors.As(err, &usageError{}):
		status, said = Usage, err.Error()
	default:
		said = err.Error()
	}
	s.Say("%s", said)
	return status
}

// Say is a sentence on Err.
func (s Streams) Say(format string, args ...any) {
	fmt.Fprint(s.Err, Printable(fmt.Sprintf(s.Name+": "+format+"\n", args...)))
}

// Printable is text without the characters that command a terminal. What other
// machines say is shown to people, and one of them may be in a thief's hands.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return '?'
		}
		return r
	}, text)
}

// prepare makes a command and cobra's own ones refuse what they do not know; by
// themselves they print a page and report success.
func prepare(root *cobra.Command) {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.Long += "\n\nExit status: 0 success, 1 wrong spec or failure, 2 wrong command line."
	root.Version = version()
	root.SetVersionTemplate(root.Name() + " {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		var value *pflag.InvalidValueError
		if errors.As(err, &value) && value.GetFlag().Value.Type() == "bool" {
			err = fmt.Errorf("--%s cannot be %q (it takes no value)", value.GetFlag().Name, value.GetValue())
		}
		return Usagef("%w (see %s --help)", err, cmd.CommandPath())
	})
	Group(root)
	root.RunE = func(*cobra.Command, []string) error {
		return Usagef("no command given (see %s --help)", root.Name())
	}
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Args = func(_ *cobra.Command, args []string) error {
				if _, rest, _ := root.Find(args); len(rest) > 0 {
					return root.Args(root, rest)
				}
				return nil
			}
		case "completion":
			cmd.Args = cobra.ArbitraryArgs
			cmd.RunE = func(_ *cobra.Command, args []string) error {
				if len(args) > 0 {
					return Usagef("unknown shell %q (want bash, fish, powershell or zsh)", args[0])
				}
				return Usagef("completion needs a shell: bash, fish, powershell or zsh")
			}
			for _, shell := range cmd.Commands() {
				shell.Args = NoArguments
			}
		}
	}
}

// Group makes cmd one that only has other commands.
func Group(cmd *cobra.Command, commands ...*cobra.Command) *cobra.Command {
	var names []string
	for _, c := range commands {
		names = append(names, c.Name())
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(*cobra.Command, []string) error {
		return Usagef("%s needs a command: %s (see %s --help)", cmd.Name(), strings.Join(names, ", "), cmd.CommandPath())
	}
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			return Usagef("unknown command %q (did you mean %s?)", args[0], strings.Join(near, " or "))
		}
		return Usagef("unknown command %q (see %s --help)", args[0], cmd.CommandPath())
	}
	cmd.AddCommand(commands...)
	return cmd
}

// NoArguments is for commands that take flags only.
func NoArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if cmd.Flags().Lookup("file") != nil {
		hint = " (-f names the spec)"
	}
	return Usagef("%s takes no argument, but got %q%s", cmd.Name(), args[0], hint)
}

// OneArgument is for commands that take one thing at most.
func OneArgument(thing string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return Usagef("%s takes one %s, but got %d: %q", cmd.Name(), thing, len(args), args)
		}
		return nil
	}
}

// Count is a number of things in words.
func Count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
