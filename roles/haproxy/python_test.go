package haproxy_test

import (
	"testing"

	"pgha-gen/packer/packertest"
)

func TestServersState(t *testing.T) {
	packertest.Python(t, "testdata", "rootfs/usr/lib/pgha", "../../packer/rootfs/usr/lib/pgha")
}
