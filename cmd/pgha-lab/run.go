//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"pgha-gen/generator/spec"
	"pgha-gen/lab/session"
)

const defaultDir = "/var/lib/pgha-lab"

// The exit status: done; the spec or the world is wrong; the command line is.
const (
	done  = 0
	wrong = 1
	usage = 2
)

// usageError is a command line that cannot be meant.
type usageError struct{ error }

// app is one run of the command. Results go to out, everything else to err.
type app struct {
	in       io.Reader
	out, err io.Writer
	dir      string
	cache    string
	network  string
	name     string // as the command was called
}

func run(ctx context.Context, name string, args []string, in io.Reader, out, err io.Writer) int {
	a := &app{name: name, in: in, out: out, err: err}
	root := a.command()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(err)
	failure := root.ExecuteContext(ctx)
	var problems spec.Problems
	var misuse usageError
	var said saidError
	switch {
	case failure == nil:
		return done
	case errors.As(failure, &said):
		return wrong
	case ctx.Err() != nil && errors.Is(failure, context.Canceled):
		fmt.Fprintln(err, "pgha-lab: interrupted")
		return wrong
	case errors.As(failure, &problems):
		a.report(problems)
		return wrong
	case errors.As(failure, &misuse):
		fmt.Fprintf(err, "pgha-lab: %v\n", failure)
		return usage
	}
	fmt.Fprintf(err, "pgha-lab: %v\n", failure)
	return wrong
}

// saidError is one that was said already.
type saidError struct{ error }

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "pgha-lab",
		Short: "A highly available PostgreSQL cluster on this host",
		Long: `pgha-lab boots the cluster of a spec on this host: the images and the user-data
that the cloud would get, in containers that see an emulated cloud. It needs root
and Linux. Everything is kept in one folder.

Exit status: 0 done, 1 the spec or the world is wrong, 2 the command line is.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(*cobra.Command, []string) error {
			return usageError{errors.New("no command given (see pgha-lab --help)")}
		},
		SuggestionsMinimumDistance: 2,
	}
	root.Args = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		if near := root.SuggestionsFor(args[0]); len(near) > 0 {
			return usageError{fmt.Errorf("unknown command %q (did you mean %s?)", args[0], strings.Join(near, " or "))}
		}
		return usageError{fmt.Errorf("unknown command %q (see pgha-lab --help)", args[0])}
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.dir, "dir", defaultDir, "the `folder` of the lab")
	flags.StringVar(&a.cache, "cache", "", "the `folder` of images; empty: cache in the lab's folder")
	flags.StringVar(&a.network, "network", "pgha", "the `name` of the lab's network, at most 8 characters")
	root.AddCommand(a.imageCommand(), a.upCommand(), a.keepCommand(), a.statusCommand(), a.psqlCommand(), a.downCommand())
	return root
}

// self is the command with the flags that name this lab, for hints.
func (a *app) self() string {
	s := a.name
	if a.dir != defaultDir {
		s += " --dir " + a.dir
	}
	return s
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

// folder is the lab's, absolute: the lab's own process works elsewhere.
func (a *app) folder() (session.Folder, error) {
	dir, err := filepath.Abs(a.dir)
	if a.dir == "" || err != nil {
		return "", usageError{errors.New("--dir needs a folder")}
	}
	if strings.ContainsAny(dir, ":,\\\n") {
		return "", usageError{fmt.Errorf("--dir %q: want a path without colon, comma and backslash", dir)}
	}
	return session.Folder(dir), nil
}

func (a *app) cacheOf(f session.Folder) (string, error) {
	if a.cache == "" {
		return f.Cache(), nil
	}
	return filepath.Abs(a.cache)
}

// needRoot is for commands that need nothing else of the host.
func needRoot() error {
	if os.Getuid() != 0 {
		return errors.New("the lab is root's: run this as root")
	}
	return nil
}
