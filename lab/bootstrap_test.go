//go:build linux

package lab_test

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgha-gen/generator"
	"pgha-gen/internal/demo"
	"pgha-gen/lab"
	"pgha-gen/lab/labtest"
	"pgha-gen/lab/machine/machinetest"
)

// Nobody took back the permission to bootstrap the cluster. A machine that has
// served in it bootstraps nothing all the same: with an empty disk it would be a
// member that has forgotten its votes.
func TestServedNeverFounds(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 15*time.Second)
	defer cancel()
	l := newEtcdLab(t, ctx, nil)
	if err := l.StartAll(ctx); err != nil {
		t.Fatal(err)
	}
	waitReady(t, ctx, l, time.Minute)

	t.Run("etcd hands over before it stops", func(t *testing.T) {
		for _, name := range l.Names() {
			health(t, ctx, l, name)
		}
		leader := etcdLeader(t, ctx, l)
		if err := machinetest.PowerOff(ctx, l.Machine(leader)); err != nil {
			t.Fatal(err)
		}
		told := ""
		for _, name := range l.Names() {
			if name == leader {
				continue
			}
			out, err := machinetest.Exec(ctx, l.Machine(name), "sh", "-c", "journalctl -u etcd --no-pager | grep MsgTimeoutNow || :")
			if err != nil {
				t.Fatal(err)
			}
			told += string(out)
		}
		// Without it the others wait for the election timeout.
		if !strings.Contains(told, "MsgTimeoutNow") {
			t.Errorf("%s led, and told nobody to take over before it stopped", leader)
		}
	})

	const victim = "demo-etcd-1"
	for _, name := range l.Names() {
		if err := l.Machine(name).PowerCut(); err != nil {
			t.Fatal(err)
		}
	}
	// The boot disk stays, the data disk is a new one.
	if err := os.Remove(l.DataDisk(victim)); err != nil {
		t.Fatal(err)
	}
	if err := l.Start(ctx, victim); err != nil {
		t.Fatal(err)
	}
	short, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	step, err := l.WaitStep(short, victim, "etcd-join", "wait")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(step.Detail, "has served in the cluster before") {
		t.Errorf("it says %q", step.Detail)
	}
	if err := l.StartAll(ctx, "demo-etcd-2", "demo-etcd-3"); err != nil {
		t.Fatal(err)
	}
	waitReady(t, ctx, l, time.Minute)
	health(t, ctx, l, victim)
}

// etcdLeader is the member that leads.
func etcdLeader(t *testing.T, ctx context.Context, l *lab.Lab) string {
	t.Helper()
	const from = "demo-etcd-1"
	var status []struct {
		Status struct {
			Header struct {
				MemberID uint64 `json:"member_id"`
			} `json:"header"`
			Leader uint64 `json:"leader"`
		}
	}
	if err := json.Unmarshal([]byte(etcdctl(t, ctx, l, from, "endpoint", "status", "--write-out", "json")), &status); err != nil || len(status) == 0 {
		t.Fatalf("endpoint status: %v", err)
	}
	for name, id := range members(t, ctx, l, from) {
		if id == strconv.FormatUint(status[0].Status.Leader, 16) {
			return name
		}
	}
	t.Fatalf("nobody is member %x", status[0].Status.Leader)
	return ""
}

// All of etcd is lost and bootstrapped anew, and a Patroni node comes up with an empty
// disk before the others: it waits for one that has the data.
func TestEmptyNodeNeverFounds(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 35*time.Second)
	defer cancel()
	c := newCluster(t, ctx)
	c.up(t, ctx)
	leader := c.whole(t, ctx)
	before := c.systemIdentifiers(t, ctx)
	if err := c.write(ctx, 7); err != nil {
		t.Fatal(err)
	}
	for _, name := range c.Names() {
		if err := c.Machine(name).PowerCut(); err != nil {
			t.Fatal(err)
		}
	}
	etcd := []string{"demo-etcd-1", "demo-etcd-2", "demo-etcd-3"}
	for _, name := range etcd {
		if err := c.Replace(name, false); err != nil {
			t.Fatal(err)
		}
		if err := c.SetAttribute(name, "pgha-bootstrap", demo.Cluster(t).Token()); err != nil {
			t.Fatal(err)
		}
	}
	empty := "demo-pg-1"
	if leader == empty {
		empty = "demo-pg-2"
	}
	if err := c.Replace(empty, false); err != nil {
		t.Fatal(err)
	}
	if err := c.StartAll(ctx, append(etcd, empty, "demo-haproxy-1")...); err != nil {
		t.Fatal(err)
	}
	waitReady(t, ctx, c.Lab, time.Minute, etcd...)
	time.Sleep(20 * time.Second)
	if out := c.run(t, ctx, empty, "ls -A /var/lib/postgresql/18/main 2>/dev/null | head -n 1; journalctl -u patroni --no-pager | grep -c 'waiting for leader to bootstrap'"); strings.HasPrefix(out, "0") || strings.Contains(out, "\n") {
		t.Errorf("%s has an empty disk and does not wait: %q", empty, out)
	}
	others := slices.DeleteFunc([]string{"demo-pg-1", "demo-pg-2", "demo-pg-3"}, func(n string) bool { return n == empty })
	if err := c.StartAll(ctx, others...); err != nil {
		t.Fatal(err)
	}
	c.whole(t, ctx)
	if after := c.systemIdentifiers(t, ctx); len(before) != 1 || !slices.Equal(before, after) {
		t.Errorf("system identifiers %v before, %v after; want one, the same", before, after)
	}
	if got, err := c.rows(ctx, writers); err != nil || !slices.Contains(got, 7) {
		t.Errorf("rows %v, %v; want 7 among them", got, err)
	}
}

// A service that does not start says why where it can be read: on the console.
func TestFailureIsSaid(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 15*time.Second)
	defer cancel()
	c := newCluster(t, ctx)
	const victim = "demo-haproxy-1"
	spec := demo.Cluster(t)
	data, err := generator.UserData(spec, spec.Groups[2])
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetAttribute(victim, "user-data", strings.Replace(string(data), "balance leastconn", "balance mostconn", 1)); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(ctx, victim); err != nil {
		t.Fatal(err)
	}
	short, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	line, err := c.Machine(victim).Console().WaitLine(short, func(line string) bool {
		return strings.Contains(line, "haproxy.service wait") && strings.Contains(line, "balance only supports")
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(line.Text)
}
