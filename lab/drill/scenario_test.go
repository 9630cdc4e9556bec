package drill

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
	"pgha-gen/internal/demo"
	"pgha-gen/lab/workload"
)

// Every scenario can be read, is about something of its own, and can fail by more
// than what holds for all.
func TestAll(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	about := map[string]string{}
	for _, s := range all {
		if same := about[s.About]; same != "" {
			t.Errorf("%s and %s are about the same", s.Name, same)
		}
		about[s.About] = s.Name
		if s.Backup != (s.Hold.Archived > 0) {
			t.Errorf("%s: what becomes of the archive is judged where there are backups, and only there", s.Name)
		}
		if !s.Hold.Gap.Set() {
			t.Errorf("%s: nothing bounds the time without a write", s.Name)
		}
		if last := s.Do[len(s.Do)-1]; s.Do[0].Form == "wait BOUND" || last.Form == "wait BOUND" && last.Wait.Of(20*time.Second) > time.Minute {
			t.Errorf("%s begins or ends with a wait", s.Name)
		}
	}
	if quick := len(slices.DeleteFunc(all, func(s Scenario) bool { return !s.Quick })); quick != 8 {
		t.Errorf("%d scenarios are quick, want the eight of make test", quick)
	}
}

// The cluster of make drill can be read, and each fault whose prediction a scenario
// has to meet is one that is predicted for it.
func TestPredicted(t *testing.T) {
	text, err := os.ReadFile("pgha.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := demo.Read(t, text)
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	met := map[role.Fault]bool{}
	for _, s := range all {
		if s.Predicts == "" {
			continue
		}
		outage, ok := c.Outage(s.Predicts)
		if !ok {
			t.Errorf("%s: nothing is predicted of %q", s.Name, s.Predicts)
			continue
		}
		met[s.Predicts] = true
		if moves := s.Hold.Leader == Changes; moves != outage.Moves && s.Hold.Leader != "" {
			t.Errorf("%s: the leader %s, and the prediction is that another node leads: %t", s.Name, s.Hold.Leader, outage.Moves)
		}
	}
	for _, outage := range c.Outages() {
		if !met[outage.Fault] && outage.Fault != role.DatabaseStuck {
			t.Errorf("no scenario tries %s", outage.Fault)
		}
	}
}

func TestRead(t *testing.T) {
	got, err := Read("scenarios/some-name.yaml", []byte(`
about: all that a file can say
quick: true
alone: true
backup: true
agreement: true
long: true
durability: [sync, strict]
do:
  - lose 5% from leader to all etcd
  - kill PostgreSQL on a replica
  - wait ttl+2s
  - take lockbox away
  - slow disk of all etcd to 5 writes/s
  - have certificates of all databases end in 20s
settle: 9s
hold: {gap: ttl+4s, leader: changes, read_only: 3, whole: 2m}
predicts: leader-lost
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Scenario{
		Name: "some-name", About: "all that a file can say", Quick: true, Alone: true, Backup: true, Agreement: true, Long: true,
		Durability: []role.Durability{role.Sync, role.Strict},
		Steps: []string{"lose 5% from leader to all etcd", "kill PostgreSQL on a replica", "wait ttl+2s", "take lockbox away",
			"slow disk of all etcd to 5 writes/s", "have certificates of all databases end in 20s"},
		Do: []Step{
			{Form: "lose PERCENT from NODES to NODES", Percent: 5, On: []string{Leader, AllDCS}, Sentence: "lose 5% from leader to all etcd"},
			{Form: "kill PROGRAM on NODES", Program: "PostgreSQL", On: []string{Replica}, Sentence: "kill PostgreSQL on a replica"},
			{Form: "wait BOUND", Wait: Bound{Lease: true, More: 2 * specfile.Second}, Sentence: "wait ttl+2s"},
			{Form: "take SERVICE away", Service: "lockbox", Sentence: "take lockbox away"},
			{Form: "slow disk of NODES to WRITES", Writes: 5, On: []string{AllDCS}, Sentence: "slow disk of all etcd to 5 writes/s"},
			{Form: "have certificates of NODES end in DURATION", Duration: 20 * time.Second, On: []string{Databases}, Sentence: "have certificates of all databases end in 20s"},
		},
		Settle: 9 * specfile.Second,
		Hold: Hold{GapText: "ttl+4s", Gap: Bound{Lease: true, More: 4 * specfile.Second}, Leader: Changes,
			ReadOnly: 3, Whole: 2 * specfile.Minute},
		Predicts: role.LeaderLost,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := want.Hold.Gap.Of(20 * time.Second); got != 24*time.Second {
		t.Errorf("the gap may last %v, want 24 s", got)
	}
}

func TestReadRefuses(t *testing.T) {
	tests := []struct{ name, reason, text, want string }{
		{"no steps", "nothing would be tried", "about: x\ndo: []\n", "x.yaml:2:5: do: a scenario does something (a list of steps: cut NODES;"},
		{"misspelt key", "what must hold would not be looked at", "about: x\ndo: [hand over]\nhodl: {gap: 1s}\n", "x.yaml:3:1: hodl: unknown key (did you mean hold?)"},
		{"misspelt verb", "it says which there are", "about: x\ndo: [cutt leader]\n", `x.yaml:2:6: do[0]: "cutt leader" is no step (want cut NODES; or start NODES`},
		{"half a step", "it says how the verb goes on", "about: x\ndo: [kill PostgreSQL]\n", `x.yaml:2:6: do[0]: "kill PostgreSQL" is no step (want kill PROGRAM on NODES)`},
		{"node", "a name is one spec's", "about: x\ndo: [cut demo-pg-1]\n", `do[0]: "demo-pg-1" is no node (want leader, new leader, `},
		{"program", "nothing would be killed", "about: x\ndo: [kill postgres on leader]\n", `do[0]: "postgres" is no program (want HAProxy, Patroni, PostgreSQL, etcd)`},
		{"service", "it is not emulated", "about: x\ndo: [take s3 away]\n", `do[0]: "s3" is no service of the cloud (want metadata, token, lockbox, dns, iam, storage, storage writes)`},
		{"time", "of what?", "about: x\ndo: [wait 5]\n", `do[0]: want `},
		{"part", "more than all", "about: x\ndo: [lose 101% from leader to haproxy]\n", `do[0]: "101%" is no part of a whole (want 1% to 100%)`},
		{"speed", "of what?", "about: x\ndo: [slow network of leader to 5]\n", `do[0]: "5" is no speed of a network (want 1 Mbit/s to 1000 Mbit/s)`},
		{"speed of a disk", "of what?", "about: x\ndo: [slow disk of leader to 20 Mbit/s]\n", `do[0]: "20 Mbit/s" is no speed of a disk (want 1 writes/s to 1000 writes/s)`},
		{"no speed of a disk", "it would never go on", "about: x\ndo: [slow disk of leader to 0 writes/s]\n", `do[0]: "0 writes/s" is no speed of a disk (want 1 writes/s to 1000 writes/s)`},
		{"whose certificates", "nothing would end", "about: x\ndo: [have certificates of CA end in 20s]\n", `do[0]: "CA" is no node (want leader, `},
		{"end of certificates", "of what?", "about: x\ndo: [have certificates of all etcd end in 20]\n", `do[0]: want `},
		{"status", "it would be no fault", "about: x\ndo: [have storage answer 200]\n", `do[0]: "200" is no status of a fault (want 400 to 599)`},
		{"number", "of what?", "about: x\ndo: [end no segments]\n", `do[0]: "no" is no number (want 1 to 1000)`},
		{"unit", "it has none", "about: x\ndo: [restart PostgreSQL on leader]\n", `do[0]: systemd knows no PostgreSQL (want kill PostgreSQL, or restart Patroni)`},
		{"gap", "it is a time", "about: x\ndo: [hand over]\nhold: {gap: never}\n", "x.yaml:3:13: hold.gap: want "},
		{"fate", "stays or changes", "about: x\ndo: [hand over]\nhold: {leader: remains}\n", `hold.leader: want one of stays, changes, have "remains"`},
		{"durability", "a spec has no such", "about: x\ndo: [hand over]\ndurability: [none]\n", `durability[0]: want one of async, sync, strict, quorum, have "none"`},
		{"about", "a list without it would say nothing", "do: [hand over]\n", "about: missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Read("x.yaml", []byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v\nwant %q", tt.reason, err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("several sentences for one mistake: %v", err)
			}
		})
	}
}

func TestPick(t *testing.T) {
	all := []Scenario{{Name: "leader-power"}, {Name: "switchover"}, {Name: "storage-away-long", Long: true}}
	if got, err := Pick(all, []string{"switchover"}); err != nil || len(got) != 1 || got[0].Name != "switchover" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := Pick(all, nil); err != nil || len(got) != 2 || len(all) != 3 {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := Pick(all, []string{"storage-away-long"}); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	for name, want := range map[string]string{
		"leader-powr": `there is no scenario "leader-powr" (did you mean leader-power?)`,
		"zzz":         `there is no scenario "zzz" (--list shows them)`,
	} {
		if _, err := Pick(all, []string{name}); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// A scenario that is not for a cluster says what the spec would have to have.
func TestUnfit(t *testing.T) {
	tests := []struct {
		name  string
		edits []string
		s     Scenario
		want  string
	}{
		{"any", nil, Scenario{}, ""},
		{"not backed up", nil, Scenario{Backup: true}, "scenario x is for clusters that are backed up (want backup.bucket in the spec)"},
		{"backed up", []string{`bucket: ""=>bucket: drill-backup`}, Scenario{Backup: true}, ""},
		{"no agreement", nil, Scenario{Agreement: true}, "scenario x is for clusters with failover by agreement (want roles.patroni.agreement.after in the spec)"},
		{"agreement", []string{"    after: 0s=>    after: 3s"}, Scenario{Agreement: true}, ""},
		{"another durability", nil, Scenario{Durability: []role.Durability{role.Sync, role.Strict}}, "scenario x is for durability sync or strict (the spec has quorum)"},
		{"one proxy", nil, Scenario{Do: []Step{{}, {On: []string{Leader, OneProxy}}}}, "scenario x is for clusters with two HAProxies or more (the spec has 1)"},
		{"two proxies", []string{"address: 10.128.0.40}\n=>address: 10.128.0.40}\n      - {name: demo-haproxy-2, zone: ru-central1-a, address: 10.128.0.41}\n"},
			Scenario{Do: []Step{{On: []string{OneProxy}}}}, ""},
		{"its durability", nil, Scenario{Durability: []role.Durability{role.Sync, role.Quorum}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			tt.s.Name = "x"
			if err := tt.s.Unfit(demo.Cluster(t, tt.edits...)); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// good is a round in which all held.
func good() Round {
	return Round{Durability: role.Quorum, TTL: 20, Before: "pg-1", After: "pg-2", Acked: 900, Gap: Window{1, 19.5}, Whole: 4}
}

// A round in which something did not hold is found out.
func TestJudge(t *testing.T) {
	hold := Hold{Gap: Bound{Lease: true, More: 2 * specfile.Second}, Leader: Changes, ReadOnly: 2, Whole: 30 * specfile.Second}
	tests := []struct {
		name  string
		spoil func(*Round, *Hold)
		want  []string
	}{
		{"all held", func(*Round, *Hold) {}, nil},
		{"a lost row", func(r *Round, _ *Hold) { r.Lost = []int{1007} }, []string{"1 acknowledged rows are lost: 1007"}},
		{"many lost rows", func(r *Round, _ *Hold) { r.Lost = []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11} },
			[]string{"11 acknowledged rows are lost: 1 2 3 4 5 6 7 8 9 10 and more"}},
		{"a row of before", func(r *Round, _ *Hold) { r.Gone = 2 }, []string{"2 rows of earlier rounds are gone"}},
		{"two primaries", func(r *Round, _ *Hold) { r.Two = 0.2 }, []string{"two nodes acknowledged writes for 0.20 s"}},
		{"out of order", func(r *Round, _ *Hold) { r.Register = workload.OutOfOrder },
			[]string{"what clients of the register saw, nobody can have seen one after the other"}},
		{"async promises less", func(r *Round, _ *Hold) {
			r.Register = workload.OutOfOrder
			r.Durability, r.Two, r.Lost = role.Async, 3, []int{1}
		}, nil},
		{"too long", func(r *Round, _ *Hold) { r.Gap.Seconds = 22.5 }, []string{"22.50 s without an acknowledged write, want at most 22.00"}},
		{"no new connection", func(r *Round, h *Hold) { r.Arrival.Seconds, h.Arrivals = 4.5, 4*specfile.Second },
			[]string{"for 4.50 s nobody who connected anew met the leader, want at most 4.00"}},
		{"new connections are not looked at", func(r *Round, _ *Hold) { r.Arrival.Seconds = 60 }, nil},
		{"as predicted", func(r *Round, _ *Hold) { r.Foretold = &Interval{18, 20} }, nil},
		{"nobody can say how long", func(r *Round, _ *Hold) { r.Foretold = &Interval{18, -1} }, nil},
		{"longer than predicted", func(r *Round, _ *Hold) { r.Foretold = &Interval{18, 19} },
			[]string{"19.50 s without an acknowledged write, and the spec's timers predict 18.0 to 19.0"}},
		{"shorter than predicted", func(r *Round, _ *Hold) { r.Foretold = &Interval{20, 24} },
			[]string{"19.50 s without an acknowledged write, and the spec's timers predict 20.0 to 24.0"}},
		{"a slow host", func(r *Round, _ *Hold) { r.Slowness, r.Gap.Seconds, r.Whole = 3, 25.9, 89 }, nil},
		{"too long even for a slow host", func(r *Round, h *Hold) {
			r.Slowness, r.Gap.Seconds, r.Whole = 3, 26.1, 91
			r.Arrival.Seconds, h.Arrivals = 12.5, 4*specfile.Second
		}, []string{
			"26.10 s without an acknowledged write, want at most 26.00",
			"for 12.50 s nobody who connected anew met the leader, want at most 12.00",
			"whole again after 91.0 s, want 90.0",
		}},
		{"longer than predicted, on a slow host", func(r *Round, _ *Hold) { r.Slowness, r.Foretold = 3, &Interval{18, 19} }, nil},
		{"shorter than predicted, on a slow host", func(r *Round, _ *Hold) { r.Slowness, r.Foretold = 3, &Interval{20, 24} },
			[]string{"19.50 s without an acknowledged write, and the spec's timers predict 20.0 to 24.0"}},
		{"no write at all", func(r *Round, _ *Hold) { r.Acked = 0 }, []string{"no write was acknowledged: this round shows nothing"}},
		{"the same leader", func(r *Round, _ *Hold) { r.After = "pg-1" }, []string{"pg-1 still leads: want another leader"}},
		{"another leader", func(r *Round, h *Hold) { h.Leader = Stays }, []string{"pg-2 leads, and pg-1 did: want no change"}},
		{"the wrong node", func(r *Round, _ *Hold) { r.ReadOnly = 3 }, []string{"3 writes met a node that does not lead, want at most 2"}},
		{"any number", func(r *Round, h *Hold) { r.ReadOnly, h.ReadOnly = 3000, -1 }, nil},
		{"late", func(r *Round, _ *Hold) { r.Whole = 31 }, []string{"whole again after 31.0 s, want 30.0"}},
		{"never whole", func(r *Round, _ *Hold) { r.Whole = -1 }, []string{"the cluster is not whole again within 30s"}},
		{"the archive is whole", func(r *Round, h *Hold) { r.Archive = &Archive{Whole: true, Made: []string{"F"}} }, nil},
		{"the archive lags", func(r *Round, h *Hold) { r.Archive, h.Archived = &Archive{}, specfile.Minute },
			[]string{"1m after the last step the archive has not all WAL"}},
		{"a hole", func(r *Round, h *Hold) { r.Archive = &Archive{Whole: true, Missing: []string{"7", "8"}} },
			[]string{"the archive has no segment 7, 8"}},
		{"a hole that may be", func(r *Round, h *Hold) {
			r.Archive, h.Dropped = &Archive{Whole: true, Missing: []string{"7"}, Told: true}, true
		}, nil},
		{"a hole that nobody reports", func(r *Round, h *Hold) {
			r.Archive, h.Dropped = &Archive{Whole: true, Missing: []string{"7"}}, true
		}, []string{"the archive has a hole, and the leader does not report it"}},
		{"no hole where there should be", func(r *Round, h *Hold) { r.Archive, h.Dropped = &Archive{Whole: true}, true },
			[]string{"the archive has no hole: nothing was dropped"}},
		{"no new backup", func(r *Round, h *Hold) { r.Archive, h.Made = &Archive{Whole: true}, true },
			[]string{"no backup that began in the round is made"}},
		{"a step that failed", func(r *Round, _ *Hold) { r.Error = "hand over: 503" }, []string{"hand over: 503"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, h := good(), hold
			tt.spoil(&r, &h)
			if diff := cmp.Diff(tt.want, Judge(h, r)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Of these rounds the journals are kept.
func TestFailure(t *testing.T) {
	tests := []struct {
		name, reason string
		step         string
		lab          error
		want         string
	}{
		{"none", "it ended in order", "", nil, ""},
		{"step", "a step could not be done", "cut leader: it is off", nil, "cut leader: it is off"},
		{"lab", "rows that nobody could read may be lost: that is not held", "", errors.New("cannot read the rows: refused\ntimeout"), "cannot read the rows: refused; timeout"},
		{"both", "the step may be why", "cut leader: it is off", errors.New("cannot read the rows"), "cut leader: it is off; cannot read the rows"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := failure(Round{Error: tt.step}, tt.lab); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
			}
		})
	}
}

func TestDiffer(t *testing.T) {
	tests := []struct {
		name, reason string
		holds        map[string]string
		want         string
	}{
		{"same", "they have applied the same", map[string]string{"etcd-1": "a", "etcd-2": "a", "etcd-3": "a"}, ""},
		{"one", "there is no other", map[string]string{"etcd-1": "a"}, ""},
		{"other", "one has applied what the others have not", map[string]string{"etcd-3": "b", "etcd-2": "a", "etcd-1": "a"},
			"the members of etcd hold different data: etcd-1 a, etcd-2 a, etcd-3 b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := differ(tt.holds); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
			}
		})
	}
}

func TestQuestionable(t *testing.T) {
	hold := Hold{Gap: Bound{Lease: true, More: 2 * specfile.Second}, Leader: Changes, ReadOnly: 2, Whole: 30 * specfile.Second}
	tests := []struct {
		name  string
		spoil func(*Round)
		want  bool
	}{
		{"it held", func(*Round) {}, false},
		{"it held on a slow host, and would have on a usual one", func(r *Round) { r.Slowness = 3 }, false},
		{"it did not hold", func(r *Round) { r.Gap.Seconds = 22.5 }, true},
		{"it held, since the host is slow", func(r *Round) { r.Slowness, r.Gap.Seconds = 3, 25.9 }, true},
		{"whole late, since the host is slow", func(r *Round) { r.Slowness, r.Whole = 3, 89 }, true},
		{"longer than predicted, since the host is slow", func(r *Round) { r.Slowness, r.Foretold = 3, &Interval{18, 19} }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := good()
			if tt.spoil(&r); questionable(hold, r) != tt.want {
				t.Errorf("questionable: %t, want %t", !tt.want, tt.want)
			}
		})
	}
}

// What was kept is read again; what an interrupted run left of a line is no round.
func TestResults(t *testing.T) {
	results := Results(filepath.Join(t.TempDir(), "new"))
	if got, err := results.Load(); len(got) > 0 || err != nil {
		t.Fatal(got, err)
	}
	first, second := good(), good()
	first.Events, first.Errs = []Event{{At: 1.5, Node: "pg-1", Status: "ok", Text: "ready"}}, map[string]int{"57P01": 4}
	second.Round = 2
	if err := results.Add(first); err != nil {
		t.Fatal(err)
	}
	spoil(t, results, `{"scenario": "interr`)
	if got, err := results.Load(); len(got) != 1 || err != nil {
		t.Errorf("%d rounds, %v, want the one that is whole", len(got), err)
	}
	if err := results.Add(second); err == nil {
		got, err := results.Load()
		if err == nil || !strings.Contains(err.Error(), "rounds.jsonl:2: no round") {
			t.Errorf("a damaged line in the middle: %v, %v", got, err)
		}
	}
}

// The same seed draws the same, another one something else; and what is drawn is
// within what a cluster has to survive.
func TestNemesis(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	draw := func(seed uint64) (sentences []string) {
		next := Nemesis{Seed: seed}.Draw(all)
		for range 1000 {
			s, err := next()
			if err != nil {
				t.Fatal(err)
			}
			if s.Name != NemesisName || len(s.Do) < 2 || len(s.Do) > 6 {
				t.Fatalf("drew %+v", s)
			}
			var all []string
			for _, step := range s.Do {
				if strings.HasSuffix(step.Form, "without disk") && len(s.Do) > 2 {
					t.Errorf("a disk is lost beside another fault: %+v", s.Do)
				}
				if again, err := ParseStep(step.Sentence); err != nil || again.Form != step.Form {
					t.Errorf("%+v is not what its sentence says: %+v, %v", step, again, err)
				}
				all = append(all, step.Sentence)
			}
			sentences = append(sentences, strings.Join(all, "; "))
		}
		return sentences
	}
	one := draw(7)
	if diff := cmp.Diff(one, draw(7)); diff != "" {
		t.Errorf("the same seed (-first +second):\n%s", diff)
	}
	if slices.Equal(one, draw(8)) {
		t.Error("another seed draws the same")
	}
	text := strings.Join(one, "; ")
	for _, fault := range faults(all) {
		if !strings.Contains(text, fault.Sentence) {
			t.Errorf("1000 draws never %q", fault.Sentence)
		}
	}
	if _, err := (Nemesis{}).Draw(nil)(); err == nil {
		t.Error("it draws from nothing")
	}
}

// Whatever a file says, it is read or refused with a place.
func FuzzRead(f *testing.F) {
	all, err := files.ReadDir("scenarios")
	if err != nil {
		f.Fatal(err)
	}
	for _, entry := range all {
		text, err := files.ReadFile("scenarios/" + entry.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Read("x.yaml", text)
		if err != nil {
			if !strings.Contains(err.Error(), "x.yaml:") {
				t.Errorf("no place: %v", err)
			}
			return
		}
		if len(s.Do) == 0 || len(s.Do) != len(s.Steps) || s.About == "" {
			t.Errorf("read as %+v", s)
		}
		for i, step := range s.Do {
			if again, err := ParseStep(step.Sentence); err != nil || !cmp.Equal(again, s.Do[i]) {
				t.Errorf("%q is read another way the next time: %v", step.Sentence, err)
			}
		}
	})
}

func spoil(t *testing.T, results Results, text string) {
	t.Helper()
	f, err := os.OpenFile(results.File(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
