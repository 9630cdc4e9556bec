package patroni

import (
	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
)

// hba lets in, over TLS alone, who must get in: the other nodes for replication
// and rewind, and the application's users, each to its databases, from the
// clients' networks and from the proxies, which clients are seen as.
func (s *Settings) hba(c *role.Cluster) ([]string, error) {
	var records [][]string
	add := func(words ...string) { records = append(records, words) }
	add("local", "all", emit.HBAName(Superuser), "peer")
	add("local", "replication", emit.HBAName(ReplicationUser), "scram-sha-256")
	add("local", "all", "all", "scram-sha-256")
	for _, m := range s.Members {
		add("hostssl", "replication", emit.HBAName(ReplicationUser), source(c, m.Node), "scram-sha-256")
		add("hostssl", "postgres", emit.HBAName(RewindUser), source(c, m.Node), "scram-sha-256")
	}
	var clients []string
	for _, n := range c.Using(role.Database) {
		clients = append(clients, source(c, n))
	}
	for _, p := range c.Access.Clients {
		clients = append(clients, p.String())
	}
	for _, u := range s.applicationUsers() {
		for _, d := range u.Databases {
			for _, client := range clients {
				add("hostssl", emit.HBAName(d), emit.HBAName(u.Name), client, "scram-sha-256")
			}
		}
	}
	var lines []string
	for _, r := range records {
		line, err := emit.HBA(r...)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	lines = append(lines, s.HBA...)
	return append(lines, "host all all all reject"), nil
}

// source is a node as pg_hba.conf wants it: a network of one address, or its
// name, which PostgreSQL looks up in both directions.
func source(c *role.Cluster, n role.Node) string {
	if n.Address.IsValid() {
		return n.Address.String() + "/32"
	}
	return c.FQDN(n.Name)
}
