//go:build linux

package drill

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/lab"
	"pgha-gen/lab/machine"
)

// Who is meant stays the same for the whole of a round, whatever was asked before.
func TestNodes(t *testing.T) {
	s := &stage{was: view{leader: "p2", sync: "p1", replicas: []string{"p1", "p3"}, dcsLeader: "e3", followers: []string{"e1", "e2"}}}
	want := map[string][]string{
		Leader: {"p2"}, Sync: {"p1"}, Replica: {"p1"}, OtherReplica: {"p3"}, Replicas: {"p1", "p3"},
		DCSLeader: {"e3"}, Follower: {"e1"}, OtherDCS: {"e2"}, TwoDCS: {"e1", "e3"},
	}
	for range 3 { // maps are read in another order each time
		for target, nodes := range want {
			got, err := s.nodes(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(nodes, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", target, diff)
			}
		}
	}
	none := &stage{}
	if _, err := none.nodes(t.Context(), OtherReplica); err == nil || err.Error() != `nobody in this cluster is "another replica" now` {
		t.Errorf("a target that nobody is: %v", err)
	}
}

// A step that nothing can come of is refused.
func TestSlowCoresRefused(t *testing.T) {
	s := &stage{eyes: eyes{World: World{Lab: new(lab.Lab)}}, was: view{leader: "p2"}}
	step, err := ParseStep("slow cores of leader to 20%")
	if err != nil {
		t.Fatal(err)
	}
	const want = "p2: cannot slow its cores: it does not run"
	if err := s.do(t.Context(), step); err == nil || err.Error() != want {
		t.Errorf("a machine that is off: have %v, want %s", err, want)
	}
	if err := s.healCores(); err != nil || len(s.slowed) > 0 {
		t.Errorf("nothing was slowed, but there is %d to heal: %v", len(s.slowed), err)
	}
}

// A node that goes by an older state of etcd is named.
func TestAgreed(t *testing.T) {
	for _, test := range []struct {
		name, reason string
		seen         map[string]view
		leader, want string
	}{
		{"alike", "all know who leads", map[string]view{"p1": {leader: "p2"}, "p2": {leader: "p2"}, "p3": {leader: "p2"}}, "p2", ""},
		{"a stale one", "p3 has not heard that p2 leads", map[string]view{"p1": {leader: "p2"}, "p2": {leader: "p2"}, "p3": {leader: "p1"}},
			"", "p1 says that p2 leads, and p3 that p1 does"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v, err := agreed(test.seen)
			if said := fmt.Sprint(err); v.leader != test.leader || err != nil && said != test.want || err == nil && test.want != "" {
				t.Errorf("%s: %q leads, %v; want %q, %s", test.reason, v.leader, err, test.leader, test.want)
			}
		})
	}
}

// A machine runs again in the end, whenever that comes, and what failed is told.
func TestSlowCores(t *testing.T) {
	for _, long := range []time.Duration{0, 50 * time.Millisecond, 1300 * time.Millisecond} {
		var did []bool
		end := slowCores(func(frozen bool) error { did = append(did, frozen); return nil }, 20)
		time.Sleep(long)
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if n := len(did); did[0] || did[n-1] {
			t.Errorf("after %s: frozen %v, want it to run first and last", long, did)
		}
		if n := len(did); long > time.Second && (n < 6 || !did[1] || did[2] || !did[3]) {
			t.Errorf("after %s: frozen %v, want it in turns", long, did)
		}
	}
	broken := errors.New("no such cgroup")
	end := slowCores(func(frozen bool) error {
		if frozen {
			return broken
		}
		return nil
	}, 50)
	time.Sleep(300 * time.Millisecond)
	if err := end(); !errors.Is(err, broken) {
		t.Errorf("what failed is %v, want %v", err, broken)
	}
}

func TestUnconverged(t *testing.T) {
	const (
		ok      = "pgha: 1795909734523 pg-1 converge ok all is as the spec says"
		refused = "pgha: 1795909734524 pg-1 converge fail this node missed a change"
		other   = "pgha: 1795909734525 pg-1 archive fail WAL waits"
	)
	tests := []struct {
		name, reason string
		console      []string
		want         string
	}{
		{"ok", "another step's failure is not about the spec", []string{"Linux", refused, ok, other}, ""},
		{"fail", "what was well before does not count", []string{ok, refused, other}, "pg-1 says: converge fail this node missed a change"},
		{"silent", "a leader says one or the other", []string{other}, "pg-1 says: nothing of converge"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var console []machine.Line
			for _, text := range tt.console {
				console = append(console, machine.Line{Text: text})
			}
			if got := unconverged("pg-1", console); got != tt.want {
				t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
			}
		})
	}
}
