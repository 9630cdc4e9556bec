//go:build linux

package drill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"pgha-gen/generator"
	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/role"
	"pgha-gen/internal/bootlog"
	"pgha-gen/lab/machine"
	"pgha-gen/lab/workload"
)

// Order is what a run shall do.
type Order struct {
	Scenarios []Scenario
	Named     bool    // refuse a scenario that is not for this cluster or host, in place of leaving it out
	Rounds    int     // of each scenario
	Slowness  float64 // of the host, as lab/pace measures it; 0: not measured
	Results   Results
	Nemesis   *Nemesis // draws from the scenarios; without one they are run as they are
}

const (
	writers, readers = 4, 2
	boot             = 5 * time.Minute
	uneven           = 2 * time.Second // loop_wait of all presets
	recovery         = 3 * time.Minute // for being whole again when a round is over, whatever it did
)

// Run runs each scenario as often as ordered, less the rounds that the results
// have already, and says how each ended. A round in which something did not hold
// is kept and told, and the next one is run. A lab that does not become whole
// again ends the run.
func Run(ctx context.Context, w World, o Order, say func(Round)) error {
	for program, packet := range map[string]string{"nft": "nftables", "tc": "iproute2", "nsenter": "util-linux"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("drills need %s, and this host has none: apt-get install %s", program, packet)
		}
	}
	e, err := w.eyes()
	if err != nil {
		return err
	}
	done, err := o.Results.Load()
	if err != nil {
		return err
	}
	for _, s := range o.Scenarios {
		if err := e.unfit(s); o.Named && err != nil {
			return err
		}
	}
	if _, err := e.whole(ctx, boot); err != nil {
		return err
	}
	load, err := workload.Start(ctx, e.connect(e.access.Primary), writers, e.connect(e.access.Replicas), readers)
	if err != nil {
		return err
	}
	defer load.Stop()
	if err := e.prepare(ctx); err != nil {
		return err
	}
	prober := workload.StartProber(ctx, e.probes())
	defer prober.Stop()
	register, err := workload.StartRegister(ctx, e.withoutCancel(e.access.Primary))
	if err != nil {
		return err
	}
	defer register.Stop()
	r := runner{eyes: e, slowness: o.Slowness, load: load, prober: prober, register: register}
	if o.Nemesis != nil {
		return r.nemesis(ctx, o, done, say)
	}
	for n := 1; n <= o.Rounds; n++ {
		for _, s := range o.Scenarios {
			if r.unfit(s) != nil || has(done, s.Name, n, r.Cluster()) {
				continue
			}
			if err := r.keep(ctx, o, s, n, 0, say); err != nil {
				return err
			}
		}
	}
	return nil
}

// nemesis runs what it draws, for its time; rounds with the same seed that are
// kept already are not run again.
func (r runner) nemesis(ctx context.Context, o Order, done []Round, say func(Round)) error {
	draw := o.Nemesis.Draw(slices.DeleteFunc(slices.Clone(o.Scenarios), func(s Scenario) bool { return r.unfit(s) != nil }))
	past := 0
	for _, d := range done {
		if d.Scenario == NemesisName && d.Seed == o.Nemesis.Seed && d.Failover == r.Cluster().Failover && d.Durability == r.durability {
			past++
		}
	}
	end := time.Now().Add(o.Nemesis.Long)
	for n := 1; time.Now().Before(end); n++ {
		s, err := draw()
		if err != nil {
			return err
		}
		if n <= past {
			continue
		}
		if err := r.keep(ctx, o, s, n, o.Nemesis.Seed, say); err != nil {
			return err
		}
	}
	return nil
}

func has(done []Round, name string, n int, c role.Cluster) bool {
	return slices.ContainsFunc(done, func(r Round) bool {
		return r.Scenario == name && r.Round == n && r.Failover == c.Failover && r.Durability == c.Durability
	})
}

// prepare makes the prober's table.
func (e eyes) prepare(ctx context.Context) error {
	return workload.Session(ctx, e.connect(e.access.Primary), func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, workload.ProbeTable)
		return err
	})
}

type runner struct {
	eyes
	slowness float64 // of the host
	load     *workload.Load
	prober   *workload.Prober
	register *workload.Register
}

// unfit says why a scenario cannot be run on this cluster, or on this host; nil: it can.
func (e eyes) unfit(s Scenario) error {
	c := e.Cluster()
	if err := s.Unfit(&c); err != nil {
		return err
	}
	if err := machine.CanSlowDisks(); s.slowsDisks() && err != nil {
		return fmt.Errorf("scenario %s: %w", s.Name, err)
	}
	return nil
}

