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

	"github.com/jackc/pgx/v5"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"google.golang.org/grpc"

	"pgha-gen/deploy/operate"
	"pgha-gen/deploy/roll"
	"pgha-gen/deploy/yandex"
	"pgha-gen/deploy/yandex/yandextest"
	"pgha-gen/generator/cloud"
	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab"
	"pgha-gen/lab/client"
	"pgha-gen/lab/cloudapi"
	"pgha-gen/lab/labtest"
	"pgha-gen/lab/workload"
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

// rolled is the longest time without an acknowledged write, and without an answer
// to a reader if there are any, while a machine was replaced.
type rolled struct{ write, read time.Duration }

// doRoll replaces the machines of a plan under load.
func doRoll(t *testing.T, ctx context.Context, r *roll.Cluster, p *roll.Plan, l *workload.Load) map[string]rolled {
	t.Helper()
	gaps, since := map[string]rolled{}, time.Now()
	said := r.World.Said
	defer func() { r.World.Said = said }()
	r.World.Said = func(name, sentence string) {
		said(name, sentence)
		if !strings.HasPrefix(sentence, "replaced, ") {
			return
		}
		gap := rolled{l.Gap(since).Long(), l.ReadGap(since).Long()}
		gaps[name], since = gap, time.Now()
		t.Logf("%s: %.2f s without an acknowledged write, %.2f s without a row read", name, gap.write.Seconds(), gap.read.Seconds())
	}
	l.Forget()
	testkit.OK(t, r.Do(ctx, p))
	return gaps
}

// operators is an edit of the example that lets operators in.
const operators = "operators: []=>operators: [10.99.7.0/24]"

// empty is an edit of the example after which the folder has nothing of what it
// needs.
const empty = `cloud:
  subnets:
    ru-central1-a: 10.128.0.0/24
  -nat_gateway:
  -service_accounts:
  -create_security_groups:
  -placement:
secrets:
  -lockbox:
`

// deployed is a cluster that was created by the API.
type deployed struct {
	*cluster
	api  *cloudapi.Cloud
	conn grpc.ClientConnInterface
	spec role.Cluster
	plan *cloud.Plan
}

// deploy creates the cluster of a spec as pgha-cloud deploy base, secrets push and
// deploy do. What is not created is the images, which were baked here.
func deploy(t *testing.T, ctx context.Context, spec *role.Cluster) *deployed {
	t.Helper()
	open := *spec // the lab's clients need not be the spec's
	open.Access.Clients = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	access, err := lab.NewAccess(&open)
	testkit.OK(t, err)
	d := &deployed{cluster: newClusterWith(t, ctx, lab.Config{Cluster: spec}, access)}
	var address string
	d.api, address = serveAPI(t, ctx, d.Lab)
	conn, err := yandextest.Connect(ctx, address, token)
	testkit.OK(t, err)
	d.conn, d.spec = conn, d.Cluster()
	d.plan = cloud.New(&d.spec)
	d.started = time.Now()
	said := func(name, sentence string) { t.Logf("%s: %s", name, sentence) }
	found, err := yandex.Look(ctx, conn, d.plan)
	testkit.OK(t, err)
	base, err := yandex.Base(d.plan, found)
	testkit.OK(t, err)
	testkit.OK(t, base.Do(ctx, conn, d.plan, yandex.World{Between: time.Second, Said: said}))
	want := map[string]yandex.Holding{}
	for name, payload := range d.Payloads() {
		want[name] = yandex.Holding{Entries: payload}
	}
	push, err := yandex.NewPush(ctx, conn, d.plan, want)
	testkit.OK(t, err)
	testkit.OK(t, push.Do(ctx, conn, said, func(string) error { return nil }))
	t.Logf("all that goes before machines is there after %.1f s", time.Since(d.started).Seconds())
	checked, err := yandex.Check(ctx, conn, d.plan, "")
	testkit.OK(t, err)
	if len(checked.Troubles) > 0 {
		t.Fatalf("this would stop the deployment: %v", checked.Troubles)
	}
	began := time.Now()
	steps := d.steps(t, ctx)
	t.Logf("planned in %.3f s", time.Since(began).Seconds())
	testkit.OK(t, steps.Do(ctx, conn, d.plan, yandex.World{UserData: userData(t, &d.spec), Between: time.Second, Said: func(name, sentence string) {
		if strings.HasPrefix(sentence, "ready ok") {
			said(name, sentence)
		}
	}}))
	t.Logf("all machines ready %.1f s after deploy began", time.Since(began).Seconds())
	return d
}

func (d *deployed) steps(t *testing.T, ctx context.Context) *yandex.Steps {
	t.Helper()
	found, err := yandex.Look(ctx, d.conn, d.plan)
	testkit.OK(t, err)
	steps, err := yandex.Plan(d.plan, found)
	testkit.OK(t, err)
	return steps
}

// rollAll replaces all machines onto newer images under load.
func (d *deployed) rollAll(t *testing.T, ctx context.Context, r *roll.Cluster, l *workload.Load) map[string]rolled {
	t.Helper()
	for _, g := range d.spec.Groups {
		testkit.OK(t, d.api.Put(&compute.Image{Id: "fd8next" + g.Name, Family: d.spec.ImageFamily(g.Name), Status: compute.Image_READY}))
	}
	p, err := r.Roll(ctx, "")
	testkit.OK(t, err)
	start := time.Now()
	gaps := doRoll(t, ctx, r, p, l)
	t.Logf("all %d machines replaced in %.1f s", len(gaps), time.Since(start).Seconds())
	if len(gaps) != len(d.Names()) {
		t.Errorf("replaced: %v", gaps)
	}
	if p, err = r.Roll(ctx, ""); err != nil || !p.Nothing() {
		t.Errorf("a second run would do %q: %v", p.Lines, err)
	}
	return gaps
}

// inTurn connects to one HAProxy after the other, as a load balancer does.
func (c *cluster) inTurn(target client.Target) workload.Connect {
	next := target.InTurn()
	return func(ctx context.Context) (*pgx.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return next().Connect(ctx, c.Network.Dial, c.ca(), c.Secret(c.access.Role, "password."+target.User))
	}
}

// Where there are two HAProxies behind a load balancer, and clients use both, they
// notice nothing of a roll but the one switchover.
func TestRollPair(t *testing.T) {
	if os.Getenv("PGHA_TEST_LONG") == "" {
		t.Skip("this test takes two minutes more: make test-long")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	d := deploy(t, ctx, demo.Cluster(t, empty, operators, "cloud:\n  load_balancer: external\n  entry_point: db.example.net\n",
		"      - {name: demo-haproxy-1, zone: ru-central1-a, address: 10.128.0.40}\n=>      - {name: demo-haproxy-1, zone: ru-central1-a, address: 10.128.0.40}\n      - {name: demo-haproxy-2, zone: ru-central1-a, address: 10.128.0.41}\n"))
	leader := d.whole(t, ctx)
	l, err := workload.Start(ctx, d.inTurn(d.access.Primary), 6, d.inTurn(d.access.Replicas), 4)
	testkit.OK(t, err)
	t.Cleanup(l.Stop)
	gaps := d.rollAll(t, ctx, d.rolling(t, ctx, d.conn, &d.spec), l)
	for name, gap := range gaps {
		if name != leader && max(gap.write, gap.read) > labtest.Here(2*time.Second) {
			t.Errorf("%s: %.2f s without a write, %.2f s without a row read", name, gap.write.Seconds(), gap.read.Seconds())
		}
	}
	atMost(t, gaps[leader].write, 10*time.Second)
	(&load{l, d.cluster}).end(t, ctx)
}
