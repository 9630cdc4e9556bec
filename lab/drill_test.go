//go:build linux

package lab_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloud"
	"pgha-gen/lab/drill"
	"pgha-gen/lab/labtest"
	"pgha-gen/lab/machine/machinetest"
	"pgha-gen/lab/workload"
)

// The quick scenarios of pgha-lab drill, once each: what docs and README promise of
// the commonest faults. All of them: make drill.
func TestDrill(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 140*time.Second)
	defer cancel()
	all, err := drill.All()
	if err != nil {
		t.Fatal(err)
	}
	labtest.Need(t, "nft", "tc")
	quick := slices.DeleteFunc(slices.Clone(all), func(s drill.Scenario) bool { return !s.Quick })
	outages := new(cloud.Outages)
	c := newClusterOf(t, ctx, withFailover(t), outages.Now)
	c.up(t, ctx)
	results := drill.Results(t.TempDir())
	order := drill.Order{Scenarios: quick, Rounds: 1, Results: results, Slowness: labtest.Slowness()}
	count := 0
	err = drill.Run(ctx, drill.World{Lab: c.Lab, Faults: outages}, order, func(r drill.Round) {
		count++
		t.Run(r.Scenario, func(t *testing.T) {
			t.Logf("%.2f s without a write, %.2f s without a new connection, %.2f s without a read; %d rows acknowledged, %d lost; register: %d operations %s; whole again after %.1f s",
				r.Gap.Seconds, r.Arrival.Seconds, r.ReadGap.Seconds, r.Acked, len(r.Lost), r.Asked, r.Register, r.Whole)
			if r.Register != workload.InOrder && r.Register != workload.Unkept || r.Asked < 50 {
				t.Errorf("the register's %d operations are %s", r.Asked, r.Register)
			}
			led := slices.ContainsFunc(r.Reigns, func(reign drill.Reign) bool { return reign.Node == r.After })
			if !led {
				t.Errorf("the prober never saw %s acknowledge a write: %+v", r.After, r.Reigns)
			}
			hold := quick[slices.IndexFunc(quick, func(s drill.Scenario) bool { return s.Name == r.Scenario })].Hold
			if load := busy(t); load > 4*float64(runtime.NumCPU()) {
				// Patroni's start alone takes seconds then. What must never
				// happen must not happen all the same.
				t.Logf("the host has a load of %.1f: times are judged with 10 s more, and not by the prediction", load)
				hold.Gap.More += 10 * specfile.Second
				hold.Arrivals = 0
				r.Foretold = nil
			}
			for _, broken := range drill.Judge(hold, r) {
				t.Error(broken)
			}
		})
	})
	if t.Failed() {
		kept := filepath.Join(labtest.Dir, fmt.Sprintf("drill-failed-%d", time.Now().Unix()))
		t.Logf("what was measured is kept in %s (%v)", kept, os.CopyFS(kept, os.DirFS(string(results))))
	}
	if err != nil {
		t.Fatal(err)
	}
	if count != len(quick) {
		t.Errorf("%d rounds, want one of each of the %d scenarios", count, len(quick))
	}
	// Another run has nothing to do.
	if err := drill.Run(ctx, drill.World{Lab: c.Lab, Faults: outages}, order, func(r drill.Round) {
		t.Errorf("%s is run again", r.Scenario)
	}); err != nil {
		t.Error(err)
	}
	// One that is named, and is not for this cluster, is refused; else it is left out.
	other, err := drill.Pick(all, []string{"agreement-leader-power"})
	testkit.OK(t, err)
	for _, named := range []bool{true, false} {
		order := drill.Order{Scenarios: other, Named: named, Rounds: 1, Results: drill.Results(t.TempDir())}
		err := drill.Run(ctx, drill.World{Lab: c.Lab, Faults: outages}, order, func(r drill.Round) { t.Errorf("%s is run", r.Scenario) })
		if refused := err != nil && strings.HasPrefix(err.Error(), "scenario agreement-leader-power is for clusters with failover by agreement"); refused != named {
			t.Errorf("named: %v: %v", named, err)
		}
	}
	// Nor does a nemesis leave anything for people to end: it starts what it cut.
	pool, err := drill.Pick(all, []string{"etcd-follower-power"})
	testkit.OK(t, err)
	count = 0
	order = drill.Order{Scenarios: pool, Nemesis: &drill.Nemesis{Seed: 1, Long: time.Second}, Results: drill.Results(t.TempDir()), Slowness: labtest.Slowness()}
	testkit.OK(t, drill.Run(ctx, drill.World{Lab: c.Lab, Faults: outages}, order, func(r drill.Round) {
		count++
		t.Logf("nemesis: %.2f s without a write; %d rows acknowledged; whole again after %.1f s", r.Gap.Seconds, r.Acked, r.Whole)
		for _, broken := range r.Verdict {
			t.Errorf("nemesis: %s", broken)
		}
	}))
	if count != 1 {
		t.Errorf("the nemesis had %d rounds, want 1", count)
	}
	// One that is interrupted leaves what it had come to, for people, and no round.
	forever, err := drill.ParseStep("wait 1h")
	testkit.OK(t, err)
	pool[0].Do = []drill.Step{pool[0].Do[0], pool[0].Do[2], forever}
	order = drill.Order{Scenarios: pool, Rounds: 1, Results: drill.Results(t.TempDir()), Slowness: labtest.Slowness()}
	short, stop := context.WithTimeout(ctx, time.Duration(float64(8*time.Second)*max(labtest.Slowness(), 1)))
	defer stop()
	err = drill.Run(short, drill.World{Lab: c.Lab, Faults: outages}, order, func(r drill.Round) { t.Errorf("a round that was interrupted: %+v", r) })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a drill that is interrupted: %v", err)
	}
	state, err := os.ReadFile(filepath.Join(string(order.Results), "interrupted-etcd-follower-power-1.txt"))
	testkit.OK(t, err)
	for _, want := range []string{`start an etcd follower$`, `^ +\d+\.\d\d \S+ contract role etcd, `, `wait 1h$`, `^demo-pg-1 \(<nil>\)$`} {
		if !regexp.MustCompile(`(?m)` + want).Match(state) {
			t.Errorf("nothing in it matches %s:\n%s", want, state)
		}
	}
}

