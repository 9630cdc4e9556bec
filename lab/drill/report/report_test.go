package report

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/role"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/drill"
	"pgha-gen/lab/workload"
)

func rounds() []drill.Round {
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	var all []drill.Round
	for i, gap := range []float64{19.5, 20.5, 23.25} {
		all = append(all, drill.Round{
			Scenario: "leader-power", Round: i + 1, Failover: role.Fast, Durability: role.Quorum, TTL: 20, At: at.Add(time.Duration(i) * time.Minute),
			Spec: "0123456789abcdef", Images: map[string]string{"proxy": "aa11", "database": "bb22"}, Before: "pg-1", After: "pg-2", Register: workload.InOrder,
			Gap: drill.Window{From: 0.1, Seconds: gap}, ReadGap: drill.Window{From: 0.1, Seconds: 0.4}, Arrival: drill.Window{From: 0.2, Seconds: gap + 0.1}, Acked: 1000, Ghosts: 1, Whole: 4, Long: 40,
			Events: []drill.Event{{Text: "cut leader"}, {At: 0.2, Text: "wait 25s"}, {At: 25, Text: "start leader"},
				{At: 29.25, Node: "pg-1", Status: "ok", Text: "ready <b>PostgreSQL</b>: replica"}},
			Reigns: []drill.Reign{{Node: "pg-1", To: 0.1}, {Node: "pg-2", From: gap, To: 40}},
		})
	}
	all[2].Foretold = &drill.Interval{Least: 18, Most: 24.5}
	bad := all[2]
	bad.Register = workload.OutOfOrder
	bad.Scenario, bad.Lost, bad.Two, bad.ReadOnly, bad.Verdict = "switchover", []int{1007}, 0.25, 3, []string{"1 acknowledged rows are lost: 1007"}
	all[1].Slowness, bad.Slowness = 1, 3.96
	return append(all, bad)
}

func scenarios(t *testing.T) []drill.Scenario {
	t.Helper()
	s, err := drill.Read("leader-power.yaml", []byte("about: the machine loses its power\ndo: [cut leader]\nhold: {gap: ttl+4s, leader: changes}\npredicts: leader-lost\n"))
	if err != nil {
		t.Fatal(err)
	}
	return []drill.Scenario{s}
}

func TestSummary(t *testing.T) {
	got := Summary(rounds(), scenarios(t))
	for i := range got {
		got[i].Measured = nil
	}
	want := []Row{{
		Scenario: "leader-power", About: "the machine loses its power", Failover: role.Fast, Durability: role.Quorum, Rounds: 3,
		Gap: 20.5, WorstGap: 23.25, WorstRead: 0.4, WorstArrive: 23.35, WorstWhole: 4, InOrder: 3, Acked: 3000, Ghosts: 3, Most: 24, Predicts: role.LeaderLost, LeaderHolds: drill.Changes,
	}, {
		Scenario: "switchover", Failover: role.Fast, Durability: role.Quorum, Rounds: 1, NotHeld: 1,
		Gap: 23.25, WorstGap: 23.25, WorstRead: 0.4, WorstArrive: 23.35, WorstWhole: 4, OutOfOrder: 1, Acked: 1000, Lost: 1, Ghosts: 1, Two: 0.25, ReadOnly: 3,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("the median of four is %v, want 2.5", got)
	}
}

// The page says what did not hold, needs nothing from elsewhere, and takes what
// machines said for text.
func TestPage(t *testing.T) {
	page, err := Page(Summary(rounds(), scenarios(t)))
	if err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, "report.html", page)
	text := string(page)
	for _, want := range []string{"4 rounds, <span class=\"no\">1 did not hold", "1 acknowledged rows are lost: 1007", "&lt;b&gt;PostgreSQL&lt;/b&gt;"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	for _, foreign := range []string{"http://", "https://", "<script", "<link", "src=", "ZgotmplZ"} {
		if strings.Contains(text, foreign) {
			t.Errorf("the page has %q", foreign)
		}
	}
}

func TestTable(t *testing.T) {
	table, err := Table(Summary(rounds(), scenarios(t)))
	if err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, "report.md", table)
}

func TestWrite(t *testing.T) {
	results := drill.Results(t.TempDir())
	if path, err := Write(results); path != "" || err != nil {
		t.Errorf("of no rounds it writes %q, %v", path, err)
	}
	for _, r := range rounds() {
		if err := results.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	path, err := Write(results)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{path, filepath.Join(string(results), "report.json"), filepath.Join(string(results), "report.md")} {
		if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "loses its power") {
			t.Errorf("%s: %d bytes, %v", file, len(text), err)
		}
	}
}

func TestTicks(t *testing.T) {
	for longest, want := range map[float64]string{1: "[0 0.5 1]", 23: "[0 10 20]", 195: "[0 50 100 150]"} {
		if got := fmt.Sprint(ticks(longest, 4)); got != want {
			t.Errorf("up to %v: %s, want %s", longest, got, want)
		}
	}
}
