//go:build linux

package lab_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgha-gen/internal/bootlog"
	"pgha-gen/lab/drill"
	"pgha-gen/lab/labtest"
)

// The quorum of etcd lost for good, and mended without a login: by metadata's
// pgha-recover, under load. An old log must never vote again.
func TestEtcdRecovery(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 75*time.Second)
	defer cancel()
	c := newCluster(t, ctx)
	c.up(t, ctx)
	c.whole(t, ctx)
	l := startLoad(t, ctx, c, 4)
	const survivor = "demo-etcd-3"
	lost := []string{"demo-etcd-1", "demo-etcd-2"}
	cut := func(t *testing.T, names ...string) {
		t.Helper()
		for _, name := range names {
			if err := c.Machine(name).PowerCut(); err != nil {
				t.Fatal(err)
			}
		}
	}
	token := c.token(t, ctx)
	order := func(t *testing.T, epoch string, names ...string) time.Time {
		t.Helper()
		for _, name := range names {
			if err := c.SetAttribute(name, "pgha-recover", token+":"+epoch+":"+survivor); err != nil {
				t.Fatal(err)
			}
		}
		return time.Now()
	}
	recovered := func(t *testing.T, since time.Time, epoch string) {
		t.Helper()
		s := said(t, ctx, c, since, time.Minute, survivor, "recover", "ok", epoch+": the cluster goes on with demo-etcd-3 alone")
		t.Logf("recovered %.1f s after the order", s.At.Sub(since).Seconds())
		c.etcdMembers(t, ctx, survivor, "3")
	}
	start := func(t *testing.T, names ...string) time.Time {
		t.Helper()
		since := time.Now()
		if err := c.StartAll(ctx, names...); err != nil {
			t.Fatal(err)
		}
		return since
	}

	t.Cleanup(func() {
		for _, name := range []string{"demo-pg-1", "demo-pg-2", "demo-pg-3"} {
			if t.Failed() {
				t.Logf("%s:\n%s", name, c.run(t, context.Background(), name,
					`journalctl --no-pager -o short-precise -u patroni | grep -iE 'failsafe|demot|promot|released|race|ahead|alive|I am' | grep -v 'no action' | cut -c 17-260 | tail -n 60`))
			}
		}
	})
	// Each begins where the one before ended.
	run := func(name string, do func(*testing.T)) {
		t.Helper()
		if !t.Run(name, do) {
			t.FailNow()
		}
	}

	run("order for all", func(t *testing.T) {
		gap, _ := l.fault(t, ctx, time.Second, func() {
			cut(t, lost...)
			order(t, "a", lost...)
			recovered(t, order(t, "a", survivor), "a")
			since := start(t, lost...)
			for _, name := range lost {
				t.Log(said(t, ctx, c, since, time.Minute, name, "recover", "ok", "set it aside as member.before-a").Detail)
			}
			waitReady(t, ctx, c.Lab, time.Minute, lost...)
			c.etcdMembers(t, ctx, survivor, "1", "2", "3")
			if said, err := (drill.World{Lab: c.Lab}).Divided(ctx); err != nil || said != "" {
				t.Error(said, err)
			}
			t.Logf("three members %.1f s after the machines were started", time.Since(since).Seconds())
		})
		atMost(t, gap, time.Second)
	})

	run("old disks that know of no order", func(t *testing.T) {
		gap, _ := l.fault(t, ctx, time.Second, func() {
			cut(t, lost...)
			recovered(t, order(t, "b", survivor), "b")
			since := start(t, lost...)
			for _, name := range lost {
				said(t, ctx, c, since, time.Minute, name, "etcd", "fail", "the cluster has removed this member")
			}
			c.etcdMembers(t, ctx, survivor, "3")
			order(t, "b", lost...)
			for _, name := range lost {
				said(t, ctx, c, since, time.Minute, name, "recover", "ok", "set it aside as member.before-b")
			}
			c.etcdMembers(t, ctx, survivor, "1", "2", "3")
			if said, err := (drill.World{Lab: c.Lab}).Divided(ctx); err != nil || said != "" {
				t.Error(said, err)
			}
		})
		atMost(t, gap, time.Second)
	})

	run("old disks, and the survivor is away", func(t *testing.T) {
		gap, _ := l.fault(t, ctx, time.Second, func() {
			cut(t, lost...)
			recovered(t, order(t, "c", survivor), "c")
			cut(t, survivor)
			order(t, "c", lost...)
			since := start(t, lost...)
			for _, name := range lost {
				t.Log(said(t, ctx, c, since, time.Minute, name, "etcd-join", "wait", "demo-etcd-3 has not recovered the cluster yet").Detail)
			}
			time.Sleep(5 * time.Second)
			for _, name := range lost {
				if got := c.run(t, ctx, name, "pidof etcd || echo none"); got != "none" {
					t.Errorf("%s runs etcd with an old log (process %s)", name, got)
				}
			}
			again := start(t, survivor)
			c.etcdMembers(t, ctx, survivor, "1", "2", "3")
			if said, err := (drill.World{Lab: c.Lab}).Divided(ctx); err != nil || said != "" {
				t.Error(said, err)
			}
			for _, line := range c.Machine(survivor).Console().Lines() {
				if s, ok := bootlog.Parse(line.Text); ok && s.Name == "recover" && !s.At.Before(again) && strings.Contains(s.Detail, "alone") {
					t.Errorf("the same order was carried out again: %s", s.Detail)
				}
			}
		})
		atMost(t, gap, time.Second)
	})

	t.Run("there is a quorum", func(t *testing.T) {
		since := order(t, "d", survivor)
		said(t, ctx, c, since, 20*time.Second, survivor, "recover", "warn", "the members that run have a quorum, so there is nothing to recover")
		c.etcdMembers(t, ctx, survivor, "1", "2", "3")
	})
	l.end(t, ctx)
}

