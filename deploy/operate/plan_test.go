package operate

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var noon = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// healthy is a cluster where all is well, in the quorum mode, with changes.
func healthy(changes ...func(*State)) *State {
	zero := int64(0)
	replica := func(name string) Member {
		return Member{Name: name, Role: "quorum_standby", State: "streaming", Timeline: 3, Lag: &zero, InSpec: true,
			Node: &Node{State: "running", Role: "replica", Timeline: 3, Receives: "streaming", Position: 5000}}
	}
	s := &State{
		Cluster: "demo", At: noon, Operator: noon.AddDate(2, 0, 0),
		Config: &Config{Synchronous: "quorum", SyncNodes: 1, MaximumLag: 1 << 20, LoopWait: 2, TTL: 20},
		Members: []Member{
			{Name: "pg-1", Role: "leader", State: "running", Timeline: 3, InSpec: true, Node: &Node{State: "running", Role: "primary", Timeline: 3, Position: 5000}},
			replica("pg-2"), replica("pg-3"),
		},
		Proxies: []Proxy{{Name: "haproxy-1", Writers: []string{"pg-1"}, Readers: []string{"pg-2", "pg-3"}}},
	}
	for _, name := range []string{"etcd-1", "etcd-2", "etcd-3"} {
		s.DCS = append(s.DCS, Voter{Name: name, Healthy: true, Leader: name == "etcd-2", Version: "3.5.33", Size: 20480, InUse: 16384, InSpec: true, Listed: true})
	}
	for _, name := range []string{"etcd-1", "etcd-2", "etcd-3", "pg-1", "pg-2", "pg-3", "haproxy-1"} {
		m := Machine{Name: name, Role: name[:strings.Index(name, "-")], Ready: true, UserData: "0123456789abcdef", Spec: "0123456789abcdef",
			Steps: map[string]Step{"ready": {At: noon.UnixMilli() - 60000, Status: "ok", Detail: "it answers"}}}
		if m.Role != "haproxy" {
			m.Certificates = []Certificate{{File: "ca.crt", End: noon.AddDate(10, 0, 0).Unix()}, {File: "node.crt", End: noon.AddDate(0, 0, 400).Unix()}}
			m.Disk = &Disk{Size: 100 << 30, Free: 90 << 30}
		}
		s.Machines = append(s.Machines, m)
	}
	for _, change := range changes {
		change(s)
	}
	return s
}

// Changes of a healthy cluster.
func member(name string, change func(*Member)) func(*State) {
	return func(s *State) { change(s.Member(name)) }
}

func lag(name string, bytes int64) func(*State) {
	return member(name, func(m *Member) { m.Lag = &bytes })
}

func away(names ...string) func(*State) {
	return func(s *State) {
		for _, name := range names {
			const why = "no answer within 1.5s"
			if m := s.Member(name); m != nil {
				m.Error, m.Node = why, nil
			}
			for i := range s.DCS {
				if s.DCS[i].Name == name {
					s.DCS[i] = Voter{Name: name, Error: why, InSpec: true, Listed: true}
				}
			}
			for i := range s.Proxies {
				if s.Proxies[i].Name == name {
					s.Proxies[i] = Proxy{Name: name, Error: why}
				}
			}
			for i := range s.Machines {
				if s.Machines[i].Name == name {
					s.Machines[i] = Machine{Name: name, Role: s.Machines[i].Role, Error: why}
				}
			}
		}
	}
}

func config(change func(*Config)) func(*State) { return func(s *State) { change(s.Config) } }

func paused(c *Config)      { c.Paused = true }
func synchronous(c *Config) { c.Synchronous = "on" }
func asynchronous(s *State) {
	s.Config.Synchronous = "off"
	for i := range s.Members {
		if s.Members[i].synchronous() {
			s.Members[i].Role = "replica"
		}
	}
}

func pendingOn(name, parameter, before, after string) func(*State) {
	return member(name, func(m *Member) { m.Pending = map[string]Change{parameter: {before, after}} })
}

