package agreement_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgha-gen/internal/agreement"
	"pgha-gen/internal/testkit"
)

// small is what can happen to two standbys in a second of search.
var small = agreement.Model{Standbys: 2, Count: 1, Writes: 1, Terms: 3}

// than is a model that differs from another one.
func than(m agreement.Model, change func(*agreement.Model)) agreement.Model {
	change(&m)
	return m
}

func search(t *testing.T, m agreement.Model) agreement.Result {
	t.Helper()
	start := time.Now()
	r := m.Search()
	t.Logf("%d states in %.1f s: %+v", r.States, time.Since(start).Seconds(), m)
	return r
}

// tells fails if the document has not this line.
func tells(t *testing.T, line string) {
	t.Helper()
	if !strings.Contains(testkit.Text(t, "../../docs/failover-by-agreement.md"), "\n"+line+"\n") {
		t.Errorf("docs/failover-by-agreement.md has no line %s", line)
	}
}

// thousands is a number as people read it.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// TestSound: no order of steps loses a write that was acknowledged. The long ones
// with PGHA_TEST_LONG=yes.
func TestSound(t *testing.T) {
	for _, test := range []struct {
		name string
		long bool
		m    agreement.Model
	}{
		{"three leaders", false, small},
		{"a crash", false, agreement.Model{Standbys: 2, Count: 1, Writes: 1, Crashes: 1, Terms: 2}},
		{"two writes", false, agreement.Model{Standbys: 2, Count: 1, Writes: 2, Terms: 2}},
		{"two changes of who acknowledges", false, agreement.Model{Standbys: 2, Count: 1, Writes: 1, Changes: 2, Terms: 2}},
		{"three standbys, one acknowledges", false, agreement.Model{Standbys: 3, Count: 1, Writes: 1, Terms: 2}},
		{"three standbys, two acknowledge", false, agreement.Model{Standbys: 3, Count: 2, Writes: 1, Terms: 2}},
		{"two standbys, both acknowledge", true, agreement.Model{Standbys: 2, Count: 2, Writes: 1, Crashes: 1, Terms: 2}},
		{"three leaders, a crash", true, agreement.Model{Standbys: 2, Count: 1, Writes: 1, Crashes: 1, Terms: 3}},
		{"three leaders, two changes", true, agreement.Model{Standbys: 2, Count: 1, Writes: 1, Changes: 2, Terms: 3}},
		{"three leaders, two writes", true, agreement.Model{Standbys: 2, Count: 1, Writes: 2, Terms: 3}},
		{"a crash, two changes", true, agreement.Model{Standbys: 2, Count: 1, Writes: 1, Crashes: 1, Changes: 2, Terms: 2}},
		{"two writes, four changes", true, agreement.Model{Standbys: 2, Count: 1, Writes: 2, Changes: 4, Terms: 2}},
		{"three standbys, a crash", true, agreement.Model{Standbys: 3, Count: 1, Writes: 1, Crashes: 1, Terms: 2}},
		{"three standbys, two acknowledge, a crash", true, agreement.Model{Standbys: 3, Count: 2, Writes: 1, Crashes: 1, Terms: 2}},
		{"three standbys, two changes", true, agreement.Model{Standbys: 3, Count: 1, Writes: 1, Changes: 2, Terms: 2}},
		{"three standbys, two acknowledge, two changes", true, agreement.Model{Standbys: 3, Count: 2, Writes: 1, Changes: 2, Terms: 2}},
		{"three standbys, three leaders", true, agreement.Model{Standbys: 3, Count: 1, Writes: 1, Terms: 3}},
		{"three standbys, two acknowledge, three leaders", true, agreement.Model{Standbys: 3, Count: 2, Writes: 1, Terms: 3}},
		{"three leaders, two crashes", true, agreement.Model{Standbys: 2, Count: 1, Writes: 1, Crashes: 2, Terms: 3}},
		{"three leaders, a crash, two changes", true, agreement.Model{Standbys: 2, Count: 1, Writes: 1, Crashes: 1, Changes: 2, Terms: 3}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.long && os.Getenv("PGHA_TEST_LONG") != "yes" {
				t.Skip("minutes, and gigabytes of memory; with PGHA_TEST_LONG=yes")
			}
			m := test.m
			r := search(t, m)
			if r.Wrong != "" {
				t.Errorf("%s:\n%s", r.Wrong, strings.Join(r.Trace, "\n"))
			}
			// No lease ends while somebody leads: they lead by agreement.
			if r.Term != m.Terms {
				t.Errorf("writes are acknowledged in %d terms, want %d", r.Term, m.Terms)
			}
			tells(t, fmt.Sprintf("| %d, %d | %d, %d, %d, %d | %s |", m.Standbys, m.Count, m.Writes, m.Crashes, m.Changes, m.Terms, thousands(r.States)))
		})
	}
}

