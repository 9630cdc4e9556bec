package patroni_test

import (
	"testing"

	"pgha-gen/internal/testkit"
)

// The node that leads cannot be taken out of the spec: whoever still knows it
// says so.
func TestLeaderStays(t *testing.T) {
	testkit.Need(t, "jq")
	const members = `{"members":[{"name":"demo-pg-1","role":"replica"},{"name":"demo-pg-2","role":"leader"},{"name":"demo-pg-3","role":"quorum_standby"}]}`
	tests := []struct {
		name, reason   string
		nodes, patroni string
		booting        string
		want           string
		status         int
	}{
		{"stays", "a replica may be taken out", "demo-pg-2=10.0.0.2 demo-pg-3=10.0.0.3", "echo '" + members + "'", "", "parameters are good\n", 0},
		{"by name", "nodes without an address", "demo-pg-2 demo-pg-3", "echo '" + members + "'", "", "parameters are good\n", 0},
		{"goes", "nobody would take writes", "demo-pg-1=10.0.0.1 demo-pg-3=10.0.0.3", "echo '" + members + "'", "",
			"demo-pg-2 leads and is not in the new spec: switch over first\n", 1},
		{"longer name", "demo-pg-22 is not demo-pg-2", "demo-pg-1=10.0.0.1 demo-pg-22=10.0.0.3", "echo '" + members + "'", "",
			"demo-pg-2 leads and is not in the new spec: switch over first\n", 1},
		{"nobody leads", "then nobody is lost", "demo-pg-1=10.0.0.1", `echo '{"members":[{"name":"demo-pg-2","role":"replica"}]}'`, "", "parameters are good\n", 0},
		{"silent", "a node without Patroni does not lead; another one says it", "demo-pg-1=10.0.0.1", "exit 7", "", "parameters are good\n", 0},
		{"garbage", "that is no leader's name", "demo-pg-1=10.0.0.1", "echo '<html>'", "", "parameters are good\n", 0},
		{"boot", "its own Patroni does not run yet", "demo-pg-1=10.0.0.1", "echo '" + members + "'", "yes", "parameters are good\n", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, _ := node(t, "PGHA_NODES='"+tt.nodes+"'")
			m.Env = append(m.Env, "PGHA_BOOTING="+tt.booting)
			m.Fake("curl", `case "$*" in *"https://demo-etcd-1.ru-central1.internal:8008/cluster") ;; *) echo "$*" >&2; exit 99 ;; esac
`+tt.patroni)
			m.Write(m.Lib+"/check_parameters.py", "#!/bin/sh\necho parameters are good\n")
			got := m.Boot("refresh-check.sh", m.Run+"/stage")
			if got.Output != tt.want || got.Status != tt.status {
				t.Errorf("%s: status %d, %q, want %d, %q", tt.reason, got.Status, got.Output, tt.status, tt.want)
			}
		})
	}
}
