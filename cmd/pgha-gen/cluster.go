package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/deploy/operate"
)

func (a *app) clusterCommand() *cobra.Command {
	return cli.Group(&cobra.Command{
		Use:   "cluster",
		Short: "Look at a running cluster, and operate it",
		Long: `Look at a running cluster, and operate it, over the network: Patroni's REST API,
etcd, HAProxy's statistics, and what each machine says of itself. Nobody logs in to
a machine. It works from the networks in access.operators, with the folder that
pgha-gen secrets generate writes for the operator: a certificate and a password.

Whatever changes something first says what it is going to do. On a terminal it asks
then; elsewhere it needs --yes, and without it does nothing (status 2).`,
	}, a.statusCommand(), a.switchoverCommand(), a.restartCommand(), a.reinitCommand(), a.pauseCommand(), a.resumeCommand(), a.failoverCommand(), a.psqlCommand(), a.historyCommand(), a.backupsCommand())
}

// operation is what the commands on a running cluster have in common.
type operation struct {
	file     cli.SpecFile
	operator cli.OperatorFolder
	output   string
	yes      bool
	settled  bool // what changed a moment ago counts
}

func (o *operation) flags(cmd *cobra.Command) {
	o.file.Flag(cmd)
	o.operator.Flag(cmd)
}

func (o *operation) outputFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.output, "output", asText, "text or json")
}

func (o *operation) changes(cmd *cobra.Command) {
	o.flags(cmd)
	o.outputFlag(cmd)
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do it without asking")
}

func (o *operation) check() error {
	if o.output != asText && o.output != asJSON {
		return cli.Usagef("unknown output %q (want %s or %s)", o.output, asText, asJSON)
	}
	return nil
}

// connect reads the spec and the operator's folder. Nobody is asked anything
// yet.
func (a *app) connect(o *operation) (*cli.Running, error) {
	c, err := a.load(o.file)
	if err != nil {
		return nil, err
	}
	return o.operator.Connect(c, a.dial, a.Streams)
}

// known refuses a name that is not that of a node with a database.
func known(r *cli.Running, name string) error {
	if name == "" || r.Has(name) {
		return nil
	}
	return cli.Usagef("unknown node %q (want %s)", name, strings.Join(r.Databases(), ", "))
}

func (a *app) statusCommand() *cobra.Command {
	var o operation
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the state of every machine",
		Long: `Show the state of the cluster on one screen: PostgreSQL's members with role, lag and
pending restarts, etcd's members, whom HAProxy sends clients to, and for each
machine whether it works by the spec, when its first certificate ends, and every
step whose last word was not that it ended well. All machines are asked at once; one
that does not answer is shown with the reason.

The exit status is 0 if all is well; else it is 1, and the last line says what is wrong.
A pending restart is nothing wrong. Patroni that is paused is, since nobody takes
over then.`,
		Example: `  pgha-gen cluster status
  pgha-gen cluster status --output json | jq '.members[] | {name, role, lag}'`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return a.status(cmd.Context(), &o)
		},
	}
	o.flags(cmd)
	o.outputFlag(cmd)
	return cmd
}

func (a *app) status(ctx context.Context, o *operation) error {
	r, err := a.connect(o)
	if err != nil {
		return err
	}
	defer r.Close()
	s := r.Look(ctx)
	troubles := s.Troubles()
	if o.output == asJSON {
		if troubles == nil {
			troubles = []string{}
		}
		err = a.writeJSON(struct {
			*operate.State
			OK       bool     `json:"ok"`
			Troubles []string `json:"troubles"`
		}{s, len(troubles) == 0, troubles})
	} else {
		_, err = fmt.Fprint(a.Out, cli.Printable(s.Screen()))
	}
	if err != nil || len(troubles) == 0 {
		return err
	}
	return errors.New(summary(troubles))
}

// summary is a line that says what is wrong; the screen has all of it.
func summary(troubles []string) string {
	const most = 4
	if n := len(troubles) - most; n > 0 {
		troubles = append(slices.Clone(troubles[:most]), fmt.Sprintf("and %d more", n))
	}
	return strings.Join(troubles, "; ")
}