// What can happen to backups, each once, under load: every fault is said in one
// sentence, the cluster goes on, and afterwards the archive has all. Long: make
// test-long. Only these scenarios with PGHA_TEST_SCENARIOS.
func TestDrillBackups(t *testing.T) {
	drillOnce(t, demo.Read(t, testkit.Text(t, "drill/pgha.yaml")), func(s drill.Scenario) bool { return s.Backup })
}

// What the cluster of make drill cannot have: failover by agreement, and a second
// HAProxy. Each scenario for that once, under load. Long: make test-long. Only these
// scenarios with PGHA_TEST_SCENARIOS.
func TestDrillAgreement(t *testing.T) {
	text := testkit.Text(t, "drill/pgha.yaml")
	plain := demo.Read(t, text)
	both := demo.Read(t, demo.Edited(t, text, "postgresql: 18\n=>postgresql: 18\n    agreement: {after: 3s}\n",
		"address: 10.128.0.40}\n=>address: 10.128.0.40}\n      - {name: haproxy-2, zone: ru-central1-a, address: 10.128.0.41}\n"))
	drillOnce(t, both, func(s drill.Scenario) bool { return s.Unfit(plain) != nil && s.Unfit(both) == nil })
}

// drillOnce runs these scenarios on a cluster, once each.
func drillOnce(t *testing.T, spec *role.Cluster, wanted func(drill.Scenario) bool) {
	if os.Getenv("PGHA_TEST_LONG") == "" {
		t.Skip("this test goes through many scenarios: make test-long")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Minute)
	defer cancel()
	labtest.Need(t, "nft", "tc")
	all, err := drill.All()
	testkit.OK(t, err)
	all = slices.DeleteFunc(all, func(s drill.Scenario) bool { return !wanted(s) })
	if names := strings.Fields(os.Getenv("PGHA_TEST_SCENARIOS")); names != nil {
		all, err = drill.Pick(all, names)
		testkit.OK(t, err)
	}
	outages := new(cloud.Outages)
	c := newClusterOf(t, ctx, spec, outages.Now)
	c.up(t, ctx)
	results := drill.Results(t.TempDir())
	count := 0
	err = drill.Run(ctx, drill.World{Lab: c.Lab, Faults: outages}, drill.Order{Scenarios: all, Rounds: 1, Results: results, Slowness: labtest.Slowness()}, func(r drill.Round) {
		count++
		t.Run(r.Scenario, func(t *testing.T) {
			t.Logf("%.2f s without a write; %d rows acknowledged, %d lost; archive: %+v", r.Gap.Seconds, r.Acked, len(r.Lost), r.Archive)
			for _, e := range r.Events {
				if e.Node == "" || slices.Contains([]string{"agreement", "archive", "backup", "storage-key"}, strings.Fields(e.Text)[0]) {
					t.Logf("%7.1f s  %s %s %s", e.At, e.Node, e.Status, e.Text)
				}
			}
			for _, broken := range r.Verdict {
				t.Error(broken)
			}
		})
	})
	testkit.OK(t, err)
	if count != len(all) {
		t.Errorf("%d rounds, want one of each of the %d scenarios", count, len(all))
	}
}

