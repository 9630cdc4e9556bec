package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/deploy/roll"
	"pgha-gen/generator/cloud"
)

func (a *app) rollCommand() *cobra.Command {
	r := replacement{instead: "run this again: it goes on where it stopped"}
	var role string
	cmd := &cobra.Command{
		Use:   "roll [--role ROLE]",
		Short: "Replace all machines that lack the newest image, one at a time",
		Long: `Replace the machines of a running cluster, one at a time, by new ones: those that do
not run the newest image of their role, have other user-data than the spec gives them,
or are another kind of machine than it wants. They keep their addresses and data disks.
The others are left alone, so what was interrupted goes on where it stopped.

First come machines that are not there or not well; then etcd's members, and the one that
leads them last; HAProxy; the replicas; then the leader, which hands over to one of them.
Each goes as pgha-cloud replace says, with the same guards, and the next one begins when the
cluster counts on the new machine. Writers are refused for some seconds when the leader
hands over; a HAProxy that is the only one is missed while it is replaced. It stops at the
first machine that does not get ready.

What it is going to do is shown first. On a terminal it asks then; elsewhere it needs
--yes, and without it does nothing (status 2).`,
		Example: `  pgha-cloud roll
  pgha-cloud roll --role etcd --yes`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			known := func(p *cloud.Plan) error {
				if role != "" && !slices.ContainsFunc(p.Machines, func(m *cloud.Machine) bool { return m.Role == role }) {
					return cli.Usagef("the cluster has no role %q", role)
				}
				return nil
			}
			return a.replace(cmd.Context(), &r, known, func(ctx context.Context, c *roll.Cluster) (*roll.Plan, error) { return c.Roll(ctx, role) })
		},
	}
	r.flags(cmd)
	cmd.Flags().StringVar(&role, "role", "", "only the machines of this `role`")
	return cmd
}
