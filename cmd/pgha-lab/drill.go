//go:build linux

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/generator"
	"pgha-gen/generator/role"
	"pgha-gen/lab/drill"
	"pgha-gen/lab/drill/report"
	"pgha-gen/lab/pace"
	"pgha-gen/lab/session"
)

// drills are the flags of the command.
type drills struct {
	source
	list                 bool
	rounds               int
	failover, durability string
	results              string
	nemesis              time.Duration
	seed                 uint64
	named                []drill.Scenario
}

func (a *app) drillCommand() *cobra.Command {
	d := &drills{}
	cmd := &cobra.Command{
		Use:   "drill [scenario ...]",
		Short: "Do to a cluster what scenarios say, under load, and judge what it made of it",
		Long: `Run scenarios against the lab that is up in the folder, or else against one of its
own, which is taken down afterwards. Without names, all that are for such a spec and can
be run on this host, but the very long ones; one that is named and is not, is refused.
With --nemesis, draw faults from them, one to three at a time, and end these before the
cluster has to be whole again. Meanwhile clients write and read through the proxies, and
each node is asked whether it would acknowledge a write. In every round no acknowledged
row may be lost, no two nodes may acknowledge writes at once, and what the scenario says
must hold.
The times of scenarios are those of a usual host; on one that takes longer to start
programs, which is measured first, a round has as much more time, and may take longer
than predicted: said at once, and in the report.
Each round is kept in the folder of results as soon as it is over, with the machines'
journals if it did not hold, or held only since the host is slow; another run goes on
there. One that is interrupted leaves what it had come to, with the journals, and is
run again. At the end report.html, report.md and report.json are written beside them.
The exit status is 1 if something did not hold.`,
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := d.check(cmd, names); err != nil {
				return err
			}
			all, err := drill.All()
			if err != nil {
				return err
			}
			if d.list {
				return a.listScenarios(all)
			}
			picked, err := drill.Pick(all, names)
			if err != nil {
				return cli.UsageError(err)
			}
			if len(names) > 0 {
				d.named = picked
			}
			return a.drill(cmd.Context(), d, names)
		},
	}
	d.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&d.list, "list", false, "show the scenarios, and what each does")
	f.IntVar(&d.rounds, "rounds", 1, "how often each scenario is run")
	f.StringVar(&d.failover, "failover", "", "run the spec with this `preset` of timers: fast, balanced or safe")
	f.StringVar(&d.durability, "durability", "", "run the spec with this `durability`: async, sync, strict or quorum")
	f.StringVar(&d.results, "results", "", "the `folder` of the results; empty: drill in the lab's folder")
	f.DurationVar(&d.nemesis, "nemesis", 0, "draw faults from the scenarios, at random, for this `time`")
	f.Uint64Var(&d.seed, "seed", 0, "the `number` from which the nemesis draws; 0: another one each time, which is printed")
	return cmd
}

// check refuses what does not go together.
func (d *drills) check(cmd *cobra.Command, names []string) error {
	for _, value := range []struct {
		flag, have string
		known      []string
	}{
		{"failover", d.failover, role.Failover("").Values()},
		{"durability", d.durability, role.Durability("").Values()},
	} {
		if value.have != "" && !strings.Contains(" "+strings.Join(value.known, " ")+" ", " "+value.have+" ") {
			return cli.Usagef("--%s %q: want %s", value.flag, value.have, strings.Join(value.known, ", "))
		}
	}
	switch {
	case d.rounds < 1:
		return cli.Usagef("--rounds %d: want 1 or more", d.rounds)
	case d.nemesis < 0:
		return cli.Usagef("--nemesis %v: want a time such as 10m", d.nemesis)
	case d.nemesis == 0 && cmd.Flags().Changed("seed"):
		return cli.Usagef("--seed is the nemesis's (add --nemesis 10m)")
	case d.list && len(names) > 0:
		return cli.Usagef("--list shows all scenarios (leave out %s)", strings.Join(names, ", "))
	}
	return nil
}

func (a *app) listScenarios(all []drill.Scenario) error {
	width := 0
	for _, s := range all {
		width = max(width, len(s.Name))
	}
	for _, s := range all {
		fmt.Fprintf(a.Out, "%-*s  %s\n", width, s.Name, s.About)
	}
	return nil
}

