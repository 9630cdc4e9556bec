package patroni

import (
	"fmt"

	"pgha-gen/generator/role"
)

// expect is what else there is to know of an outage.
func (s *Settings) expect(durability role.Durability) []role.Expectation {
	until := fmt.Sprintf("%d s (ttl %d - loop_wait %d)", s.TTL-s.LoopWait, s.TTL, s.LoopWait)
	if s.Agreement.After > 0 {
		until = fmt.Sprintf("%s (agreement.after)", s.Agreement.After)
	}
	return []role.Expectation{
		{What: "leader paused", Then: "replaced if for longer than " + until + "; the cloud's live migration pauses a machine usually for not more than 10 s"},
		{What: "an acknowledged commit is on", Then: map[role.Durability]string{
			role.Async:  "the leader's disk only: a failover may lose the last commits",
			role.Sync:   "the leader and one chosen replica, as long as there is a replica",
			role.Strict: "the leader and one chosen replica, always: without a replica, writes wait",
			role.Quorum: "the leader and any one replica, as long as there is a replica",
		}[durability]},
	}
}

// try is for operators, and for a cluster whose clients connect to its nodes:
// libpq finds the one that leads.
func (s *Settings) try(c *role.Cluster) []role.Trial {
	var all []role.Trial
	if login := s.login(); login != nil && !c.Offers(role.Proxy) {
		all = append(all, role.Trial{What: "The node that leads answers, and says `f`", Command: c.Connect(login, s.Machines().Nodes, s.Port,
			" target_session_attrs=read-write", "SELECT inet_server_addr(), pg_is_in_recovery()")})
	}
	if len(c.Access.Operators) > 0 {
		all = append(all, role.Trial{What: "From a network of `access.operators`: who leads, and how far behind the others are", Command: fmt.Sprintf(
			"curl --cacert secrets/%s/ca.crt https://%s:%d/cluster | jq .", c.Name, s.Members[0].Host(c), s.RESTPort)})
	}
	return all
}
