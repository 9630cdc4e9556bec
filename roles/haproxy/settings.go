package haproxy

import (
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// Settings is roles.haproxy in the spec.
type Settings struct {
	Version          string            `yaml:"version"`
	Ports            Ports             `yaml:"ports"`
	MaxReplicaLag    specfile.Size     `yaml:"max_replica_lag"`
	ReplicasFallback Fallback          `yaml:"replicas_fallback"`
	OnMarkedDown     OnMarkedDown      `yaml:"on_marked_down"`
	MaxConnections   int               `yaml:"max_connections"`
	IdleTimeout      specfile.Duration `yaml:"idle_timeout"`
	Checks           HealthChecks      `yaml:"check"`
	Global           map[string]string `yaml:"global"`
	DefaultsSection  map[string]string `yaml:"defaults"`
	Extra            specfile.Text     `yaml:"extra"`
	role.Common[role.Compute, role.Node]
}

// Ports are where HAProxy listens.
type Ports struct {
	Primary  int `yaml:"primary"`
	Replicas int `yaml:"replicas"`
	Stats    int `yaml:"stats"`
	Alive    int `yaml:"alive"`
}

// HealthChecks are how often the nodes are asked what they are.
type HealthChecks struct {
	Inter     specfile.Duration `yaml:"inter"`
	FastInter specfile.Duration `yaml:"fastinter"`
	DownInter specfile.Duration `yaml:"downinter"`
	Timeout   specfile.Duration `yaml:"timeout"`
	Rise      int               `yaml:"rise"`
	Fall      int               `yaml:"fall"`
}

// Fallback is where readers go when no replica is fit.
type Fallback string

// The values of Fallback.
const (
	ToPrimary Fallback = "primary"
	ToNobody  Fallback = "none"
)

// Values are all of them.
func (Fallback) Values() []string { return []string{"primary", "none"} }

// OnMarkedDown is what happens to the sessions of a node that is no longer
// what they want.
type OnMarkedDown string

// The values of OnMarkedDown.
const (
	Shutdown OnMarkedDown = "shutdown" // they end, so clients connect to the right node
	Keep     OnMarkedDown = "keep"     // readers may finish; those who write never may
)

// Values are all of them.
func (OnMarkedDown) Values() []string { return []string{"shutdown", "keep"} }

func newSettings(c *role.Cluster) *Settings {
	s := &Settings{
		Ports:            Ports{Primary: 5431, Replicas: 5433, Stats: 8404, Alive: 8405},
		MaxReplicaLag:    10 * specfile.MiB,
		ReplicasFallback: ToPrimary,
		OnMarkedDown:     Shutdown,
		MaxConnections:   2000,
		IdleTimeout:      24 * specfile.Hour,
		Checks:           presets(c.Failover),
		Global:           map[string]string{},
		DefaultsSection:  map[string]string{},
	}
	s.Machine = role.NewCompute(2, 2*specfile.GiB, 10*specfile.GiB)
	return s
}

// presets ask a node that answers each inter, which is also how long it has for
// the connection and its TLS handshake (HAProxy's manual, timeout check): a leader
// whose cores are all busy must have a second. That a leader is gone follows from
// one answer; who leads next, follow_leader.py finds sooner than the next check.
// (fall-1)*fastinter is how long Patroni may be away while PostgreSQL keeps its
// sessions: it is back after 1 to 2 s, on a busy machine after 3.5. For a node that
// hangs, all checks together (ends) stay below what is left of its lease.
func presets(failover role.Failover) HealthChecks {
	every := func(inter, fast, timeout specfile.Duration, fall int) HealthChecks {
		return HealthChecks{Inter: inter, FastInter: fast, DownInter: fast, Timeout: timeout, Rise: 1, Fall: fall}
	}
	const ms = specfile.Millisecond
	return map[role.Failover]HealthChecks{
		role.Fast:     every(specfile.Second, 700*ms, specfile.Second, 6),
		role.Balanced: every(specfile.Second, 700*ms, specfile.Second, 8),
		role.Safe:     every(2*specfile.Second, specfile.Second, 3*specfile.Second, 5),
	}[failover]
}
