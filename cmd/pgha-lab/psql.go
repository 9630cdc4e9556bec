//go:build linux

package main

import (
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"pgha-gen/lab/session"
)

func (a *app) psqlCommand() *cobra.Command {
	replicas := false
	cmd := &cobra.Command{
		Use:   "psql [--replicas] [-- ARGUMENT...]",
		Short: "Connect to the cluster as an application does",
		Long: `Run psql in the lab's network, connected through HAProxy to the leader or to a
replica, over TLS that verifies the server, as the owner of the first database of
the spec. Arguments after -- are passed to psql. If this host has no psql, the one
of the baked image is used.`,
		Example: `  pgha-lab psql
  pgha-lab psql --replicas -- -c 'SELECT pg_is_in_recovery()'`,
		RunE: func(_ *cobra.Command, args []string) error {
			f, r, err := a.running()
			if err != nil {
				return err
			}
			psql, err := session.Psql(exec.LookPath, r.Psql)
			if err != nil {
				return err
			}
			command := append(append(psql, "--dbname", f.Conninfo(r, replicas)), args...)
			return f.Exec(r, "", command, os.Environ())
		},
	}
	cmd.Flags().BoolVar(&replicas, "replicas", false, "read from a replica")
	return cmd
}
