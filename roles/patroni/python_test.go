package patroni_test

import (
	"testing"

	"pgha-gen/packer/packertest"
)

func TestPython(t *testing.T) {
	packertest.Python(t, "testdata", lib, "../../packer/rootfs/usr/lib/pgha")
}
