//go:build linux

package lab

import (
	"errors"
	"fmt"
	"net/netip"

	"pgha-gen/generator/role"
	"pgha-gen/lab/client"
	"pgha-gen/roles/haproxy"
	"pgha-gen/roles/patroni"
)

// Access is how an application gets into a cluster of a lab: through HAProxy,
// to the first database of the spec, as its owner.
type Access struct {
	Primary, Replicas client.Target
	REST              []client.Host // Patroni's REST API on each node
	RESTPort          int
	RESTFrom          string // the machine as which it is asked: nodes answer those that balance, and no client
}

// NewAccess refuses a cluster that nobody could write to from inside the lab's
// network: without a database or HAProxy, or whose access.clients leave out the
// lab's own address.
func NewAccess(c *role.Cluster) (Access, error) {
	var a Access
	database, ok := c.Part(patroni.Name).(*patroni.Settings)
	if !ok {
		return a, errors.New("the lab runs clusters with a database (add roles.patroni)")
	}
	balancer, ok := c.Part(haproxy.Name).(*haproxy.Settings)
	if !ok {
		return a, errors.New("the lab writes through HAProxy (add roles.haproxy)")
	}
	if len(database.Databases) == 0 {
		return a, errors.New("the lab writes to a database of the spec, and there is none (add one to roles.patroni.databases)")
	}
	for _, p := range c.Parts {
		for _, n := range p.Settings.Nodes() {
			if !n.Address.IsValid() {
				return a, fmt.Errorf("node %s has no address (the lab does not choose any)", n.Name)
			}
		}
	}
	for _, n := range balancer.Nodes() {
		if from := gateway(subnet(n)); !admitted(c.Access.Clients, from) {
			return a, fmt.Errorf("access.clients does not admit %s, from where the lab connects to %s (add %s)", from, n.Name, subnet(n))
		}
	}
	target := client.Target{
		Hosts: hosts(c, balancer.Nodes()), Database: database.Databases[0].Name, User: database.Databases[0].Owner,
	}
	a.Primary, a.Replicas = target, target
	a.Primary.Port, a.Replicas.Port = balancer.Ports.Primary, balancer.Ports.Replicas
	a.REST, a.RESTPort, a.RESTFrom = hosts(c, database.Nodes()), database.RESTPort, balancer.Nodes()[0].Name
	return a, nil
}

func admitted(clients []netip.Prefix, a netip.Addr) bool {
	for _, p := range clients {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func hosts(c *role.Cluster, nodes []role.Node) []client.Host {
	var all []client.Host
	for _, n := range nodes {
		all = append(all, client.Host{Name: c.FQDN(n.Name), Address: n.Address})
	}
	return all
}
