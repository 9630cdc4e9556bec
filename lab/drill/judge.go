package drill

import (
	"fmt"
	"strings"
	"time"

	"pgha-gen/generator/role"
	"pgha-gen/lab/workload"
)

// Round is a scenario that was run once, as it is kept and reported. Times are
// seconds since the first step began.
type Round struct {
	Scenario   string            `json:"scenario"`
	Round      int               `json:"round"`
	Seed       uint64            `json:"seed,omitempty"` // of the nemesis
	Failover   role.Failover     `json:"failover"`
	Durability role.Durability   `json:"durability"`
	TTL        float64           `json:"ttl"` // seconds that a leader's lease lasts
	At         time.Time         `json:"at"`
	Slowness   float64           `json:"host_slowness,omitempty"` // of the host, as lab/pace measures it
	Spec       string            `json:"spec"`                    // digest
	Images     map[string]string `json:"images"`                  // role to digest
	Before     string            `json:"leader_before"`
	After      string            `json:"leader_after"`

	Gap      Window         `json:"write_gap"`
	Foretold *Interval      `json:"predicted_gap,omitempty"` // by the spec's timers
	ReadGap  Window         `json:"read_gap"`
	Arrival  Window         `json:"arrival_gap"`   // in which no client that connected anew met a node that can write
	Two      float64        `json:"two_primaries"` // seconds
	Claimed  float64        `json:"two_claims"`    // seconds in which two nodes' Patroni said that they lead
	Acked    int            `json:"acknowledged"`
	Lost     []int          `json:"lost"`
	Ghosts   int            `json:"unacknowledged_present"`
	Gone     int            `json:"gone"` // rows of earlier rounds
	ReadOnly int            `json:"read_only_writes"`
	Misread  int            `json:"reads_by_leader"`
	Errs     map[string]int `json:"errors"`
	Register workload.Order `json:"register"`
	Asked    int            `json:"register_operations"`
	Whole    float64        `json:"whole"` // since the last step; -1: it did not become whole
	Long     float64        `json:"seconds"`

	Archive *Archive `json:"archive,omitempty"` // what it had at the end, where that is judged

	Events  []Event  `json:"events"`
	Reigns  []Reign  `json:"reigns"`
	Verdict []string `json:"verdict"` // what did not hold
	Error   string   `json:"error,omitempty"`
}

// Window is a time within a round.
type Window struct {
	From    float64 `json:"from"`
	Seconds float64 `json:"seconds"`
}

// Interval is how long a gap should last. Most is below 0 if nobody can say.
type Interval struct {
	Least float64 `json:"least"`
	Most  float64 `json:"most"`
}

// Archive is what a round left of backups.
type Archive struct {
	Seconds float64  `json:"seconds"` // since the last step, until it was as it should be, or nobody waited any more
	Whole   bool     `json:"whole"`   // it has all WAL that was written until the last step
	Missing []string `json:"missing"` // segments that it lacks, among those of the round
	Told    bool     `json:"told"`    // the leader reports a hole
	Made    []string `json:"made"`    // the backups that began in the round
}

// lacks is what does not hold of the archive.
func (a Archive) lacks(h Hold) (broken []string) {
	if !a.Whole {
		broken = append(broken, fmt.Sprintf("%s after the last step the archive has not all WAL", h.Archived))
	}
	switch {
	case len(a.Missing) > 0 && !h.Dropped:
		broken = append(broken, fmt.Sprintf("the archive has no segment %s", strings.Join(a.Missing, ", ")))
	case len(a.Missing) == 0 && h.Dropped:
		broken = append(broken, "the archive has no hole: nothing was dropped")
	case h.Dropped && !a.Told:
		broken = append(broken, "the archive has a hole, and the leader does not report it")
	}
	if h.Made && len(a.Made) == 0 {
		broken = append(broken, "no backup that began in the round is made")
	}
	return broken
}

// Event is a step, or a line of a machine's boot protocol.
type Event struct {
	At     float64 `json:"at"`
	Node   string  `json:"node,omitempty"` // whose line it is; none: a step of the scenario
	Status string  `json:"status,omitempty"`
	Text   string  `json:"text"`
}

// Reign is a time in which a node acknowledged writes.
type Reign struct {
	Node string  `json:"node"`
	From float64 `json:"from"`
	To   float64 `json:"to"`
}

// Slow says whether the host was slower than those that the times of scenarios are
// from.
func (r Round) Slow() bool { return r.Slowness > 1 }

// questionable says whether a round did not hold, or would not have on a usual host.
func questionable(h Hold, r Round) bool {
	r.Slowness = 0
	return len(Judge(h, r)) > 0
}

// Judge is what did not hold in a round. Durability async promises less: an
// acknowledged commit is on the leader's disk, and that may be all. A slow host has
// as much more time as it is slower, and may take longer than predicted: the spec's
// timers do not say how long a program takes to start.
func Judge(h Hold, r Round) (broken []string) {
	h = h.Slower(r.Slowness)
	say := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	if r.Error != "" {
		say("%s", r.Error)
	}
	if r.Durability != role.Async {
		if len(r.Lost) > 0 {
			say("%d acknowledged rows are lost: %s", len(r.Lost), some(r.Lost))
		}
		if r.Gone > 0 {
			say("%d rows of earlier rounds are gone", r.Gone)
		}
		if r.Register == workload.OutOfOrder {
			say("what clients of the register saw, nobody can have seen one after the other")
		}
		if r.Two > 0 {
			say("two nodes acknowledged writes for %.2f s", r.Two)
		}
	}
	if r.Acked == 0 {
		say("no write was acknowledged: this round shows nothing")
	}
	if most := h.Gap.Of(seconds(r.TTL)); h.Gap.Set() && seconds(r.Gap.Seconds) > most {
		say("%.2f s without an acknowledged write, want at most %.2f", r.Gap.Seconds, most.Seconds())
	}
	if most := time.Duration(h.Arrivals); most > 0 && seconds(r.Arrival.Seconds) > most {
		say("for %.2f s nobody who connected anew met the leader, want at most %.2f", r.Arrival.Seconds, most.Seconds())
	}
	if p := r.Foretold; p != nil && (r.Gap.Seconds < p.Least || p.Most >= 0 && !r.Slow() && r.Gap.Seconds > p.Most) {
		say("%.2f s without an acknowledged write, and the spec's timers predict %.1f to %.1f", r.Gap.Seconds, p.Least, p.Most)
	}
	switch {
	case h.Leader == Stays && r.Before != r.After:
		say("%s leads, and %s did: want no change", r.After, r.Before)
	case h.Leader == Changes && r.Before == r.After:
		say("%s still leads: want another leader", r.After)
	}
	if h.ReadOnly >= 0 && r.ReadOnly > h.ReadOnly {
		say("%d writes met a node that does not lead, want at most %d", r.ReadOnly, h.ReadOnly)
	}
	switch most := time.Duration(h.Whole); {
	case r.Whole < 0:
		say("the cluster is not whole again within %s", h.Whole)
	case seconds(r.Whole) > most:
		say("whole again after %.1f s, want %.1f", r.Whole, most.Seconds())
	}
	if r.Archive != nil {
		broken = append(broken, r.Archive.lacks(h)...)
	}
	return broken
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// some are the first of many numbers.
func some(all []int) string {
	const most = 10
	text := strings.Trim(fmt.Sprint(all[:min(most, len(all))]), "[]")
	if len(all) > most {
		text += " and more"
	}
	return text
}
