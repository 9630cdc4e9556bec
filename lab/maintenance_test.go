//go:build linux

package lab_test

import (
	"os"
	"testing"
	"time"

	"pgha-gen/lab/labtest"
)

// Under load: metadata announces that the leader's host is to be maintained, and
// another node leads before that. Until it is over the machine may not lead. The
// machine of etcd's leader is moved as well, and nobody notices. No acknowledged row
// is lost.
func TestMaintenance(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 45*time.Second)
	defer cancel()
	c := newCluster(t, ctx)
	c.up(t, ctx)
	leader := c.whole(t, ctx)
	l := startLoad(t, ctx, c, 4)
	const tag = "/run/pgha/patroni/config/41-maintenance.yml"
	announce := func(event string) {
		t.Helper()
		if err := c.Announce(leader, event); err != nil {
			t.Fatal(err)
		}
	}

	gap, _ := l.fault(t, ctx, 10*time.Second, func() {
		announce("MIGRATE_ON_HOST_MAINTENANCE")
		c.waitStep(t, ctx, leader, "maintenance", "warn the machine's host is to be maintained, so another node leads: ", 30*time.Second)
	})
	if gap > labtest.Here(10*time.Second) {
		t.Errorf("%.1f s without an acknowledged write, want at most 10", gap.Seconds())
	}
	members, err := c.members(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		if m.Name == leader && m.Role == "leader" {
			t.Errorf("%s, which is to be moved, leads", leader)
		}
	}
	c.run(t, ctx, leader, "grep -q 'nofailover: true' "+tag)

	announce("")
	c.waitStep(t, ctx, leader, "maintenance", "ok it is over: this node may lead again", 30*time.Second)
	c.run(t, ctx, leader, "test ! -e "+tag)

	moved := 10 * time.Second
	if os.Getenv("PGHA_TEST_LONG") != "" {
		moved = time.Minute
	}
	leader, member := c.whole(t, ctx), etcdLeader(t, ctx, c.Lab)
	gap, _ = l.fault(t, ctx, moved+5*time.Second, func() {
		if err := c.Machine(member).Pause(true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(moved)
		if err := c.Machine(member).Pause(false); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%s, which led etcd, stood still for %s", member, moved)
	atMost(t, gap, time.Second)
	if now := c.whole(t, ctx); now != leader {
		t.Errorf("%s leads, and %s did", now, leader)
	}
	l.end(t, ctx)
}
