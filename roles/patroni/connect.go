package patroni

import (
	"fmt"
	"strings"

	"pgha-gen/generator/role"
)

// Connect is a command that runs one statement in the first database of the spec
// as its owner, at a port of hosts, which may pass clients on; more are options of
// libpq. It is empty where the spec has no database.
func (s *Settings) Connect(c *role.Cluster, hosts []role.Node, port int, more, statement string) string {
	if len(s.Databases) == 0 {
		return ""
	}
	var names []string
	for _, n := range hosts {
		names = append(names, n.Host(c))
	}
	d := s.Databases[0]
	return fmt.Sprintf(`PGPASSWORD=$(jq -r '.[] | select(.key == "%s").text_value' secrets/%s/%s.json) \
  psql "host=%s port=%d dbname=%s user=%s%s sslmode=verify-full sslrootcert=secrets/%s/ca.crt" -c '%s'`,
		passwordFile(d.Owner), c.Name, Name, strings.Join(names, ","), port, d.Name, d.Owner, more, c.Name, statement)
}

// try is for a cluster whose clients connect to its nodes: libpq finds the one
// that leads.
func (s *Settings) try(c *role.Cluster) []role.Fact {
	var all []role.Fact
	if command := s.Connect(c, s.Nodes(), s.Port, " target_session_attrs=read-write", "SELECT inet_server_addr(), pg_is_in_recovery()"); command != "" && len(c.Nodes(haproxy)) == 0 {
		all = append(all, role.Fact{Name: "The node that leads answers, and says `f`", Value: command})
	}
	if len(c.Access.Operators) > 0 {
		all = append(all, role.Fact{Name: "From a network of `access.operators`: who leads, and how far behind the others are", Value: fmt.Sprintf(
			"curl --cacert secrets/%s/ca.crt https://%s:%d/cluster | jq .", c.Name, s.Members[0].Host(c), s.RESTPort)})
	}
	return all
}
