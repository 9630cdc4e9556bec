package operate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// How long what Patroni does may take, and how often it is looked at.
const (
	patience = 2 * time.Minute
	pause    = 500 * time.Millisecond
)

// Do runs a plan, turn by turn, and says how each went. It stops at the first
// turn that is not possible any more, or fails. What was begun goes on by itself
// if ctx ends.
func (c *Client) Do(ctx context.Context, p *Plan, say func(format string, args ...any)) error {
	for i, turn := range p.Turns {
		err := c.turn(ctx, turn, say)
		switch left := len(p.Turns) - i - 1; {
		case err != nil && i+left > 0:
			return fmt.Errorf("%w (%d of %d turns were done: run it again once this is mended)", err, i, len(p.Turns))
		case err != nil:
			return err
		}
	}
	return nil
}

func (c *Client) turn(ctx context.Context, t Turn, say func(format string, args ...any)) error {
	s := c.LookDatabase(ctx)
	switch t.Verb {
	case Restart, InPlace:
		return c.restart(ctx, s, t, say)
	case Switchover:
		return c.switchover(ctx, s, t, say)
	case Failover:
		return c.failover(ctx, s, t, say)
	case Reinit:
		return c.reinit(ctx, s, t, say)
	case Cancel:
		if _, err := c.tell(ctx, s.via(), http.MethodDelete, "/switchover", nil); err != nil {
			return err
		}
		say("the switchover is taken back")
		return nil
	case Pause, Resume:
		return c.pause(ctx, s, t.Verb == Pause, say)
	}
	return fmt.Errorf("unknown verb %q", t.Verb)
}

func (c *Client) restart(ctx context.Context, s *State, t Turn, say func(format string, args ...any)) error {
	leader, err := s.led("restart " + t.Node)
	if err != nil {
		return err
	}
	switch leads := leader.Name == t.Node; {
	case leads != (t.Verb == InPlace):
		return fmt.Errorf("cannot restart %s: %s leads now, which the plan did not expect (look again)", t.Node, leader.Name)
	case !leads && !t.risk:
		if err := s.spare("restart " + t.Node); err != nil {
			return err
		}
		if err := s.mayRestart(t.Node); err != nil {
			return err
		}
	}
	before := s.Member(t.Node)
	if before == nil || before.Node == nil {
		return fmt.Errorf("cannot restart %s: it does not answer", t.Node)
	}
	waited := []Member{*before} // who is to follow again
	if t.Verb == InPlace {
		waited = slices.DeleteFunc(s.Replicas(), func(m Member) bool { return !m.follows(s, &m) })
	}
	start := c.world.Now()
	if _, err := c.tell(ctx, t.Node, http.MethodPost, "/restart", map[string]any{}); err != nil {
		return err
	}
	err = c.until(ctx, patience, t.Node+" was restarted", func(s *State) string {
		m := s.Member(t.Node)
		switch {
		case m == nil || m.Node == nil:
			return t.Node + " does not answer"
		case m.Node.Started == before.Node.Started || m.Node.State != "running":
			return t.Node + "'s PostgreSQL is " + m.Node.State
		case t.Verb == InPlace && (!m.leads() || m.State != "running"):
			return t.Node + " does not lead again yet"
		}
		for _, was := range waited {
			if m := s.Member(was.Name); m == nil || !m.follows(s, &was) {
				return was.Name + " does not stream yet"
			}
		}
		return ""
	})
	if err != nil {
		return err
	}
	what := "streams again"
	if t.Verb == InPlace {
		what = "leads again with its replicas"
	}
	say("%s restarted, and %s after %s", t.Node, what, c.since(start))
	return nil
}

// follows says whether a node receives the leader's WAL at this very moment, on
// its timeline, and is in the quorum again, where before it was not kept from
// that by its tags: while it restarts, Patroni itself gives it such a tag.
func (m *Member) follows(s *State, before *Member) bool {
	leader := s.Leader()
	return leader != nil && leader.State == "running" && m.Node != nil && m.Node.Receives == "streaming" && m.streams() && m.Timeline == leader.Timeline &&
		(s.Config == nil || s.Config.Synchronous != "quorum" || before.neverSync() || m.synchronous())
}

func (c *Client) switchover(ctx context.Context, s *State, t Turn, say func(format string, args ...any)) error {
	leader, err := s.led("switch over")
	if err != nil {
		return err
	}
	if leader.Name != t.From {
		return fmt.Errorf("cannot switch over: %s leads now, and %s did when this was planned (look again)", leader.Name, t.From)
	}
	if _, err := s.target("switch over", t.Node); err != nil {
		return err
	}
	order := map[string]any{"leader": t.From, "candidate": t.Node}
	if t.At != "" {
		order["scheduled_at"] = t.At
	}
	start := c.world.Now()
	answer, err := c.tell(ctx, t.Node, http.MethodPost, "/switchover", order) // any node takes it
	if err != nil {
		return err
	}
	if t.At != "" {
		say("%s: %s hands over to %s at %s", answer, t.From, t.Node, t.At)
		return nil
	}
	return c.leads(ctx, t, leader, start, say)
}

func (c *Client) failover(ctx context.Context, s *State, t Turn, say func(format string, args ...any)) error {
	if err := s.votes("fail over"); err != nil {
		return err
	}
	start := c.world.Now()
	if _, err := c.tell(ctx, t.Node, http.MethodPost, "/failover", map[string]any{"candidate": t.Node}); err != nil {
		return err
	}
	return c.leads(ctx, t, nil, start, say)
}

