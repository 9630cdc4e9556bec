package operate

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pgha-gen/internal/testkit"
)

// Who gets sessions, of all states that HAProxy knows.
func TestReadStatistics(t *testing.T) {
	const head = "# pxname,svname,status,\n"
	tests := []struct {
		name, reason, table string
		writers, readers    []string
		wrong               bool
	}{
		{"up", "one leads", head + "primary,a,UP,\nprimary,b,NOLB,\nprimary,BACKEND,UP,\nreplicas,b,UP,\nclients,FRONTEND,OPEN,\n", []string{"a"}, []string{"b"}, false},
		{"going down", "it gets sessions until it is", head + "primary,a,UP 1/2,\n", []string{"a"}, nil, false},
		{"down", "or coming up, or in maintenance", head + "primary,a,DOWN,\nprimary,b,DOWN 1/2,\nprimary,c,MAINT,\n", nil, nil, false},
		{"no status", "another table", "# pxname,svname,\nprimary,a,\n", nil, nil, true},
		{"no table", "a page", "<html>\n\"", nil, nil, true},
		{"nothing", "an empty answer", "", nil, nil, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			writers, readers, err := readStatistics(test.table)
			if diff := cmp.Diff([][]string{test.writers, test.readers}, [][]string{writers, readers}, cmpopts.EquateEmpty()); diff != "" || (err != nil) != test.wrong {
				t.Errorf("%s: %v (-want +got):\n%s", test.reason, err, diff)
			}
		})
	}
}

// The dynamic configuration, as operators and Patroni's versions write it.
func TestConfig(t *testing.T) {
	own := Config{Synchronous: "off", SyncNodes: 1, MaximumLag: 1 << 20, LoopWait: 10, TTL: 30}
	with := func(change func(*Config)) Config { c := own; change(&c); return c }
	for text, want := range map[string]Config{
		`{}`:                           own,
		`{"synchronous_mode": false}`:  own,
		`{"synchronous_mode": null}`:   own,
		`{"synchronous_mode": true}`:   with(func(c *Config) { c.Synchronous = "on" }),
		`{"synchronous_mode": "on"}`:   with(func(c *Config) { c.Synchronous = "on" }),
		`{"synchronous_mode": "True"}`: with(func(c *Config) { c.Synchronous = "on" }),
		`{"synchronous_mode": "quorum", "synchronous_mode_strict": true, "synchronous_node_count": 2}`: with(func(c *Config) { c.Synchronous, c.Strict, c.SyncNodes = "quorum", true, 2 }),
		`{"pause": true, "ttl": 20, "loop_wait": 2, "maximum_lag_on_failover": 0}`:                     with(func(c *Config) { c.Paused, c.TTL, c.LoopWait, c.MaximumLag = true, 20, 2, 0 }),
	} {
		var said restConfig
		testkit.OK(t, json.Unmarshal([]byte(text), &said))
		if diff := cmp.Diff(&want, said.config()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

// Members that the spec and etcd do not both have.
func TestVoters(t *testing.T) {
	list := func(members string) (l dcsList) {
		testkit.OK(t, json.Unmarshal([]byte(`{"members": [`+members+`]}`), &l))
		return l
	}
	healthy := dcsHealth{Health: "true"}
	d := &members{
		names: []string{"etcd-1", "etcd-2"}, status: make([]dcsStatus, 2), health: []dcsHealth{healthy, healthy}, errs: make([][3]error, 2),
		lists: []dcsList{{}, list(`{"name": "etcd-1"}, {"name": "etcd-9", "isLearner": true}, {"peerURLs": ["https://10.0.0.3:2380"]}`)},
	}
	want := []Voter{
		{Name: "etcd-1", Healthy: true, InSpec: true, Listed: true},
		{Name: "etcd-2", Healthy: true, InSpec: true},
		{Name: "etcd-9", Error: "is a member, and not in the spec", Learner: true, Listed: true},
		{Name: "10.0.0.3:2380", Error: "is a member, and not in the spec", Listed: true}, // it never started
	}
	if diff := cmp.Diff(want, d.voters()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// One that is not listed does not count, nor does one that only learns.
	if voters, healthy := (&State{DCS: d.voters()}).quorum(); voters != 2 || healthy != 1 {
		t.Errorf("%d of %d count, want 1 of 2", healthy, voters)
	}
}

// What Patroni says where it does not know.
func TestUnknown(t *testing.T) {
	var m restMember
	testkit.OK(t, json.Unmarshal([]byte(`{"name": "pg-3", "role": "replica", "state": "starting", "timeline": "unknown", "lag": "unknown", "tags": {"nosync": true, "sync_priority": 0}}`), &m))
	got := m.member()
	if got.Lag != nil || got.Timeline != 0 || !got.neverSync() || got.neverLeads() {
		t.Errorf("have %+v", got)
	}
	var n restNode
	testkit.OK(t, json.Unmarshal([]byte(`{"state": "stopped", "role": "replica", "timeline": null}`), &n))
	if node := n.node(); node.Position != 0 || node.Timeline != 0 {
		t.Errorf("have %+v", node)
	}
	for said, want := range map[string]string{`{"role": "primary"}`: "leader", `{"role": "primary", "cluster_unlocked": true}`: "primary",
		`{"role": "primary", "cluster_unlocked": true, "failsafe_mode_is_active": true}`: "leader", `{"role": "replica"}`: "replica"} {
		var n restNode
		testkit.OK(t, json.Unmarshal([]byte(said), &n))
		if got := n.role(); got != want {
			t.Errorf("%s: have %s, want %s", strings.TrimSpace(said), got, want)
		}
	}
}
