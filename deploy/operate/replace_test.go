package operate

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// second adds a proxy.
func second(s *State) {
	s.Proxies = append(s.Proxies, Proxy{Name: "haproxy-2", Writers: []string{"pg-1"}, Readers: []string{"pg-2", "pg-3"}})
}

func TestPlanReplace(t *testing.T) {
	of := func(name string, empty bool) func(*State) (*Plan, error) {
		return func(s *State) (*Plan, error) { return s.PlanReplace(name, empty) }
	}
	alone := func(s *State) { s.Members = s.Members[:1]; s.DCS = s.DCS[:1] }
	pair := func(s *State) { s.Members = s.Members[:2] }
	five := func(s *State) {
		for _, name := range []string{"etcd-4", "etcd-5"} {
			s.DCS = append(s.DCS, Voter{Name: name, Healthy: true, InSpec: true, Listed: true})
		}
	}
	check(t, []guarded{
		{"a replica", "nothing is to be done before", nil, of("pg-3", true), nil, []string{"readers that are connected to pg-3"}, ""},
		{"the leader", "it hands over first", nil, of("pg-1", false), []string{"switchover pg-1 pg-2"}, []string{"nothing that was acknowledged is lost"}, ""},
		{"a member of etcd", "the others have a quorum", nil, of("etcd-2", true), nil, []string{"etcd: 2 other members are healthy"}, ""},
		{"the only proxy", "it is said", nil, of("haproxy-1", false), nil, []string{"clients cannot connect meanwhile"}, ""},
		{"one of two proxies", "clients have the other", []func(*State){second}, of("haproxy-1", false), nil, []string{"clients that are connected to haproxy-1"}, ""},
		{"a replica that is lost", "that is what it is for", []func(*State){away("pg-3")}, of("pg-3", false), nil, nil, ""},
		{"two replicas are lost", "one of them comes first", []func(*State){away("pg-2", "pg-3")}, of("pg-3", false), nil, nil, ""},
		{"a lost member of etcd", "the others have a quorum", []func(*State){away("etcd-2")}, of("etcd-2", false), nil, nil, ""},
		{"two of five members are lost", "one of them comes first", []func(*State){five, away("etcd-2", "etcd-3")}, of("etcd-2", false), nil, nil, ""},
		{"both proxies are lost", "one of them comes first", []func(*State){second, away("haproxy-1", "haproxy-2")}, of("haproxy-2", false), nil, nil, ""},
		{"a pair", "it is said what that means", []func(*State){pair}, of("pg-2", false), nil, []string{"no other standby streams: until pg-2 is back, commits are on the leader's disk alone"}, ""},
		{"the only node keeps its data", "it is an outage, and is said", []func(*State){alone}, of("pg-1", false), nil, []string{"nobody can read or write meanwhile"}, ""},
		{"the only member keeps its data", "it is said", []func(*State){alone}, of("etcd-1", false), nil, []string{"nobody takes over if the leader is lost meanwhile"}, ""},
		{"one is not in the spec", "it does not count", []func(*State){gone("pg-2")}, of("pg-3", false), nil, nil, ""},

		{"another replica is lost", "the leader would be alone", []func(*State){away("pg-2")}, of("pg-3", false), nil, nil,
			"cannot replace pg-3: pg-2 is not well: it does not answer: no answer within 1.5s (bring it back or replace it first: pgha-gen cluster status)"},
		{"another replica copies", "it could not take over", []func(*State){member("pg-2", func(m *Member) { m.State = "creating replica" })}, of("pg-1", false), nil, nil,
			"cannot replace pg-1: pg-2 is not well: it does not stream yet (bring it back or replace it first: pgha-gen cluster status)"},
		{"another is not in the quorum", "it may lack commits", []func(*State){member("pg-2", func(m *Member) { m.Role = "replica" })}, of("pg-1", false), nil, nil,
			"cannot replace pg-1: pg-2 is not well: it does not stream yet (bring it back or replace it first: pgha-gen cluster status)"},
		{"nobody may take over", "the leader would be an outage", []func(*State){member("pg-2", func(m *Member) { m.Tags = map[string]any{"nofailover": true} }), member("pg-3", func(m *Member) { m.Tags = map[string]any{"nofailover": true} })}, of("pg-1", false), nil, nil,
			"cannot replace pg-1, which leads: nobody could take over: pg-2 may never lead, by its tags; pg-3 may never lead, by its tags (wait or bring one back: pgha-gen cluster status)"},
		{"nobody leads", "what is there is not known", []func(*State){leaderless}, of("pg-3", false), nil, nil,
			"cannot replace pg-3: nobody leads (see pgha-gen cluster status; if nobody takes over by itself, pgha-gen cluster failover --force)"},
		{"paused", "nobody would start it", []func(*State){config(paused)}, of("pg-3", false), nil, nil,
			"cannot replace pg-3: Patroni is paused, and would not start PostgreSQL on the new machine (pgha-gen cluster resume)"},
		{"another member of etcd is lost", "the quorum would be", []func(*State){away("etcd-1")}, of("etcd-2", false), nil, nil,
			"cannot replace etcd-2: etcd-1 is not well: etcd: no answer within 1.5s (bring it back or replace it first: pgha-gen cluster status)"},
		{"one that learns", "it does not vote", []func(*State){func(s *State) { s.DCS[0].Learner = true }}, of("etcd-2", false), nil, nil,
			"cannot replace etcd-2: etcd-1 is not well: etcd: it learns, and does not vote yet (bring it back or replace it first: pgha-gen cluster status)"},
		{"one that is no member", "it does not vote", []func(*State){func(s *State) { s.DCS[0].Listed = false }}, of("etcd-2", false), nil, nil,
			"cannot replace etcd-2: etcd-1 is not well: it is not a member of etcd (bring it back or replace it first: pgha-gen cluster status)"},
		{"the quorum is lost", "one machine is not enough", []func(*State){away("etcd-1", "etcd-2")}, of("etcd-2", false), nil, nil,
			"cannot replace etcd-2: etcd would have no quorum, 1 of 3 members are healthy beside it (bring the others back first: pgha-gen cluster status)"},
		{"etcd has no quorum", "nothing can be changed", []func(*State){away("etcd-1", "etcd-2")}, of("pg-3", false), nil, nil,
			"cannot replace pg-3: etcd has no quorum, 1 of 3 members are healthy (start 1 more first; pgha-gen cluster status says which)"},
		{"the other proxy is lost", "clients would have none", []func(*State){second, away("haproxy-2")}, of("haproxy-1", false), nil, nil,
			"cannot replace haproxy-1: haproxy-2 is not well: HAProxy's statistics: no answer within 1.5s (bring it back or replace it first: pgha-gen cluster status)"},
		{"the other proxy knows no leader", "writers would have none", []func(*State){second, func(s *State) { s.Proxies[1].Writers = nil }}, of("haproxy-1", false), nil, nil,
			"cannot replace haproxy-1: haproxy-2 is not well: it sends writers to (none), and pg-1 leads (bring it back or replace it first: pgha-gen cluster status)"},
		{"nobody answers", "the host may be in no network of operators", []func(*State){away("etcd-1", "etcd-2", "etcd-3", "pg-1", "pg-2", "pg-3", "haproxy-1")}, of("pg-3", false), nil, nil,
			"no machine answers this host: etcd-1 says: no answer within 1.5s (is this host in access.operators, and the cluster up?)"},
		{"the only node, empty", "its data are nowhere else", []func(*State){alone}, of("pg-1", true), nil, nil,
			"cannot replace pg-1 with an empty disk: its data are on no other machine (let it keep its disk)"},
		{"the only member, empty", "nor here", []func(*State){alone}, of("etcd-1", true), nil, nil,
			"cannot replace etcd-1 with an empty disk: its data are on no other machine (let it keep its disk)"},
	})
}