func unhealthy(s *State) { s.DCS[0].Healthy, s.DCS[0].Error = false, "connection refused" }

// gone takes nodes out of the spec; they are members still.
func gone(names ...string) func(*State) {
	return func(s *State) {
		for _, name := range names {
			s.Member(name).InSpec, s.Member(name).Node = false, nil
		}
	}
}

func leaderless(s *State) { s.Members[0].Role = "replica"; s.Members[0].State = "stopped" }

// turns are what a plan does, in short.
func turns(p *Plan) []string {
	var all []string
	for _, t := range p.Turns {
		words := []string{string(t.Verb)}
		for _, w := range []string{t.From, t.Node, t.At} {
			if w != "" {
				words = append(words, w)
			}
		}
		all = append(all, strings.Join(words, " "))
	}
	return all
}

// guarded is a plan that is made or refused.
type guarded struct {
	name, reason string
	change       []func(*State)
	plan         func(*State) (*Plan, error)
	want         []string // the turns
	notes        []string // in the notes
	err          string
}

func check(t *testing.T, tests []guarded) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := test.plan(healthy(test.change...))
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Fatalf("%s\nhave %v\nwant %s", test.reason, err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", test.reason, err)
			}
			if diff := cmp.Diff(test.want, turns(p), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
			for _, turn := range p.Turns {
				if turn.Says == "" {
					t.Errorf("turn %s says nothing", turn.Verb)
				}
			}
			for _, note := range test.notes {
				if !strings.Contains(strings.Join(p.Notes, "\n"), note) {
					t.Errorf("%s: no note has %q: %q", test.reason, note, p.Notes)
				}
			}
		})
	}
}

