//go:build linux

package lab_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"pgha-gen/lab/labtest"
)

// A cluster in which no node has an address, and whose database has a dash in its
// name: all find each other by name, at the first boot, when the leader is lost,
// and after a power cut of everything. Its clients know it as pgha-lab does.
func TestClusterByName(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 45*time.Second)
	defer cancel()
	spec := readNamed(t)
	c := newClusterOf(t, ctx, spec)
	if c.access.Primary.Database != "app-data" {
		t.Fatalf("the database is %s: no name here needs quotes", c.access.Primary.Database)
	}
	password := c.Secret(c.access.Role, "password."+c.access.Primary.User)
	write := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
		defer cancel()
		began := time.Now()
		at, err := c.access.Primary.FirstWrite(ctx, c.Network.Dial, c.ca(), password, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("a write is acknowledged after %.1f s", at.Sub(began).Seconds())
	}

	if err := c.StartAll(ctx); err != nil {
		t.Fatal(err)
	}
	write()
	first := c.whole(t, ctx)

	if err := c.Machine(first).PowerCut(); err != nil {
		t.Fatal(err)
	}
	write()
	if err := c.Start(ctx, first); err != nil {
		t.Fatal(err)
	}
	if now := c.whole(t, ctx); now == first {
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
	c.whole(t, ctx)
}