// TestLacks: what a machine lacks until it counts.
func TestLacks(t *testing.T) {
	machine := func(name string, change func(*Machine)) func(*State) {
		return func(s *State) {
			for i := range s.Machines {
				if s.Machines[i].Name == name {
					change(&s.Machines[i])
				}
			}
		}
	}
	tests := []struct {
		name, of string
		change   func(*State)
		want     string
	}{
		{"away", "pg-2", away("pg-2"), "it does not answer: no answer within 1.5s"},
		{"boots", "pg-2", machine("pg-2", func(m *Machine) { m.Ready = false }), "it is not ready"},
		{"old user-data", "pg-2", machine("pg-2", func(m *Machine) { m.UserData = "" }), "it works by user-data (none), and the spec has 0123456789abcdef"},
		{"the spec's user-data is not known", "pg-2", machine("pg-2", func(m *Machine) { m.Spec = "" }), ""},
		{"Patroni is away", "pg-2", member("pg-2", func(m *Member) { m.Error = "connection refused" }), "it does not answer: connection refused"},
		{"copies", "pg-2", member("pg-2", func(m *Member) { m.State = "creating replica" }), "it does not stream yet"},
		{"reads the archive", "pg-2", member("pg-2", func(m *Member) { m.Node.Receives = "in archive recovery" }), "it does not stream yet"},
		{"the old timeline", "pg-2", member("pg-2", func(m *Member) { m.Timeline = 2 }), "it does not stream yet"},
		{"not in the quorum", "pg-2", member("pg-2", func(m *Member) { m.Role = "replica" }), "it does not stream yet"},
		{"leads, and starts", "pg-1", member("pg-1", func(m *Member) { m.State = "starting" }), "its PostgreSQL is starting"},
		{"no readers", "pg-2", func(s *State) { s.Proxies[0].Readers = []string{"pg-3"} }, "haproxy-1 sends no readers to it yet"},
		{"no readers, by its tag", "pg-2", func(s *State) {
			s.Proxies[0].Readers = []string{"pg-3"}
			s.Member("pg-2").Tags = map[string]any{"noloadbalance": true}
		}, ""},
		{"no readers, and the proxy is away", "pg-2", away("haproxy-1"), ""},
		{"etcd is away", "etcd-1", unhealthy, "etcd: connection refused"},
		{"no member", "etcd-1", func(s *State) { s.DCS[0].Listed = false }, "it is not a member of etcd"},
		{"learns", "etcd-1", func(s *State) { s.DCS[0].Learner = true }, "etcd: it learns, and does not vote yet"},
		{"no statistics", "haproxy-1", func(s *State) { s.Proxies[0].Error = "connection refused" }, "HAProxy's statistics: connection refused"},
		{"another leader", "haproxy-1", func(s *State) { s.Proxies[0].Writers = []string{"pg-2"} }, "it sends writers to pg-2, and pg-1 leads"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := healthy(test.change).Lacks(test.of); got != test.want {
				t.Errorf("%s lacks %q, want %q", test.of, got, test.want)
			}
		})
	}
	s := healthy(second)
	for _, m := range s.Machines {
		if why := s.Lacks(m.Name); why != "" {
			t.Errorf("%s lacks %q where all is well", m.Name, why)
		}
	}
}

// TestOrder: etcd's leader behind its members, the database's behind everything.
func TestOrder(t *testing.T) {
	s := healthy()
	order := map[string]int{}
	for _, m := range s.Machines {
		order[m.Name] = s.Order(m.Name)
	}
	want := map[string]int{"etcd-1": 0, "etcd-3": 0, "etcd-2": 1, "haproxy-1": 2, "pg-2": 3, "pg-3": 3, "pg-1": 4}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
