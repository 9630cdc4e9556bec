package patroni_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles/patroni"
)

func facts(c *role.Cluster) map[string]string {
	all := map[string]string{}
	for _, f := range c.Group(patroni.Name).Plan.Expect {
		all[f.What] = f.Then
	}
	return all
}

func TestExpect(t *testing.T) {
	for durability, on := range map[string]string{
		"async":  "the leader's disk only: a failover may lose the last commits",
		"sync":   "the leader and one chosen replica, as long as there is a replica",
		"strict": "the leader and one chosen replica, always: without a replica, writes wait",
		"quorum": "the leader and any one replica, as long as there is a replica",
	} {
		want := map[string]string{
			"leader paused":                "replaced if for longer than 18 s (ttl 20 - loop_wait 2); the cloud's live migration pauses a machine usually for not more than 10 s",
			"an acknowledged commit is on": on,
		}
		if diff := cmp.Diff(want, facts(demo.Small(t, "durability: "+durability))); diff != "" {
			t.Errorf("durability %s (-want +got):\n%s", durability, diff)
		}
	}
}

// TestPresetsAreTold: what the reference and the docs say of the presets is what
// follows from their timers.
func TestPresetsAreTold(t *testing.T) {
	var timers, lost, paused []string
	for _, preset := range []string{"fast", "balanced", "safe"} {
		s := demo.Small(t, "failover: "+preset).Group(patroni.Name).Settings.(*patroni.Settings)
		timers = append(timers, fmt.Sprintf("%d, %d, %d, %d", s.TTL, s.LoopWait, s.RetryTimeout, s.PrimaryStartTimeout))
		outage, _ := demo.Small(t, "failover: "+preset).Outage(role.LeaderLost)
		lost = append(lost, fmt.Sprintf("%.0f", math.Ceil(outage.Gap().Most.Seconds())))
		paused = append(paused, fmt.Sprint(s.TTL-s.LoopWait))
	}
	for file, want := range map[string]string{
		"../../docs/reference.yaml": "after the leader's machine is lost nobody can write for up to " + lost[0] + ", " + lost[1] + " or " + lost[2] +
			" s; a leader paused or cut off for more than " + paused[0] + ", " + paused[1] + " or " + paused[2] + " s is replaced",
		"../../docs/architecture.md": "| ttl, loop_wait, retry_timeout, primary_start_timeout | " + strings.Join(timers, " | ") + " |\n" +
			"| leader's machine lost: nobody can write for up to | " + strings.Join(lost, " s | ") + " s |\n" +
			"| replaced though it lives, if away for longer than | " + strings.Join(paused, " s | ") + " s |\n",
	} {
		text := testkit.Text(t, file)
		if !strings.Contains(text, want) {
			t.Errorf("%s does not say: %s", file, want)
		}
	}
}
