//go:build linux

package lab_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"pgha-gen/lab"
	"pgha-gen/lab/client"
	"pgha-gen/roles/patroni"
)

// A cluster in which no node has an address, and whose database has a dash in its
// name: all find each other by name, at the first boot, when the leader is lost, and after a power cut of everything.
// Its clients know it as pgha-lab does.
func TestClusterByName(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	spec := readNamed(t)
	access, err := lab.NewAccess(spec)
	if err != nil {
		t.Fatal(err)
	}
	if access.Primary.Database != "app-data" {
		t.Fatalf("the database is %s: no name here needs quotes", access.Primary.Database)
	}
	c := newClusterOf(t, ctx, spec)
	ca, password := []byte(c.Secret(patroni.Name, "ca.crt")), c.Secret(patroni.Name, "password."+access.Primary.User)
	write := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
		defer cancel()
		began := time.Now()
		at, err := access.Primary.FirstWrite(ctx, c.Network.Dial, ca, password, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("a write is acknowledged after %.1f s", at.Sub(began).Seconds())
	}
	// whole waits until one leads and two may take over, and gives the leader.
	whole := func() (leader string) {
		t.Helper()
		var members []client.Member
		var err error
		for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
			members, err = client.Members(ctx, c.DialAs(access.RESTFrom), ca, access.REST, access.RESTPort)
			standbys := 0
			for _, m := range members {
				switch {
				case m.Role == "leader" && m.State == "running":
					leader = m.Name
				case m.Role == "quorum_standby" && m.State == "streaming":
					standbys++
				}
			}
			if leader != "" && standbys == 2 {
				return leader
			}
		}
		t.Fatalf("want a leader and two that may follow it, have %+v, %v", members, err)
		return ""
	}

	if err := c.StartAll(ctx); err != nil {
		t.Fatal(err)
	}
	write()
	first := whole()

	if err := c.Machine(first).PowerCut(); err != nil {
		t.Fatal(err)
	}
	write()
	if err := c.Start(ctx, first); err != nil {
		t.Fatal(err)
	}
	if now := whole(); now == first {
		t.Errorf("%s leads, whose machine was cut: who took over?", now)
	}

	for _, name := range c.Names() {
		if err := c.Machine(name).PowerCut(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.StartAll(ctx, shuffled(slices.Clone(c.Names()))...); err != nil {
		t.Fatal(err)
	}
	write()
	waitReady(t, ctx, c.Lab, 2*time.Minute)
	whole()
}
