// Package etcd is the role of the machines that keep the cluster's state: who
// leads, and how Patroni is configured.
package etcd

import (
	"embed"
	"sync"

	"pgha-gen/generator/role"
)

// Name is the role's key in the spec.
const Name = "etcd"

// The ports of an etcd member; the field's standard ones.
const (
	ClientPort  = 2379
	PeerPort    = 2380
	MetricsPort = 2381
)

//go:embed bake.sh all:rootfs
var files embed.FS

//go:embed reference.yaml
var reference string

//go:embed rules.yaml
var rulesFile []byte

// rules are of rules.yaml.
var rules = sync.OnceValue(func() *ruleSet { return role.Rules[ruleSet](rulesFile) })

type ruleSet struct{ Tunable, Refused map[string]string }

// Role is etcd's role.
func Role() *role.Role {
	return &role.Role{
		Name:         Name,
		Doc:          "etcd member: the distributed configuration store that Patroni elects its leader in.",
		Files:        files,
		Reference:    reference,
		Offers:       []role.Capability{role.DCS},
		Defects:      []role.Defects{defects},
		ReadsSecrets: true,
		New:          func(c *role.Cluster) role.Settings { return newSettings(c) },
	}
}
