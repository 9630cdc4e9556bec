package main

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/deploy/yandex"
	"pgha-gen/generator/cloud"
)

func (a *app) destroyCommand() *cobra.Command {
	var file cli.SpecFile
	cmd := &cobra.Command{
		Use:   "destroy CLUSTER [disks] [secrets] [backups]",
		Short: "Delete the cluster",
		Long: `Delete the cluster's machines, all at once, with their boot disks, and what was created
around them: load balancer, security groups, network. It does not ask: it wants the
name of the cluster. Data disks stay unless disks is said; then all data are lost.
Secrets and the service accounts that read them stay unless secrets is said, and the
bucket with the backups unless backups is said. A bucket that holds something cannot be
deleted: the cloud first deletes all that is in it, within some days, and then this is run
again. Images stay, and so does what the spec has ids of or what is not labelled as this
cluster's. It is safe to run again.`,
		Example: `  pgha-cloud destroy mydb
  pgha-cloud destroy mydb disks secrets backups`,
		Args: func(_ *cobra.Command, args []string) error {
			good := len(args) > 0
			for i, word := range args {
				good = good && (i == 0 || slices.Contains([]string{"disks", "secrets", "backups"}, word) && !slices.Contains(args[1:i], word))
			}
			if !good {
				return cli.Usagef("destroy needs the cluster's name, and may have any of disks, secrets and backups behind it, but got %q", args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			what := yandex.Doomed{Disks: slices.Contains(args[1:], "disks"), Secrets: slices.Contains(args[1:], "secrets"), Backups: slices.Contains(args[1:], "backups")}
			return a.destroy(cmd.Context(), file, args[0], what)
		},
	}
	file.Flag(cmd)
	return cmd
}

func (a *app) destroy(ctx context.Context, file cli.SpecFile, name string, what yandex.Doomed) error {
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
	err = yandex.Destroy(ctx, cc, cloud.New(c), what, func(name, sentence string) { a.Say("%s: %s", name, sentence) })
	return interrupted(ctx, err, "run this again: it goes on where it stopped")
}
