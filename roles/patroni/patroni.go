// Package patroni is the role of the machines that run PostgreSQL, one of
// them leading, under Patroni.
package patroni

import (
	"embed"
	"sync"

	"pgha-gen/generator/role"
)

// Name is the role's key in the spec.
const Name = "patroni"

// The three users that Patroni works with, each with a password of its own.
const (
	Superuser       = "postgres"
	ReplicationUser = "replication_user"
	RewindUser      = "rewind_user"
	RESTUser        = "patroni" // of the REST API's unsafe verbs; no PostgreSQL user
)

// Administrator is the superuser as whom operators log in, with a certificate
// of that name and no password. It is there where access.operators names any.
const Administrator = "pgha_admin"

//go:embed bake.sh all:rootfs
var files embed.FS

//go:embed reference.yaml
var reference string

//go:embed rules.yaml
var rulesFile []byte

// rules are of rules.yaml.
var rules = sync.OnceValue(func() *ruleSet { return role.Rules[ruleSet](rulesFile) })

type ruleSet struct {
	Config, Runs, Parameters, Methods, Memberships map[string]string
	Predefined                                     map[string]int
}

// Role is Patroni's role.
func Role() *role.Role {
	return &role.Role{
		Name:         Name,
		Doc:          "PostgreSQL under Patroni: one node leads, the others follow and are ready to.",
		Files:        files,
		Reference:    reference,
		Offers:       []role.Capability{role.Database},
		Uses:         []role.Capability{role.DCS},
		Defects:      []role.Defects{defects},
		ReadsSecrets: true,
		New:          func(c *role.Cluster) role.Settings { return newSettings(c) },
	}
}
