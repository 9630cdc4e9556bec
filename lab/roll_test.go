//go:build linux

package lab_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
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

// roll replaces the machines of a plan, and gives the longest time without an
// acknowledged write for each.
func (l *load) roll(t *testing.T, ctx context.Context, r *roll.Cluster, p *roll.Plan) map[string]time.Duration {
	t.Helper()
	gaps, since := map[string]time.Duration{}, time.Now()
	said := r.World.Said
	defer func() { r.World.Said = said }()
	r.World.Said = func(name, sentence string) {
		said(name, sentence)
		if !strings.HasPrefix(sentence, "replaced, ") {
			return
		}
		gaps[name] = l.Gap(since).Long()
		since = time.Now()
		t.Logf("%s: %.2f s without an acknowledged write", name, gaps[name].Seconds())
	}
	l.Forget()
	testkit.OK(t, r.Do(ctx, p))
	return gaps
}
