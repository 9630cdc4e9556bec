package patroni

import (
	"fmt"
	"slices"
	"time"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// Below leastSilence a lost packet, which TCP sends again after a second, would look like a
// lost machine. Above mostSilence a lease of 20 s is hardly slower.
const (
	leastSilence = 2 * specfile.Second
	mostSilence  = 10 * specfile.Second
)

// looksEvery is how often agreement.py reads etcd, in seconds.
const looksEvery = 5

// checkAgreement refuses an agreement that would lose writes, or could never be.
func (s *Settings) checkAgreement(c *role.Cluster, at specfile.Place) {
	after := at.Key("agreement").Key("after")
	if s.Agreement.After == 0 || !role.CheckRange(after, s.Agreement.After, leastSilence, mostSilence,
		"%s (want 2s to 10s, or 0s for no agreement: below, a lost packet looks like a lost machine; above, the lease hardly takes longer)") {
		return
	}
	if durability := at.Root().Key("durability"); specfile.Known(durability) && c.Durability != role.Quorum && c.Durability != role.Strict {
		after.Problem("durability %s (want quorum or strict: with others a leader may acknowledge writes that no standby has)", c.Durability)
	}
	if n := s.acknowledging(); len(s.Members) > 0 && n < 3 {
		after.Problem("%d nodes that may acknowledge a commit (want 3: a leader and two replicas)", n)
	}
	if n := s.configured("bootstrap", "dcs", "synchronous_node_count"); n != nil && n != 1 {
		at.Key("config").Problem("synchronous_node_count %v (want 1 with agreement, or no agreement)", n)
	}
	if slices.ContainsFunc(s.Members, func(n Node) bool { return !n.Address.IsValid() }) && specfile.Known(at.Key("nodes")) {
		after.Problem("a node without an address (give all nodes of roles.patroni addresses: a node is cut off by its address)")
	}
}

// acknowledging is how many nodes Patroni may choose as synchronous replicas.
func (s *Settings) acknowledging() int {
	n := 0
	for _, m := range s.Members {
		if t := m.Tags; !t.NoSync && !t.NoStream && t.SyncPriority > 0 && t.ReplicateFrom == "" {
			n++
		}
	}
	return n
}

// agreementEnv is what agreement.py goes by.
func (s *Settings) agreementEnv() emit.Map {
	if s.Agreement.After == 0 {
		return nil
	}
	return emit.Map{{Key: "PGHA_AGREEMENT", Value: int(s.Agreement.After / specfile.Millisecond)}}
}

// agree is what passes until the lease of a lost leader is taken away. It is asked each
// second, and was heard that long before at most.
func (s *Settings) agree() []role.Term {
	after := time.Duration(s.Agreement.After)
	return []role.Term{
		{For: fmt.Sprintf("the replicas hear nothing of it (agreement.after %s)", s.Agreement.After), Interval: role.Interval{Least: after - time.Second, Most: after + 500*time.Millisecond}},
		{For: "they agree", Interval: upTo(time.Second)},
		{For: "the replicas ask each other", Interval: upTo(500 * time.Millisecond)},
		follows,
	}
}
