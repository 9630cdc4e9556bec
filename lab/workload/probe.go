package workload

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Node is a database node as the prober reaches it: from the node itself,
// however the network is.
type Node struct {
	Name    string
	Connect Connect
	Leads   func(ctx context.Context) bool // what its own REST API says
}

// Sample is one look at a node.
type Sample struct {
	Node     string
	From, To time.Time
	Writable bool // PostgreSQL is not in recovery
	Acked    bool // a write was acknowledged
}

const (
	probeEvery = 200 * time.Millisecond
	// An answer of the REST API costs a node some 10 ms of a core: more often
	// would be a load of its own.
	claimEvery = time.Second
	probeTry   = time.Second
)

// ProbeTable is where the prober writes, a row for each node.
const ProbeTable = "CREATE TABLE IF NOT EXISTS probed (node text PRIMARY KEY, at timestamptz)"

// Prober looks at each node all the time.
type Prober struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu      sync.Mutex
	samples []Sample
	claims  []Sample // of the REST API: Acked is that it leads
}

// StartProber looks at these nodes every 200 ms, and asks their REST APIs every
// second, until Stop.
func StartProber(ctx context.Context, nodes []Node) *Prober {
	ctx, stop := context.WithCancel(ctx)
	p := &Prober{stop: stop}
	for _, n := range nodes {
		p.done.Go(func() { p.watch(ctx, n) })
		p.done.Go(func() { p.ask(ctx, n) })
	}
	return p
}

func (p *Prober) watch(ctx context.Context, n Node) {
	k := keeper{connect: n.Connect}
	defer k.drop(ctx)
	for ctx.Err() == nil {
		s := Sample{Node: n.Name, From: time.Now()}
		err := k.do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
			ctx, cancel := context.WithTimeout(ctx, probeTry)
			defer cancel()
			var replica bool
			if err := conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&replica); err != nil {
				return err
			}
			if s.Writable = !replica; replica {
				return nil
			}
			_, err := conn.Exec(ctx, "INSERT INTO probed VALUES ($1, now()) ON CONFLICT (node) DO UPDATE SET at = excluded.at", n.Name)
			return err
		})
		s.To = time.Now()
		s.Acked = s.Writable && err == nil
		p.mu.Lock()
		p.samples = append(p.samples, s)
		p.mu.Unlock()
		sleep(ctx, probeEvery-time.Since(s.From))
	}
}

// ask has each node's REST API say whether it leads.
func (p *Prober) ask(ctx context.Context, n Node) {
	for ctx.Err() == nil {
		s := Sample{Node: n.Name, From: time.Now()}
		try, cancel := context.WithTimeout(ctx, probeTry)
		s.Acked = n.Leads(try)
		cancel()
		s.To = time.Now()
		p.mu.Lock()
		p.claims = append(p.claims, s)
		p.mu.Unlock()
		sleep(ctx, claimEvery-time.Since(s.From))
	}
}

// Since are the samples that ended after this moment: of writes, and of what REST
// APIs claim. Older ones are forgotten.
func (p *Prober) Since(moment time.Time) (writes, claims []Sample) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := func(s Sample) bool { return s.To.Before(moment) }
	p.samples, p.claims = slices.DeleteFunc(p.samples, old), slices.DeleteFunc(p.claims, old)
	return slices.Clone(p.samples), slices.Clone(p.claims)
}

// Stop ends it.
func (p *Prober) Stop() {
	p.stop()
	p.done.Wait()
}

// Reign is a time in which a node acknowledged every write of the prober.
type Reign struct {
	Node string
	Span
}

// Reigns are those of all nodes, in the order of their beginnings.
func Reigns(samples []Sample) []Reign {
	open, all := map[string]int{}, []Reign{}
	sorted := slices.SortedStableFunc(slices.Values(samples), func(a, b Sample) int { return a.To.Compare(b.To) })
	for _, s := range sorted {
		i, ok := open[s.Node]
		switch {
		case !s.Acked:
			delete(open, s.Node)
		case ok:
			all[i].To = s.To
		default:
			open[s.Node] = len(all)
			all = append(all, Reign{s.Node, Span{s.To, s.To}})
		}
	}
	return all
}

// Two is how long two nodes acknowledged writes at the same time. A moment
// counts if one node has acknowledged something that was asked for after the
// other began, and before it ended.
func Two(samples []Sample) time.Duration {
	reigns := Reigns(samples)
	two := time.Duration(0)
	for i, a := range reigns {
		for _, b := range reigns[i+1:] {
			if a.Node == b.Node {
				continue
			}
			from, to := a.From, a.To
			if b.From.After(from) {
				from = b.From
			}
			if b.To.Before(to) {
				to = b.To
			}
			if to.After(from) {
				two += to.Sub(from)
			}
			for _, pair := range [][2]Reign{{a, b}, {b, a}} {
				two = max(two, within(samples, pair[0], pair[1]))
			}
		}
	}
	return two
}

// within is the longest write of one reign that fell into another one: a reign
// of a single write has no length.
func within(samples []Sample, short, long Reign) (most time.Duration) {
	for _, s := range samples {
		if s.Acked && s.Node == short.Node && !s.From.Before(long.From) && !s.To.After(long.To) &&
			!s.To.Before(short.From) && !s.To.After(short.To) {
			most = max(most, s.To.Sub(s.From))
		}
	}
	return most
}
