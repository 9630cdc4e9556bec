// Package roll replaces the machines of a running cluster, one at a time, while
// it serves.
package roll

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"pgha-gen/deploy/operate"
	"pgha-gen/deploy/yandex"
	"pgha-gen/generator/cloud"
)

// Cluster is one that runs, as its operator and the cloud see it.
type Cluster struct {
	Plan    *cloud.Plan
	API     grpc.ClientConnInterface
	Running *operate.Client
	World   yandex.World
	Now     func() time.Time
	Limit   time.Duration // for each machine
	Who     string        // replaces machines, as others are told who are refused meanwhile
}

// Plan is what is going to be done. Whoever runs it checks again before each
// machine.
type Plan struct {
	Lines []string // for people, in order
	Notes []string // what else to know before
	turns []turn
}

// turn is a machine that is replaced, or waited for.
type turn struct {
	name    string
	newDisk bool
	await   bool // it is as it should be, but does not count as whole yet
}

// Replace is the plan of one machine. Refused: what the cloud or the cluster
// would not survive; see yandex.NewReplacement and operate's PlanReplace.
func (c *Cluster) Replace(ctx context.Context, name string, newDisk bool) (*Plan, error) {
	t := turn{name: name, newDisk: newDisk}
	r, err := c.replacement(ctx, t)
	if err != nil {
		return nil, err
	}
	before, err := c.Running.Look(ctx).PlanReplace(name, newDisk)
	if err != nil {
		return nil, err
	}
	p := &Plan{turns: []turn{t}, Notes: before.Notes}
	for _, t := range before.Turns {
		p.Lines = append(p.Lines, t.Says)
	}
	p.Lines = append(p.Lines, r.Says())
	for i, line := range p.Lines {
		p.Lines[i] = fmt.Sprintf("%d. %s", i+1, line)
	}
	return p, nil
}

func (c *Cluster) replacement(ctx context.Context, t turn) (*yandex.Replacement, error) {
	found, err := yandex.Look(ctx, c.API, c.Plan)
	if err != nil {
		return nil, err
	}
	if err := yandex.Changing(c.Plan, found, t.name); err != nil {
		return nil, err
	}
	return yandex.NewReplacement(c.Plan, found, c.Plan.Machine(t.name), t.newDisk)
}

// Nothing tells whether there is nothing to do.
func (p *Plan) Nothing() bool { return len(p.turns) == 0 }

// Do runs a plan, and says how each machine goes on. It stops at the first that
// does not get ready, or that the cluster does not count as whole. Refused: while
// somebody else replaces machines.
func (c *Cluster) Do(ctx context.Context, p *Plan) error {
	if p.Nothing() {
		return nil
	}
	lock, err := c.lock(ctx, p)
	if err != nil {
		return err
	}
	if lock != nil {
		defer lock.Release()
	}
	for i, t := range p.turns {
		if i > 0 {
			if err := c.keep(ctx, lock); err != nil {
				return fmt.Errorf("%w; %d of %d machines are done", locked(err), i, len(p.turns))
			}
		}
		count := ""
		if len(p.turns) > 1 {
			count = fmt.Sprintf(" (%d of %d)", i+1, len(p.turns))
		}
		err := c.turn(ctx, t, count)
		if err != nil && len(p.turns) > 1 {
			return fmt.Errorf("%w; %d of %d machines are done", err, i, len(p.turns))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lock has nobody else replace machines meanwhile. It is in the DCS. Where that does
// not answer, one machine can be replaced all the same: it may be what is missed.
func (c *Cluster) lock(ctx context.Context, p *Plan) (*operate.Lock, error) {
	lock, err := c.Running.Lock(ctx, c.Who)
	var held *operate.Held
	if err == nil || ctx.Err() != nil || errors.As(err, &held) || len(p.turns) > 1 {
		return lock, locked(err)
	}
	c.World.Said(p.turns[0].name, fmt.Sprintf("there is no lock (%s): see that nobody else replaces machines just now", err))
	return nil, nil
}

// keep makes sure of the lock before the next machine. The DCS may just have lost its
// leader with the last one.
func (c *Cluster) keep(ctx context.Context, lock *operate.Lock) error {
	var held *operate.Held
	for end := c.Now().Add(settle); ; c.pause(ctx) {
		err := lock.Keep(ctx)
		if err == nil || errors.As(err, &held) || ctx.Err() != nil || c.Now().After(end) {
			return err
		}
	}
}

func locked(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("one at a time: %w", err)
}

func (c *Cluster) turn(ctx context.Context, t turn, count string) error {
	ctx, end := context.WithTimeout(ctx, c.Limit)
	defer end()
	start := c.Now()
	what := "is whole"
	if t.await {
		if err := c.failed(ctx, t.name); err != nil {
			return err
		}
	} else {
		what = "replaced, and the cluster counts it as whole,"
		if err := c.replace(ctx, t); err != nil {
			return err
		}
	}
	if err := c.whole(ctx, t.name); err != nil {
		return err
	}
	c.World.Said(t.name, fmt.Sprintf("%s after %.1f s%s", what, c.Now().Sub(start).Seconds(), count))
	return nil
}

// failed tells of a machine whose boot has ended without it getting ready.
func (c *Cluster) failed(ctx context.Context, name string) error {
	states, err := yandex.States(ctx, c.API, c.Plan)
	if err != nil {
		return err
	}
	for _, s := range states {
		if s.Name == name {
			return s.Failed()
		}
	}
	return nil
}

func (c *Cluster) replace(ctx context.Context, t turn) error {
	r, err := c.replacement(ctx, t)
	if err != nil {
		return err
	}
	if err := c.ready(ctx, t); err != nil {
		return err
	}
	return r.Do(ctx, c.API, c.Plan, c.World)
}

// settle is how long a guard may be in the way that would not be a moment
// later: others follow a new leader, or one answer was late.
const settle = time.Minute

// ready makes the cluster ready to lose the machine.
func (c *Cluster) ready(ctx context.Context, t turn) error {
	end := c.Now().Add(settle)
	var last error
	for {
		before, err := c.Running.Look(ctx).PlanReplace(t.name, t.newDisk)
		switch {
		case ctx.Err() != nil: // nobody could answer
			return cmp.Or(last, ctx.Err())
		case err != nil && c.Now().After(end):
			return err
		case err != nil:
			last = err
		case len(before.Turns) == 0:
			return nil
		default:
			err := c.Running.Do(ctx, before, func(format string, args ...any) { c.World.Said(t.name, fmt.Sprintf(format, args...)) })
			if err != nil {
				return err
			}
		}
		c.pause(ctx)
	}
}

// soon is how long a wait for a new machine is nothing to speak of.
const soon = 5 * time.Second

// whole waits until the cluster counts on the machine.
func (c *Cluster) whole(ctx context.Context, name string) error {
	start, last, said := c.Now(), "", ""
	for {
		why := c.Running.Look(ctx).Lacks(name)
		switch {
		case why == "":
			return nil
		case ctx.Err() != nil: // nobody could answer
			return fmt.Errorf("machine %s is ready, but after %s the cluster does not count it as whole: %s (it may still come: pgha-gen cluster status)", name, c.Limit, cmp.Or(last, why))
		case why != said && c.Now().Sub(start) > soon:
			said = why
			c.World.Said(name, "waiting: "+why)
		}
		last = why
		c.pause(ctx)
	}
}

func (c *Cluster) pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(c.World.Between):
	}
}