func (a *app) switchoverCommand() *cobra.Command {
	var o operation
	var to, at string
	var cancel bool
	cmd := &cobra.Command{
		Use:   "switchover [--to NODE] [--at TIME]",
		Short: "Make another node lead, without loss",
		Long: `Make another node lead: the one that --to names, or the one that is least behind.
The old leader stops PostgreSQL, once the new one has everything, and follows it.
Writers are refused for some seconds; nothing that was acknowledged is lost.

It is refused if the node could not take over without loss: it does not stream, is
behind by more than maximum_lag_on_failover, is not synchronous where durability
asks for that, or is tagged nofailover; and if etcd has no quorum.

With --at, Patroni does it at that time, if the node is fit then; --cancel takes
that back.`,
		Example: `  pgha-gen cluster switchover
  pgha-gen cluster switchover --to mydb-pg-2 --yes
  pgha-gen cluster switchover --at 2026-12-01T03:00:00+03:00`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var when time.Time
			var err error
			switch {
			case cancel && (to != "" || at != ""):
				return cli.Usagef("--cancel goes with neither --to nor --at")
			case at != "":
				if when, err = time.Parse(time.RFC3339, at); err != nil {
					return cli.Usagef("--at cannot be %q (want a time with its zone, such as %s)", at, time.Now().Add(time.Hour).Truncate(time.Hour).Format(time.RFC3339))
				}
			}
			return a.change(cmd.Context(), &o, to, func(s *operate.State) (*operate.Plan, error) {
				if cancel {
					return s.PlanCancel()
				}
				return s.PlanSwitchover(to, when)
			}, "")
		},
	}
	o.changes(cmd)
	cmd.Flags().StringVar(&to, "to", "", "the `node` that is to lead")
	cmd.Flags().StringVar(&at, "at", "", "the `time`, as 2026-12-01T03:00:00+03:00; without it, now")
	cmd.Flags().BoolVar(&cancel, "cancel", false, "take back the switchover that is scheduled")
	return cmd
}

func (a *app) restartCommand() *cobra.Command {
	var o operation
	var which operate.Which
	cmd := &cobra.Command{
		Use:   "restart [NODE | --pending]",
		Short: "Restart PostgreSQL, on one node after the other",
		Long: `Restart PostgreSQL on all nodes, on one, or on those where a restart is pending, so
that parameters take effect that need one. Replicas come first, one after the other,
each only when the one before streams again; then the leader, which restarts by
handing over.
If a parameter gets smaller that no replica may have smaller than the leader, such
as max_connections, the leader is restarted first, where it is.

--pending waits some seconds after a change of the spec: until then Patroni may not
have said yet what needs a restart.

It is refused if the leader would be left without a synchronous standby where
durability asks for one, if etcd could not lose another member, and if nobody could
take over from the leader. --force goes on all the same.`,
		Example: `  pgha-gen cluster restart --pending
  pgha-gen cluster restart mydb-pg-2`,
		Args: cli.OneArgument("node"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				which.Node = args[0]
			}
			if which.Node != "" && which.Pending {
				return cli.Usagef("restart takes a node or --pending, not both")
			}
			nothing := "no restart is pending"
			o.settled = which.Pending
			return a.change(cmd.Context(), &o, which.Node, func(s *operate.State) (*operate.Plan, error) { return s.PlanRestart(which) }, nothing)
		},
	}
	o.changes(cmd)
	cmd.Flags().BoolVar(&which.Pending, "pending", false, "only nodes where a restart is pending")
	cmd.Flags().BoolVar(&which.Force, "force", false, "go on without a synchronous standby, or with the leader where it is")
	return cmd
}

func (a *app) reinitCommand() *cobra.Command {
	var o operation
	cmd := &cobra.Command{
		Use:   "reinit NODE",
		Short: "Copy a replica anew from the leader",
		Long: `Delete the data of a replica, and copy those of the leader: for a replica that
cannot follow any more. It waits until the copy streams; if it is interrupted, the
copy goes on by itself.

It is refused for the leader, and for the last synchronous standby.`,
		Example: `  pgha-gen cluster reinit mydb-pg-3`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usagef("reinit takes one node, but got %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.change(cmd.Context(), &o, args[0], func(s *operate.State) (*operate.Plan, error) { return s.PlanReinit(args[0]) }, "")
		},
	}
	o.changes(cmd)
	return cmd
}

func (a *app) pauseCommand() *cobra.Command {
	var o operation
	cmd := &cobra.Command{
		Use:   "pause",
		Short: "Make Patroni do nothing by itself",
		Long: `Make Patroni do nothing by itself: it replaces no leader that is lost, and starts no
PostgreSQL that stops. For work on a node that Patroni would get in the way of.
cluster status says that it is paused, until cluster resume.`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.change(cmd.Context(), &o, "", func(s *operate.State) (*operate.Plan, error) { return s.PlanPause(true) }, "Patroni is paused already")
		},
	}
	o.changes(cmd)
	return cmd
}

func (a *app) resumeCommand() *cobra.Command {
	var o operation
	cmd := &cobra.Command{
		Use:   "resume",
		Short: "Make Patroni work again after a pause",
		Long: `Make Patroni work again after cluster pause. It starts what is stopped, and if nobody
leads, elects a leader.`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.change(cmd.Context(), &o, "", func(s *operate.State) (*operate.Plan, error) { return s.PlanPause(false) }, "Patroni is not paused")
		},
	}
	o.changes(cmd)
	return cmd
}

