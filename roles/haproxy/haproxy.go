// Package haproxy is the role of the machines that clients connect to, and that
// send them to the node which leads, or to the replicas.
package haproxy

import (
	"embed"
	"fmt"
	"net/netip"

	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/spec"
)

// Name is the role's key in the spec.
const Name = "haproxy"

//go:embed bake.sh all:rootfs
var files embed.FS

//go:embed reference.yaml
var reference string

// userdata are the templates of the files that the user-data brings.
//
//go:embed userdata
var userdata embed.FS

// Role is HAProxy's role.
func Role() *role.Role {
	return &role.Role{
		Name:      Name,
		Doc:       "HAProxy: one port to the node that leads, one to the replicas.",
		Files:     files,
		Reference: reference,
		Offers:    []role.Capability{role.Proxy},
		Uses:      []role.Capability{role.Database},
		New:       func(c *role.Cluster) role.Settings { return newSettings(c) },
	}
}

// Settings is roles.haproxy in the spec.
type Settings struct {
	Version          string            `yaml:"version"`
	Ports            Ports             `yaml:"ports"`
	MaxReplicaLag    spec.Size         `yaml:"max_replica_lag"`
	ReplicasFallback Fallback          `yaml:"replicas_fallback"`
	OnMarkedDown     OnMarkedDown      `yaml:"on_marked_down"`
	MaxConnections   int               `yaml:"max_connections"`
	IdleTimeout      spec.Duration     `yaml:"idle_timeout"`
	Checks           HealthChecks      `yaml:"check"`
	Global           map[string]string `yaml:"global"`
	DefaultsSection  map[string]string `yaml:"defaults"`
	Extra            spec.Text         `yaml:"extra"`
	role.Common[role.Compute, role.Node]
}

// Ports are where HAProxy listens.
type Ports struct {
	Primary  int `yaml:"primary"`
	Replicas int `yaml:"replicas"`
	Stats    int `yaml:"stats"`
}

// HealthChecks are how often the nodes are asked what they are.
type HealthChecks struct {
	Inter     spec.Duration `yaml:"inter"`
	FastInter spec.Duration `yaml:"fastinter"`
	DownInter spec.Duration `yaml:"downinter"`
	Timeout   spec.Duration `yaml:"timeout"`
	Rise      int           `yaml:"rise"`
	Fall      int           `yaml:"fall"`
}

// Fallback is where readers go when no replica is fit.
type Fallback string

// The values of Fallback.
const (
	ToPrimary Fallback = "primary"
	ToNobody  Fallback = "none"
)

// Values are all of them.
func (Fallback) Values() []string { return []string{string(ToPrimary), string(ToNobody)} }

// OnMarkedDown is what happens to the sessions of a node that is no longer what
// they want.
type OnMarkedDown string

// The values of OnMarkedDown.
const (
	Shutdown OnMarkedDown = "shutdown" // they end, so clients connect to the right node
	Keep     OnMarkedDown = "keep"     // readers may finish; those who write never may
)

// Values are all of them.
func (OnMarkedDown) Values() []string { return []string{string(Shutdown), string(Keep)} }

func newSettings(c *role.Cluster) *Settings {
	s := &Settings{
		Ports:            Ports{Primary: 5431, Replicas: 5433, Stats: 8404},
		MaxReplicaLag:    10 * spec.MiB,
		ReplicasFallback: ToPrimary,
		OnMarkedDown:     Shutdown,
		MaxConnections:   2000,
		IdleTimeout:      24 * spec.Hour,
		Checks:           presets[c.Failover],
		Global:           map[string]string{},
		DefaultsSection:  map[string]string{},
	}
	s.Machine = role.Compute{
		Platform: "standard-v3", Cores: 2, CoreFraction: 100, Memory: 2 * spec.GiB,
		BootDisk: role.Disk{Type: role.SSD, Size: 10 * spec.GiB},
	}
	return s
}

// presets ask a node that answers each inter, and take one that does not for
// gone after fall checks. A new leader gets its clients after the first check,
// so rise is 1. fall*fastinter is how long Patroni may be away while
// PostgreSQL keeps its sessions: it is back after 1 to 2 s. fall*timeout, for a
// node that hangs, stays below Patroni's ttl.
var presets = map[role.Failover]HealthChecks{
	role.Fast: {Inter: 300 * spec.Millisecond, FastInter: 300 * spec.Millisecond, DownInter: 300 * spec.Millisecond,
		Timeout: spec.Second, Rise: 1, Fall: 10},
	role.Balanced: {Inter: 500 * spec.Millisecond, FastInter: 500 * spec.Millisecond, DownInter: 500 * spec.Millisecond,
		Timeout: 2 * spec.Second, Rise: 1, Fall: 7},
	role.Safe: {Inter: spec.Second, FastInter: spec.Second, DownInter: spec.Second,
		Timeout: 3 * spec.Second, Rise: 1, Fall: 5},
}

// balancers are the networks of the cloud's health checks (Network Load
// Balancer, health checks).
var balancers = []netip.Prefix{netip.MustParsePrefix("198.18.235.0/24"), netip.MustParsePrefix("198.18.248.0/24")}

// Plan implements role.Settings. HAProxy shows no certificate to anybody: all
// that it needs is the cluster's CA, which is no secret and comes in its
// user-data.
func (s *Settings) Plan(c *role.Cluster) (*role.Plan, error) {
	db := c.Database()
	config, err := s.config(c, db)
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
			{Number: s.Ports.Stats, For: "monitoring: /metrics for Prometheus, /stats; the health checks of a network load balancer: /alive (not /health, which fails while no node leads)",
				From: role.Networks(c.Access.Monitoring, balancers)},
		},
		Env: emit.Map{{Key: "PGHA_STATS_PORT", Value: s.Ports.Stats}},
		Files: []cloudinit.File{
			{Path: configFile, Data: config},
			{Path: stateFile, Data: serversDown(c, db)},
			{Path: caFile, Data: []byte(c.Secrets.CA)},
		},

		Expect: s.expect(db),
		Try:    s.try(c, db),

		Proxy: &role.ProxyOffer{Primary: s.Ports.Primary, Replicas: s.Ports.Replicas},
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
	asked := max(c.Inter, c.DownInter+spec.Duration(c.Rise-1)*c.FastInter)
	return []role.Expectation{
		{What: "HAProxy follows a new leader", Then: fmt.Sprintf("within %s of Patroni's answer that it leads", asked)},
		{What: "Patroni away, PostgreSQL still there", Then: fmt.Sprintf("sessions live on for %s", spec.Duration(c.Fall-1)*c.FastInter)},
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
