//go:build linux

package lab_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgha-gen/deploy/secrets"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
	"pgha-gen/internal/demo"
	"pgha-gen/lab/labtest"
	"pgha-gen/roles/haproxy"
	"pgha-gen/roles/patroni"
)

// What HAProxy does with the configuration that we write, before nodes that say
// what a test wants them to say. PGHA_TEST_HAPROXY=/usr/sbin/haproxy judges
// another version than the image's.
func TestProxy(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 45*time.Second)
	defer cancel()
	labtest.Need(t, "ip")
	command := haproxyCommand(t, ctx)

	for leader := range 3 {
		t.Run(fmt.Sprintf("start, node %d leads", leader+1), func(t *testing.T) { proxyStart(t, ctx, command, leader) })
	}
	t.Run("Patroni restarts", func(t *testing.T) { proxyAbsence(t, ctx, command) })
	t.Run("reload", func(t *testing.T) { proxyReload(t, ctx, command) })
	t.Run("switchover", func(t *testing.T) { proxySwitchover(t, ctx, command) })
	t.Run("new leader between two checks", func(t *testing.T) { proxyFollow(t, ctx, command) })
	t.Run("leader is lost, another one leads", func(t *testing.T) { proxyLost(t, ctx, command) })
	t.Run("leader is busy", func(t *testing.T) { proxyBusy(t, ctx, command) })
	t.Run("leader stops", func(t *testing.T) { proxyStop(t, ctx, command) })
	t.Run("queue", func(t *testing.T) { proxyQueue(t, ctx, command) })
	t.Run("clients in all", func(t *testing.T) { proxyLimit(t, ctx, command) })
	t.Run("silent clients", func(t *testing.T) { proxySilent(t, ctx, command) })
	t.Run("one client takes all", func(t *testing.T) { proxyGreedy(t, ctx, command) })
	t.Run("replicas", func(t *testing.T) { proxyReplicas(t, ctx, command) })
	t.Run("statistics", func(t *testing.T) { proxyStatistics(t, ctx, command) })
}

// Not one writer meets a node that does not lead, from the moment that HAProxy
// listens, and when it is loaded anew. One replica answers late: until it has,
// HAProxy knows nothing about it.
func proxyStart(t *testing.T, ctx context.Context, command []string, leader int) {
	f := newFakes(t, ctx, command, nil)
	for i, n := range f.nodes {
		n.say("replica")
		if i == (leader+1)%3 {
			n.slow = time.Second
		}
	}
	f.nodes[leader].say("primary")
	met := map[string]int{}
	var mu sync.Mutex
	stop := make(chan struct{})
	var loops sync.WaitGroup
	for range 4 {
		loops.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				name := f.ask(ctx, anApp, toLeader)
				mu.Lock()
				met[name]++
				mu.Unlock()
			}
		})
	}
	process := f.start(t, ctx, nil)
	time.Sleep(2500 * time.Millisecond)
	f.start(t, ctx, process)
	time.Sleep(2500 * time.Millisecond)
	close(stop)
	loops.Wait()
	t.Logf("writers met: %v", met)
	want := f.nodes[leader].name
	for name, times := range met {
		if name != want && name != "" {
			t.Errorf("%d writers met %s, and %s leads", times, name, want)
		}
	}
	if met[want] < 100 {
		t.Errorf("%d writers met the leader %s, want many", met[want], want)
	}
}

