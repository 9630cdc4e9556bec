package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/generator"
)

func (a *app) initCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [NAME]",
		Short: "Write a commented pgha.yaml to start from",
		Long: `Write pgha.yaml for a cluster of this name (demo, if there is none) into the current
folder. It has the keys that you have to set; every other key is in it as a comment,
with its default. Put in your ids: validate names those that are missing, and the
command that shows each. A pgha.yaml that is there already is not overwritten.`,
		Args:              cli.OneArgument("name"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(_ *cobra.Command, args []string) error {
			cluster := "demo"
			if len(args) == 1 {
				cluster = args[0]
			}
			text, err := generator.Example(cluster, a.roles)
			if err != nil {
				return cli.UsageError(err)
			}
			name := string(cli.DefaultSpec)
			file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%s is there already (move it away to start anew)", name)
			}
			if err != nil {
				return fmt.Errorf("cannot write %s: %w", name, cli.Cause(err))
			}
			_, err = file.Write(text)
			if err := errors.Join(err, file.Close()); err != nil {
				return errors.Join(fmt.Errorf("cannot write %s: %w", name, cli.Cause(err)), os.Remove(name))
			}
			a.Say("wrote %s (put in your ids, then: pgha-gen validate)", name)
			return nil
		},
	}
}
