// Package haproxy is the role of the machines that clients connect to, and
// that send them to the node which leads, or to the replicas.
package haproxy

import (
	"embed"
	"sync"

	"pgha-gen/generator/role"
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

//go:embed rules.yaml
var rulesFile []byte

// rules are of rules.yaml.
var rules = sync.OnceValue(func() *ruleSet { return role.Rules[ruleSet](rulesFile) })

type ruleSet struct{ Global, Defaults, Sections map[string]string }

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
