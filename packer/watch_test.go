package packer_test

import (
	"testing"

	"pgha-gen/packer/packertest"
)

func TestWatch(t *testing.T) { packertest.Python(t, "testdata", scripts) }
