//go:build linux

package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"pgha-gen/generator/role"
	"pgha-gen/lab/client"
)

// Access is how an application gets into a cluster of a lab: through a proxy,
// to the first database of the spec, as its owner.
type Access struct {
	Primary, Replicas client.Target
	Role              string        // whose machines have the database
	REST              []client.Host // the REST API that says who leads, on each node
	RESTPort          int
	RESTFrom          string // the machine as which it is asked: nodes answer those that balance, and no client
	// From where the lab connects, and access.operators does not admit it.
	NoOperators []netip.Addr
}

// NewAccess refuses a cluster that nobody could write to from inside the lab's
// network: without a database or a proxy, or whose access.clients leave out the
// lab's own address.
func NewAccess(c *role.Cluster) (Access, error) {
	given, err := Addresses(c)
	if err != nil {
		return Access{}, err
	}
	return newAccess(c, given)
}

// Access is NewAccess of what the lab runs now.
func (l *Lab) Access() (Access, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return newAccess(l.cluster, l.addresses())
}

func newAccess(c *role.Cluster, given map[string]netip.Addr) (Access, error) {
	var a Access
	database, proxy := c.Database(), c.Proxy()
	switch {
	case database == nil:
		return a, errors.New("the lab runs clusters with a database (add a role that offers one)")
	case proxy == nil:
		return a, errors.New("the lab writes through a proxy (add a role that offers one)")
	case database.Login == nil:
		return a, errors.New("the lab writes to a database of the spec, and there is none (add one, with its owner)")
	}
	proxies := c.Offering(role.Proxy)
	for _, n := range proxies {
		s := subnet(given[n.Name])
		if from := gateway(s); !admitted(c.Access.Clients, from) {
			return a, fmt.Errorf("access.clients does not admit %s, from where the lab connects to %s (add %s)", from, n.Name, s)
		}
	}
	hosts := func(nodes []role.Node) []client.Host {
		var all []client.Host
		for _, n := range nodes {
			all = append(all, client.Host{Name: c.FQDN(n.Name), Address: given[n.Name]})
		}
		return all
	}
	target := client.Target{
		Hosts: hosts(proxies), Database: database.Login.Database, User: database.Login.User,
	}
	a.Primary, a.Replicas = target, target
	a.Primary.Port, a.Replicas.Port = proxy.Primary, proxy.Replicas
	for _, g := range c.Groups {
		if slices.Contains(g.Offers, role.Database) {
			a.Role = g.Name
		}
	}
	a.REST, a.RESTPort, a.RESTFrom = hosts(c.Offering(role.Database)), database.HealthPort, proxies[0].Name
	for _, g := range c.Groups {
		for _, n := range g.Nodes() {
			if from := gateway(subnet(given[n.Name])); !admitted(c.Access.Operators, from) && !slices.Contains(a.NoOperators, from) {
				a.NoOperators = append(a.NoOperators, from)
			}
		}
	}
	return a, nil
}

func admitted(networks []netip.Prefix, a netip.Addr) bool {
	for _, p := range networks {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
