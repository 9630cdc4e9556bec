package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"os/user"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/deploy/roll"
	"pgha-gen/deploy/yandex"
	"pgha-gen/generator/cloud"
)

// replacement is what the command line says of one.
type replacement struct {
	file     cli.SpecFile
	operator cli.OperatorFolder
	yes      bool
	limit    time.Duration
	instead  string // what to do if it is interrupted
}

func (r *replacement) flags(cmd *cobra.Command) {
	r.file.Flag(cmd)
	r.operator.Flag(cmd)
	cmd.Flags().BoolVarP(&r.yes, "yes", "y", false, "do it without asking")
	cmd.Flags().DurationVar(&r.limit, "timeout", 15*time.Minute, "how long to wait for each machine")
}

func (r *replacement) check() error {
	if r.limit <= 0 {
		return cli.Usagef("--timeout cannot be %s (want more than 0s)", r.limit)
	}
	return nil
}

func (a *app) replaceCommand() *cobra.Command {
	r := replacement{instead: "what was begun goes on by itself: run this again if pgha-cloud status does not have the machine"}
	var newDisk bool
	cmd := &cobra.Command{
		Use:   "replace NODE",
		Short: "Delete a machine, and create it anew",
		Long: `Delete a machine, and create it anew: from the newest image of its role, with the
user-data of the spec, at its old address. It keeps its data disk; with --new-disk that is
deleted, and the new machine copies its data from the others; much data may need a longer
--timeout. It never founds a cluster.

It looks at the cluster as pgha-gen cluster does, from a network in access.operators, with
the folder that pgha-gen secrets generate writes for the operator. A leader first hands
over to a node that can take over without loss. It is refused if etcd would have no quorum,
or while another machine of the same role is not well; a machine that is lost itself is
replaced all the same. It ends when the machine has said that it is ready, and the others
count on it: etcd's member votes, a replica streams and gets readers, HAProxy knows the
leader, and gets clients from the load balancer, if there is one.

One at a time replaces machines of a cluster: a second replace or roll is refused until the
first has ended, or a minute after it was killed.

What it is going to do is shown first. On a terminal it asks then; elsewhere it needs
--yes, and without it does nothing (status 2). Where it was interrupted before the new
machine was there, run it again. A machine that boots goes on by itself.`,
		Example: `  pgha-cloud replace mydb-pg-2
  pgha-cloud replace mydb-etcd-1 --new-disk --yes`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usagef("replace takes one machine, but got %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			known := func(p *cloud.Plan) error {
				if p.Machine(args[0]) == nil {
					return cli.Usagef("the cluster has no machine %q", args[0])
				}
				return nil
			}
			return a.replace(cmd.Context(), &r, known, func(ctx context.Context, c *roll.Cluster) (*roll.Plan, error) {
				return c.Replace(ctx, args[0], newDisk)
			})
		},
	}
	r.flags(cmd)
	cmd.Flags().BoolVar(&newDisk, "new-disk", false, "delete its data disk, too, and create an empty one")
	return cmd
}

// who runs this, for others who want to do the same.
func who() string {
	name, host := "somebody", "somewhere"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}

// replace makes a plan, says it, asks, and runs it.
func (a *app) replace(ctx context.Context, r *replacement, known func(*cloud.Plan) error, plan func(context.Context, *roll.Cluster) (*roll.Plan, error)) error {
	if err := r.check(); err != nil {
		return err
	}
	spec, err := a.read(r.file)
	if err != nil {
		return err
	}
	wanted := cloud.New(spec)
	if err := known(wanted); err != nil {
		return err
	}
	data, err := userData(spec)
	if err != nil {
		return err
	}
	running, err := r.operator.Connect(spec, a.dial, a.Streams)
	if err != nil {
		return err
	}
	defer running.Close()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	cc, err := a.cloud(ctx)
	if err != nil {
		return err
	}
	c := &roll.Cluster{
		Plan: wanted, API: cc, Running: running.Client, Now: time.Now, Limit: r.limit, Who: who(),
		World: yandex.World{UserData: data, Between: time.Second, Said: func(name, sentence string) { a.Say("%s: %s", name, sentence) }},
	}
	p, err := plan(ctx, c)
	if err != nil {
		return interrupted(ctx, err, "nothing was done")
	}
	for _, line := range p.Lines {
		fmt.Fprintln(a.Err, cli.Printable(line))
	}
	for _, note := range p.Notes {
		fmt.Fprintf(a.Err, "-  %s\n", cli.Printable(note))
	}
	if p.Nothing() {
		a.Say("nothing to do")
		return nil
	}
	if err := a.agreed(r.yes); err != nil {
		return err
	}
	return interrupted(ctx, c.Do(ctx, p), r.instead)
}