// busy is how many processes want a core, of the last minute. The lab by itself
// brings it to two or three for each core.
func busy(t *testing.T) (load float64) {
	t.Helper()
	if _, err := fmt.Sscan(testkit.Text(t, "/proc/loadavg"), &load); err != nil {
		t.Fatal(err)
	}
	return load
}

// A stop in order, with pages in memory that only a checkpoint brings to the disk.
// More of them with PGHA_TEST_DIRTY; long: make test-long.
func TestStopDirty(t *testing.T) {
	if os.Getenv("PGHA_TEST_LONG") == "" {
		t.Skip("this test takes a minute more: make test-long")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	c := newClusterOf(t, ctx, withFailover(t))
	c.up(t, ctx)
	leader := c.whole(t, ctx)
	l := startLoad(t, ctx, c, 4)
	megabytes := 256
	if n, err := strconv.Atoi(os.Getenv("PGHA_TEST_DIRTY")); err == nil {
		megabytes = n
	}
	c.sql(t, ctx, leader, "CHECKPOINT")
	c.sql(t, ctx, leader, fmt.Sprintf("CREATE TABLE dirty AS SELECT g, repeat('x', 980) FROM generate_series(1, %d) AS g", 1000*megabytes))
	c.sql(t, ctx, leader, "CREATE EXTENSION IF NOT EXISTS pg_buffercache")
	t.Logf("dirty in memory: %s", c.sql(t, ctx, leader, "SELECT pg_size_pretty(buffers_dirty * 8192::bigint) FROM (SELECT count(*) FILTER (WHERE isdirty) AS buffers_dirty FROM pg_buffercache)"))
	start := time.Now()
	gap, _ := l.fault(t, ctx, 10*time.Second, func() {
		if err := machinetest.PowerOff(ctx, c.Machine(leader)); err != nil {
			t.Errorf("it is cut, not stopped: %v", err)
		}
		t.Logf("its stop took %.1f s", time.Since(start).Seconds())
	})
	atMost(t, gap, 5*time.Second)
	if err := c.Start(ctx, leader); err != nil {
		t.Fatal(err)
	}
	c.whole(t, ctx)
	l.end(t, ctx)
}

// timers are the keys of the reference that follow from failover.
var timers = regexp.MustCompile(`(?m)^ +(ttl|loop_wait|retry_timeout|primary_start_timeout|heartbeat_interval|election_timeout|check|inter|fastinter|downinter|timeout|rise|fall): .*\n`)

// withFailover is the reference, with the timers that failover gives it; another
// one with PGHA_TEST_FAILOVER.
func withFailover(t *testing.T) *role.Cluster {
	t.Helper()
	preset := os.Getenv("PGHA_TEST_FAILOVER")
	if preset == "" {
		preset = "fast"
	}
	text := strings.Replace(timers.ReplaceAllString(demo.Spec(t), ""), "\nfailover: fast", "\nfailover: "+preset, 1)
	return demo.Read(t, text)
}

func atMost(t *testing.T, gap, most time.Duration) {
	t.Helper()
	if most := labtest.Here(most); gap > most {
		t.Errorf("%.2f s without an acknowledged write, want at most %.2f", gap.Seconds(), most.Seconds())
	}
}

// unplug pulls a machine's cable, and plug puts it back.
func (c *cluster) unplug(t *testing.T, ctx context.Context, node string) {
	c.cable(t, ctx, node, false)
}
func (c *cluster) plug(t *testing.T, ctx context.Context, node string) { c.cable(t, ctx, node, true) }

func (c *cluster) cable(t *testing.T, ctx context.Context, node string, in bool) {
	t.Helper()
	if err := c.Cable(ctx, node, in); err != nil {
		t.Fatal(err)
	}
}
