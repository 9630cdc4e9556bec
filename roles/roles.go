// Package roles is the list of the roles that there are.
package roles

import (
	"pgha-gen/generator/role"
	"pgha-gen/roles/etcd"
	"pgha-gen/roles/haproxy"
	"pgha-gen/roles/patroni"
)

// All are the roles, in the order in which their machines are created.
func All() []*role.Role {
	return []*role.Role{etcd.Role(), patroni.Role(), haproxy.Role()}
}
