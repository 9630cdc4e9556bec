package haproxy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/roles/haproxy"
	"pgha-gen/roles/roletest"
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
		{"override", "raw keywords replace ours or are added, and text comes last", []string{
			"  haproxy:\n=>  haproxy:\n    global: {nbthread: 2, maxconn: 9000, tune.bufsize: \"\"}\n    defaults: {retries: 5, timeout queue: 5s, option redispatch: 1}\n" +
				"    extra: |\n      listen own\n          bind :9999\n\n"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Log(test.reason)
			files := roletest.Files(t, roletest.Cluster(t, test.edits...), haproxy.Name)
			if len(files) != 2 || files["/etc/haproxy/ca.crt"] == "" {
				t.Errorf("got %d files, want /etc/haproxy/haproxy.cfg and ca.crt", len(files))
			}
			roletest.Golden(t, test.name+".golden.cfg", files["/etc/haproxy/haproxy.cfg"])
		})
	}
}

func TestBake(t *testing.T) {
	c := roletest.Cluster(t, "  haproxy:\n=>  haproxy:\n    version: 2.8.16-0ubuntu0.24.04.3\n")
	want := emit.Map{{Key: "HAPROXY_VERSION", Value: "2.8.16-0ubuntu0.24.04.3"}}
	if diff := cmp.Diff(want, c.Part(haproxy.Name).Bake(c)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestGuide(t *testing.T) {
	tests := []struct {
		name, reason string
		edits        []string
		readers      string
		fact         string
	}{
		{"balanced", "an old leader is seen down after 2s + 1*500ms, a new one up after 1s + 1*500ms", []string{"failover: balanced"},
			"clients that read: replicas; the leader while no replica is fit (lag at most 10MB)",
			"within 2500ms of the change (check every 2s, then every 500ms, fall 2, rise 2)"},
		{"safe", "3s + 2*1s, against 2s + 2*1s", []string{"failover: safe"},
			"clients that read: replicas; the leader while no replica is fit (lag at most 10MB)",
			"within 5s of the change (check every 3s, then every 1s, fall 3, rise 3)"},
		{"slow rise", "here the new leader decides: 1s + 9*500ms, against 1s + 1*500ms", []string{
			"  haproxy:\n=>  haproxy:\n    replicas_fallback: none\n    check: {rise: 10}\n"},
			"clients that read: replicas only (lag at most 10MB)",
			"within 5500ms of the change (check every 1s, then every 500ms, fall 2, rise 10)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := roletest.Cluster(t, test.edits...)
			guide := c.Part(haproxy.Name).Guide(c)
			want := role.Guide{Facts: []role.Fact{{Name: "HAProxy follows a new leader", Value: test.fact}}}
			if got := c.Part(haproxy.Name).Service(c).Ports[1].For; got != test.readers {
				t.Errorf("%s: readers %q, want %q", test.reason, got, test.readers)
			}
			if diff := cmp.Diff(want, guide); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}