// keep runs a round and keeps what came of it. Of one that is interrupted only what it
// had come to is, for people: it is run again.
func (r runner) keep(ctx context.Context, o Order, s Scenario, n int, seed uint64, say func(Round)) error {
	began := time.Now()
	round, page, err := r.round(ctx, s)
	if ctx.Err() != nil {
		state := fmt.Appendf(nil, "%v\n", err)
		for _, event := range round.Events {
			state = fmt.Appendf(state, "%8.2f %s\n", event.At, strings.TrimSpace(event.Node+" "+event.Text))
		}
		state = append(state, r.journals(ctx, began)...)
		return errors.Join(ctx.Err(), o.Results.Keep(fmt.Sprintf("interrupted-%s-%d.txt", s.Name, n), state))
	}
	round.Round, round.Seed = n, seed
	round.Error = failure(round, err)
	round.Verdict = Judge(s.Hold, round)
	if questionable(s.Hold, round) {
		err = errors.Join(err, o.Results.Keep(fmt.Sprintf("journal-%s-%d.txt", s.Name, n), r.journals(ctx, round.At)))
	}
	if page != nil {
		err = errors.Join(err, o.Results.Keep(fmt.Sprintf("register-%s-%d.html", s.Name, n), page))
	}
	if round.At.IsZero() { // it had not begun
		return err
	}
	if err := errors.Join(err, o.Results.Add(round)); err != nil {
		return err
	}
	say(round)
	return nil
}

// failure is why a round came to nothing, or was the last one that its lab is good for.
func failure(round Round, lab error) string {
	if lab == nil {
		return round.Error
	}
	return strings.TrimPrefix(round.Error+"; ", "; ") + strings.ReplaceAll(lab.Error(), "\n", "; ")
}

// round runs a scenario once. The error is that of a lab which is of no use any
// more.
func (r runner) round(ctx context.Context, s Scenario) (out Round, page []byte, err error) {
	st := &stage{eyes: r.eyes, limit: time.Duration(s.Hold.Slower(r.slowness).Whole), stopped: map[string][]string{}}
	patience := time.Duration(float64(recovery) * max(r.slowness, 1))
	if st.was, err = r.whole(ctx, patience); err != nil {
		return out, nil, err
	}
	c := r.Cluster()
	if outage, ok := c.Outage(s.Predicts); ok {
		pause(ctx, outage.Steady)
	}
	if out, err = r.describe(ctx, s, st.was); err != nil {
		return out, nil, err
	}
	st.ttl = seconds(out.TTL)
	for _, name := range r.Names() {
		st.machines = append(st.machines, r.Machine(name))
	}
	// The cluster is whole since some loop of Patroni's, and a fault right after it
	// would always meet a lease that has just been renewed.
	pause(ctx, rand.N(uneven))
	before := r.load.Count()
	r.load.Forget()
	archive, err := r.archiveOf(ctx, s.Hold, st.was.leader)
	if err != nil {
		return out, nil, err
	}
	drawn := s.Name == NemesisName
	start := time.Now()
	st.began = start
	defer func() {
		out.Events = append(out.Events, protocol(st, start)...)
		slices.SortStableFunc(out.Events, func(a, b Event) int { return int((a.At - b.At) * 1e6) })
	}()
	since := func(at time.Time) float64 { return at.Sub(start).Seconds() }
	for _, step := range s.Do {
		out.Events = append(out.Events, Event{At: since(time.Now()), Text: step.Sentence})
		switch err := st.do(ctx, step); {
		case err == nil:
			continue
		case drawn: // it may not go with what was drawn before
			out.Events = append(out.Events, Event{At: since(time.Now()), Text: fmt.Sprintf("refused: %v", err)})
			continue
		default:
			out.Error = fmt.Sprintf("%s: %v", step.Sentence, err)
		}
		break
	}
	// A scenario says itself what ends; what a nemesis drew ends here.
	if drawn {
		out.Events = append(out.Events, Event{At: since(time.Now()), Text: "all of it ends"})
		if err := st.heal(ctx); err != nil {
			return out, nil, err
		}
	}
	ended := time.Now()
	_, notWhole := r.whole(ctx, st.limit)
	out.Whole = since(time.Now()) - since(ended)
	if notWhole != nil {
		out.Whole = -1
		out.Events = append(out.Events, Event{At: since(time.Now()), Text: notWhole.Error()})
	}
	if notWhole == nil && out.Error == "" {
		out.Archive = archive.wait(ctx, ended)
	}
	pause(ctx, time.Duration(s.Settle)-time.Since(ended))
	if !drawn {
		if err := st.heal(ctx); err != nil {
			return out, nil, err
		}
	}
	now, err := r.whole(ctx, patience)
	if err != nil {
		return out, nil, err
	}
	out.After = now.leader
	if s.Hold.Converged && out.Error == "" {
		out.Error = unconverged(now.leader, r.Machine(now.leader).Console().Lines())
	}
	divided, err := r.Divided(ctx)
	if err != nil {
		return out, nil, err
	}
	if divided != "" {
		out.Error = strings.TrimPrefix(out.Error+"; "+divided, "; ")
	}
	last, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := r.load.After(last, time.Now()); err != nil {
		return out, nil, err
	}
	end := time.Now()
	samples, claims := r.prober.Since(start)
	window := func(w workload.Span) Window { return Window{since(w.From), w.Long().Seconds()} }
	out.Gap, out.ReadGap, out.Arrival = window(r.load.Gap(start)), window(r.load.ReadGap(start)), window(r.load.ArrivalGap(start))
	out.Two, out.Claimed, out.Long = workload.Two(samples).Seconds(), workload.Two(claims).Seconds(), since(end)
	for _, reign := range workload.Reigns(samples) {
		out.Reigns = append(out.Reigns, Reign{reign.Node, since(reign.From), since(reign.To)})
	}
	told := r.load.Told()
	out.ReadOnly, out.Misread, out.Errs = told.ReadOnly, told.Misread, told.Errs
	out.Acked = r.load.Count() - before
	rows, err := r.load.Check(last)
	if err != nil {
		return out, nil, err
	}
	out.Register, out.Asked, page = r.register.Check(start)
	out.Lost, out.Ghosts, out.Gone = rows.Lost, rows.Ghosts, rows.Gone
	return out, page, nil
}

