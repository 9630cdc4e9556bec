package haproxy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles/haproxy"
	"pgha-gen/roles/patroni"
)

func TestConfig(t *testing.T) {
	tests := []struct {
		name, reason string
		edits        []string
	}{
		{"balanced", "every default", nil},
		{"fast", "nodes are asked more often", []string{"failover: fast"}},
		{"safe", "nodes are asked less often, and trusted longer", []string{"failover: safe"}},
		{"by-name", "a node without an address is looked up, and may come later", []string{
			"name: p2, zone: ru-central1-b, address: 10.129.0.22=>name: p2, zone: ru-central1-b"}},
		{"replicas-only", "readers never meet the leader, and may finish when a replica is promoted", []string{
			"  haproxy:\n=>  haproxy:\n    replicas_fallback: none\n    on_marked_down: keep\n    max_replica_lag: 1GB\n"}},
		{"ports", "where it listens, and where the nodes do", []string{
			"  haproxy:\n=>  haproxy:\n    ports: {primary: 6000, replicas: 6001, stats: 6002}\n    max_connections: 100\n    idle_timeout: 10m\n",
			"  patroni:\n=>  patroni:\n    port: 6432\n    rest_port: 9008\n"}},
		{"balanced-by-cloud", "a load balancer asks at a port of its own", []string{"cloud:\n  load_balancer: internal\n  entry_point: db.example.net\n"}},
		{"override", "raw keywords replace ours or are added, and text comes last", []string{
			"  haproxy:\n=>  haproxy:\n    global: {nbthread: 2, maxconn: 9000, tune.bufsize: \"\"}\n    defaults: {retries: 5, timeout queue: 5s, option redispatch: 1}\n" +
				"    extra: |\n      listen own\n          bind :9999\n\n"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Log(test.reason)
			files := demo.UserFiles(t, demo.Small(t, test.edits...), haproxy.Name)
			if len(files) != 3 || files["/etc/haproxy/ca.crt"] == "" {
				t.Errorf("got %d files, want haproxy.cfg, servers.state and ca.crt in /etc/haproxy", len(files))
			}
			testkit.Golden(t, test.name+".golden.state", files["/etc/haproxy/servers.state"])
			testkit.Golden(t, test.name+".golden.cfg", files["/etc/haproxy/haproxy.cfg"])
		})
	}
}

func TestBake(t *testing.T) {
	c := demo.Small(t, "  haproxy:\n=>  haproxy:\n    version: 2.8.16-0ubuntu0.24.04.3\n")
	want := emit.Map{{Key: "HAPROXY_VERSION", Value: "2.8.16-0ubuntu0.24.04.3"}}
	if diff := cmp.Diff(want, c.Group(haproxy.Name).Plan.Bake); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestExpect(t *testing.T) {
	tests := []struct {
		name, reason string
		edits        []string
		readers      string
		follows      string
		lives        string
		through      string
	}{
		{"balanced", "every node is asked each second, 7 times more after the first silence; 290 of PostgreSQL's 300", []string{"failover: balanced"},
			"clients that read: replicas; the leader while no replica is fit (lag at most 10MB)", "300ms", "4900ms", "290"},
		{"safe", "2s, and 4 times more; 390 of 400", []string{"failover: safe",
			"  patroni:\n=>  patroni:\n    parameters: {max_connections: 400}\n"},
			"clients that read: replicas; the leader while no replica is fit (lag at most 10MB)", "300ms", "4s", "390"},
		{"quick checks", "HAProxy's own find it sooner", []string{
			"  haproxy:\n=>  haproxy:\n    replicas_fallback: none\n    check: {inter: 200ms, fastinter: 500ms, downinter: 100ms, rise: 1, fall: 8}\n"},
			"clients that read: replicas only (lag at most 10MB)", "200ms", "3500ms", "290"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := demo.Small(t, test.edits...)
			plan := c.Group(haproxy.Name).Plan
			want := []role.Expectation{
				{What: "HAProxy follows a new leader", Then: "within " + test.follows + " of Patroni's answer that it leads"},
				{What: "Patroni away, PostgreSQL still there", Then: "sessions live on for " + test.lives},
				{What: "more clients than PostgreSQL takes", Then: "each HAProxy opens " + test.through + " connections to a node, further clients wait up to 10 s; " +
					"two open twice as many, and PostgreSQL refuses those above its limit, but never the superuser"},
			}
			if got := plan.Ports[1].For; got != test.readers {
				t.Errorf("%s: readers %q, want %q", test.reason, got, test.readers)
			}
			if diff := cmp.Diff(want, plan.Expect); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// Names do not come through the spec's checks with such characters. If one ever
// does, it is no line of HAProxy's configuration.
func TestOddNames(t *testing.T) {
	for _, name := range []string{"p1\n    bind :1", "p1 backup", "p1#", "p1'", "[p1", ""} {
		c := demo.Small(t)
		c.Group("patroni").Settings.(*patroni.Settings).Members[0].Name = name
		if err := c.Plan(); err == nil || !strings.Contains(err.Error(), "cannot stand in haproxy.cfg") {
			t.Errorf("name %q: got %v, want it refused", name, err)
		}
	}
}
