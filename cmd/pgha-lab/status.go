//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/lab/client"
	"pgha-gen/lab/netns"
	"pgha-gen/lab/session"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the state of every machine",
		Long: `Show for every machine its newest boot step and, if it is a member of Patroni's
cluster, its role and state there. The exit status is 1 if one is not healthy.`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, r, err := a.running()
			if err != nil {
				return err
			}
			var members []client.Member
			var failure error
			if r.Phase == session.Up {
				members, failure = a.members(cmd.Context(), f, r)
			}
			since := ""
			if !r.PoweredOn.IsZero() {
				since = fmt.Sprintf(" for %v", time.Since(r.PoweredOn).Round(time.Second))
			}
			fmt.Fprintf(a.Out, "cluster %s: %s%s (network %s, process %d)\n\n%s", r.Cluster, r.Phase, since, r.Network, r.PID, r.Status(members, 0))
			if failure != nil {
				return failure
			}
			if trouble := r.Trouble(members); trouble != "" {
				return errors.New(trouble)
			}
			return nil
		},
	}
}

// running is the lab that is up, or coming up.
func (a *app) running() (f session.Folder, r session.Record, err error) {
	if f, err = a.rootsFolder(); err != nil {
		return f, r, err
	}
	pid, err := f.Keeper()
	if err != nil {
		return f, r, err
	}
	r, ok, err := f.Load()
	switch {
	case err != nil:
		return f, r, err
	case ok && pid == 0 && r.Phase != session.Down:
		return f, r, fmt.Errorf("the lab in %s died (%s down removes what it left)", f, a.self())
	case !ok || pid == 0:
		return f, r, fmt.Errorf("no lab is up in %s (%s up starts one)", f, a.self())
	}
	return f, r, nil
}

func (a *app) members(ctx context.Context, f session.Folder, r session.Record) ([]client.Member, error) {
	ca, err := os.ReadFile(f.CA())
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		return netns.Dial(ctx, netns.Space(r.Network, r.Access.RESTFrom), network, address)
	}
	return client.Members(ctx, dial, ca, r.Access.REST, r.Access.RESTPort)
}
