package etcd_test

import (
	"testing"

	"pgha-gen/packer/packertest"
)

// The programs in Python: when a member may be restarted, removed, recovered.
func TestPrograms(t *testing.T) {
	packertest.Python(t, "testdata", "rootfs/usr/lib/pgha", "../../packer/rootfs/usr/lib/pgha")
}