// leads waits until a node leads and the one before, if it can be asked, follows it.
func (c *Client) leads(ctx context.Context, t Turn, before *Member, start time.Time, say func(format string, args ...any)) error {
	err := c.until(ctx, patience, t.Node+" was told to lead", func(s *State) string {
		leader := s.Leader()
		switch {
		case leader == nil:
			return "nobody leads yet"
		case leader.Name != t.Node:
			return leader.Name + " leads"
		case leader.State != "running" || leader.Node == nil || leader.Node.Role != "primary":
			return t.Node + " is not ready for writers yet"
		}
		return ""
	})
	if err != nil {
		return err
	}
	say("%s leads after %s", t.Node, c.since(start))
	if before == nil || !before.InSpec {
		return nil
	}
	err = c.until(ctx, patience, t.Node+" leads", func(s *State) string {
		if m := s.Member(before.Name); m != nil && m.follows(s, before) {
			return ""
		}
		return before.Name + " does not follow it yet"
	})
	if err != nil {
		return err
	}
	say("%s follows it after %s", before.Name, c.since(start))
	return nil
}

func (c *Client) reinit(ctx context.Context, s *State, t Turn, say func(format string, args ...any)) error {
	if _, err := s.PlanReinit(t.Node); err != nil {
		return err
	}
	before := s.Member(t.Node)
	started := ""
	if before.Node != nil {
		started = before.Node.Started
	}
	start := c.world.Now()
	if _, err := c.tell(ctx, t.Node, http.MethodPost, "/reinitialize", map[string]any{}); err != nil {
		return err
	}
	// A copy takes as long as it takes: only what is no copy is not waited for.
	for {
		copying := false
		err := c.until(ctx, patience, t.Node+" was told to copy the leader's data", func(s *State) string {
			m := s.Member(t.Node)
			switch {
			case m == nil || m.Node == nil:
				return t.Node + " does not answer"
			case m.Node.Started != "" && m.Node.Started != started && m.follows(s, before):
				return ""
			}
			copying = m.Node.State == "creating replica"
			return t.Node + " is " + m.Node.State
		})
		switch {
		case err == nil:
			say("%s is a fresh copy and streams after %s", t.Node, c.since(start))
			return nil
		case copying && ctx.Err() == nil:
			say("%s still copies, for %s now", t.Node, c.since(start))
		default:
			return err
		}
	}
}

func (c *Client) pause(ctx context.Context, s *State, on bool, say func(format string, args ...any)) error {
	order, said := map[string]any{"pause": nil}, "works again"
	if on {
		order, said = map[string]any{"pause": true}, "is paused"
	}
	if _, err := c.tell(ctx, s.via(), http.MethodPatch, "/config", order); err != nil {
		return err
	}
	err := c.until(ctx, patience, "it was told to every node", func(s *State) string {
		for _, m := range s.Members {
			if m.Node != nil && m.Node.Paused != on {
				return m.Name + " does not go by it yet"
			}
		}
		if s.Config == nil || s.Config.Paused != on {
			return "the dynamic configuration does not say so yet"
		}
		return ""
	})
	if err == nil {
		say("Patroni %s on all nodes", said)
	}
	return err
}

// tell makes a node's REST API do something, and gives its answer in words. It
// waits as long as Patroni does.
func (c *Client) tell(ctx context.Context, node, method, path string, order any) (string, error) {
	if node == "" {
		return "", errors.New("no node's REST API answers (see pgha-gen cluster status)")
	}
	var answer []byte
	err := c.send(ctx, patience, method, c.rest(node, path), order, &answer)
	var refused *refusal
	switch {
	case err == nil:
		return sentence(answer), nil
	case !errors.As(err, &refused):
		return "", fmt.Errorf("%s %w", node, err)
	case refused.status == http.StatusUnauthorized:
		return "", fmt.Errorf("%s does not take the password (%s of the operator's folder is not the one that the nodes have)", node, passwordFile)
	case refused.status == http.StatusForbidden:
		return "", fmt.Errorf("%s refuses this host: %s (is it in access.operators, and is that in force?)", node, refused.text)
	case refused.text == "":
		return "", fmt.Errorf("%s %w", node, err)
	}
	return "", fmt.Errorf("%s refuses: %s", node, refused.text)
}

// via is a node that answers, the leader if it does.
func (s *State) via() string {
	if leader := s.Leader(); leader != nil && leader.Error == "" {
		return leader.Name
	}
	for _, m := range s.Members {
		if m.Error == "" && m.Node != nil {
			return m.Name
		}
	}
	return ""
}

// until looks again and again, until done has nothing to say any more, which it
// says of what is not as it should be. since is what happened before.
func (c *Client) until(ctx context.Context, limit time.Duration, since string, done func(*State) string) error {
	end := c.world.Now().Add(limit)
	for {
		why := done(c.LookDatabase(ctx))
		if why == "" {
			return nil
		}
		if c.world.Now().After(end) {
			return fmt.Errorf("%s, and %v later %s (it may still come: pgha-gen cluster status)", since, limit, why)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// since is a time for people.
func (c *Client) since(start time.Time) string {
	return fmt.Sprintf("%.1f s", c.world.Now().Sub(start).Seconds())
}

// History is every change of the leader that Patroni remembers, as the first
// node that answers has it.
func (c *Client) History(ctx context.Context) ([]Event, error) {
	var why []string
	for _, name := range c.Databases() {
		var lines [][]any
		err := c.ask(ctx, http.MethodGet, c.rest(name, "/history"), nil, &lines)
		if err == nil {
			return events(lines), nil
		}
		why = append(why, name+" "+err.Error())
	}
	return nil, fmt.Errorf("cannot read the history: %s", strings.Join(why, "; "))
}
