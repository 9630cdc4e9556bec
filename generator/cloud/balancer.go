package cloud

import (
	"strings"
	"time"

	"pgha-gen/generator/role"
)

// Balancer is a network load balancer before the proxies. It asks each whether
// it lives, and not whether there is a primary: while the leader changes there
// is none, and it would give up all proxies.
type Balancer struct {
	Name, Region string
	Internal     bool
	Subnet       Ref      // an internal one has its address there
	Targets      []string // machines
	Listeners    []Listener
	Check        Check
	Record       *Record // nil: somebody else makes it
	EntryPoint   string  // the name that the record is for
}

// Listener is a port of a load balancer, and of its targets.
type Listener struct {
	Name string
	Port int
}

// Check is how a load balancer asks its targets, over HTTP.
type Check struct {
	Port              int
	Path              string
	Interval, Timeout time.Duration
	Healthy           int // answers until a target is taken
	Unhealthy         int // missing ones until it is given up
}

// Record is the address of the entry point.
type Record struct {
	Zone   Ref
	Domain string // of a zone that is created, with its dot
	Name   string // with its dot
	TTL    int    // seconds
}

func balancer(c *role.Cluster) *Balancer {
	proxy, proxies := c.Proxy(), c.Offering(role.Proxy)
	if !c.Balanced() || proxy == nil {
		return nil
	}
	b := &Balancer{
		Name: c.Name, Region: c.Cloud.Region, Internal: c.Cloud.LoadBalancer == role.Internal,
		Listeners:  []Listener{{"primary", proxy.Primary}, {"replicas", proxy.Replicas}},
		Check:      Check{Port: proxy.Alive, Path: role.AlivePath, Interval: 2 * time.Second, Timeout: time.Second, Healthy: 2, Unhealthy: 2},
		EntryPoint: c.Cloud.EntryPoint,
	}
	for _, n := range proxies {
		b.Targets = append(b.Targets, n.Name)
	}
	if b.Internal {
		b.Subnet = Ref{Name: subnetName(c, proxies[0].Zone)}
		if id, ok := c.Cloud.SubnetID(proxies[0].Zone); ok {
			b.Subnet = Ref{ID: id}
		}
	}
	if c.Cloud.DNSZone != "" {
		_, domain, _ := strings.Cut(c.Cloud.EntryPoint, ".")
		b.Record = &Record{Zone: Ref{ID: c.Cloud.DNSZone}, Name: c.Cloud.EntryPoint + ".", TTL: 60}
		if c.Cloud.DNSZone == role.Create {
			b.Record.Zone, b.Record.Domain = Ref{Name: c.Name}, domain+"."
		}
	}
	return b
}
