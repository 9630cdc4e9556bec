package haproxy

import (
	"fmt"
	"net/netip"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// balancers are the networks of the cloud's health checks (Network Load
// Balancer, health checks).
var balancers = []netip.Prefix{netip.MustParsePrefix("198.18.235.0/24"), netip.MustParsePrefix("198.18.248.0/24")}

// Plan implements role.Settings. HAProxy shows no certificate to anybody: all
// that it needs is the cluster's CA, which is no secret and comes in its
// user-data.
func (s *Settings) Plan(c *role.Cluster) (*role.Plan, error) {
	db := c.Database()
	files, err := s.files(c, db)
	if err != nil {
		return nil, err
	}
	readers := "replicas; the leader while no replica is fit"
	if s.ReplicasFallback == ToNobody {
		readers = "replicas only"
	}
	clients := role.Networks(c.Access.Clients)
	p := &role.Plan{
		Bake:     emit.Map{{Key: "HAPROXY_VERSION", Value: s.Version}},
		Requires: []string{"haproxy>=2.6"},

		Unit: "haproxy.service",
		User: "haproxy",
		Ports: []role.Port{
			{Number: s.Ports.Primary, For: "clients that write: the node that leads", From: clients},
			{Number: s.Ports.Replicas, For: fmt.Sprintf("clients that read: %s (lag at most %s)", readers, s.MaxReplicaLag), From: clients},
			{Number: s.Ports.Stats, For: "monitoring, operators: /metrics for Prometheus, /stats; the health checks of a network load balancer: /alive (not /health, which fails while no node leads)",
				From: role.Networks(c.Access.Monitoring, c.Access.Operators, balancers)},
		},
		Env:   emit.Map{{Key: "PGHA_STATS_PORT", Value: s.Ports.Stats}},
		Files: files,

		Outages: s.outages(),
		Expect:  s.expect(db),
		Try:     s.try(c, db),

		Joins:    "it takes clients as soon as it is ready; tell them of it",
		Leaves:   "its clients have to connect to another one; then delete the machine",
		Replaced: "each once the one before is ready, so that clients find another",

		Proxy: &role.ProxyOffer{Primary: s.Ports.Primary, Replicas: s.Ports.Replicas, Stats: s.Ports.Stats, Alive: s.Ports.Alive, Follows: s.Checks.follows(), Ends: s.Checks.ends(), EndsEarly: s.Checks.endsEarly()},
	}
	if c.Balanced() {
		p.Ports = append(p.Ports, role.Port{Number: s.Ports.Alive, For: "the health checks of the load balancer: " + role.AlivePath, From: role.Networks(balancers)})
	}
	if s.Version != "" {
		p.Exact = []string{"haproxy=" + s.Version}
	}
	if c.Secrets.CA == "" {
		p.Lacks = "secrets.ca is missing from the spec, and HAProxy verifies the nodes by it (run pgha-gen secrets generate, and what it says next)"
	} else if len(s.Global)+len(s.DefaultsSection) > 0 || s.Extra != "" {
		p.Judge = s.judge(p.Files)
	}
	return p, nil
}

func (s *Settings) expect(db *role.DatabaseOffer) []role.Expectation {
	c := s.Checks
	return []role.Expectation{
		{What: "HAProxy follows a new leader", Then: fmt.Sprintf("within %s of Patroni's answer that it leads", specfile.Duration(c.follows().Most))},
		{What: "Patroni away, PostgreSQL still there", Then: fmt.Sprintf("sessions live on for %s", specfile.Duration(c.Fall-1)*c.FastInter)},
		{What: "more clients than PostgreSQL takes", Then: fmt.Sprintf("each HAProxy opens %d connections to a node, further clients wait up to 10 s; two open twice as many, and PostgreSQL refuses those above its limit, but never the superuser", db.Connections)},
	}
}

func (s *Settings) try(c *role.Cluster, db *role.DatabaseOffer) []role.Trial {
	if db.Login == nil {
		return nil
	}
	ask := func(port int) string {
		return c.Connect(db.Login, s.Members, port, "", "SELECT inet_server_addr(), pg_is_in_recovery()")
	}
	return []role.Trial{
		{What: "The node that leads answers, and says `f`", Command: ask(s.Ports.Primary)},
		{What: "A replica answers, and says `t`", Command: ask(s.Ports.Replicas)},
	}
}