// Patroni goes away without PostgreSQL, comes back, and says 503 before its
// first loop: sessions live on. One that stays away is taken for gone.
func proxyAbsence(t *testing.T, ctx context.Context, command []string) {
	f := newFakes(t, ctx, command, nil)
	leader := f.nodes[0]
	f.running(t, ctx, leader)
	f.follow(t, ctx)
	for _, away := range []time.Duration{time.Second, 2500 * time.Millisecond, 3200 * time.Millisecond} {
		s, err := f.open(ctx, anApp, toLeader)
		if err != nil {
			t.Fatal(err)
		}
		leader.silent()
		time.Sleep(away)
		if name := f.ask(ctx, anApp, toLeader); name != leader.name {
			t.Errorf("after %s without Patroni a new writer meets %q, want %s", away, name, leader.name)
		}
		leader.say("starting")
		if err := leader.listenREST(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if name := f.ask(ctx, anApp, toLeader); name != "" {
			t.Errorf("a new writer meets %s, which does not say that it leads", name)
		}
		if !s.alive() {
			t.Errorf("Patroni was away for %s, and a session of PostgreSQL ended", away)
		}
		leader.say("primary")
		took := within(t, 700*time.Millisecond, "new writers are back", func() bool { return f.ask(ctx, anApp, toLeader) == leader.name })
		t.Logf("away %s: new writers %s after it leads again", away, took.Round(time.Millisecond))
		if !s.alive() {
			t.Errorf("Patroni was away for %s and is back, and a session of PostgreSQL ended", away)
		}
		s.Close()
	}
	s, err := f.open(ctx, anApp, toLeader)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	leader.silent()
	took := within(t, 7*time.Second, "the sessions of a node without Patroni end", func() bool { return !s.alive() })
	t.Logf("Patroni away for good: sessions end after %s", took.Round(10*time.Millisecond))
}

// A reload: no client is refused, and a session lives on. TestProxyUnit tries
// what becomes of it when its node is gone.
func proxyReload(t *testing.T, ctx context.Context, command []string) {
	f := newFakes(t, ctx, command, nil)
	leader := f.nodes[0]
	process := f.running(t, ctx, leader)
	s, err := f.open(ctx, anApp, toLeader)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var refused, served int
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if f.ask(ctx, anApp, toLeader) == leader.name {
				served++
			} else {
				refused++
			}
			time.Sleep(2 * time.Millisecond) // one address may open 1000 a second
		}
	}()
	f.reload(t, ctx, process)
	time.Sleep(2 * time.Second)
	close(stop)
	<-ended
	if refused > 0 || served < 100 {
		t.Errorf("%d writers were served while HAProxy was loaded anew, and %d were not", served, refused)
	}
	if !s.alive() {
		t.Fatal("a reload ended a session")
	}
}

// The leader says 503 at once; the next one leads a while later.
func proxySwitchover(t *testing.T, ctx context.Context, command []string) {
	f := newFakes(t, ctx, command, nil)
	f.running(t, ctx, f.nodes[0])
	f.follow(t, ctx)
	for i := range 4 {
		from, to := f.nodes[i%3], f.nodes[(i+1)%3]
		// It has the lock until it has stopped.
		from.say("stopping")
		left := within(t, time.Second, "new writers leave the old leader", func() bool { return f.ask(ctx, anApp, toLeader) == "" })
		time.Sleep(time.Second)
		if name := f.ask(ctx, anApp, toLeader); name != "" {
			t.Errorf("a writer meets %s, and nobody leads", name)
		}
		from.say("replica")
		// The lock comes before the promotion.
		to.say("promoting")
		time.Sleep(time.Second)
		if name := f.ask(ctx, anApp, toLeader); name != "" {
			t.Errorf("a writer meets %s, which cannot write yet", name)
		}
		to.say("primary")
		came := within(t, time.Second, "writers meet the new leader", func() bool { return f.ask(ctx, anApp, toLeader) == to.name })
		t.Logf("%s left after %s, %s reached after %s", from.name, left.Round(time.Millisecond), to.name, came.Round(time.Millisecond))
	}
}

