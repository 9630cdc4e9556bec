//go:build linux

package lab_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"

	"pgha-gen/deploy/operate"
	"pgha-gen/deploy/roll"
	"pgha-gen/deploy/yandex"
	"pgha-gen/generator/cloud"
	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/role"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/labtest"
)

// rolling is a cluster whose machines are replaced, by an operator in a network
// of access.operators.
func (c *cluster) rolling(t *testing.T, ctx context.Context, api grpc.ClientConnInterface, spec *role.Cluster) *roll.Cluster {
	t.Helper()
	testkit.OK(t, c.AddStranger(ctx, "operator", netip.MustParseAddr("10.99.7.9")))
	folder := filepath.Join(labtest.State(t), "operator")
	testkit.OK(t, os.MkdirAll(folder, 0o700))
	for name, text := range c.Operator() {
		testkit.OK(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	operator, err := operate.Open(folder, time.Now())
	testkit.OK(t, err)
	data, digests := userData(t, spec), map[string]string{}
	for name, text := range data {
		digests[name] = cloudinit.Digest([]byte(text))
	}
	running, err := operate.NewClient(spec, operator, digests, operate.World{Dial: operate.Dial(c.DialAs("operator")), Now: time.Now})
	testkit.OK(t, err)
	t.Cleanup(running.Close)
	return &roll.Cluster{
		Plan: cloud.New(spec), API: api, Running: running, Now: time.Now, Limit: 3 * time.Minute,
		World: yandex.World{UserData: data, Between: time.Second, Said: func(name, sentence string) { t.Logf("%s: %s", name, sentence) }},
	}
}

// replace replaces a machine, and gives the longest time without an acknowledged
// write meanwhile.
func (l *load) replace(t *testing.T, ctx context.Context, r *roll.Cluster, name string, newDisk bool) time.Duration {
	t.Helper()
	p, err := r.Replace(ctx, name, newDisk)
	testkit.OK(t, err)
	gap, _ := l.fault(t, ctx, time.Second, func() { testkit.OK(t, r.Do(ctx, p)) })
	return gap
}