func TestPlanSwitchover(t *testing.T) {
	to := func(name string) func(*State) (*Plan, error) {
		return func(s *State) (*Plan, error) { return s.PlanSwitchover(name, time.Time{}) }
	}
	at := func(when time.Time) func(*State) (*Plan, error) {
		return func(s *State) (*Plan, error) { return s.PlanSwitchover("pg-3", when) }
	}
	check(t, []guarded{
		{"named", "as it was asked", nil, to("pg-3"), []string{"switchover pg-1 pg-3"}, []string{"etcd: 3 of 3 members are healthy, 1 may be lost"}, ""},
		{"none named", "the one that is least behind", []func(*State){lag("pg-2", 300)}, to(""), []string{"switchover pg-1 pg-3"}, nil, ""},
		{"none named, one unfit", "the other", []func(*State){member("pg-2", func(m *Member) { m.State = "starting" })}, to(""), []string{"switchover pg-1 pg-3"}, nil, ""},
		{"etcd without a reserve", "possible, and said", []func(*State){unhealthy}, to("pg-2"), []string{"switchover pg-1 pg-2"}, []string{"etcd: 2 of 3 members are healthy, no more may be lost"}, ""},
		{"one is not in the spec", "the other", []func(*State){gone("pg-2")}, to(""), []string{"switchover pg-1 pg-3"}, nil, ""},
		{"synchronous", "to the synchronous one", []func(*State){config(synchronous), member("pg-2", func(m *Member) { m.Role = "replica" }), member("pg-3", func(m *Member) { m.Role = "sync_standby" })}, to(""), []string{"switchover pg-1 pg-3"}, nil, ""},
		{"asynchronous", "to any that is not far behind", []func(*State){asynchronous}, to("pg-2"), []string{"switchover pg-1 pg-2"}, nil, ""},
		{"paused", "Patroni takes a named one, and we always name one", []func(*State){config(paused)}, to(""), []string{"switchover pg-1 pg-2"}, nil, ""},
		{"scheduled", "with its time", nil, at(noon.Add(time.Hour)), []string{"switchover pg-1 pg-3 2026-12-01T13:00:00Z"}, []string{"Patroni checks again at that time"}, ""},
		{"scheduled twice", "what goes is said", []func(*State){func(s *State) { s.Scheduled = &ScheduledSwitchover{At: "2026-12-02T03:00:00+00:00", To: "pg-2"} }}, at(noon.Add(time.Hour)),
			[]string{"switchover pg-1 pg-3 2026-12-01T13:00:00Z"}, []string{"it takes the place of the switchover that is scheduled for 2026-12-02T03:00:00+00:00 to pg-2"}, ""},

		{"unknown", "not in Patroni's cluster", nil, to("pg-9"), nil, nil, "cannot switch over: pg-9 is no member of Patroni's cluster (members: pg-1, pg-2, pg-3)"},
		{"leads already", "nothing to do is said as such", nil, to("pg-1"), nil, nil, "cannot switch over to pg-1: it leads already"},
		{"away", "it could not take over", []func(*State){away("pg-2")}, to("pg-2"), nil, nil, "cannot switch over to pg-2: it does not answer: no answer within 1.5s (pg-3 could)"},
		{"does not stream", "it could lack commits", []func(*State){member("pg-2", func(m *Member) { m.State = "starting" })}, to("pg-2"), nil, nil, "cannot switch over to pg-2: it is starting, and does not stream (pg-3 could)"},
		{"other timeline", "it follows another history", []func(*State){member("pg-2", func(m *Member) { m.Timeline = 2 })}, to("pg-2"), nil, nil, "cannot switch over to pg-2: it is on timeline 2, and pg-1 on 3 (pg-3 could)"},
		{"far behind", "Patroni would not take it", []func(*State){lag("pg-2", 3<<20)}, to("pg-2"), nil, nil, "cannot switch over to pg-2: it is 3.0 MB behind, more than maximum_lag_on_failover (1.0 MB) (pg-3 could)"},
		{"lag unknown", "nobody knows", []func(*State){member("pg-2", func(m *Member) { m.Lag = nil })}, to("pg-2"), nil, nil, "cannot switch over to pg-2: it does not say how far it is behind (pg-3 could)"},
		{"nofailover", "by the spec", []func(*State){member("pg-2", func(m *Member) { m.Tags = map[string]any{"nofailover": true} })}, to("pg-2"), nil, nil, "cannot switch over to pg-2: it may never lead, by its tags (pg-3 could)"},
		{"failover_priority 0", "the same in another word", []func(*State){member("pg-2", func(m *Member) { m.Tags = map[string]any{"failover_priority": 0.0} })}, to("pg-2"), nil, nil, "cannot switch over to pg-2: it may never lead, by its tags (pg-3 could)"},
		{"not synchronous", "durability sync asks for it", []func(*State){config(synchronous), member("pg-2", func(m *Member) { m.Role = "replica" }), member("pg-3", func(m *Member) { m.Role = "sync_standby" })}, to("pg-2"), nil, nil,
			"cannot switch over to pg-2: it is not the synchronous standby (pg-3 could)"},
		{"not in the quorum", "durability quorum asks for it", []func(*State){member("pg-2", func(m *Member) { m.Role = "replica" })}, to("pg-2"), nil, nil,
			"cannot switch over to pg-2: it is not in the quorum yet, and may lack commits (pg-3 could)"},
		{"nobody is fit", "all reasons are said", []func(*State){away("pg-2"), lag("pg-3", 2<<20)}, to(""), nil, nil,
			"cannot switch over: nobody could take over: pg-2 does not answer: no answer within 1.5s; pg-3 is 2.0 MB behind, more than maximum_lag_on_failover (1.0 MB) (wait or bring one back: pgha-gen cluster status)"},
		{"named, nobody is fit", "and no other could", []func(*State){away("pg-2", "pg-3")}, to("pg-2"), nil, nil, "cannot switch over to pg-2: it does not answer: no answer within 1.5s (no other node could, either; wait, or bring one back)"},
		{"alone", "there is nobody", []func(*State){func(s *State) { s.Members = s.Members[:1] }}, to(""), nil, nil, "cannot switch over: nobody could take over: there is no replica (wait or bring one back: pgha-gen cluster status)"},
		{"nobody leads", "there is nobody to hand over", []func(*State){leaderless}, to(""), nil, nil, "cannot switch over: nobody leads (see pgha-gen cluster status; if nobody takes over by itself, pgha-gen cluster failover --force)"},
		{"leader away", "it cannot hand over", []func(*State){away("pg-1")}, to("pg-2"), nil, nil, "cannot switch over: pg-1, which leads, does not answer: no answer within 1.5s (a leader that is lost is replaced by itself within 22 s)"},
		{"leader starts", "it cannot yet", []func(*State){member("pg-1", func(m *Member) { m.State = "starting" })}, to("pg-2"), nil, nil, "cannot switch over: pg-1 leads, and its PostgreSQL is starting (wait until it runs)"},
		{"no quorum", "nothing can be changed", []func(*State){away("etcd-1", "etcd-3")}, to("pg-2"), nil, nil, "cannot switch over: etcd has no quorum, 1 of 3 members are healthy (start 1 more first; pgha-gen cluster status says which)"},
		{"no configuration", "the guards know nothing", []func(*State){func(s *State) { s.Config = nil }}, to("pg-2"), nil, nil, "cannot switch over: no node gives Patroni's dynamic configuration (see pgha-gen cluster status)"},
		{"scheduled, paused", "Patroni refuses it", []func(*State){config(paused)}, at(noon.Add(time.Hour)), nil, nil, "cannot schedule a switchover: Patroni is paused (resume first, or switch over at once)"},
		{"scheduled for the past", "with the time that it is there", nil, at(time.Date(2026, 12, 1, 14, 0, 0, 0, time.FixedZone("", 3*3600))), nil, nil, "cannot schedule a switchover for 2026-12-01T14:00:00+03:00: that is over, it is 2026-12-01T15:00:00+03:00"},

		{"cancel", "with what goes", []func(*State){func(s *State) { s.Scheduled = &ScheduledSwitchover{At: "2026-12-02T03:00:00+00:00", To: "pg-2"} }}, (*State).PlanCancel, []string{"cancel"}, nil, ""},
		{"cancel nothing", "there is none", nil, (*State).PlanCancel, nil, nil, "cannot cancel: no switchover is scheduled"},
	})
}

