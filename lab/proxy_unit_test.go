//go:build linux

package lab_test

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgha-gen/internal/demo"
	"pgha-gen/lab"
	"pgha-gen/lab/labtest"
	"pgha-gen/lab/machine/machinetest"
	"pgha-gen/roles/haproxy"
	"pgha-gen/roles/patroni"
)

// HAProxy as the image's systemd runs it: without any privilege from its start,
// and a reload ends no session.
func TestProxyUnit(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 20*time.Second)
	defer cancel()
	b := bake(t, ctx, "haproxy")
	c := demo.Cluster(t)
	l, err := lab.New(ctx, lab.Config{Cluster: c, Images: b.images, State: labtest.State(t), Cache: labtest.Cache, Name: "pghau", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	const name = "demo-haproxy-1"
	nodes := c.Group(patroni.Name).Nodes()
	for _, n := range nodes {
		if err := l.Network.AddAddress(ctx, netip.PrefixFrom(n.Address, 24)); err != nil {
			t.Fatal(err)
		}
	}
	f := &fakes{network: l.Network, nodes: fakeNodes(t, l.Network, nodes, l.Payload(patroni.Name))}
	t.Cleanup(func() {
		if t.Failed() {
			showConsole(t, l, name)
		}
	})
	if err := l.StartAll(ctx, name); err != nil {
		t.Fatal(err)
	}
	waitReady(t, ctx, l, time.Minute, name)
	in := func(script string) string {
		t.Helper()
		out, err := machinetest.Exec(ctx, l.Machine(name), "sh", "-c", script)
		if err != nil {
			t.Fatalf("%s: %v", script, err)
		}
		return strings.TrimSpace(string(out))
	}

	t.Run("no privilege", func(t *testing.T) {
		for _, line := range strings.Split(in(`for pid in $(pgrep -x haproxy); do
			awk '/^(Uid|CapPrm|CapBnd|NoNewPrivs|Seccomp):/ { printf "%s %s ", $1, $2 }' /proc/$pid/status; echo; done`), "\n") {
			const want = "Uid: 542 CapPrm: 0000000000000000 CapBnd: 0000000000000000 NoNewPrivs: 1 Seccomp: 2"
			if strings.TrimSpace(line) != want {
				t.Errorf("a process of HAProxy has %q, want %q", line, want)
			}
		}
	})
	t.Run("exposure", func(t *testing.T) {
		out := in("systemd-analyze security --no-pager haproxy.service")
		found := regexp.MustCompile(`Overall exposure level for haproxy.service: ([0-9.]+)`).FindStringSubmatch(out)
		if found == nil {
			t.Fatalf("systemd-analyze says:\n%s", out)
		}
		if score, err := strconv.ParseFloat(found[1], 64); err != nil || score > 3.0 {
			t.Errorf("exposure %s, want at most 3.0:\n%s", found[1], out)
		}
		t.Logf("exposure %s", found[1])
	})
	t.Run("regular expressions", func(t *testing.T) {
		// Their compiler makes code as it runs: the sandbox must let it.
		in(`set -e; cp /etc/haproxy/haproxy.cfg /run/kept.cfg
			printf '\nfrontend own\n    mode http\n    bind 127.0.0.1:9999\n    http-request deny if { path_reg ^/a[0-9]+$ }\n' >>/etc/haproxy/haproxy.cfg
			systemctl restart haproxy`)
		within(t, 3*time.Second, "HAProxy answers by a regular expression", func() bool {
			return in("curl -q -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9999/a1 || :") == "403"
		})
		in("cp /run/kept.cfg /etc/haproxy/haproxy.cfg && systemctl restart haproxy")
	})
	t.Run("reload", func(t *testing.T) {
		within(t, 3*time.Second, "HAProxy sends writers to the leader", func() bool { return f.ask(ctx, "", toLeader) == nodes[0].Name })
		s, err := f.open(ctx, "", toLeader)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		before := in("systemctl show -P NRestarts haproxy; pgrep -x haproxy | sort")
		in("systemctl reload haproxy")
		took := within(t, 3*time.Second, "writers are served after the reload", func() bool { return f.ask(ctx, "", toLeader) == nodes[0].Name })
		within(t, 3*time.Second, "the reload has started a process", func() bool {
			return in("systemctl show -P NRestarts haproxy; pgrep -x haproxy | sort") != before
		})
		if !s.alive() {
			t.Error("a session ended at the reload")
		}
		t.Logf("writers %s after the reload", took.Round(time.Millisecond))
		f.nodes[0].silent()
		took = within(t, 10*time.Second, "a session ends that the old process has, when its node is gone", func() bool { return !s.alive() })
		t.Logf("a session of the old process ends %s after its node is gone", took.Round(10*time.Millisecond))
	})
	t.Run("reload, the leader is lost, another one leads", func(t *testing.T) {
		from, to := f.nodes[0], f.nodes[1]
		if err := from.listenREST(); err != nil {
			t.Fatal(err)
		}
		within(t, 5*time.Second, "HAProxy sends writers to the leader", func() bool { return f.ask(ctx, "", toLeader) == from.name })
		s, err := f.open(ctx, "", toLeader)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		in("systemctl reload haproxy")
		within(t, 3*time.Second, "writers are served after the reload", func() bool { return f.ask(ctx, "", toLeader) == from.name })
		from.silent()
		silent := time.Now()
		const leaderless = 1500 * time.Millisecond
		for time.Since(silent) < leaderless {
			if !s.alive() {
				t.Fatal("the leader is silent, and a session of the old process ended before another node leads")
			}
			time.Sleep(100 * time.Millisecond)
		}
		to.say("primary")
		within(t, 10*time.Second, "a session ends that the old process has", func() bool { return !s.alive() })
		took := time.Since(silent)
		t.Logf("another node leads: a session of the old process ends after %s", (took - leaderless).Round(time.Millisecond))
		checks := c.Group(haproxy.Name).Settings.(*haproxy.Settings).Checks
		if alone := time.Duration(checks.Fall-1) * time.Duration(checks.FastInter); took >= alone { // on any host
			t.Errorf("%s after the leader is silent: HAProxy's own checks take as long", took.Round(time.Millisecond))
		}
	})
	t.Run("sockets", func(t *testing.T) {
		if got := in("stat -c '%a %U %n' /run/haproxy /run/haproxy/*.sock"); got !=
			"750 haproxy /run/haproxy\n600 haproxy /run/haproxy/admin.sock\n600 haproxy /run/haproxy/master.sock" {
			t.Errorf("got:\n%s", got)
		}
	})
	if failed := in("systemctl --failed --no-legend --plain"); failed != "" {
		t.Errorf("failed units: %s", failed)
	}
}