// follow_leader.py finds a new leader long before HAProxy's next check, which comes
// after 3 s here. It asks nobody while a node leads, or long after one did, believes no
// node that has another authority's certificate, and asks each ten times a second at most.
func proxyFollow(t *testing.T, ctx context.Context, command []string) {
	const inter = 3 * time.Second
	f := newFakes(t, ctx, command, func(c *role.Cluster) {
		checks := &c.Group(haproxy.Name).Settings.(*haproxy.Settings).Checks
		checks.Inter, checks.FastInter, checks.DownInter = specfile.Duration(inter), specfile.Duration(inter), specfile.Duration(inter)
	})
	f.running(t, ctx, f.nodes[0])
	f.follow(t, ctx)
	for _, n := range f.nodes {
		n.questions()
	}
	time.Sleep(2 * time.Second)
	for _, n := range f.nodes {
		if asked := n.questions(); asked > 4 { // two backends, each once or twice
			t.Errorf("%s was asked %d times in 2 s, and a node leads", n.name, asked)
		}
	}

	from, to := f.nodes[0], f.nodes[1]
	from.say("stopping")
	within(t, inter+2*time.Second, "HAProxy sees that nobody leads", func() bool { return f.ask(ctx, anApp, toLeader) == "" })
	// Its next checks come 3 s after this.
	for _, n := range f.nodes {
		n.questions()
	}
	time.Sleep(time.Second)
	for _, n := range f.nodes {
		asked := n.questions()
		t.Logf("%s was asked %d times in 1 s without a leader", n.name, asked)
		if asked < 2 || asked > 14 {
			t.Errorf("%s was asked %d times in 1 s, want 10 at most, and those of HAProxy", n.name, asked)
		}
	}
	from.say("replica")
	to.say("promoting")
	time.Sleep(300 * time.Millisecond)
	if name := f.ask(ctx, anApp, toLeader); name != "" {
		t.Errorf("a writer meets %s, which cannot write yet", name)
	}
	to.say("primary")
	took := within(t, inter/3, "writers meet the new leader", func() bool { return f.ask(ctx, anApp, toLeader) == to.name })
	t.Logf("%s reached after %s", to.name, took.Round(time.Millisecond))
	// HAProxy's next check agrees.
	time.Sleep(inter + time.Second)
	if name := f.ask(ctx, anApp, toLeader); name != to.name {
		t.Errorf("a writer meets %q, and %s leads", name, to.name)
	}

	// The one that leads now comes back as no node of this cluster.
	impostor := to
	impostor.say("stopping")
	within(t, inter+2*time.Second, "HAProxy sees that nobody leads", func() bool { return f.ask(ctx, anApp, toLeader) == "" })
	impostor.silent()
	foreign, err := secrets.NewCA("demo", time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	payloads, err := foreign.Payloads(demo.Cluster(t), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	payload := payloads[patroni.Name]
	certificate, err := tls.X509KeyPair([]byte(payload[impostor.name+".node.crt"]), []byte(payload[impostor.name+".node.key"]))
	if err != nil {
		t.Fatal(err)
	}
	impostor.tls = &tls.Config{Certificates: []tls.Certificate{certificate}}
	impostor.say("primary")
	if err := impostor.listenREST(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if name := f.ask(ctx, anApp, toLeader); name != "" {
			t.Fatalf("a writer meets %s, which has another authority's certificate", name)
		}
	}
	// HAProxy's own checks are enough after a while.
	time.Sleep(8 * time.Second)
	for _, n := range f.nodes {
		n.questions()
	}
	time.Sleep(2 * time.Second)
	if asked := f.nodes[2].questions(); asked > 4 {
		t.Errorf("%s was asked %d times in 2 s, long after the last leader", f.nodes[2].name, asked)
	}
}

// The sessions of a leader that is silent wait, since it may be back: HAProxy alone would
// end them after 15 s here. Once another node leads, follow_leader.py does at once.
func proxyLost(t *testing.T, ctx context.Context, command []string) {
	const inter = 3 * time.Second
	f := newFakes(t, ctx, command, func(c *role.Cluster) {
		checks := &c.Group(haproxy.Name).Settings.(*haproxy.Settings).Checks
		checks.Inter, checks.FastInter, checks.Fall = specfile.Duration(inter), specfile.Duration(inter), 6
	})
	from, to := f.nodes[0], f.nodes[1]
	f.running(t, ctx, from)
	f.follow(t, ctx)
	s, err := f.open(ctx, anApp, toLeader)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	from.silent()
	for end := time.Now().Add(inter + 2*time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if !s.alive() {
			t.Fatal("the leader is silent, and a session ended before another node leads")
		}
	}
	to.say("primary")
	took := within(t, 2*time.Second, "the session ends", func() bool { return !s.alive() })
	t.Logf("another node leads: the session ended after %s", took.Round(time.Millisecond))
	if name := f.ask(ctx, anApp, toLeader); name != to.name {
		t.Errorf("a writer meets %q, and %s leads", name, to.name)
	}
}

// A leader whose cores are all busy takes its time for a handshake, and then for an
// answer. It leads all the same: its sessions live on, and new writers find it.
func proxyBusy(t *testing.T, ctx context.Context, command []string) {
	f := newFakes(t, ctx, command, func(c *role.Cluster) {
		c.Group(haproxy.Name).Settings.(*haproxy.Settings).Checks.Fall = 2
	})
	leader := f.nodes[0]
	f.running(t, ctx, leader)
	f.follow(t, ctx)
	s, err := f.open(ctx, anApp, toLeader)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	leader.busy(800 * time.Millisecond)
	for end := time.Now().Add(6 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if name := f.ask(ctx, anApp, toLeader); name != leader.name {
			t.Fatalf("a new writer meets %q, want %s, which is busy", name, leader.name)
		}
		if !s.alive() {
			t.Fatal("the leader is busy, and a session ended")
		}
	}
	// Another one leads, and is as busy.
	leader.say("replica")
	f.nodes[1].busy(800 * time.Millisecond)
	f.nodes[1].say("primary")
	took := within(t, 10*time.Second, "writers meet the new leader", func() bool { return f.ask(ctx, anApp, toLeader) == f.nodes[1].name })
	t.Logf("new leader reached after %s", took.Round(time.Millisecond))
}

// The leader's machine stops: it refuses all connections, and another node
// leads before HAProxy takes the old one for gone.
func proxyStop(t *testing.T, ctx context.Context, command []string) {
	f := newFakes(t, ctx, command, nil)
	f.running(t, ctx, f.nodes[0])
	f.follow(t, ctx)
	f.nodes[0].gone()
	time.Sleep(time.Second)
	f.nodes[2].say("primary")
	took := within(t, time.Second, "writers meet the new leader", func() bool { return f.ask(ctx, anApp, toLeader) == f.nodes[2].name })
	t.Logf("new leader reached after %s", took.Round(time.Millisecond))
	for range 20 {
		if name := f.ask(ctx, anApp, toLeader); name != f.nodes[2].name {
			t.Errorf("a writer meets %q after the new leader was reached", name)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Clients above PostgreSQL's limit wait, and get in when others leave.
func proxyQueue(t *testing.T, ctx context.Context, command []string) {
	const limit = 20
	f := newFakes(t, ctx, command, func(c *role.Cluster) {
		c.Group(patroni.Name).Settings.(*patroni.Settings).Parameters["max_connections"] = "30"
	})
	f.running(t, ctx, f.nodes[0])
	within(t, 2*time.Second, "nobody is connected", func() bool { now, _ := f.nodes[0].open(); return now == 0 })
	var in []*session
	for range limit {
		s, err := f.open(ctx, anApp, toLeader)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		in = append(in, s)
	}
	waited := make(chan time.Duration, 5)
	start := time.Now()
	for range cap(waited) {
		go func() {
			s, err := f.open(ctx, otherApp, toLeader)
			if err != nil {
				waited <- 0
				return
			}
			defer s.Close()
			waited <- time.Since(start)
		}()
	}
	time.Sleep(time.Second)
	if now, _ := f.nodes[0].open(); now != limit || len(waited) != 0 {
		t.Errorf("PostgreSQL has %d sessions, and %d more came in; want %d and 0", now, len(waited), limit)
	}
	for range cap(waited) {
		in[0].Close()
		in = in[1:]
	}
	for range cap(waited) {
		if took := <-waited; took < time.Second {
			t.Errorf("a client above the limit got in after %s (0: not at all), want it to wait until another left", took)
		}
	}
}

// max_connections counts writers and readers together, and keeps nobody from
// the statistics.
func proxyLimit(t *testing.T, ctx context.Context, command []string) {
	f := newFakes(t, ctx, command, func(c *role.Cluster) {
		c.Group(haproxy.Name).Settings.(*haproxy.Settings).MaxConnections = 20
	})
	f.running(t, ctx, f.nodes[0])
	time.Sleep(2500 * time.Millisecond) // the connections of this second are counted
	for i := range 20 {
		s, err := f.open(ctx, []string{anApp, otherApp}[i%2], []string{toLeader, toReplicas}[i/10])
		if err != nil {
			t.Fatalf("connection %d: %v", i+1, err)
		}
		defer s.Close()
	}
	third := make(chan string, 1)
	go func() { third <- f.ask(ctx, aNeighbour, toReplicas) }()
	select {
	case name := <-third:
		t.Errorf("connection 21 of 20 meets %q at once", name)
	case <-time.After(time.Second):
	}
	if code := f.get(ctx, aBalancer, "/alive"); code != 200 {
		t.Errorf("a full proxy says %d to /alive, want 200", code)
	}
}

// Who connects and says nothing gets none of PostgreSQL's connections, and is
// thrown out.
func proxySilent(t *testing.T, ctx context.Context, command []string) {
	f := newFakes(t, ctx, command, nil)
	f.running(t, ctx, f.nodes[0])
	_, before := f.nodes[0].open()
	for range 300 {
		conn, err := f.dial(ctx, anApp, toLeader)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	time.Sleep(time.Second)
	if _, ever := f.nodes[0].open(); ever != before {
		t.Errorf("silent clients got %d connections of PostgreSQL's, want none", ever-before)
	}
	conn, err := f.dial(ctx, anApp, toLeader)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(8 * time.Second))
	start := time.Now()
	if _, err := conn.Read(make([]byte, 1)); err == nil || time.Since(start) > 7*time.Second {
		t.Errorf("a silent client is still there after %s (%v), want 5s", time.Since(start), err)
	}
}

// One source holds half of max_connections at most, and opens as many a second.
func proxyGreedy(t *testing.T, ctx context.Context, command []string) {
	f := newFakes(t, ctx, command, func(c *role.Cluster) {
		c.Group(haproxy.Name).Settings.(*haproxy.Settings).MaxConnections = 100
	})
	f.running(t, ctx, f.nodes[0])
	time.Sleep(1500 * time.Millisecond)
	var in int
	for i := range 200 {
		s, err := f.open(ctx, anApp, toLeader)
		if err == nil {
			defer s.Close()
			in++
		}
		if i == 40 {
			time.Sleep(1100 * time.Millisecond) // stay below the rate
		}
	}
	if in != 50 {
		t.Errorf("one source got %d connections of 100, want 50", in)
	}
	if name := f.ask(ctx, otherApp, toLeader); name != f.nodes[0].name {
		t.Errorf("another source meets %q, want %s", name, f.nodes[0].name)
	}
	// Above the rate some are refused, and some get in all the time.
	end := time.Now().Add(3500 * time.Millisecond)
	var served, refused int
	for time.Now().Before(end) {
		if f.ask(ctx, otherApp, toLeader) == "" {
			refused++
		} else {
			served++
		}
	}
	t.Logf("50 a second are allowed: in 3.5 s %d served, %d refused", served, refused)
	if served < 100 || served > 260 || refused == 0 {
		t.Errorf("%d served, %d refused; want about 175 served, and some refused", served, refused)
	}
}

// A replica that refuses connections, or lags, gets no readers; with none left
// they go to the leader.
func proxyReplicas(t *testing.T, ctx context.Context, command []string) {
	f := newFakes(t, ctx, command, nil)
	f.running(t, ctx, f.nodes[0])
	meet := func() []string {
		seen := map[string]bool{}
		for range 20 {
			seen[f.ask(ctx, anApp, toReplicas)] = true
		}
		var names []string
		for name := range seen {
			names = append(names, name)
		}
		slices.Sort(names)
		return names
	}
	within(t, time.Second, "readers meet both replicas", func() bool { return strings.Join(meet(), " ") == "demo-pg-2 demo-pg-3" })
	f.nodes[1].stopSQL()
	if got := strings.Join(meet(), " "); got != "demo-pg-3" {
		t.Errorf("one replica's PostgreSQL is gone, and readers meet %q at once, want the other one", got)
	}
	f.nodes[1].silent()
	f.nodes[2].say("lagging")
	within(t, 8*time.Second, "readers meet the leader", func() bool { return strings.Join(meet(), " ") == "demo-pg-1" })
}

// Who may see what on the port of statistics, and which check fails when.
func proxyStatistics(t *testing.T, ctx context.Context, command []string) {
	f := newFakes(t, ctx, command, nil)
	f.running(t, ctx, f.nodes[0])
	see := func(health int) {
		t.Helper()
		for _, test := range []struct {
			from  string
			codes []int // of /alive, /health, /metrics, /stats
		}{
			{"127.0.0.1", []int{200, health, 200, 200}},
			{aMonitor, []int{200, health, 200, 200}},
			{aBalancer, []int{200, health, 403, 403}},
			{anApp, []int{0, 0, 0, 0}},
			{aNeighbour, []int{0, 0, 0, 0}},
		} {
			var got []int
			for _, path := range []string{"/alive", "/health", "/metrics", "/stats"} {
				got = append(got, f.get(ctx, test.from, path))
			}
			if !slices.Equal(got, test.codes) {
				t.Errorf("%s gets %v of /alive /health /metrics /stats, want %v", test.from, got, test.codes)
			}
		}
	}
	see(200)
	f.nodes[0].say("replica")
	within(t, 2*time.Second, "/health fails", func() bool { return f.get(ctx, "127.0.0.1", "/health") == 503 })
	see(503)
}