func TestPlanRestart(t *testing.T) {
	all := func(w Which) func(*State) (*Plan, error) {
		return func(s *State) (*Plan, error) { return s.PlanRestart(w) }
	}
	one := func(name string) func(*State) (*Plan, error) { return all(Which{Node: name}) }
	waiting := all(Which{Pending: true})
	forced := all(Which{Force: true})
	alone := func(s *State) { s.Members = s.Members[:1]; s.Config.Synchronous = "off" }
	pair := func(s *State) { s.Members = s.Members[:2] }
	check(t, []guarded{
		{"all", "replicas, then the leader by a handover", nil, all(Which{}), []string{"restart pg-2", "restart pg-3", "switchover pg-1 pg-2"}, []string{"nothing that was acknowledged is lost", "1 may be lost"}, ""},
		{"a replica", "alone", nil, one("pg-3"), []string{"restart pg-3"}, nil, ""},
		{"the leader", "it hands over first", nil, one("pg-1"), []string{"switchover pg-1 pg-2"}, nil, ""},
		{"one is not in the spec", "it is left alone", []func(*State){gone("pg-2")}, all(Which{}), []string{"restart pg-3", "switchover pg-1 pg-3"}, nil, ""},
		{"pending on one", "no other", []func(*State){pendingOn("pg-2", "max_connections", "300", "310")}, waiting, []string{"restart pg-2"}, nil, ""},
		{"pending on none", "nothing to do", nil, waiting, nil, nil, ""},
		{"pending on all, larger", "replicas first: none may have less than the leader", []func(*State){pendingOn("pg-1", "max_connections", "300", "310"), pendingOn("pg-2", "max_connections", "300", "310")},
			waiting, []string{"restart pg-2", "switchover pg-1 pg-2"}, nil, ""},
		{"pending on all, smaller", "the leader first, where it is", []func(*State){pendingOn("pg-1", "max_connections", "310", "300"), pendingOn("pg-2", "max_connections", "310", "300")},
			waiting, []string{"restart in place pg-1", "restart pg-2"}, []string{"nobody can write while pg-1 restarts"}, ""},
		{"smaller, but of another kind", "as always", []func(*State){pendingOn("pg-1", "shared_buffers", "310", "300")}, waiting, []string{"switchover pg-1 pg-2"}, nil, ""},
		{"pending, and not what for", "as always", []func(*State){member("pg-1", func(m *Member) { m.Pending = map[string]Change{} })}, waiting, []string{"switchover pg-1 pg-2"}, nil, ""},
		{"paused", "it is said", []func(*State){config(paused)}, one("pg-2"), []string{"restart pg-2"}, []string{"Patroni is paused"}, ""},
		{"pair, forced", "the risk is taken", []func(*State){pair}, forced, []string{"restart pg-2", "switchover pg-1 pg-2"}, nil, ""},
		{"alone, forced", "where it is", []func(*State){alone}, forced, []string{"restart in place pg-1"}, []string{"nobody can write while pg-1 restarts"}, ""},
		{"etcd at risk, forced", "the risk is taken", []func(*State){unhealthy}, all(Which{Node: "pg-2", Force: true}), []string{"restart pg-2"}, nil, ""},
		{"asynchronous pair", "there is no synchronous standby to lose", []func(*State){pair, asynchronous}, all(Which{}), []string{"restart pg-2", "switchover pg-1 pg-2"}, nil, ""},

		{"unknown", "not in Patroni's cluster", nil, one("pg-9"), nil, nil, "cannot restart: pg-9 is no member of Patroni's cluster (members: pg-1, pg-2, pg-3)"},
		{"away", "it cannot be told", []func(*State){away("pg-3")}, all(Which{}), nil, nil, "cannot restart pg-3: it does not answer: no answer within 1.5s (name the nodes that you want restarted one by one)"},
		{"the last standby", "commits would be on one disk", []func(*State){away("pg-3")}, one("pg-2"), nil, nil,
			"cannot restart pg-2: no other standby streams, so none could be synchronous meanwhile (bring another one back first; with --force, commits are on the leader's disk alone for that time)"},
		{"the other is never synchronous", "it does not count", []func(*State){member("pg-3", func(m *Member) { m.Tags = map[string]any{"nosync": true}; m.Role = "replica" })}, one("pg-2"), nil, nil,
			"cannot restart pg-2: no other standby streams, so none could be synchronous meanwhile (bring another one back first; with --force, commits are on the leader's disk alone for that time)"},
		{"etcd at risk", "one more lost, and nobody leads", []func(*State){unhealthy}, one("pg-2"), nil, nil, "cannot restart: etcd's quorum is at risk, 2 of 3 members are healthy and none may be lost (bring the others back first, or --force)"},
		{"no quorum", "nothing can be changed, forced or not", []func(*State){away("etcd-1", "etcd-3")}, forced, nil, nil, "cannot restart: etcd has no quorum, 1 of 3 members are healthy (start 1 more first; pgha-gen cluster status says which)"},
		{"nobody could take over", "the leader would be an outage", []func(*State){alone}, all(Which{}), nil, nil,
			"cannot restart pg-1, which leads: nobody could take over: there is no replica (wait or bring one back: pgha-gen cluster status), or --force restarts it where it is"},
		{"nobody leads", "first a leader", []func(*State){leaderless}, all(Which{}), nil, nil, "cannot restart: nobody leads (see pgha-gen cluster status; if nobody takes over by itself, pgha-gen cluster failover --force)"},
	})
}

