package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pgha-gen/generator"
	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/spec"
)

const defaultSpec = "pgha.yaml"

func fileFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "file", "f", defaultSpec, "the spec; - is standard input")
}

// understand gives the cluster of a spec, and leaves its warnings to be said.
func (a *app) understand(file string) (*role.Cluster, error) {
	src, err := a.load(file)
	if err != nil {
		return nil, err
	}
	return generator.Read(name(file), src, a.roles)
}

// read gives the cluster of a spec, and says how many warnings there are: which
// ones is for validate, so that what a command itself has to say is seen.
func (a *app) read(file string) (*role.Cluster, error) {
	c, err := a.understand(file)
	if err != nil || len(c.Warnings) == 0 {
		return c, err
	}
	words := []string{"pgha-gen", "validate"}
	if file != defaultSpec {
		words = append(words, file)
	}
	command, err := emit.Shell(words...)
	if err != nil { // a name that no shell takes
		command = "pgha-gen validate"
	}
	fmt.Fprintf(a.err, "pgha-gen: %s in %s (see %s)\n", count(len(c.Warnings), "warning"), name(file), command)
	return c, nil
}

func (a *app) load(file string) ([]byte, error) {
	in := a.in
	if file != "-" {
		f, err := os.Open(file)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no file %q (pgha-gen init writes %s; -f names another)", file, defaultSpec)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read %q: %w", file, cause(err))
		}
		defer f.Close()
		in = f
	}
	// One byte more than is allowed, so that Read can refuse it.
	src, err := io.ReadAll(io.LimitReader(in, spec.MaxSize+1))
	if errors.Is(err, syscall.EISDIR) {
		return nil, fmt.Errorf("%q is a folder (-f names the file in it)", file)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %q: %w", name(file), cause(err))
	}
	return src, nil
}

// cause is what went wrong, without the operation and path that os adds.
func cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
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
