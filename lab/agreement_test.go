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
)

// Failover by agreement, under load: the leader's machine loses its power, and its
// standbys take its lease away long before it ends. It comes back and follows. No
// acknowledged row is lost, and nobody is cut off any more. Long: make
// test-long; pgha-lab drill agreement-... does more.
func TestAgreement(t *testing.T) {
	if os.Getenv("PGHA_TEST_LONG") == "" {
		t.Skip("this test takes two minutes: make test-long")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	defer cancel()
	spec := demo.Read(t, strings.Replace(demo.Spec(t), "    after: 0s", "    after: 3s", 1))
	predicted, ok := spec.Outage(role.LeaderLost)
	if lease := 18 * time.Second; !ok || predicted.Gap().Most >= lease {
		t.Fatalf("predicted: %s, want less than the %s of a lease", predicted.Gap(), lease)
	}
	c := newClusterOf(t, ctx, spec)
	c.up(t, ctx)
	l := startLoad(t, ctx, c, 4)
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
	if now := c.whole(t, ctx); now == leader {
		t.Errorf("%s leads again", leader)
	}
	l.end(t, ctx)
}
