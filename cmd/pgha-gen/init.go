package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"pgha-gen/generator"
	"pgha-gen/roles"
)

func (a *app) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [NAME]",
		Short: "Write a commented pgha.yaml to start from",
		Long: `Write pgha.yaml for a cluster of the given name (demo, if none is given) into
the current folder: what a person decides, and every other key as a comment, with
its default and a sentence. Ids are for you to put in: validate says which, and the
command that shows each. A file that is there already is left alone.`,
		Args:              oneArgument("name"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(_ *cobra.Command, args []string) error {
			name := "demo"
			if len(args) == 1 {
				name = args[0]
			}
			text, err := generator.Example(name, roles.All())
			if err != nil {
				return usageError{err}
			}
			file, err := os.OpenFile(defaultSpec, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%s is there already (move it away to start anew)", defaultSpec)
			}
			if err != nil {
				return fmt.Errorf("cannot write %s: %w", defaultSpec, cause(err))
			}
			_, err = file.Write(text)
			if err := errors.Join(err, file.Close()); err != nil {
				return errors.Join(fmt.Errorf("cannot write %s: %w", defaultSpec, cause(err)), os.Remove(defaultSpec))
			}
			fmt.Fprintf(a.err, "pgha-gen: wrote %s (put in your ids, then: pgha-gen validate)\n", defaultSpec)
			return nil
		},
	}
}
