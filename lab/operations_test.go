//go:build linux

package lab_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"net/netip"

	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/labtest"
	"pgha-gen/lab/netns"
)

// operator is a person in a network of access.operators, with the command and
// what it needs: the spec, and the folder that secrets generate writes.
type operator struct {
	c         *cluster
	bin, work string
}

func newOperator(t *testing.T, ctx context.Context, c *cluster, spec string) *operator {
	t.Helper()
	o := &operator{c, filepath.Join(labtest.State(t), "pgha-gen"), labtest.State(t)}
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", o.bin, "../cmd/pgha-gen").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := c.AddStranger(ctx, "operator", netip.MustParseAddr("10.99.7.9")); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(o.work, "secrets", "demo", "operator")
	testkit.OK(t, os.MkdirAll(folder, 0o700))
	for name, text := range c.Operator() {
		testkit.OK(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	o.spec(t, spec)
	return o
}

// spec writes the operator's spec: with the lab's CA, as its machines have it.
func (o *operator) spec(t *testing.T, text string) {
	t.Helper()
	ca := regexp.MustCompile(`(?m)^  ca: \|\n(    .*\n)+`)
	own := "  ca: |\n    " + strings.ReplaceAll(strings.TrimSpace(o.c.CA.Certificate()), "\n", "\n    ") + "\n"
	testkit.OK(t, os.WriteFile(filepath.Join(o.work, "pgha.yaml"), []byte(ca.ReplaceAllLiteralString(text, own)), 0o600))
}

// told is what a command wrote, how it ended and how long it took.
type told struct {
	out, err string
	status   int
	took     time.Duration
}

// run runs pgha-gen cluster where the operator sits.
func (o *operator) run(t *testing.T, ctx context.Context, args ...string) told {
	t.Helper()
	args = append([]string{"netns", "exec", netns.Space("pghac", "operator"), o.bin, "cluster"}, args...)
	command := exec.CommandContext(ctx, "ip", args...)
	command.Dir = o.work
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	start := time.Now()
	err := command.Run()
	s := told{out.String(), errs.String(), 0, time.Since(start)}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		s.status = exit.ExitCode()
	case err != nil:
		t.Fatal(err)
	}
	t.Logf("pgha-gen %s: status %d after %.2f s\n%s%s", strings.Join(args[4:], " "), s.status, s.took.Seconds(), s.out, s.err)
	return s
}

// done is run that must succeed.
func (o *operator) done(t *testing.T, ctx context.Context, args ...string) told {
	t.Helper()
	s := o.run(t, ctx, args...)
	if s.status != 0 {
		t.Fatalf("%q ended with status %d", args, s.status)
	}
	return s
}

// well waits until status says that all is well.
func (o *operator) well(t *testing.T, ctx context.Context) {
	t.Helper()
	o.c.whole(t, ctx)
	deadline := time.Now().Add(labtest.Here(30 * time.Second))
	for {
		s := o.run(t, ctx, "status")
		if s.status == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("something is still wrong")
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// patch changes Patroni's dynamic configuration, from the node that leads.
func (c *cluster) patch(t *testing.T, ctx context.Context, leader, change string) {
	t.Helper()
	c.run(t, ctx, leader, `. /run/pgha/identity.env; curl -sS -f --cacert /run/pgha/secrets/ca.crt --cert /run/pgha/secrets/node.crt --key /run/pgha/secrets/node.key `+
		`-u "patroni:$(sed -n s/^PATRONI_RESTAPI_PASSWORD=//p /run/pgha/secrets/patroni.env)" -X PATCH -d '`+change+`' "https://$(hostname).ru-central1.internal:8008/config" >/dev/null`)
}

// A cluster is operated from outside of its machines, while applications write
// to it: nothing that was acknowledged is lost.
func TestOperate(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 85*time.Second)
	defer cancel()
	spec := demo.Spec(t, "operators: []=>operators: [10.99.7.0/24]")
	c := newClusterOf(t, ctx, demo.Read(t, spec))
	o := newOperator(t, ctx, c, spec)
	c.up(t, ctx)
	c.whole(t, ctx)
	names := []string{"demo-pg-1", "demo-pg-2", "demo-pg-3"}
	other := func(leader string) string {
		return names[(slices.Index(names, leader)+1)%3]
	}

	t.Run("status", func(t *testing.T) {
		o.well(t, ctx)
		var took []time.Duration
		for range 5 {
			took = append(took, o.done(t, ctx, "status").took)
		}
		slices.Sort(took)
		t.Logf("cluster status: %.2f s (median of 5; %.2f to %.2f)", took[2].Seconds(), took[0].Seconds(), took[4].Seconds())
		if took[2] > labtest.Here(500*time.Millisecond) {
			t.Errorf("cluster status took %v, want at most 0.5 s", took[2])
		}
		var answer struct {
			OK      bool
			Members []struct{ Name, Role string }
		}
		if err := json.Unmarshal([]byte(o.done(t, ctx, "status", "--output", "json").out), &answer); err != nil || !answer.OK || len(answer.Members) != 3 {
			t.Errorf("%+v, %v", answer, err)
		}
	})

	l := startLoad(t, ctx, c, 4)

	t.Run("switchover", func(t *testing.T) {
		leader := c.whole(t, ctx)
		if s := o.run(t, ctx, "switchover", "--to", leader, "--yes"); s.status != 1 || !strings.Contains(s.err, "it leads already") {
			t.Errorf("a switchover to %s is not refused", leader)
		}
		if s := o.run(t, ctx, "switchover"); s.status != 2 || !strings.Contains(s.err, "nothing was done") {
			t.Error("something is done without --yes")
		}
		gap, _ := l.fault(t, ctx, 5*time.Second, func() { o.done(t, ctx, "switchover", "--to", other(leader), "--yes") })
		atMost(t, gap, 5*time.Second)
		if now := c.whole(t, ctx); now != other(leader) {
			t.Errorf("%s leads", now)
		}
	})

	t.Run("restart pending", func(t *testing.T) {
		for _, value := range []string{"310", "300"} { // up by a switchover, down where the leader is
			c.whole(t, ctx)
			text := demo.Spec(t, "operators: []=>operators: [10.99.7.0/24]", "      max_connections: 300\n=>      max_connections: "+value+"\n")
			o.spec(t, text)
			if err := c.Refresh(ctx, demo.Read(t, text)); err != nil {
				t.Fatal(err)
			}
			deadline := time.Now().Add(labtest.Here(20 * time.Second))
			for strings.Count(o.run(t, ctx, "status").out, "max_connections") < 3 && time.Now().Before(deadline) {
				time.Sleep(500 * time.Millisecond)
			}
			gap, _ := l.fault(t, ctx, 5*time.Second, func() { o.done(t, ctx, "restart", "--pending", "--yes") })
			atMost(t, gap, 8*time.Second) // on a busy host a promotion alone takes seconds
			for _, name := range names {
				if now := c.sql(t, ctx, name, "SHOW max_connections"); now != value {
					t.Errorf("%s: max_connections is %s, want %s", name, now, value)
				}
			}
			if s := o.done(t, ctx, "restart", "--pending", "--yes"); !strings.Contains(s.err, "nothing to do") {
				t.Error("something is pending still")
			}
			c.whole(t, ctx)
		}
	})

	t.Run("reinit", func(t *testing.T) {
		leader := c.whole(t, ctx)
		if s := o.run(t, ctx, "reinit", leader, "--yes"); s.status != 1 || !strings.Contains(s.err, "it leads, and has the data") {
			t.Error("the leader is copied anew")
		}
		gap, _ := l.fault(t, ctx, time.Second, func() { o.done(t, ctx, "reinit", other(leader), "--yes") })
		atMost(t, gap, 2*time.Second)
		c.whole(t, ctx)
	})

	t.Run("pause", func(t *testing.T) {
		o.done(t, ctx, "pause", "--yes")
		if s := o.run(t, ctx, "status"); s.status != 1 || !strings.Contains(s.err, "Patroni is paused") {
			t.Error("status does not say that it is paused")
		}
		at := time.Now().Add(time.Hour).Format(time.RFC3339)
		if s := o.run(t, ctx, "switchover", "--at", at, "--yes"); s.status != 1 || !strings.Contains(s.err, "Patroni is paused") {
			t.Error("a switchover is scheduled in a pause")
		}
		o.done(t, ctx, "resume", "--yes")
		if s := o.done(t, ctx, "switchover", "--at", at, "--yes"); !strings.Contains(s.err, "Switchover scheduled") {
			t.Error("no switchover is scheduled")
		}
		if s := o.done(t, ctx, "status"); !strings.Contains(s.out, "a switchover is scheduled for") {
			t.Error("status does not say what is scheduled")
		}
		o.done(t, ctx, "switchover", "--cancel", "--yes")
	})

	t.Run("psql", func(t *testing.T) {
		if s := o.done(t, ctx, "psql", "--", "-XAtc", "SELECT current_user, pg_is_in_recovery(), usesuper FROM pg_user WHERE usename = current_user"); s.out != "pgha_admin|f|t\n" {
			t.Errorf("psql says %q", s.out)
		}
		if s := o.done(t, ctx, "psql", "--node", other(c.whole(t, ctx)), "--", "-XAtc", "SELECT pg_is_in_recovery()"); s.out != "t\n" {
			t.Errorf("psql says %q", s.out)
		}
	})

	t.Run("history", func(t *testing.T) {
		if s := o.done(t, ctx, "history"); strings.Count(s.out, "\n") < 3 {
			t.Errorf("want the switchovers, have %s", s.out)
		}
	})

	t.Run("a machine away", func(t *testing.T) {
		leader := c.whole(t, ctx)
		name := other(leader)
		c.unplug(t, ctx, name)
		silent := o.run(t, ctx, "status")
		c.plug(t, ctx, name)
		if silent.status != 1 || !strings.Contains(silent.err, name+" does not answer: ") {
			t.Errorf("status does not say that %s is away", name)
		}
		t.Logf("cluster status with a silent machine: %.2f s", silent.took.Seconds())
		if silent.took > labtest.Here(2*time.Second) {
			t.Errorf("cluster status took %v with a silent machine, want at most 2 s", silent.took)
		}
		o.well(t, ctx)
		if err := c.Machine(name).PowerCut(); err != nil {
			t.Fatal(err)
		}
		s := o.run(t, ctx, "status")
		if s.status != 1 || !strings.Contains(s.err, name+" does not answer: ") {
			t.Errorf("status does not say that %s is away", name)
		}
		if s := o.run(t, ctx, "restart", other(name), "--yes"); other(name) != leader && (s.status != 1 || !strings.Contains(s.err, "no other standby streams")) {
			t.Error("the last standby is restarted")
		}
		if s := o.run(t, ctx, "failover", "--force", "--to", name, "--yes"); s.status != 1 || !strings.Contains(s.err, "it does not answer") {
			t.Errorf("a failover to %s, which is away, is not refused", name)
		}
		if err := c.Start(ctx, name); err != nil {
			t.Fatal(err)
		}
		o.well(t, ctx)
	})

	t.Run("failover", func(t *testing.T) {
		leader := c.whole(t, ctx)
		o.done(t, ctx, "pause", "--yes") // so that nobody takes over by himself
		gap, _ := l.fault(t, ctx, time.Second, func() {
			if err := c.Machine(leader).PowerCut(); err != nil {
				t.Fatal(err)
			}
			// Until its lease has ended, the leader that is lost still leads.
			deadline := time.Now().Add(labtest.Here(40 * time.Second))
			for !strings.Contains(o.run(t, ctx, "status").err, "nobody leads") && time.Now().Before(deadline) {
				time.Sleep(time.Second)
			}
			if s := o.done(t, ctx, "failover", "--force", "--yes"); !strings.Contains(s.err, "as far as is known nothing would be lost") {
				t.Error("it does not say what would be lost")
			}
		})
		t.Logf("nobody wrote for %.1f s", gap.Seconds())
		o.done(t, ctx, "resume", "--yes")
		if err := c.Start(ctx, leader); err != nil {
			t.Fatal(err)
		}
		o.well(t, ctx)
	})

	t.Run("nobody else", func(t *testing.T) {
		if err := c.AddStranger(ctx, "stranger", netip.MustParseAddr("10.99.8.9")); err != nil {
			t.Fatal(err)
		}
		command := exec.CommandContext(ctx, "ip", "netns", "exec", netns.Space("pghac", "stranger"), o.bin, "cluster", "status")
		command.Dir = o.work
		out, err := command.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "no machine answers this host: ") {
			t.Errorf("have %v: %s", err, out)
		}
	})

	l.end(t, ctx)
}
