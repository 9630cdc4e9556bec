package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/deploy/yandex"
	"pgha-gen/generator/cloud"
)

// deployment is what the command line says of one.
type deployment struct {
	file  cli.SpecFile
	yes   bool
	limit time.Duration
}

func (a *app) deployCommand() *cobra.Command {
	var d deployment
	cmd := &cobra.Command{
		Use:   "deploy",
		Short: "Create the cluster's disks and machines in Yandex Cloud",
		Long: `Create what is missing of the cluster's disks and machines, and wait until the new
machines are ready, as they say on their serial consoles. Then no machine may
bootstrap a cluster any more. What is around the machines must be there: what the
spec has no ids of is made by sh create.sh base in the cluster's folder deploy, a
load balancer by sh create.sh.

The plan is shown first: what exists, what is created, what differs from the spec, and
what the cluster has and the spec does not want. The last two are left as they
are. On a terminal it asks then; elsewhere it needs --yes, and without it does nothing
(status 2). Safe to run again: what was interrupted or failed goes on.`,
		Example: `  pgha-cloud deploy
  pgha-cloud deploy -f prod.yaml --yes`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if d.limit <= 0 {
				return cli.Usagef("--timeout cannot be %s (want more than 0s)", d.limit)
			}
			return a.deploy(cmd.Context(), &d)
		},
	}
	d.file.Flag(cmd)
	cmd.Flags().BoolVarP(&d.yes, "yes", "y", false, "do it without asking")
	cmd.Flags().DurationVar(&d.limit, "timeout", 15*time.Minute, "how long to wait for all of it")
	return cmd
}

func (a *app) deploy(ctx context.Context, d *deployment) error {
	c, err := a.read(d.file)
	if err != nil {
		return err
	}
	data, err := userData(c)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	limited, end := context.WithTimeout(ctx, d.limit)
	defer end()
	cc, err := a.cloud(limited)
	if err != nil {
		return err
	}
	plan := cloud.New(c)
	found, err := yandex.Look(limited, cc, plan)
	if err != nil {
		return interrupted(ctx, err, "nothing was done")
	}
	steps, err := yandex.Plan(plan, found)
	if err != nil {
		return err
	}
	for _, i := range steps.Items {
		line := fmt.Sprintf("%-7s  %-7s  %s", i.Verb, i.Kind, i.Name)
		if i.Says != "" {
			line += ": " + i.Says
		}
		fmt.Fprintln(a.Err, cli.Printable(line))
	}
	if steps.Nothing() {
		a.Say("nothing to do")
		return nil
	}
	if err := a.agreed(d.yes); err != nil {
		return err
	}
	err = steps.Do(limited, cc, plan, yandex.World{UserData: data, Between: time.Second, Said: func(name, sentence string) {
		a.Say("%s: %s", name, sentence)
	}})
	if err != nil {
		return interrupted(ctx, err, "run this again: it goes on where it stopped")
	}
	a.Say("all machines of %s are ready", c.Name)
	return nil
}

// interrupted is the error of what was interrupted, if it was.
func interrupted(ctx context.Context, err error, what string) error {
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("interrupted (%s)", what)
	}
	return err
}
