//go:build linux

package lab

import (
	"pgha-gen/roles/etcd"
	"pgha-gen/roles/patroni"
)

// The roles that the lab bakes in another way than the cloud.
var (
	_ archived = (*etcd.Settings)(nil)
	_ packaged = (*patroni.Settings)(nil)
)
