//go:build linux

package lab_test

import (
	"slices"
	"testing"
	"time"

	"pgha-gen/internal/demo"
	"pgha-gen/lab/labtest"
)

// A node is asked to hand over to another one that is named, so that the third may not
// lead: for Patroni, the slower way. And PostgreSQL is killed where it leads. The bounds
// are those of a busy host.
func TestSwitchover(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 35*time.Second)
	defer cancel()
	c := newClusterOf(t, ctx, demo.Cluster(t))
	c.up(t, ctx)
	c.whole(t, ctx)
	l := startLoad(t, ctx, c, 4)

	t.Run("to a node that is named", func(t *testing.T) {
		var gaps []time.Duration
		readOnly := 0
		for range 3 {
			leader := c.whole(t, ctx)
			names := []string{"demo-pg-1", "demo-pg-2", "demo-pg-3"}
			to := names[(slices.Index(names, leader)+1)%3]
			gap, met := l.fault(t, ctx, 5*time.Second, func() {
				c.run(t, ctx, leader, `curl -sS -f --cacert /run/pgha/secrets/ca.crt --cert /run/pgha/secrets/node.crt --key /run/pgha/secrets/node.key `+
					`-u "patroni:$(sed -n s/^PATRONI_RESTAPI_PASSWORD=//p /run/pgha/secrets/patroni.env)" `+
					`-X POST -d '{"leader": "`+leader+`", "candidate": "`+to+`"}' "https://$(hostname).ru-central1.internal:8008/switchover" >/dev/null`)
			})
			gaps = append(gaps, gap)
			readOnly += met
			if now := c.whole(t, ctx); now != to {
				t.Errorf("%s leads, want %s", now, to)
			}
		}
		slices.Sort(gaps)
		atMost(t, gaps[1], 2500*time.Millisecond)
		if readOnly > 4 {
			t.Errorf("%d writes met a read-only node, want none, or those that were on their way", readOnly)
		}
	})

	t.Run("PostgreSQL killed", func(t *testing.T) {
		var gaps []time.Duration
		for range 3 {
			leader := c.whole(t, ctx)
			gap, _ := l.fault(t, ctx, 6*time.Second, func() {
				c.run(t, ctx, leader, "kill -KILL $(head -n 1 /var/lib/postgresql/18/main/postmaster.pid)")
			})
			gaps = append(gaps, gap)
			if now := c.whole(t, ctx); now != leader {
				t.Errorf("%s leads, and %s did", now, leader)
			}
		}
		slices.Sort(gaps)
		atMost(t, gaps[1], 6*time.Second)
	})

	l.end(t, ctx)
}
