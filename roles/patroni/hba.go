package patroni

import (
	"errors"
	"slices"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
)

// hba lets in, over TLS alone, who must get in: the other nodes for
// replication and rewind, and the application's users, each to its databases,
// from the clients' networks and from the proxies, which clients are seen as;
// and operators as Administrator, with a certificate. PostgreSQL looks up a name
// in both directions.
func (s *Settings) hba(c *role.Cluster) (lines []string, failed error) {
	add := func(words ...string) {
		line, err := emit.HBA(words...)
		lines, failed = append(lines, line), errors.Join(failed, err)
	}
	add("local", "all", emit.HBAName(Superuser), "peer")
	add("local", "replication", emit.HBAName(ReplicationUser), "scram-sha-256")
	add("local", "all", "all", "scram-sha-256")
	for _, node := range c.Sources(s.Machines().Nodes) {
		add("hostssl", "replication", emit.HBAName(ReplicationUser), node, "scram-sha-256")
		add("hostssl", "postgres", emit.HBAName(RewindUser), node, "scram-sha-256")
	}
	clients := slices.Concat(c.Sources(c.Using(role.Database)), role.Networks(c.Access.Clients))
	for _, u := range s.applicationUsers() {
		for _, d := range u.Databases {
			for _, client := range clients {
				add("hostssl", emit.HBAName(d), emit.HBAName(u.Name), client, "scram-sha-256")
			}
		}
	}
	if len(c.Access.Operators) > 0 {
		// Whoever comes through a proxy may be from anywhere.
		for _, proxy := range c.Sources(c.Using(role.Database)) {
			add("host", "all", emit.HBAName(Administrator), proxy, "reject")
		}
		for _, network := range role.Networks(c.Access.Operators) {
			add("hostssl", "all", emit.HBAName(Administrator), network, "cert")
		}
		add("host", "all", emit.HBAName(Administrator), "all", "reject") // whatever the spec's records say
	}
	return slices.Concat(lines, s.HBA, []string{"host all all all reject"}), failed
}
