package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/deploy/yandex"
	"pgha-gen/generator/cloud"
)

func (a *app) refreshCommand() *cobra.Command {
	var file cli.SpecFile
	var yes bool
	cmd := &cobra.Command{
		Use:   "refresh [ROLE|NODE]",
		Short: "Give running machines the user-data of the spec",
		Long: `Give the machines that are there the user-data of the spec: all, those of a role,
or one. They take it over while they run, and say on their consoles what took effect;
pgha-gen diff says before what that is. Those that are connected to come first. It is
safe to run again: who has it is left alone.

The machines that get it are shown first. On a terminal it asks then; elsewhere it
needs --yes, and without it does nothing (status 2).`,
		Example: `  pgha-cloud refresh
  pgha-cloud refresh patroni --yes`,
		Args: cli.OneArgument("role or machine"),
		RunE: func(cmd *cobra.Command, args []string) error {
			wanted := ""
			if len(args) == 1 {
				wanted = args[0]
			}
			return a.refresh(cmd.Context(), file, wanted, yes)
		},
	}
	file.Flag(cmd)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do it without asking")
	return cmd
}

func (a *app) refresh(ctx context.Context, file cli.SpecFile, wanted string, yes bool) error {
	c, err := a.read(file)
	if err != nil {
		return err
	}
	data, err := userData(c)
	if err != nil {
		return err
	}
	plan := cloud.New(c)
	if _, isRole := data[wanted]; wanted != "" && !isRole && plan.Machine(wanted) == nil {
		return cli.Usagef("the cluster has no role and no machine %q", wanted)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	cc, err := a.cloud(ctx)
	if err != nil {
		return err
	}
	r, err := yandex.NewRefresh(ctx, cc, plan, data, wanted)
	if err != nil {
		return interrupted(ctx, err, "nothing was done")
	}
	for _, name := range r.Missing {
		a.Say("%s: not there", name)
	}
	for _, name := range r.Changes {
		a.Say("%s: gets new user-data", name)
	}
	switch {
	case len(r.Changes) > 0:
	case len(r.Same) == 0:
		return fmt.Errorf("folder %s has none of these machines (create them: pgha-cloud deploy)", plan.Folder)
	default:
		a.Say("nothing to do")
		return nil
	}
	if err := a.agreed(yes); err != nil {
		return err
	}
	return interrupted(ctx, r.Do(ctx, cc, func(name, sentence string) { a.Say("%s: %s", name, sentence) }), "run this again: it goes on where it stopped")
}