func TestPlanReinit(t *testing.T) {
	node := func(name string) func(*State) (*Plan, error) {
		return func(s *State) (*Plan, error) { return s.PlanReinit(name) }
	}
	check(t, []guarded{
		{"a replica", "what goes is said", nil, node("pg-3"), []string{"reinit pg-3"}, []string{"readers that are connected to pg-3"}, ""},
		{"a broken one", "that is what it is for", []func(*State){member("pg-3", func(m *Member) { m.State = "start failed"; m.Role = "replica" })}, node("pg-3"), []string{"reinit pg-3"}, nil, ""},
		{"a broken one, the other away", "it is no standby that counts", []func(*State){away("pg-2"), member("pg-3", func(m *Member) { m.State = "start failed"; m.Role = "replica" })}, node("pg-3"), []string{"reinit pg-3"}, nil, ""},
		{"asynchronous", "no standby counts", []func(*State){asynchronous, away("pg-2")}, node("pg-3"), []string{"reinit pg-3"}, nil, ""},

		{"not in the spec", "its address is not known", []func(*State){gone("pg-3")}, node("pg-3"), nil, nil, "cannot copy pg-3 anew: it is not in the spec (-f names the spec that has it)"},
		{"the leader", "it has the data", nil, node("pg-1"), nil, nil, "cannot copy pg-1 anew: it leads, and has the data that the others copy (pgha-gen cluster switchover first)"},
		{"the last standby", "commits would be on one disk", []func(*State){member("pg-2", func(m *Member) { m.State = "stopped"; m.Role = "replica" })}, node("pg-3"), nil, nil, "cannot copy pg-3 anew: it is the last synchronous standby (bring another one back first: pgha-gen cluster status)"},
		{"the last that answers", "the other may be gone", []func(*State){away("pg-2")}, node("pg-3"), nil, nil, "cannot copy pg-3 anew: it is the last synchronous standby (bring another one back first: pgha-gen cluster status)"},
		{"away", "it cannot be told", []func(*State){away("pg-3")}, node("pg-3"), nil, nil, "cannot copy pg-3 anew: it does not answer: no answer within 1.5s (its machine can be replaced instead)"},
		{"unknown", "not in Patroni's cluster", nil, node("pg-9"), nil, nil, "cannot copy anew: pg-9 is no member of Patroni's cluster (members: pg-1, pg-2, pg-3)"},
		{"nobody leads", "there is nothing to copy from", []func(*State){leaderless}, node("pg-3"), nil, nil, "cannot copy pg-3 anew: nobody leads (see pgha-gen cluster status; if nobody takes over by itself, pgha-gen cluster failover --force)"},
	})
}

