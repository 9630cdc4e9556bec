//go:build linux

package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgha-gen/internal/bootlog"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/labtest"
	"pgha-gen/lab/machine/machinetest"
)

// etcdNode is an edit of the reference that adds an etcd node.
func etcdNode(n int) string {
	const last = "      - {name: demo-etcd-3, zone: ru-central1-a, address: 10.128.0.31}\n"
	return fmt.Sprintf("%s=>%s      - {name: demo-etcd-%d, zone: ru-central1-a, address: 10.128.0.3%d}\n", last, last, n, n)
}

// withoutEtcd is an edit that takes demo-etcd-3 out.
const withoutEtcd = "      - {name: demo-etcd-3, zone: ru-central1-a, address: 10.128.0.31}\n=>"

// said waits until a machine has said that a step ended so, with this text,
// after this moment.
func said(t *testing.T, ctx context.Context, c *cluster, since time.Time, limit time.Duration, node, step, status, text string) bootlog.Step {
	t.Helper()
	for deadline := time.Now().Add(labtest.Here(limit)); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		for _, line := range c.Machine(node).Console().Lines() {
			s, ok := bootlog.Parse(line.Text)
			if ok && !s.At.Before(since.Truncate(time.Millisecond)) && s.Name == step && s.Status == status && strings.Contains(s.Detail, text) {
				return s
			}
		}
	}
	t.Fatalf("%s has not said %s %s … %s within %s", node, step, status, text, limit)
	return bootlog.Step{}
}

// etcdMembers waits until etcd has exactly these members, all started.
func (c *cluster) etcdMembers(t *testing.T, ctx context.Context, from string, want ...string) {
	t.Helper()
	var got []string
	for deadline := time.Now().Add(labtest.Here(40 * time.Second)); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		got = nil
		for _, line := range strings.Split(c.run(t, ctx, from, etcdctlLine+" member list || :"), "\n") {
			if f := strings.Split(line, ", "); len(f) >= 3 {
				got = append(got, strings.TrimPrefix(f[2], "demo-etcd-"))
			}
		}
		slices.Sort(got)
		if slices.Equal(got, want) {
			return
		}
	}
	t.Fatalf("etcd's members are %q, want %q", got, want)
}

// etcdctlLine asks the member of this machine, once it starts.
const etcdctlLine = `[ -e /run/pgha/etcd/node.env ] || exit 0; . /run/pgha/etcd/node.env; S=/run/pgha/secrets; etcdctl --cacert $S/ca.crt --cert $S/server.crt --key $S/server.key --endpoints $ETCD_ADVERTISE_CLIENT_URLS`

