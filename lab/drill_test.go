//go:build linux

package lab_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/lab/machine/machinetest"
)

// What breaks, under load: how long nobody can write, and whether anything that
// was acknowledged is lost. The bounds are what README and docs promise.
func TestDrills(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	c := newClusterOf(t, ctx, withFailover(t))
	c.up(t, ctx)
	c.whole(t, ctx)
	l := startLoad(t, ctx, c, 4)

	etcd := []string{"demo-etcd-1", "demo-etcd-2", "demo-etcd-3"}
	t.Run("all of etcd away for a minute", func(t *testing.T) {
		leader := c.whole(t, ctx)
		gap, _ := l.fault(t, ctx, 65*time.Second, func() {
			for _, name := range etcd {
				c.unplug(t, ctx, name)
			}
			time.Sleep(60 * time.Second)
			for _, name := range etcd {
				c.plug(t, ctx, name)
			}
		})
		atMost(t, gap, time.Second)
		if now := c.whole(t, ctx); now != leader {
			t.Errorf("%s leads, and %s did", now, leader)
		}
	})

	t.Run("Patroni killed", func(t *testing.T) {
		for range 3 {
			leader := c.whole(t, ctx)
			gap, _ := l.fault(t, ctx, 8*time.Second, func() { c.run(t, ctx, leader, "pkill -KILL -x patroni") })
			atMost(t, gap, 500*time.Millisecond)
			if now := c.whole(t, ctx); now != leader {
				t.Errorf("%s leads, and %s did", now, leader)
			}
		}
	})

	t.Run("PostgreSQL killed", func(t *testing.T) {
		var gaps []time.Duration
		for range 3 {
			leader := c.whole(t, ctx)
			gap, _ := l.fault(t, ctx, 10*time.Second, func() {
				c.run(t, ctx, leader, "kill -KILL $(head -n 1 /var/lib/postgresql/18/main/postmaster.pid)")
			})
			gaps = append(gaps, gap)
			c.whole(t, ctx)
		}
		slices.Sort(gaps)
		atMost(t, gaps[1], 4*time.Second)
		atMost(t, gaps[2], 6*time.Second)
	})

	t.Run("leader's machine stopped", func(t *testing.T) {
		leader := c.whole(t, ctx)
		// Pages that only a checkpoint brings to the disk; more with PGHA_TEST_DIRTY.
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
	})

	t.Run("leader's cable pulled", func(t *testing.T) {
		leader := c.whole(t, ctx)
		gap, _ := l.fault(t, ctx, 10*time.Second, func() { c.unplug(t, ctx, leader) })
		atMost(t, gap, 24*time.Second) // ttl and 2 s, and HAProxy's checks
		c.plug(t, ctx, leader)
		c.whole(t, ctx)
	})

	t.Run("HAProxy started", func(t *testing.T) {
		gap, readOnly := l.fault(t, ctx, 5*time.Second, func() { c.run(t, ctx, "demo-haproxy-1", "systemctl restart haproxy.service") })
		atMost(t, gap, 3*time.Second)
		if readOnly > 0 {
			t.Errorf("%d writes met a read-only node, want none", readOnly)
		}
	})

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
	if gap > most {
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
