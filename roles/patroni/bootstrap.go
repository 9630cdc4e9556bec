package patroni

import (
	"slices"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// dcs is shared by all nodes: the leader brings it to etcd (converge.py).
func (s *Settings) dcs(c *role.Cluster) emit.Map {
	m := emit.Map{
		{Key: "ttl", Value: s.TTL},
		{Key: "loop_wait", Value: s.LoopWait},
		{Key: "retry_timeout", Value: s.RetryTimeout},
		{Key: "primary_start_timeout", Value: s.PrimaryStartTimeout},
		{Key: "primary_stop_timeout", Value: primaryStopTimeout},
		{Key: "maximum_lag_on_failover", Value: int(s.MaximumLagOnFailover)},
		{Key: "check_timeline", Value: true},
		// Without it, losing etcd's quorum stops writes on a healthy leader.
		{Key: "failsafe_mode", Value: true},
	}
	mode := map[role.Durability]any{role.Async: false, role.Sync: true, role.Strict: true, role.Quorum: "quorum"}
	m = append(m, emit.Pair{Key: "synchronous_mode", Value: mode[c.Durability]})
	if c.Durability == role.Strict {
		m = append(m, emit.Pair{Key: "synchronous_mode_strict", Value: true})
	}
	if c.Durability != role.Async {
		m = append(m, emit.Pair{Key: "synchronous_node_count", Value: 1})
	}
	parameters := slices.DeleteFunc(s.parameters(), func(p emit.Pair) bool { return !slices.Contains(shared, p.Key) })
	return append(m, emit.Pair{Key: "postgresql", Value: emit.Map{
		{Key: "use_slots", Value: true},
		{Key: "parameters", Value: parameters},
	}})
}

// primaryStopTimeout is how long, in seconds, PostgreSQL may take to stop
// before the lease is given up: the cloud cuts the power of a machine 30 s
// after it asked it to stop.
const primaryStopTimeout = 12

// initdb picks the collation that PostgreSQL itself brings (from 17 on): the
// order of text then does not change with the image's C library.
func (s *Settings) initdb() []any {
	options := []any{
		emit.Map{{Key: "encoding", Value: "UTF8"}},
		emit.Map{{Key: "locale", Value: "C.UTF-8"}},
	}
	if s.PostgreSQL >= 17 {
		options = append(options,
			emit.Map{{Key: "locale-provider", Value: "builtin"}},
			emit.Map{{Key: "builtin-locale", Value: "C.UTF-8"}})
	}
	return append(options, "data-checksums")
}

// databasesFile is what the leader makes of databases and users (converge.py).
func (s *Settings) databasesFile(c *role.Cluster) emit.Map {
	return emit.Map{
		{Key: "administrator", Value: len(c.Access.Operators) > 0},
		{Key: "users", Value: specfile.Encode(s.applicationUsers())},
		{Key: "databases", Value: specfile.Encode(s.Databases)},
	}
}