// What a spec changes at etcd, under load: timers, more members, fewer, another
// in place of a dead one, and what is refused.
func TestEtcdMembers(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 60*time.Second)
	defer cancel()
	c := newCluster(t, ctx)
	c.up(t, ctx)
	c.whole(t, ctx)
	l := startLoad(t, ctx, c, 4)
	three := []string{"demo-etcd-1", "demo-etcd-2", "demo-etcd-3"}
	const slower, slow = "heartbeat_interval: 100ms=>heartbeat_interval: 200ms", "election_timeout: 1s=>election_timeout: 2s"
	refresh := func(t *testing.T, edits ...string) time.Time {
		t.Helper()
		since := time.Now()
		if err := c.Refresh(ctx, demo.Cluster(t, edits...)); err != nil {
			t.Fatal(err)
		}
		return since
	}

	t.Run("timers", func(t *testing.T) {
		gap, _ := l.fault(t, ctx, time.Second, func() {
			since := refresh(t, slower, slow)
			for _, name := range three {
				s := said(t, ctx, c, since, time.Minute, name, "refresh", "ok", "etcd restarted in")
				t.Logf("%s, %.1f s after the change: %s", name, s.At.Sub(since).Seconds(), s.Detail)
			}
		})
		l.quiet(t)
		atMost(t, gap, time.Second)
		for _, name := range three {
			if got := c.run(t, ctx, name, `tr '\0' '\n' </proc/$(pidof etcd)/environ | sed -n 's/^ETCD_HEARTBEAT_INTERVAL=//p'`); got != "200" {
				t.Errorf("%s runs with a heartbeat of %s ms, want 200", name, got)
			}
		}
	})

	// Patroni takes an error that etcd gives as it stops for a refusal of its lease, and
	// restarts PostgreSQL. It asks too seldom for a test to meet that.
	t.Run("restarted while it is asked", func(t *testing.T) {
		const end = "/run/etcd-requests-end"
		type result struct {
			Answers  int
			Refusals map[string]int
			err      error
		}
		script := testkit.Text(t, "testdata/etcd_requests.py")
		found := make(chan result, 1)
		go func() {
			var r result
			out, err := machinetest.ExecInput(ctx, c.Machine("demo-pg-2"), script,
				"python3", "-", end, "/run/pgha/secrets", "10.128.0.26", "10.128.0.11", "10.128.0.31")
			if r.err = err; err == nil {
				r.err = json.Unmarshal(out, &r)
			}
			found <- r
		}()
		gap, _ := l.fault(t, ctx, time.Second, func() {
			for range 2 {
				for _, name := range three {
					c.run(t, ctx, name, "systemctl restart etcd")
				}
			}
		})
		l.quiet(t)
		atMost(t, gap, time.Second)
		c.run(t, ctx, "demo-pg-2", "touch "+end)
		r := <-found
		testkit.OK(t, r.err)
		if r.Answers < 100 || len(r.Refusals) > 0 {
			t.Errorf("%d answers; refusals: %v", r.Answers, r.Refusals)
		}
	})

	t.Run("three to five", func(t *testing.T) {
		gap, _ := l.fault(t, ctx, time.Second, func() {
			since := refresh(t, slower, slow, etcdNode(4), etcdNode(5))
			if err := c.StartAll(ctx, "demo-etcd-4", "demo-etcd-5"); err != nil {
				t.Fatal(err)
			}
			waitReady(t, ctx, c.Lab, time.Minute, "demo-etcd-4", "demo-etcd-5")
			t.Logf("five members %.1f s after the change", time.Since(since).Seconds())
		})
		l.quiet(t)
		atMost(t, gap, time.Second)
		c.etcdMembers(t, ctx, "demo-etcd-1", "1", "2", "3", "4", "5")
	})

	// Two members that ask at the same instant are both added, since etcd looks at the
	// others before it writes. This has etcd not look. Both start together, and are so
	// far from each other that each is asked before the other has an answer.
	t.Run("two that are added and start at once", func(t *testing.T) {
		const careless = "/run/systemd/system/etcd.service.d"
		two := map[string]string{"demo-etcd-4": "https://10.128.0.34:2380", "demo-etcd-5": "https://10.128.0.35:2380"}
		for _, name := range three {
			c.run(t, ctx, name, "mkdir -p "+careless+"; cd "+careless+`; printf '[Service]\nEnvironment=ETCD_STRICT_RECONFIG_CHECK=false\n' >careless.conf; systemctl daemon-reload; systemctl restart etcd`)
		}
		for name := range two {
			c.run(t, ctx, name, "systemctl stop etcd; rm -r /var/lib/etcd/data/member")
			c.run(t, ctx, "demo-etcd-1", "e() { "+etcdctlLine+` "$@"; }; e member remove $(e member list | sed -n 's/, started, `+name+`,.*//p')`)
		}
		var starts sync.WaitGroup
		for name, url := range two {
			c.run(t, ctx, "demo-etcd-1", etcdctlLine+" member add "+name+" --peer-urls "+url)
			near, err := c.Delay(ctx, name, 100*time.Millisecond)
			testkit.OK(t, err)
			defer func() { testkit.OK(t, near()) }()
		}
		for name := range two {
			starts.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, labtest.Here(30*time.Second))
				defer cancel()
				if out, err := machinetest.Exec(ctx, c.Machine(name), "systemctl", "start", "etcd"); err != nil {
					t.Errorf("%s does not start: %v\n%s", name, err, out)
				}
			})
		}
		starts.Wait()
		c.etcdMembers(t, ctx, "demo-etcd-1", "1", "2", "3", "4", "5")
		for _, name := range three {
			c.run(t, ctx, name, "rm -r "+careless+"; systemctl daemon-reload; systemctl restart etcd")
		}
		l.quiet(t)
	})

	t.Run("five to three", func(t *testing.T) {
		gap, _ := l.fault(t, ctx, time.Second, func() {
			since := refresh(t, slower, slow)
			c.etcdMembers(t, ctx, "demo-etcd-1", "1", "2", "3")
			t.Logf("three members %.1f s after the change", time.Since(since).Seconds())
			for _, name := range []string{"demo-etcd-4", "demo-etcd-5"} {
				said(t, ctx, c, since, 20*time.Second, name, "etcd", "fail", "the cluster has removed this member")
			}
			for _, name := range three {
				t.Logf("%s: %s", name, said(t, ctx, c, since, 20*time.Second, name, "refresh", "ok", "").Detail)
			}
		})
		l.quiet(t)
		atMost(t, gap, time.Second)
		before := c.Machine("demo-etcd-4").Console().Lines()
		time.Sleep(5 * time.Second)
		if now := c.Machine("demo-etcd-4").Console().Lines(); len(now) > len(before) {
			t.Errorf("a member that was removed goes on: %v", now[len(before):])
		}
		for _, name := range []string{"demo-etcd-4", "demo-etcd-5"} {
			if err := c.Remove(ctx, name); err != nil {
				t.Fatal(err)
			}
		}
	})

	t.Run("two of three at once", func(t *testing.T) {
		since := refresh(t, slower, slow, withoutEtcd, "      - {name: demo-etcd-2, zone: ru-central1-a, address: 10.128.0.11}\n=>")
		for _, name := range []string{"demo-etcd-1"} {
			t.Log(said(t, ctx, c, since, 20*time.Second, name, "refresh", "fail", "would leave at once").Detail)
		}
		c.etcdMembers(t, ctx, "demo-etcd-1", "1", "2", "3")
		refresh(t, slower, slow)
	})

	t.Run("a dead one exchanged", func(t *testing.T) {
		if err := c.Machine("demo-etcd-3").PowerCut(); err != nil {
			t.Fatal(err)
		}
		gap, _ := l.fault(t, ctx, time.Second, func() {
			const other = "{name: demo-etcd-3, zone: ru-central1-a, address: 10.128.0.31}=>{name: demo-etcd-6, zone: ru-central1-a, address: 10.128.0.36}"
			since := refresh(t, slower, slow, other)
			c.etcdMembers(t, ctx, "demo-etcd-1", "1", "2")
			t.Logf("the dead member is removed %.1f s after the change", time.Since(since).Seconds())
			if err := c.Start(ctx, "demo-etcd-6"); err != nil {
				t.Fatal(err)
			}
			waitReady(t, ctx, c.Lab, time.Minute, "demo-etcd-6")
		})
		l.quiet(t)
		atMost(t, gap, time.Second)
		c.etcdMembers(t, ctx, "demo-etcd-1", "1", "2", "6")
	})

	l.end(t, ctx)
}
