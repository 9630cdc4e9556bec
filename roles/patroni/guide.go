package patroni

import (
	"fmt"
	"strings"

	"pgha-gen/generator/role"
)

// Guide implements role.Settings.
func (s *Settings) Guide(c *role.Cluster) role.Guide {
	// A lost machine's lease runs out between ttl-loop_wait and ttl after its
	// last renewal; then a replica sees it (at once, by its watch), and promotes
	// in up to two seconds.
	lost := fmt.Sprintf("a replica leads after %d to %d s (ttl %d, loop_wait %d)", s.TTL-s.LoopWait, s.TTL+2, s.TTL, s.LoopWait)
	crash := fmt.Sprintf("restarted in place, usually within %d s; if it does not start, failover after %d s (loop_wait %d, primary_start_timeout %d)",
		s.LoopWait+min(2, s.PrimaryStartTimeout), s.LoopWait+s.PrimaryStartTimeout, s.LoopWait, s.PrimaryStartTimeout)
	if s.PrimaryStartTimeout == 0 {
		crash = fmt.Sprintf("failover at once: a replica leads after up to %d s (primary_start_timeout 0)", s.LoopWait+2)
	}
	return role.Guide{
		Facts: []role.Fact{
			{Name: "leader's machine lost", Value: lost},
			{Name: "leader's machine stopped as planned", Value: fmt.Sprintf("a checkpoint of up to 10 s while writes go on, then a replica leads once PostgreSQL has stopped: usually within 3 s, given up after %d s", primaryStopTimeout)},
			{Name: "leader paused or cut off", Value: fmt.Sprintf("replaced if for longer than %d s (ttl %d - loop_wait %d); the cloud's live migration pauses a machine usually for not more than 10 s", s.TTL-s.LoopWait, s.TTL, s.LoopWait)},
			{Name: "leader's PostgreSQL crashed", Value: crash},
			{Name: "leader's Patroni killed", Value: "writes go on: PostgreSQL stays, and Patroni is started again at once"},
			{Name: "all of etcd away", Value: "writes go on as long as the leader reaches Patroni on all other nodes (failsafe mode); there is no failover until most members are back"},
			{Name: "a replica's machine lost", Value: s.replicaLost(c.Durability)},
			{Name: "an acknowledged commit is on", Value: map[role.Durability]string{
				role.Async:  "the leader's disk only: a failover may lose the last commits",
				role.Sync:   "the leader and one chosen replica, as long as there is a replica",
				role.Strict: "the leader and one chosen replica, always: without a replica, writes wait",
				role.Quorum: "the leader and any one replica, as long as there is a replica",
			}[c.Durability]},
		},
		Fixed: fixed(),
		Try:   s.try(c),
	}
}

// replicaLost is what a commit waits for while a replica does not acknowledge:
// until its key in etcd has expired, after ttl, and the leader looks, each
// loop_wait.
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

// fixed are the keys whose values end up in bootstrap.yml or databases.json,
// which count only when the cluster is founded (TestFixed).
func fixed() []role.Fact {
	return []role.Fact{
		{Name: "durability"},
		{Name: "failover", Value: "Patroni's timers"},
		{Name: "roles.patroni.ttl"},
		{Name: "roles.patroni.loop_wait"},
		{Name: "roles.patroni.retry_timeout"},
		{Name: "roles.patroni.primary_start_timeout"},
		{Name: "roles.patroni.maximum_lag_on_failover"},
		{Name: "roles.patroni.postgresql", Value: "the data is of one major version"},
		{Name: "roles.patroni.parameters", Value: "those that all nodes must have alike: " + strings.Join(shared, ", ")},
		{Name: "roles.patroni.workload", Value: "max_connections alone"},
		{Name: "roles.patroni.machine", Value: "max_worker_processes alone, which follows from cores"},
		{Name: "roles.patroni.nodes", Value: "max_wal_senders and max_replication_slots alone, which follow from their number"},
		{Name: "roles.patroni.databases", Value: "no database or owner is created or removed later"},
		{Name: "roles.patroni.users", Value: "no user is created, removed or granted a role later"},
		{Name: "roles.patroni.config", Value: "what is below bootstrap"},
	}
}
