package patroni

import (
	"fmt"

	"pgha-gen/generator/role"
)

// expect is what happens in an outage.
func (s *Settings) expect(durability role.Durability) []role.Expectation {
	// A lost machine's lease runs out between ttl-loop_wait and ttl after its
	// last renewal; then a replica sees it (at once, by its watch), and
	// promotes in up to two seconds.
	lost := fmt.Sprintf("a replica leads after %d to %d s (ttl %d, loop_wait %d)", s.TTL-s.LoopWait, s.TTL+2, s.TTL, s.LoopWait)
	crash := fmt.Sprintf("restarted in place, usually within %d s; if it does not start, failover after %d s (loop_wait %d, primary_start_timeout %d)",
		s.LoopWait+min(2, s.PrimaryStartTimeout), s.LoopWait+s.PrimaryStartTimeout, s.LoopWait, s.PrimaryStartTimeout)
	if s.PrimaryStartTimeout == 0 {
		crash = fmt.Sprintf("failover at once: a replica leads after up to %d s (primary_start_timeout 0)", s.LoopWait+2)
	}
	return []role.Expectation{
		{What: "leader's machine lost", Then: lost},
		{What: "leader's machine stopped as planned", Then: fmt.Sprintf("a checkpoint of up to 10 s while writes go on, then a replica leads once PostgreSQL has stopped: usually within 3 s, given up after %d s", primaryStopTimeout)},
		{What: "leader paused or cut off", Then: fmt.Sprintf("replaced if for longer than %d s (ttl %d - loop_wait %d); the cloud's live migration pauses a machine usually for not more than 10 s", s.TTL-s.LoopWait, s.TTL, s.LoopWait)},
		{What: "leader's PostgreSQL crashed", Then: crash},
		{What: "leader's Patroni killed", Then: "writes go on: PostgreSQL stays, and Patroni is started again at once"},
		{What: "all of etcd away", Then: "writes go on as long as the leader reaches Patroni on all other nodes (failsafe mode); there is no failover until most members are back"},
		{What: "a replica's machine lost", Then: s.replicaLost(durability)},
		{What: "an acknowledged commit is on", Then: map[role.Durability]string{
			role.Async:  "the leader's disk only: a failover may lose the last commits",
			role.Sync:   "the leader and one chosen replica, as long as there is a replica",
			role.Strict: "the leader and one chosen replica, always: without a replica, writes wait",
			role.Quorum: "the leader and any one replica, as long as there is a replica",
		}[durability]},
	}
}

// replicaLost is what a commit waits for while a replica does not
// acknowledge: until its key in etcd has expired, after ttl, and the leader
// looks, each loop_wait.
func (s *Settings) replicaLost(durability role.Durability) string {
	replicas := -1 // without the leader
	for _, m := range s.Members {
		if t := m.Tags; !t.NoSync && !t.NoStream && t.SyncPriority > 0 {
			replicas++
		}
	}
	if durability == role.Async {
		return "commits go on: they wait for no replica"
	}
	if durability == role.Quorum && replicas > 1 {
		return "commits go on: another replica acknowledges them"
	}
	until := "another one is chosen"
	switch {
	case replicas <= 1 && durability == role.Strict:
		return "commits wait until it is back"
	case replicas <= 1:
		until = "Patroni no longer waits for it"
	}
	which := ""
	if durability != role.Quorum {
		which = "if it is the chosen one, "
	}
	return fmt.Sprintf("%scommits wait for up to %d s, until %s (ttl %d, loop_wait %d)", which, s.TTL+s.LoopWait, until, s.TTL, s.LoopWait)
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