func (a *app) drill(ctx context.Context, d *drills, names []string) error {
	f, err := a.rootsFolder()
	if err != nil {
		return err
	}
	order := session.Drill{Scenarios: names, Rounds: d.rounds}
	if order.Results, err = filepath.Abs(cmp.Or(d.results, filepath.Join(string(f), "drill"))); err != nil {
		return err
	}
	if d.nemesis > 0 {
		order.Nemesis = &drill.Nemesis{Seed: cmp.Or(d.seed, rand.Uint64()), Long: d.nemesis}
		a.Say("the nemesis draws from --seed %d", order.Nemesis.Seed)
	}
	pid, err := f.Keeper()
	if err != nil {
		return err
	}
	broken := 0
	say := func(r drill.Round) {
		if len(r.Verdict) > 0 {
			broken++
		}
		fmt.Fprintln(a.Out, line(r))
	}
	if pid != 0 {
		err = a.drillThere(ctx, d, f, order, say)
	} else {
		err = a.drillHere(ctx, d, order, say)
	}
	if wrote, failure := report.Write(drill.Results(order.Results)); failure != nil {
		err = errors.Join(err, failure)
	} else if wrote != "" {
		fmt.Fprintf(a.Out, "\nreport  %s\n", wrote)
	}
	switch {
	case err != nil:
		return err
	case broken > 0:
		return fmt.Errorf("%s did not hold what the scenarios say", cli.Count(broken, "round"))
	}
	return nil
}

// line is a round in short.
func line(r drill.Round) string {
	text := fmt.Sprintf("%s %d: %.2f s without a write, %d of %d rows lost, whole again after %.1f s",
		r.Scenario, r.Round, r.Gap.Seconds, len(r.Lost), r.Acked, r.Whole)
	if len(r.Verdict) > 0 {
		return text + "\n  NOT HELD: " + strings.Join(r.Verdict, "\n  NOT HELD: ")
	}
	return text
}

// measure has rounds judged by how slow the host is.
func (a *app) measure(order *session.Drill) {
	order.Slowness = pace.Slowness()
	if order.Slowness > 1 {
		a.Say("this host takes %.1f times as long as usual to start programs: a round may take so much longer, and longer than predicted", order.Slowness)
	}
}

// drillHere brings a lab up for the drill alone.
func (a *app) drillHere(ctx context.Context, d *drills, order session.Drill, say func(drill.Round)) error {
	d.edit = d.preset
	c, err := a.config(&d.source)
	if err != nil {
		return err
	}
	for _, s := range d.named {
		if err := s.Unfit(c.Cluster); err != nil {
			return err
		}
	}
	a.measure(&order)
	c.Work = func(ctx context.Context, w drill.World) error { return order.Run(ctx, w, say) }
	ended := make(chan error, 1)
	go func() { ended <- session.Run(ctx, c) }()
	if _, err := a.follow(ctx, c.Folder, c.PID, ended); err != nil {
		return err
	}
	if err := <-ended; err != nil {
		return err
	}
	return ctx.Err()
}

// drillThere has the lab that is up do it, and tells of each round that it keeps.
func (a *app) drillThere(ctx context.Context, d *drills, f session.Folder, order session.Drill, say func(drill.Round)) error {
	if d.failover != "" || d.durability != "" {
		return errors.New("the lab that is up has the failover and durability of its spec (take it down first: pgha-lab down)")
	}
	results := drill.Results(order.Results)
	known, err := results.Load()
	if err != nil {
		return err
	}
	a.measure(&order)
	told := len(known)
	tell := func() error {
		now, err := results.Load()
		if err != nil {
			return err
		}
		for _, r := range now[min(told, len(now)):] {
			say(r)
		}
		told = max(told, len(now))
		return nil
	}
	done := make(chan error, 1)
	go func() {
		_, err := f.Ask(ctx, session.Request{Drill: &order})
		done <- err
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := tell(); err != nil {
				return err
			}
		case err := <-done:
			return errors.Join(err, tell())
		}
	}
}

// preset puts the flags into the spec. A spec that sets every timer by itself would
// not become another one.
func (d *drills) preset(text []byte) ([]byte, error) {
	if d.durability != "" {
		text = setKey(text, "durability", d.durability)
	}
	if d.failover == "" {
		return text, nil
	}
	var effective []string
	for _, preset := range role.Failover("").Values() {
		c, err := d.read(setKey(text, "failover", preset))
		if err != nil {
			return nil, err
		}
		c.Failover = role.Failover(d.failover)
		all, err := generator.Effective(c)
		if err != nil {
			return nil, err
		}
		effective = append(effective, string(all))
	}
	if len(effective) > 1 && effective[0] == effective[1] {
		return nil, fmt.Errorf("%s sets all timers itself, so --failover would change none (take ttl and the others out of it)", d.file)
	}
	return setKey(text, "failover", d.failover), nil
}

// setKey sets a key of the spec itself, which has a word for its value.
func setKey(text []byte, key, word string) []byte {
	line := []byte(key + ": " + word)
	if have := regexp.MustCompile(`(?m)^` + key + `:.*$`); have.Match(text) {
		return have.ReplaceAll(text, line)
	}
	return append(bytes.TrimRight(text, "\n"), append([]byte("\n"), append(line, '\n')...)...)
}
