package operate

import (
	"testing"
	"time"

	"pgha-gen/deploy/operate/operatetest"
	"pgha-gen/internal/testkit"
)

// client is one of an operator with this folder.
func client(t *testing.T, f *operatetest.Machines, dir string) *Client {
	t.Helper()
	o, err := Open(dir, time.Now())
	testkit.OK(t, err)
	c, err := NewClient(f.Cluster, o, f.Digests,
		World{Dial: f.Dial, Now: time.Now, Patience: f.Patience})
	testkit.OK(t, err)
	t.Cleanup(c.Close)
	return c
}