// TestEachRuleIsNeeded: without any one rule a write is lost, and the search
// finds how.
func TestEachRuleIsNeeded(t *testing.T) {
	crash := than(small, func(m *agreement.Model) { m.Crashes = 1 })
	changes := than(small, func(m *agreement.Model) { m.Changes = 2 })
	two := agreement.Model{Standbys: 3, Count: 2, Writes: 1, Terms: 2}
	for _, test := range []struct {
		rule agreement.Rule
		m    agreement.Model
		has  string // a step of the way there
	}{
		{agreement.CutBeforeMark, small, "marks before it is cut off"},
		{agreement.EnoughMarks, small, "the marks remove the leader key of a"},
		{agreement.AllVotersMark, two, "c finds that it may lead"},
		{agreement.MarksOfTerm, small, "a marks against term 2"},
		{agreement.MarkEndsBeforeCut, small, "b ends its cut-off"},
		{agreement.CutOutlivesStart, crash, "b starts"},
		{agreement.SyncAsItIs, than(small, func(m *agreement.Model) { m.Changes, m.Terms = 4, 2 }), "a sets /sync to 1 of {bc}"},
		{agreement.SyncTouched, changes, "a sets /sync to 0 of {}"},
		{agreement.CutUntilResult, small, "c ends its cut-off"},
		{agreement.NoYoungKey, small, "a takes the leader key"},
		{agreement.TimelineIsKnown, changes, "a takes the leader key"},
	} {
		t.Run(string(test.rule), func(t *testing.T) {
			broken := than(test.m, func(m *agreement.Model) { m.Without = test.rule })
			r := search(t, broken)
			if r.Wrong == "" {
				t.Fatal("nothing is lost")
			}
			way := strings.Join(r.Trace, "\n")
			if !strings.Contains("\n"+way+"\n", test.has+"\n") {
				t.Errorf("not by %q:\n%s", test.has, way)
			}
			t.Logf("%s:\n%s", r.Wrong, way)
			tells(t, fmt.Sprintf("| %s | %d | %s |", test.rule, len(r.Trace), thousands(r.States)))
		})
	}
}

// TestPatroniAlone: what the agreement rests on, Patroni's own failover does,
// too; and where it does not hold, Patroni alone loses writes.
func TestPatroniAlone(t *testing.T) {
	for _, test := range []struct {
		rule agreement.Rule
		m    agreement.Model
	}{
		{agreement.LeaseIsKept, small},
		{agreement.FormerLeaderWaits, than(small, func(m *agreement.Model) { m.Crashes = 2 })},
		{agreement.ReplicaCaughtUp, than(small, func(m *agreement.Model) { m.Crashes, m.Changes = 1, 2 })},
	} {
		t.Run(string(test.rule), func(t *testing.T) {
			test.m.Plain = true
			if r := search(t, test.m); r.Wrong != "" {
				t.Errorf("with the rule: %s:\n%s", r.Wrong, strings.Join(r.Trace, "\n"))
			}
			r := search(t, than(test.m, func(m *agreement.Model) { m.Without = test.rule }))
			if r.Wrong == "" {
				t.Error("without the rule nothing is lost")
			}
			t.Logf("%s:\n%s", r.Wrong, strings.Join(r.Trace, "\n"))
		})
	}
}

// TestTimelinesOfOneNumber: three leaders are lost one after the other, two of them
// in their first loop. Patroni compares timelines by their numbers, and logs by
// their lengths.
func TestTimelinesOfOneNumber(t *testing.T) {
	r := search(t, agreement.Model{Standbys: 2, Count: 1, Writes: 1, Crashes: 3, Terms: 4, Plain: true})
	if r.Wrong == "" {
		t.Error("nothing is lost")
	}
	t.Logf("%s:\n%s", r.Wrong, strings.Join(r.Trace, "\n"))
}