// token is the cluster's.
func (c *cluster) token(t *testing.T, ctx context.Context) string {
	t.Helper()
	return c.run(t, ctx, "demo-pg-1", "sed -n 's/^PGHA_TOKEN=//p' /etc/pgha/cluster.env")
}

// All disks of etcd lost: the cluster is founded again, and PostgreSQL's data are
// taken over as they are, from the node that has most.
func TestEtcdLost(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 45*time.Second)
	defer cancel()
	c := newCluster(t, ctx)
	c.up(t, ctx)
	leader := c.whole(t, ctx)
	token := c.token(t, ctx)
	before := c.systemIdentifiers(t, ctx)
	l := startLoad(t, ctx, c, 4)
	etcd := []string{"demo-etcd-1", "demo-etcd-2", "demo-etcd-3"}
	found := func(t *testing.T) {
		t.Helper()
		for _, name := range etcd {
			if err := c.Machine(name).PowerCut(); err != nil {
				t.Fatal(err)
			}
			if err := c.Replace(name, false); err != nil {
				t.Fatal(err)
			}
			if err := c.SetAttribute(name, "pgha-bootstrap", token); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.StartAll(ctx, etcd...); err != nil {
			t.Fatal(err)
		}
		waitReady(t, ctx, c.Lab, time.Minute, etcd...)
	}
	same := func(t *testing.T) {
		t.Helper()
		leader := c.whole(t, ctx)
		if after := c.systemIdentifiers(t, ctx); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("system identifiers %v before, %v after", before, after)
		}
		if out := c.sql(t, ctx, leader, "SHOW synchronous_standby_names"); !strings.HasPrefix(out, "ANY 1 (") {
			t.Errorf("synchronous_standby_names is %q, want any one of two", out)
		}
		if out := c.sql(t, ctx, leader, "SHOW max_connections"); out != "300" {
			t.Errorf("max_connections is %q, want the spec's 300", out)
		}
	}

	t.Run("PostgreSQL runs", func(t *testing.T) {
		gap, _ := l.fault(t, ctx, 5*time.Second, func() { found(t) })
		atMost(t, gap, 5*time.Second)
		same(t)
		if now := c.whole(t, ctx); now != leader {
			t.Errorf("%s leads, and %s did", now, leader)
		}
	})

	t.Run("all machines lost power, and a node that lags comes up first", func(t *testing.T) {
		leader := c.whole(t, ctx)
		nodes := []string{"demo-pg-1", "demo-pg-2", "demo-pg-3"}
		lagging, others := nodes[0], nodes[1:]
		if leader == lagging {
			lagging, others = nodes[2], nodes[:2]
		}
		if err := c.Machine(lagging).PowerCut(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second) // of writes that it does not have
		for _, name := range others {
			if err := c.Machine(name).PowerCut(); err != nil {
				t.Fatal(err)
			}
		}
		found(t)
		since := time.Now()
		if err := c.Start(ctx, lagging); err != nil {
			t.Fatal(err)
		}
		t.Log(said(t, ctx, c, since, 30*time.Second, lagging, "adopt", "wait", "waiting for what "+others[0]+" and "+others[1]+" may have").Detail)
		time.Sleep(5 * time.Second)
		if got := c.run(t, ctx, lagging, "pidof -x patroni || echo none"); got != "none" {
			t.Errorf("Patroni runs on %s, which lags", lagging)
		}
		again := time.Now()
		if err := c.StartAll(ctx, others...); err != nil {
			t.Fatal(err)
		}
		same(t)
		t.Logf("whole again %.1f s after the others were started", time.Since(again).Seconds())
		if now := c.whole(t, ctx); now == lagging {
			t.Errorf("%s leads, which lagged", now)
		}
	})
	l.end(t, ctx)
}
