//go:build linux

package lab_test

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
	"pgha-gen/internal/demo"
	"pgha-gen/lab/client"
	"pgha-gen/lab/labtest"
)

// Edits of the reference.
const (
	// Slots of members that are gone stay for 10 s, not for half an hour.
	slotsGo     = "    config: {} #=>    config: {bootstrap: {dcs: {member_slots_ttl: 10}}} #"
	fourthNode  = "      - {name: demo-pg-3, zone: ru-central1-a, address: 10.128.0.23}\n=>      - {name: demo-pg-3, zone: ru-central1-a, address: 10.128.0.23}\n      - {name: demo-pg-4, zone: ru-central1-a, address: 10.128.0.24}\n"
	secondProxy = "      - {name: demo-haproxy-1, zone: ru-central1-a, address: 10.128.0.40}=>      - {name: demo-haproxy-1, zone: ru-central1-a, address: 10.128.0.40}\n      - {name: demo-haproxy-2, zone: ru-central1-a, address: 10.128.0.41}"
)

// inForce is how long a refresh may take here, where other things than the
// refresh are measured: TestLivingMetadata has the aim.
const inForce = 20 * time.Second

// Under load, a fourth Patroni node and a second HAProxy come, and go. No
// transaction fails and no row is lost; who comes is admitted by all others, and
// who is gone by nobody.
func TestNodesComeAndGo(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 70*time.Second)
	defer cancel()
	c := newClusterOf(t, ctx, demo.Cluster(t, slotsGo))
	c.up(t, ctx)
	leader := c.whole(t, ctx)
	l := startLoad(t, ctx, c, 4)
	first := c.Names()
	replica := "demo-pg-2"
	if leader == replica {
		replica = "demo-pg-3"
	}

	t.Run("a fourth node", func(t *testing.T) {
		s := l.strict(ctx)
		c.refresh(t, ctx, c.changed(t, slotsGo, fourthNode), inForce, first...)
		start := time.Now()
		if err := c.Start(ctx, "demo-pg-4"); err != nil {
			t.Fatal(err)
		}
		c.wait(t, ctx, "demo-pg-4 streams and counts in the quorum", time.Minute, func() bool {
			members, err := c.members(ctx)
			return err == nil && slices.ContainsFunc(members, func(m client.Member) bool {
				return m.Name == "demo-pg-4" && m.State == "streaming" && m.Role == "quorum_standby"
			})
		})
		t.Logf("demo-pg-4: %.1f s from power-on to a streaming replica in the quorum", time.Since(start).Seconds())
		timeline(t, c.Lab, "demo-pg-4", start)
		c.wait(t, ctx, "readers meet it", 10*time.Second, func() bool { return slices.Contains(c.meet(t, ctx), "10.128.0.24") })
		t.Logf("readers meet it %.1f s after power-on", time.Since(start).Seconds())
		for _, name := range []string{"demo-pg-1", "demo-pg-2", "demo-pg-3", "demo-pg-4"} {
			if out := c.sql(t, ctx, name, "SELECT string_agg(name, ' ') FROM pg_settings WHERE pending_restart"); out != "" {
				t.Errorf("%s: a restart is pending for %s", name, out)
			}
		}
		s.end(t)
	})

	t.Run("the node that leads cannot go", func(t *testing.T) {
		s := l.strict(ctx)
		if err := c.Refresh(ctx, c.without(t, leader, slotsGo, fourthNode)); err != nil {
			t.Fatal(err)
		}
		want := leader + " leads and is not in the new spec: switch over first"
		for _, name := range []string{replica, "demo-pg-4", balancer, "demo-etcd-1"} {
			if line := c.waitStep(t, ctx, name, "refresh", "fail", 20*time.Second); !strings.Contains(line, want) {
				t.Errorf("%s says %s, want %s", name, line, want)
			}
		}
		time.Sleep(10 * time.Second) // nothing comes of it later, either
		s.end(t)
		c.refresh(t, ctx, c.changed(t, slotsGo, fourthNode), inForce)
		if members, err := c.members(ctx); err != nil || !slices.ContainsFunc(members, func(m client.Member) bool { return m.Name == leader && m.Role == "leader" }) {
			t.Errorf("%s leads no more: %v, %v", leader, members, err)
		}
	})

	t.Run("a second HAProxy", func(t *testing.T) {
		s := l.strict(ctx)
		c.refresh(t, ctx, c.changed(t, slotsGo, fourthNode, secondProxy), inForce, append(slices.Clone(first), "demo-pg-4")...)
		start := time.Now()
		if err := c.Start(ctx, "demo-haproxy-2"); err != nil {
			t.Fatal(err)
		}
		var last error
		c.wait(t, ctx, "a client writes through it, and knows it by its certificate", time.Minute, func() bool {
			conn, err := c.connect(ctx, "10.128.0.41:5431", "app", "app")
			if last = err; err != nil {
				return false
			}
			defer conn.Close(ctx)
			_, last = conn.Exec(ctx, "INSERT INTO kept VALUES (2)")
			return last == nil
		})
		t.Logf("writes go through demo-haproxy-2 %.1f s after power-on", time.Since(start).Seconds())
		s.end(t)
	})

	t.Run("the fourth node goes", func(t *testing.T) {
		s := l.strict(ctx)
		reader := c.reader(t, ctx, "10.128.0.24")
		c.refresh(t, ctx, c.changed(t, slotsGo, secondProxy), inForce, append(slices.Clone(first), "demo-haproxy-2")...)
		if _, err := reader.Exec(ctx, "SELECT 1"); err != nil {
			t.Errorf("its session ended when HAProxy reloaded: %v", err)
		}
		for range 10 {
			if met := c.meet(t, ctx); slices.Contains(met, "10.128.0.24") {
				t.Errorf("new readers meet %v", met)
			}
		}
		for to, port := range map[string]int{"10.128.0.26": 2379, "10.128.0.21": 8008, "10.128.0.22": 8008, "10.128.0.23": 8008} {
			if c.reaches(ctx, "demo-pg-4", to, port) {
				t.Errorf("it still reaches %s:%d", to, port)
			}
		}
		if err := c.Remove(ctx, "demo-pg-4"); err != nil {
			t.Fatal(err)
		}
		gone := time.Now()
		// The process that has its reader is from before the reload.
		ended := make(chan time.Duration, 1)
		go func() {
			if _, err := reader.Exec(ctx, "SELECT 1"); err != nil {
				ended <- time.Since(gone)
			}
		}()
		c.wait(t, ctx, "it is no member, no standby, and has no slot", time.Minute, func() bool {
			members, err := c.members(ctx)
			return err == nil && len(members) == 3 &&
				!strings.Contains(c.sql(t, ctx, leader, "SHOW synchronous_standby_names"), "demo-pg-4") &&
				c.sql(t, ctx, leader, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'demo_pg_4'") == "0"
		})
		t.Logf("released %.1f s after its machine was deleted", time.Since(gone).Seconds())
		select {
		case after := <-ended:
			t.Logf("its reader was told %.1f s after", after.Seconds())
			if after > labtest.Here(30*time.Second) {
				t.Error("want 30 s: TCP gives up a node that takes no packet after 25 s (60-pgha-haproxy.conf)")
			}
		case <-time.After(time.Minute - time.Since(gone)):
			t.Errorf("its reader still waits %.1f s after", time.Since(gone).Seconds())
		}
		s.end(t)
	})

	t.Run("the second HAProxy goes", func(t *testing.T) {
		s := l.strict(ctx)
		c.refresh(t, ctx, c.changed(t, slotsGo), inForce, first...)
		if c.reaches(ctx, "demo-haproxy-2", "10.128.0.21", 8008) {
			t.Error("it still reaches Patroni")
		}
		if err := c.Remove(ctx, "demo-haproxy-2"); err != nil {
			t.Fatal(err)
		}
		s.end(t)
	})

	if now := c.whole(t, ctx); now != leader {
		t.Errorf("%s leads, and %s did", now, leader)
	}
	l.end(t, ctx)
}

