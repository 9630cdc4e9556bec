package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/deploy/operate"
	"pgha-gen/generator/role"
)

func (a *app) psqlCommand() *cobra.Command {
	var o operation
	var node, database string
	cmd := &cobra.Command{
		Use:   "psql [--node NODE] [-d DATABASE] [-- ARGUMENT...]",
		Short: "Connect to the leader as PostgreSQL's administrator",
		Long: `Run this host's psql, connected to the leader, or to a node, as pgha_admin: a
superuser who has no password, but the operator's certificate. The server is
verified. Arguments after -- are passed to psql.`,
		Example: `  pgha-gen cluster psql
  pgha-gen cluster psql -d app -- -c 'SELECT count(*) FROM orders'
  pgha-gen cluster psql --node mydb-pg-2 -- -c 'SELECT pg_is_in_recovery()'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if at := cmd.ArgsLenAtDash(); at > 0 || at < 0 && len(args) > 0 {
				return cli.Usagef("psql takes no argument before --, but got %q (those of psql come after it)", args[0])
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			r, err := a.connect(&o)
			if err != nil {
				return err
			}
			defer r.Close()
			if err := known(r, node); err != nil {
				return err
			}
			program, err := exec.LookPath("psql")
			if err != nil {
				return errors.New("this host has no psql (Debian and Ubuntu have it in the package postgresql-client)")
			}
			psql := exec.Command(program, args...)
			psql.Env = append(os.Environ(), r.Operator.Environment(hosts(r, node), r.Spec.Database().Port, database)...)
			psql.Stdin, psql.Stdout, psql.Stderr = a.In, a.Out, a.Err
			signal.Ignore(os.Interrupt) // psql's: it cancels a query
			var exit *exec.ExitError
			switch err := psql.Run(); {
			case errors.As(err, &exit):
				return cli.Reported(err)
			case err != nil:
				return fmt.Errorf("cannot run %s: %w", program, err)
			}
			return nil
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&node, "node", "", "connect to this `node`, not to the leader")
	cmd.Flags().StringVarP(&database, "dbname", "d", "postgres", "the `database`")
	return cmd
}

// hosts are the nodes with a database, or just the one that is named.
func hosts(r *cli.Running, name string) []operate.Host {
	var all []operate.Host
	for _, n := range r.Spec.Offering(role.Database) {
		if name != "" && n.Name != name {
			continue
		}
		host := operate.Host{Name: r.Spec.FQDN(n.Name)}
		if n.Address.IsValid() {
			host.Address = n.Address.String()
		}
		all = append(all, host)
	}
	return all
}