func (a *app) failoverCommand() *cobra.Command {
	var o operation
	var to string
	var force bool
	cmd := &cobra.Command{
		Use:   "failover --force [--to NODE]",
		Short: "Make a node lead that may lack commits",
		Long: `Make a node lead that the cluster would not choose by itself, because it may lack
commits: the last resort, if the leader is lost and nobody takes over. It first says
how much would be lost, as far as the nodes that answer know.

It is refused where a switchover does the same without loss, and for a node that
does not answer or is tagged nofailover.`,
		Example: `  pgha-gen cluster failover --force --to mydb-pg-3`,
		Args:    cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !force {
				return cli.Usagef("failover can lose what the node lacks: it needs --force (pgha-gen cluster switchover loses nothing)")
			}
			return a.change(cmd.Context(), &o, to, func(s *operate.State) (*operate.Plan, error) { return s.PlanFailover(to) }, "")
		},
	}
	o.changes(cmd)
	cmd.Flags().StringVar(&to, "to", "", "the `node` that is to lead; without it, the one that has the most")
	cmd.Flags().BoolVar(&force, "force", false, "take the loss")
	return cmd
}

// change makes a plan, says it, asks, and runs it. nothing is what a plan
// without a turn means.
func (a *app) change(ctx context.Context, o *operation, node string, plan func(*operate.State) (*operate.Plan, error), nothing string) error {
	if err := o.check(); err != nil {
		return err
	}
	r, err := a.connect(o)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := known(r, node); err != nil {
		return err
	}
	var s *operate.State
	if o.settled {
		s = r.LookSettled(ctx, a.Say)
	} else {
		s = r.LookDatabase(ctx)
	}
	p, err := plan(s)
	if err != nil {
		return err
	}
	for i, t := range p.Turns {
		fmt.Fprintf(a.Err, "%d. %s\n", i+1, cli.Printable(t.Says))
	}
	for _, n := range p.Notes {
		fmt.Fprintf(a.Err, "-  %s\n", cli.Printable(n))
	}
	result := outcome{Cluster: r.Spec.Name, Plan: p, Said: []string{}}
	if len(p.Turns) == 0 {
		a.Say("%s: nothing to do", nothing)
		result.Done = true
		return a.report(o, result)
	}
	if !o.yes {
		switch yes, asked := a.Confirm("go on?"); {
		case !asked:
			return cli.Usagef("nothing was done: there is no terminal to ask on (--yes does it)")
		case !yes:
			return errors.New("nothing was done")
		}
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	result.Done = true
	err = r.Do(ctx, p, func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		result.Said = append(result.Said, text)
		a.Say("%s", text)
	})
	switch {
	case ctx.Err() != nil:
		err = errors.New("interrupted: what was begun goes on by itself (pgha-gen cluster status)")
		fallthrough
	case err != nil:
		result.Done, result.Error = false, err.Error()
	}
	return errors.Join(a.report(o, result), err)
}

// outcome is what became of a plan, for programs.
type outcome struct {
	Cluster string        `json:"cluster"`
	Plan    *operate.Plan `json:"plan"`
	Done    bool          `json:"done"`
	Said    []string      `json:"said"`
	Error   string        `json:"error,omitempty"`
}

func (a *app) report(o *operation, result outcome) error {
	if o.output != asJSON {
		return nil
	}
	return a.writeJSON(result)
}

func (a *app) writeJSON(value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	_, err = a.Out.Write(append(data, '\n'))
	return err
}

func (a *app) backupsCommand() *cobra.Command {
	var o operation
	cmd := &cobra.Command{
		Use:   "backups",
		Short: "Show what the cluster can be restored from, and to which instants",
		Long: `Show the backups that there are, the instants that a cluster can be restored to, what is
missing in between, and how much WAL waits for the archive. The node that leads looks
at the bucket twice a minute.

To restore, found a cluster with restore in its spec: see pgha-gen reference.`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			r, err := a.connect(&o)
			if err != nil {
				return err
			}
			defer r.Close()
			found, err := r.Backups(cmd.Context())
			switch {
			case err != nil:
				return err
			case o.output == asJSON:
				return a.writeJSON(found)
			}
			_, err = fmt.Fprint(a.Out, cli.Printable(found.Screen()))
			return err
		},
	}
	o.flags(cmd)
	o.outputFlag(cmd)
	return cmd
}

func (a *app) historyCommand() *cobra.Command {
	var o operation
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Show every change of the leader",
		Long: `Show every change of the leader that Patroni remembers: the timeline that ended, where
in the WAL, when, and who led from then on.`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			r, err := a.connect(&o)
			if err != nil {
				return err
			}
			defer r.Close()
			events, err := r.History(cmd.Context())
			switch {
			case err != nil:
				return err
			case o.output == asJSON:
				return a.writeJSON(append([]operate.Event{}, events...))
			case len(events) == 0:
				a.Say("the leader never changed")
				return nil
			}
			_, err = fmt.Fprint(a.Out, cli.Printable(operate.HistoryScreen(events)))
			return err
		},
	}
	o.flags(cmd)
	o.outputFlag(cmd)
	return cmd
}