// unconverged is what the last line of converge.py on a leader's console says that is
// not as the spec says; empty: nothing.
func unconverged(leader string, console []machine.Line) string {
	said := "nothing of converge"
	for _, line := range console {
		switch step, ok := bootlog.Parse(line.Text); {
		case !ok || step.Name != "converge":
		case step.Status == "ok":
			said = ""
		default:
			said = fmt.Sprintf("converge %s %s", step.Status, step.Detail)
		}
	}
	if said == "" {
		return ""
	}
	return leader + " says: " + said
}

// describe is what a round was run on.
func (r runner) describe(ctx context.Context, s Scenario, was view) (Round, error) {
	ttl, err := r.ttl(ctx)
	if err != nil {
		return Round{}, err
	}
	c := r.Cluster()
	spec, err := generator.Effective(&c)
	if err != nil {
		return Round{}, err
	}
	out := Round{Scenario: s.Name, Failover: c.Failover, Durability: c.Durability, TTL: ttl.Seconds(), Slowness: r.slowness,
		At: time.Now().UTC().Truncate(time.Millisecond), Before: was.leader, Spec: cloudinit.Digest(spec), Images: map[string]string{}}
	if outage, ok := c.Outage(s.Predicts); ok {
		gap := outage.Gap()
		out.Foretold = &Interval{gap.Least.Seconds(), gap.Most.Seconds()}
		if gap.Most == role.Unbounded {
			out.Foretold.Most = -1
		}
	}
	for name, root := range r.Images() {
		out.Images[name] = strings.TrimPrefix(filepath.Base(root), "root-")
	}
	return out, nil
}

// journals are what the services of all machines said since a moment: for people,
// when a round is questionable or was interrupted. A machine that does not answer is
// left out.
func (r runner) journals(ctx context.Context, since time.Time) []byte {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	var all []byte
	for _, name := range r.Names() {
		if _, running := r.init(name); !running {
			continue
		}
		said, err := r.Machine(name).Exec(ctx, "sh", "-c", fmt.Sprintf(
			"journalctl --no-pager -q -o short-iso-precise --since @%d -u haproxy -u patroni -u etcd -u 'pgha-*' | grep -v 'LOG:  \\(dis\\)\\?connection' | tail -n 1000", since.Unix()))
		all = fmt.Appendf(all, "%s (%v)\n%s\n", name, err, said)
	}
	return all
}

// most is how many lines of machines a round keeps.
const most = 400

// protocol is what machines said on their consoles in a round.
func protocol(s *stage, start time.Time) (events []Event) {
	for _, m := range s.machines {
		if m == nil {
			continue
		}
		for _, line := range m.Console().Lines() {
			step, ok := bootlog.Parse(line.Text)
			if ok && !line.At.Before(start) && len(events) < most {
				events = append(events, Event{line.At.Sub(start).Seconds(), step.Node, step.Status, strings.TrimSpace(step.Name + " " + step.Detail)})
			}
		}
	}
	return events
}
