//go:build linux

package lab_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/machine/machinetest"
)

// Failover by agreement, under load: after an operator's switchover the leader's machine
// loses its power, and its standbys take its lease away long before it ends. It comes
// back and follows. No acknowledged row is lost, and nobody is cut off any more. Then the
// agreement is turned off and on, and a node's cut-off cannot be read. Long: make
// test-long; pgha-lab drill agreement-... does more.
func TestAgreement(t *testing.T) {
	if os.Getenv("PGHA_TEST_LONG") == "" {
		t.Skip("this test takes three minutes: make test-long")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	spec := demo.Read(t, strings.Replace(demo.Spec(t), "    after: 0s", "    after: 3s", 1))
	predicted, ok := spec.Outage(role.LeaderLost)
	if lease := 18 * time.Second; !ok || predicted.Gap().Most >= lease {
		t.Fatalf("predicted: %s, want less than the %s of a lease", predicted.Gap(), lease)
	}
	c := newClusterOf(t, ctx, spec)
	c.up(t, ctx)
	l := startLoad(t, ctx, c, 4)
	c.switchover(t, ctx, c.whole(t, ctx)) // of which Patroni leaves {} in etcd
	leader := c.whole(t, ctx)
	time.Sleep(27 * time.Second) // for ttl and 5 s after it led first, its lease has to end

	gap, _ := l.fault(t, ctx, 12*time.Second, func() {
		if err := c.Machine(leader).PowerCut(); err != nil {
			t.Fatal(err)
		}
	})
	if !predicted.Gap().Holds(gap) {
		t.Errorf("%.2f s without an acknowledged write, predicted: %s", gap.Seconds(), predicted.Gap())
	}
	members, err := c.members(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		if m.Name != leader {
			t.Log(m.Name, c.waitStep(t, ctx, m.Name, "agreement", "ok ", 30*time.Second))
			c.run(t, ctx, m.Name, "test ! -e /var/lib/pgha/agreement.json && ! nft list table inet pgha_cut 2>/dev/null")
		}
	}
	if err := c.Start(ctx, leader); err != nil {
		t.Fatal(err)
	}
	now := c.whole(t, ctx)
	if now == leader {
		t.Errorf("%s leads again", leader)
	}
	l.end(t, ctx)

	// The unit runs while the spec has an agreement, and follows a change of it.
	for _, after := range []string{"0s", "3s"} {
		c.refresh(t, ctx, c.changed(t, "    after: 0s=>    after: "+after), patience)
		want := map[string]string{"0s": "inactive", "3s": "active"}[after]
		c.wait(t, ctx, "pgha-agreement is "+want, 10*time.Second, func() bool {
			return c.run(t, ctx, leader, "systemctl is-active pgha-agreement || :") == want
		})
	}

	// A node that cannot tell from whom it was cut off starts no PostgreSQL.
	c.run(t, ctx, leader, "echo x >/var/lib/pgha/agreement.json")
	testkit.OK(t, machinetest.PowerOff(ctx, c.Machine(leader)))
	since := time.Now()
	testkit.OK(t, c.Start(ctx, leader))
	t.Log(said(t, ctx, c, since, time.Minute, leader, "agreement", "fail", "PostgreSQL is not started").Detail)
	said(t, ctx, c, since, time.Minute, leader, "secrets", "ok", "")
	time.Sleep(5 * time.Second)
	if state := c.run(t, ctx, leader, "systemctl is-active patroni || :; pgrep -x postgres || :"); state != "inactive" {
		t.Errorf("Patroni and PostgreSQL: %q, want none", state)
	}
}
