//go:build linux

package drill

import (
	"testing"

	"github.com/google/go-cmp/cmp"
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