func TestPlanFailover(t *testing.T) {
	to := func(name string) func(*State) (*Plan, error) {
		return func(s *State) (*Plan, error) { return s.PlanFailover(name) }
	}
	position := func(name string, at int64) func(*State) {
		return member(name, func(m *Member) { m.Node.Position = at })
	}
	lost := []func(*State){away("pg-1"), member("pg-1", func(m *Member) { m.Role = "replica" })}
	check(t, []guarded{
		{"nobody leads", "to the one that has the most", append(lost, position("pg-3", 9000)), to(""), []string{"failover pg-3"},
			[]string{"as far as is known nothing would be lost: pg-3 has the WAL up to 0/2328, and nobody who answers has more", "what pg-1, without an answer, wrote beyond that is not known, and would be lost too"}, ""},
		{"to one that lacks something", "how much is said", append(lost, position("pg-3", 9000)), to("pg-2"), []string{"failover pg-2"}, []string{"3.9 kB of WAL would be lost: pg-2 has it up to 0/1388, and pg-3 up to 0/2328"}, ""},
		{"by the leader's last word", "it is known from the lag", append(lost, lag("pg-2", 70<<10)), to("pg-2"), []string{"failover pg-2"}, []string{"70 kB of WAL would be lost: pg-2 has it up to 0/1388, and the leader, by its last word up to"}, ""},
		{"not synchronous", "it is said", append(lost, member("pg-2", func(m *Member) { m.Role = "replica" })), to("pg-2"), []string{"failover pg-2"}, []string{"pg-2 is no synchronous standby: it may lack commits that were acknowledged"}, ""},
		{"the leader is well, the target far behind", "a switchover is not possible", []func(*State){lag("pg-2", 9<<20), position("pg-1", 5000+9<<20)}, to("pg-2"), []string{"failover pg-2"}, []string{"9.0 MB of WAL would be lost"}, ""},

		{"switchover would do", "it loses nothing", nil, to("pg-2"), nil, nil, "cannot fail over: pg-1 leads and can hand over without loss (pgha-gen cluster switchover --to pg-2)"},
		{"to the leader", "it leads", nil, to("pg-1"), nil, nil, "cannot fail over to pg-1: it leads already (pgha-gen cluster status)"},
		{"unknown", "not in Patroni's cluster", nil, to("pg-9"), nil, nil, "cannot fail over: pg-9 is no member of Patroni's cluster (members: pg-1, pg-2, pg-3)"},
		{"away", "it cannot lead", append(lost, away("pg-2")), to("pg-2"), nil, nil, "cannot fail over to pg-2: it does not answer: no answer within 1.5s (name another, or bring it back)"},
		{"not in the spec", "its address is not known", append(lost, gone("pg-2")), to("pg-2"), nil, nil, "cannot fail over to pg-2: it is not in the spec (name another)"},
		{"nofailover", "by the spec", append(lost, member("pg-2", func(m *Member) { m.Tags = map[string]any{"nofailover": true} })), to("pg-2"), nil, nil, "cannot fail over to pg-2: it may never lead, by its tags (change them in the spec)"},
		{"stopped", "there is nothing to promote", append(lost, member("pg-2", func(m *Member) { m.Node.State = "stopped" })), to("pg-2"), nil, nil, "cannot fail over to pg-2: it has no PostgreSQL that runs, but is stopped (name another, or wait)"},
		{"nobody", "there is nobody", append(lost, away("pg-2", "pg-3")), to(""), nil, nil, "cannot fail over: no replica answers that may lead (see pgha-gen cluster status; bring one back first)"},
		{"no quorum", "nothing can be changed", append(lost, away("etcd-1", "etcd-3")), to("pg-2"), nil, nil, "cannot fail over: etcd has no quorum, 1 of 3 members are healthy (start 1 more first; pgha-gen cluster status says which)"},
		{"no configuration", "what is synchronous is not known", append(lost, func(s *State) { s.Config = nil }), to("pg-2"), nil, nil, "cannot fail over: no node gives Patroni's dynamic configuration (see pgha-gen cluster status)"},
	})
}

