package operate

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pgha-gen/internal/testkit"
)

func machine(name string, change func(*Machine)) func(*State) {
	return func(s *State) {
		for i := range s.Machines {
			if s.Machines[i].Name == name {
				change(&s.Machines[i])
			}
		}
	}
}

func said(step, status, detail string) func(*Machine) {
	return func(m *Machine) { m.Steps[step] = Step{At: noon.UnixMilli() - 12000, Status: status, Detail: detail} }
}

func TestTroubles(t *testing.T) {
	tests := []struct {
		name, reason string
		change       []func(*State)
		want         []string
	}{
		{"none", "all is well", nil, nil},
		{"pending restart", "it is shown, and nothing is wrong", []func(*State){pendingOn("pg-1", "max_connections", "300", "310")}, nil},
		{"asynchronous", "no standby is synchronous, nor has to be", []func(*State){asynchronous}, nil},
		{"replica away", "once, though two of its ports are silent", []func(*State){away("pg-2")}, []string{"pg-2 does not answer: no answer within 1.5s"}},
		{"no member", "its Patroni never joined", []func(*State){member("pg-2", func(m *Member) { m.Role, m.State = "none", "no member" })}, []string{"pg-2 is no member, and does not stream"}},
		{"no member, away", "in one sentence", []func(*State){away("pg-2"), member("pg-2", func(m *Member) { m.Role, m.State = "none", "no member" })}, []string{"pg-2 is no member, and does not answer: no answer within 1.5s"}},
		{"replica stopped", "it does not stream", []func(*State){member("pg-2", func(m *Member) { m.Role, m.State = "replica", "stopped" })}, []string{"pg-2 is stopped, and does not stream"}},
		{"leader starts", "nobody can write yet", []func(*State){member("pg-1", func(m *Member) { m.State = "starting" })}, []string{"pg-1 leads, and its PostgreSQL is starting"}},
		{"other timeline", "it cannot follow", []func(*State){member("pg-2", func(m *Member) { m.Timeline = 2 })}, []string{"pg-2 is on timeline 2, and pg-1 leads on 3"}},
		{"far behind", "it could not take over", []func(*State){lag("pg-2", 3<<20)}, []string{"pg-2 is 3.0 MB behind, and could not take over (at most 1.0 MB)"}},
		{"one too many", "somebody took it out of the spec", []func(*State){member("pg-3", func(m *Member) { m.InSpec = false })}, []string{"pg-3 is a member, and not in the spec"}},
		{"nobody leads", "and HAProxy knows it", []func(*State){leaderless, func(s *State) { s.Proxies[0].Writers = nil }}, []string{"nobody leads, and nobody can write", "pg-1 is stopped, and does not stream", "haproxy-1 sends writers to nobody"}},
		{"members unknown", "no node reads etcd", []func(*State){func(s *State) { s.Unlisted = "no node can say who the members are: pg-1 no answer within 1.5s" }}, []string{"no node can say who the members are: pg-1 no answer within 1.5s"}},
		{"no standby", "durability is not what it says", []func(*State){member("pg-2", func(m *Member) { m.Role = "replica" }), member("pg-3", func(m *Member) { m.Role = "replica" })}, []string{"0 of 1 synchronous standbys: a commit is on the leader's disk alone"}},
		{"no standby, strict", "commits wait", []func(*State){config(func(c *Config) { c.Strict = true }), member("pg-2", func(m *Member) { m.Role = "replica" }), member("pg-3", func(m *Member) { m.Role = "replica" })}, []string{"no standby is synchronous, and commits wait for one"}},
		{"paused", "nobody takes over", []func(*State){config(paused)}, []string{"Patroni is paused: nobody takes over if the leader is lost (pgha-gen cluster resume)"}},
		{"failsafe", "etcd is away", []func(*State){member("pg-1", func(m *Member) { m.Node.Failsafe = true })}, []string{"pg-1 is in failsafe mode: etcd is away, and the leader goes on as long as all nodes answer it"}},
		{"watchdog", "it would not be reset", []func(*State){member("pg-1", func(m *Member) { m.Node.Watchdog = true })}, []string{"pg-1 cannot use its watchdog"}},
		{"etcd member away", "once", []func(*State){away("etcd-1")}, []string{"etcd on etcd-1: no answer within 1.5s"}},
		{"no quorum", "with the number", []func(*State){away("etcd-1", "etcd-2")}, []string{"etcd on etcd-1: no answer within 1.5s", "etcd on etcd-2: no answer within 1.5s", "etcd has no quorum: 1 of 3 members are healthy, want 2"}},
		{"etcd full", "its alarm", []func(*State){func(s *State) { s.DCS[1].Alarms = []string{"alarm:NOSPACE"} }}, []string{"etcd on etcd-2: alarm:NOSPACE"}},
		{"etcd: one too many", "it still votes", []func(*State){func(s *State) { s.DCS = append(s.DCS, Voter{Name: "etcd-4", Listed: true}) }}, []string{"etcd-4 is a member of etcd, and not in the spec"}},
		{"etcd: not a member", "it answers by itself", []func(*State){func(s *State) { s.DCS[2].Listed = false }}, []string{"etcd-3 is not a member of etcd"}},
		{"HAProxy away", "its statistics", []func(*State){away("haproxy-1")}, []string{"haproxy-1: HAProxy's statistics: no answer within 1.5s"}},
		{"HAProxy is behind", "writers go elsewhere", []func(*State){func(s *State) { s.Proxies[0].Writers = []string{"pg-3"} }}, []string{"haproxy-1 sends writers to pg-3, and pg-1 leads"}},
		{"status away", "the service answers, the machine does not", []func(*State){machine("pg-2", func(m *Machine) { m.Error = "connection refused" })}, []string{"pg-2 does not answer: connection refused"}},
		{"not ready", "it boots", []func(*State){machine("pg-2", func(m *Machine) { m.Ready = false })}, []string{"pg-2 is not ready"}},
		{"not ready, and why", "once", []func(*State){machine("pg-2", func(m *Machine) { m.Ready = false }), machine("pg-2", said("ready", "wait", "Patroni does not answer"))}, []string{"pg-2 ready wait: Patroni does not answer"}},
		{"other user-data", "the spec was changed, or it refused it", []func(*State){machine("pg-2", func(m *Machine) { m.UserData = "fedcba9876543210" })}, []string{"pg-2 works by user-data fedcba9876543210, and the spec has 0123456789abcdef"}},
		{"no user-data", "it never said", []func(*State){machine("pg-2", func(m *Machine) { m.UserData = "" })}, []string{"pg-2 works by user-data (none), and the spec has 0123456789abcdef"}},
		{"no spec", "nothing to compare with", []func(*State){machine("haproxy-1", func(m *Machine) { m.Spec = "" })}, nil},
		{"steps", "what they said last", []func(*State){machine("pg-2", said("refresh", "fail", "haproxy.cfg: unknown keyword")), machine("pg-2", said("disk", "warn", "90 % full"))}, []string{"pg-2 disk warn: 90 % full", "pg-2 refresh fail: haproxy.cfg: unknown keyword"}},
		{"certificate", "as early as on the console", []func(*State){machine("etcd-1", func(m *Machine) { m.Certificates[1].End = noon.Add(36 * time.Hour).Unix() })}, []string{"etcd-1 has a certificate that ends in 1 day"}},
		{"certificate, said by a step", "once", []func(*State){machine("etcd-1", func(m *Machine) { m.Certificates[1].End = noon.Add(time.Hour).Unix() }), machine("etcd-1", said("certificates", "warn", "node.crt ends"))}, []string{"etcd-1 certificates warn: node.crt ends"}},
		{"certificates have ended", "the cause comes first, and once", []func(*State){away("pg-2"), machine("pg-1", ended), machine("pg-1", said("certificates", "fail", "node.crt ended")), machine("etcd-1", ended)},
			[]string{"certificates have ended on etcd-1, pg-1 (run pgha-gen secrets generate, and what it says next)", "pg-2 does not answer: no answer within 1.5s"}},
		{"disk", "full", []func(*State){machine("pg-1", func(m *Machine) { m.Disk.Full = true })}, []string{"pg-1 has a full data disk"}},
		{"operator", "who would be locked out", []func(*State){func(s *State) { s.Operator = noon.AddDate(0, 0, 20) }}, []string{"the operator's certificate ends in 20 days (run pgha-gen secrets generate)"}},
		{"nobody answers", "one sentence, and where to look", []func(*State){away("etcd-1", "etcd-2", "etcd-3", "pg-1", "pg-2", "pg-3", "haproxy-1")},
			[]string{"no machine answers this host: etcd-1 says: no answer within 1.5s (is this host in access.operators, and the cluster up?)"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, healthy(test.change...).Troubles(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// ended is a machine one of whose certificates ends now.
func ended(m *Machine) { m.Certificates[1].End = noon.Unix() }

// What a person sees. The goldens are to be read.
func TestScreen(t *testing.T) {
	tests := []struct {
		name   string
		change []func(*State)
	}{
		{"well", nil},
		{"unwell", []func(*State){
			away("pg-3", "etcd-1"), config(paused), pendingOn("pg-1", "max_connections", "300", "310"), lag("pg-2", 3<<20),
			member("pg-2", func(m *Member) {
				m.Tags = map[string]any{"nofailover": true, "failover_priority": 2.0}
				m.Pending = map[string]Change{}
			}),
			machine("pg-2", said("refresh", "wait", "the lock is held by pg-1")), machine("pg-2", func(m *Machine) { m.UserData = "fedcba9876543210"; m.Ready = false }),
			machine("pg-1", func(m *Machine) { m.Disk.Full, m.Disk.Free = true, 5<<20 }),
			func(s *State) {
				s.Scheduled = &ScheduledSwitchover{At: "2026-12-02T03:00:00+00:00", To: "pg-2"}
				s.DCS[1].Alarms = []string{"alarm:NOSPACE"}
			},
		}},
		{"outage", []func(*State){away("etcd-1", "etcd-2", "pg-1"), leaderless, func(s *State) { s.Config = nil; s.Proxies[0].Writers, s.Proxies[0].Readers = nil, nil }}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			testkit.Golden(t, test.name+".golden.txt", healthy(test.change...).Screen())
		})
	}
}

func TestHistoryScreen(t *testing.T) {
	got := HistoryScreen(events([][]any{
		{1.0, 83886240.0, "no recovery target specified", "2026-11-26T17:40:01.123456+00:00", "demo-pg-2"},
		{2.0, 4378853376.0, "no recovery target specified"}, // as old versions have it
	}))
	testkit.Golden(t, "history.golden.txt", got)
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 kB", 70 << 10: "70 kB", 3 << 20: "3.0 MB", 100 << 30: "100 GB", 5 << 50: "5120 TB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) is %q, want %q", n, got, want)
		}
	}
}
