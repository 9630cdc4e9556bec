package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/deploy/yandex"
	"pgha-gen/generator/cloud"
)

func (a *app) destroyCommand() *cobra.Command {
	var file cli.SpecFile
	cmd := &cobra.Command{
		Use:   "destroy CLUSTER [disks]",
		Short: "Delete the cluster's machines",
		Long: `Delete the machines of the spec that are this cluster's, all at once, with their
boot disks. It does not ask: it wants the name of the cluster. Data disks stay unless
disks is said; then all data are lost. Secrets, backups, and what is around the
machines stay: sh destroy.sh in the cluster's folder deploy deletes that, too.
It is safe to run again.`,
		Example: `  pgha-cloud destroy mydb
  pgha-cloud destroy mydb disks`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 || len(args) == 2 && args[1] != "disks" {
				return cli.Usagef("destroy needs the cluster's name, and may have disks behind it, but got %q", args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.destroy(cmd.Context(), file, args[0], len(args) == 2)
		},
	}
	file.Flag(cmd)
	return cmd
}

func (a *app) destroy(ctx context.Context, file cli.SpecFile, name string, disks bool) error {
	c, err := a.read(file)
	if err != nil {
		return err
	}
	if name != c.Name {
		return cli.Usagef("the cluster of %s is %s, not %q", file, c.Name, name)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	cc, err := a.cloud(ctx)
	if err != nil {
		return err
	}
	err = yandex.Destroy(ctx, cc, cloud.New(c), disks, func(name, sentence string) { a.Say("%s: %s", name, sentence) })
	return interrupted(ctx, err, "run this again: it goes on where it stopped")
}