// wait until it is so.
func (c *cluster) wait(t *testing.T, ctx context.Context, what string, limit time.Duration, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(labtest.Here(limit))
	for !is() {
		if time.Now().After(deadline) || ctx.Err() != nil {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// without is changed without a Patroni node.
func (c *cluster) without(t *testing.T, name string, edits ...string) *role.Cluster {
	t.Helper()
	text := demo.Spec(t, edits...)
	short := regexp.MustCompile(`(?m)^      - (?:\{name: `+name+`,.*\n|name: `+name+`\b.*\n(?:        .*\n)*)`).ReplaceAllString(text, "")
	if short == text {
		t.Fatalf("%s is not taken out", name)
	}
	spec := demo.Read(t, short)
	spec.Secrets.CA = specfile.Text(c.CA.Certificate())
	if err := spec.Plan(); err != nil {
		t.Fatal(err)
	}
	return spec
}

// meet are the addresses of the replicas that some new readers meet.
func (c *cluster) meet(t *testing.T, ctx context.Context) (met []string) {
	t.Helper()
	for range 6 {
		conn, err := c.connect(ctx, readers, "app", "app_reader")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		met = append(met, address(t, ctx, conn))
	}
	return met
}

// reader is a reader's session on the node with this address.
func (c *cluster) reader(t *testing.T, ctx context.Context, on string) *pgx.Conn {
	t.Helper()
	for range 50 {
		conn, err := c.connect(ctx, readers, "app", "app_reader")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(ctx) })
		if address(t, ctx, conn) == on {
			return conn
		}
	}
	t.Fatalf("no reader meets %s", on)
	return nil
}

func address(t *testing.T, ctx context.Context, conn *pgx.Conn) (a string) {
	t.Helper()
	if err := conn.QueryRow(ctx, "SELECT host(inet_server_addr())").Scan(&a); err != nil {
		t.Fatal(err)
	}
	return a
}