func TestPlanPause(t *testing.T) {
	pause := func(s *State) (*Plan, error) { return s.PlanPause(true) }
	resume := func(s *State) (*Plan, error) { return s.PlanPause(false) }
	check(t, []guarded{
		{"pause", "what it means is said", nil, pause, []string{"pause"}, nil, ""},
		{"paused already", "nothing to do", []func(*State){config(paused)}, pause, nil, nil, ""},
		{"with a switchover scheduled", "it does not happen", []func(*State){func(s *State) { s.Scheduled = &ScheduledSwitchover{At: "2026-12-02T03:00:00+00:00"} }}, pause, []string{"pause"}, []string{"does not happen while it is paused"}, ""},
		{"resume", "what it means is said", []func(*State){config(paused)}, resume, []string{"resume"}, nil, ""},
		{"resume without a leader", "there will be one", []func(*State){config(paused), leaderless}, resume, []string{"resume"}, []string{"elect a leader at once"}, ""},
		{"not paused", "nothing to do", nil, resume, nil, nil, ""},
		{"no quorum", "nothing can be changed", []func(*State){away("etcd-1", "etcd-3")}, pause, nil, nil, "cannot pause: etcd has no quorum, 1 of 3 members are healthy (start 1 more first; pgha-gen cluster status says which)"},
		{"no configuration", "whether it is paused is not known", []func(*State){func(s *State) { s.Config = nil }}, resume, nil, nil, "cannot resume: no node gives Patroni's dynamic configuration (see pgha-gen cluster status)"},
	})
}
