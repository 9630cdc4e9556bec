package roles_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

// TestOutages does the sums by hand. They are what the code of Patroni, etcd and
// HAProxy says, which the terms name, and not what a measurement said.
func TestOutages(t *testing.T) {
	patroni := func(lines string) string { return "  patroni:\n=>  patroni:\n" + lines }
	const lastNode = "      - {name: p3, zone: ru-central1-a, address: 10.128.0.23}\n=>"
	tests := []struct {
		name, reason string
		edits        []string
		want         map[role.Fault]string
	}{
		{"fast", "a lease of 18 to 20 and 0.5, 2 to ask, 1.5 to promote, 0.3 of HAProxy, 0.5 of the client; sessions of a node that hangs live for 3.5 to 16.5 s", nil, map[role.Fault]string{
			role.LeaderLost:      "18 to 24.8 s, none",
			role.LeaderIsolated:  "18 to 24.8 s, none",
			role.ManagerHung:     "1.5 to 21.3 s, none",
			role.ManagerKilled:   "at most 0.5 s, none",
			role.DatabaseKilled:  "0.1 to 8.3 s, none",   // 1, 5, 1.5 of the replica, 0.3, 0.5
			role.DatabaseStuck:   "5 to 15.3 s, none",    // 1, 5, 2, 1 and 2, 2 and 1.5, 0.3, 0.5
			role.LeaderStopped:   "at most 19.8 s, none", // 12, 0.5, 1, 2 and 2, 1.5, 0.3, 0.5
			role.LeaderHandsOver: "at most 19.8 s, none",
			role.LeaderDiskFull:  "at most 22.8 s, none", // 3 more
			role.ReplicaLost:     "at most 0.5 s, none",
			role.DCSMemberLost:   "at most 0.5 s, none",
			role.DCSLost:         "at most 0.5 s, none",
			role.ProxyLost:       "at most 0.5 s, none",
			role.ProxyRestarted:  "at most 1.8 s, none",
		}},
		{"balanced, sync", "28 to 30; no replica has to follow first, so 1 to promote", []string{"failover: balanced", "durability: sync"}, map[role.Fault]string{
			role.LeaderLost:     "28 to 34.3 s, none",
			role.DatabaseKilled: "0.1 to 33.3 s, none",
			role.DatabaseStuck:  "30 to 39.8 s, none",
			role.ReplicaLost:    "at most 33 s, none", // the lease, 0.5, 2, and a hiccup
		}},
		{"safe, async", "58 to 60; what a replica is behind, and what is written until the leader says again how far it is, or for all of a lease; PostgreSQL may take 28 s to stop", []string{"failover: safe", "durability: async"}, map[role.Fault]string{
			role.LeaderLost:     "58 to 64.3 s, those in 1MB of WAL, and of 2 s",
			role.LeaderIsolated: "58 to 64.3 s, those in 1MB of WAL, and of 60 s",
			role.ManagerHung:    "27 to 60.3 s, those in 1MB of WAL, and of 60 s",
			role.DatabaseStuck:  "120 to 129.8 s, those in 1MB of WAL, and of 2 s",
			role.DatabaseKilled: "0.1 to 121.8 s, none",
			role.LeaderStopped:  "at most 35.3 s, none",
			role.ReplicaLost:    "at most 0.5 s, none",
		}},
		{"strict", "one is always waited for", []string{"durability: strict"}, map[role.Fault]string{
			role.LeaderLost:  "18 to 24.8 s, none",
			role.ReplicaLost: "at most 23 s, none",
		}},
		{"strict, one replica", "nobody else is left", []string{"durability: strict", lastNode}, map[role.Fault]string{role.ReplicaLost: "any time, none"}},
		{"quorum, one replica", "Patroni stops waiting for it", []string{lastNode}, map[role.Fault]string{role.ReplicaLost: "at most 23 s, none"}},
		{"at once", "another node leads once PostgreSQL has ended", []string{patroni("    primary_start_timeout: 0\n")}, map[role.Fault]string{
			role.DatabaseKilled: "at most 5.3 s, none", role.DatabaseStuck: "at most 5.3 s, none"}},
		{"watchdog", "it resets the node after 15 s, two seconds before HAProxy ends its last session", []string{patroni("    watchdog: required\n")}, map[role.Fault]string{role.ManagerHung: "3 to 21.3 s, none"}},
		{"watchdog, half a lease", "safety_margin -1: after 10 s", []string{patroni("    watchdog: required\n    config: {watchdog: {safety_margin: -1}}\n")}, map[role.Fault]string{role.ManagerHung: "8 to 21.3 s, none"}},
		{"watchdog, another margin", "20 less 8", []string{patroni("    watchdog: required\n    config: {watchdog: {safety_margin: 8}}\n")}, map[role.Fault]string{role.ManagerHung: "6 to 21.3 s, none"}},
		{"no failsafe mode", "nobody may write without etcd", []string{patroni("    config: {bootstrap: {dcs: {failsafe_mode: false}}}\n")}, map[role.Fault]string{role.DCSLost: "any time, none"}},
		{"one leader", "nobody else may take over, and nobody is asked to", []string{
			"name: p2, zone: ru-central1-b, address: 10.129.0.22=>name: p2, zone: ru-central1-b, address: 10.129.0.22, tags: {nofailover: true}",
			"name: p3, zone: ru-central1-a, address: 10.128.0.23=>name: p3, zone: ru-central1-a, address: 10.128.0.23, tags: {failover_priority: 0}",
		}, map[role.Fault]string{
			role.LeaderLost: "any time, none", role.DatabaseStuck: "any time, none", role.DatabaseKilled: "0.1 s or more, none", role.LeaderHandsOver: ""}},
		{"one HAProxy", "nobody gets past it", []string{"      - {name: h2, zone: ru-central1-b, address: 10.129.0.42}\n=>"}, map[role.Fault]string{role.ProxyLost: "any time, none"}},
		{"no HAProxy", "clients find the leader themselves; nobody ends sessions of one that hangs", []string{
			"  haproxy:\n    nodes:\n      - {name: h1, zone: ru-central1-a, address: 10.128.0.41}\n      - {name: h2, zone: ru-central1-b, address: 10.129.0.42}\n=>"}, map[role.Fault]string{
			role.LeaderLost: "18 to 24.5 s, none", role.ManagerHung: "at most 24.5 s, none", role.ProxyLost: ""}},
		{"agreement", "2 to 3.5 s of silence, 1 to agree, 0.5 to ask, 1.5 for two to follow, the proxy's 0.3 and the client's 0.5", []string{patroni("    agreement: {after: 3s}\n")}, map[role.Fault]string{
			role.LeaderLost: "2 to 7.3 s, none", role.LeaderIsolated: "2 to 7.3 s, none"}},
		{"slow checks", "a node counts as silent after 5 + 4+60 s, and its sessions hang until then; follow_leader.py finds the leader in 0.3 s all the same", []string{
			"  haproxy:\n=>  haproxy:\n    check: {inter: 5s, timeout: 1m}\n"}, map[role.Fault]string{
			role.LeaderLost: "18 to 69.8 s, none", role.DatabaseKilled: "0.1 to 8.3 s, none"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Log(test.reason)
			c := demo.Small(t, test.edits...)
			got := map[role.Fault]string{}
			for fault := range test.want {
				got[fault] = ""
				if o, ok := c.Outage(fault); ok {
					got[fault] = o.Gap().String() + ", " + o.Loss.String()
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			lost, _ := c.Outage(role.LeaderLost)
			if agrees := test.name == "agreement"; agrees != (lost.Steady == 25*time.Second) || !agrees && lost.Steady != 0 {
				t.Errorf("a lost leader has led for %v, want ttl and 5 s with an agreement alone", lost.Steady)
			}
			if test.name == "fast" && len(c.Outages()) != len(test.want) {
				t.Errorf("%d faults are predicted, and %d of them looked at", len(c.Outages()), len(test.want))
			}
		})
	}
}

// figures are the rows of docs/figures.md that say how long nobody could write
// after a fault, each with a column that says with which preset; of "balanced,
// fast" the first number is another preset's.
var figures = []struct {
	row   string
	fault role.Fault
}{
	{"all of etcd away for 60 s", role.DCSLost},
	{"Patroni killed", role.ManagerKilled},
	{"PostgreSQL killed", role.DatabaseKilled},
	{"leader's machine lost", role.LeaderLost},
	{"leader's cable pulled", role.LeaderIsolated},
	{"leader's machine stopped, little dirty in memory", role.LeaderStopped},
	{"leader's data disk filled", role.LeaderDiskFull},
	{"HAProxy started again", role.ProxyRestarted},
	{"seconds without an acknowledged write: switchover", role.LeaderHandsOver},
}

// TestFiguresArePredicted holds the measured figures against the prediction.
func TestFiguresArePredicted(t *testing.T) {
	text := testkit.Text(t, "../docs/figures.md")
	seconds := regexp.MustCompile(`\b\d+(?:\.\d+)?\b`)
	word := regexp.MustCompile(`^(?:fast|balanced|safe) `)
	note := regexp.MustCompile(`\([^)]*\)|, .*`)
	for _, figure := range figures {
		t.Run(figure.row, func(t *testing.T) {
			_, after, found := strings.Cut(text, "\n| "+figure.row+" | ")
			if !found {
				t.Fatal("docs/figures.md has no such row")
			}
			cells := strings.Split(strings.SplitN(after, "\n", 2)[0], " | ")
			measured := cells[0]
			if len(cells) > 2 {
				measured = cells[1] // the first is of another version
			}
			numbers := 0
			for _, part := range strings.Split(measured, "; ") {
				preset := strings.TrimSpace(word.FindString(part))
				if preset == "" {
					preset = "fast"
				}
				o, ok := demo.Small(t, "failover: "+preset).Outage(figure.fault)
				if !ok {
					t.Fatalf("nothing is predicted of %s", figure.fault)
				}
				for _, number := range seconds.FindAllString(note.ReplaceAllString(part, ""), -1) {
					s, err := strconv.ParseFloat(number, 64)
					testkit.OK(t, err)
					numbers++
					if !o.Gap().Holds(time.Duration(s * float64(time.Second))) {
						t.Errorf("%s: measured %s s, predicted %s", preset, number, o.Gap())
					}
				}
			}
			if numbers == 0 {
				t.Errorf("no figure in %q", measured)
			}
			t.Logf("%d figures in %q", numbers, measured)
		})
	}
}
