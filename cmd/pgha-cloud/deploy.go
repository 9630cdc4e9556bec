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
	base  bool
	yes   bool
	limit time.Duration
}

func (a *app) deployCommand() *cobra.Command {
	var d deployment
	cmd := &cobra.Command{
		Use:   "deploy [base]",
		Short: "Create the cluster in Yandex Cloud",
		Long: `Create what is missing of the cluster: its network, security groups, service accounts,
Lockbox secrets and the bucket for backups, its disks and machines, and its load
balancer; and wait until the new machines are ready, as they say on their serial consoles. Then no machine may
bootstrap a cluster any more. With base it makes all that is needed before machines are
created, and no machine: images are baked in the subnet, and the secrets get what
they hold by pgha-cloud secrets push.

The plan is shown first: what exists, what is created, what is changed, what
differs from the spec, and what the cluster has and the spec does not want. The last two
are left as they are; so is all that the spec has ids of. Nothing is begun that could not
be finished: an image that is missing, say, or a subnet without a way out. On a terminal it asks then;
elsewhere it needs --yes, and without it does nothing (status 2). Safe to run again:
what was interrupted or failed goes on.`,
		Example: `  pgha-cloud deploy base
  pgha-cloud deploy -f prod.yaml --yes`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && args[0] != "base" {
				return cli.Usagef("deploy takes base or no argument, but got %q (-f names the spec)", args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			d.base = len(args) == 1
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
	planned := yandex.Plan
	if d.base {
		planned = yandex.Base
	}
	steps, err := planned(plan, found)
	if err != nil {
		return err
	}
	width := 0
	for _, i := range steps.Items {
		width = max(width, len(i.Kind))
	}
	for _, i := range steps.Items {
		line := fmt.Sprintf("%-7s  %-*s  %s", i.Verb, width, i.Kind, i.Name)
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
	if d.base {
		a.Say("all that goes before the machines of %s is there", c.Name)
		return nil
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
