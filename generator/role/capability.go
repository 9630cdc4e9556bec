package role

import (
	"fmt"
	"slices"
	"strings"
)

// Capability is what one role offers and another uses: how they find each
// other.
type Capability string

// The capabilities. What there is to know of an offered one is in the Plan of
// the role that offers it.
const (
	DCS      Capability = "dcs"      // the distributed configuration store in which a leader is elected
	Database Capability = "database" // PostgreSQL
	Proxy    Capability = "proxy"    // a way for clients to the database
)

// DCSOffer is a distributed configuration store.
type DCSOffer struct {
	Endpoints []string // as host:port
	Overdue   Interval // how long after its end a lease is gone
}

// DatabaseOffer is PostgreSQL on nodes one of which leads.
type DatabaseOffer struct {
	Port        int    // of PostgreSQL
	HealthPort  int    // where a node says over HTTPS what it is: /primary, /replica?lag=BYTES
	Connections int    // how many clients PostgreSQL takes
	Login       *Login // of an application; nil: the spec has none
}

// ProxyOffer is where clients of the database connect.
type ProxyOffer struct {
	Primary, Replicas int
	Alive             int // where a load balancer asks over HTTP whether it lives: AlivePath
	Stats             int // where it says over HTTP to whom it sends clients: /stats;csv
	// How long after a node leads clients get to it, and after a node fell silent
	// its sessions end: while no other leads, and at the earliest if one does.
	Follows, Ends, EndsEarly Interval
}

// Offers says whether a role of the cluster offers a capability.
func (c *Cluster) Offers(what Capability) bool { return len(c.offering(what)) > 0 }

// Offering are the machines that offer a capability.
func (c *Cluster) Offering(what Capability) []Node { return nodes(c.offering(what)) }

// Using are the machines of other roles that use a capability.
func (c *Cluster) Using(what Capability) []Node {
	return nodes(c.groups(func(g *Group) bool { return slices.Contains(g.Uses, what) }))
}

// DCS is the cluster's DCS as its role has planned it; nil if there is none.
func (c *Cluster) DCS() *DCSOffer { return offer(c, func(p *Plan) *DCSOffer { return p.DCS }) }

// Database is the cluster's database as its role has planned it; nil if there
// is none.
func (c *Cluster) Database() *DatabaseOffer {
	return offer(c, func(p *Plan) *DatabaseOffer { return p.Database })
}

// Proxy is the first of the cluster's proxies as its role has planned it; nil
// if there is none.
func (c *Cluster) Proxy() *ProxyOffer { return offer(c, func(p *Plan) *ProxyOffer { return p.Proxy }) }

func offer[O any](c *Cluster, of func(*Plan) *O) *O {
	for _, g := range c.Groups {
		if g.Plan != nil && of(g.Plan) != nil {
			return of(g.Plan)
		}
	}
	return nil
}

func (c *Cluster) offering(what Capability) []*Group {
	return c.groups(func(g *Group) bool { return slices.Contains(g.Offers, what) })
}

func nodes(groups []*Group) []Node {
	var all []Node
	for _, g := range groups {
		all = append(all, g.Nodes()...)
	}
	return all
}

// Login is how an application gets into the database.
type Login struct {
	Database, User string
	Role           string // whose secrets have the password
	Entry          string // what it is named there
}

// AlivePath is what a load balancer asks a proxy for.
const AlivePath = "/alive"

// Connect is a command that runs one SQL statement with a login, at a port of
// hosts, which may be proxies, and have the entry point before them; options
// are further ones of libpq. It is run in the folder of the spec.
func (c *Cluster) Connect(login *Login, hosts []Node, port int, options, statement string) string {
	names := c.EntryPoints()
	for _, n := range hosts {
		if !c.Balanced() {
			names = append(names, n.Host(c))
		}
	}
	return fmt.Sprintf(`PGPASSWORD=$(jq -r '.[] | select(.key == "%s").text_value' secrets/%s/%s.json) \
  psql "host=%s port=%d dbname=%s user=%s%s sslmode=verify-full sslrootcert=secrets/%s/ca.crt" -c '%s'`,
		login.Entry, c.Name, login.Role, strings.Join(names, ","), port, login.Database, login.User, options, c.Name, statement)
}
