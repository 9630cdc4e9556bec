//go:build linux

package lab_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/dns/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/loadbalancer/v1"

	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/client"
	"pgha-gen/lab/workload"
)

// examples/production.yaml, from an empty folder to a write: three zones, an external
// load balancer, everything on. The lab has other versions of etcd and PostgreSQL
// alone. Clients come from a network of the spec, ask for the entry point, and are
// let through by either HAProxy. Its health check gets in from the ranges of the
// provider's load balancers, and from nowhere else. There is a record of the entry
// point, WAL is archived and a backup made. Long: make test-long.
func TestProduction(t *testing.T) {
	if os.Getenv("PGHA_TEST_LONG") == "" {
		t.Skip("this test takes a minute more: make test-long")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	defer cancel()
	text := testkit.Text(t, "../examples/production.yaml")
	for _, ours := range []string{"version: 3.5.33=>version: 3.5.15", "postgresql: 17=>postgresql: 18"} {
		old, fresh, _ := strings.Cut(ours, "=>")
		if strings.Count(text, old) != 1 {
			t.Fatalf("the example does not have %q once", old)
		}
		text = strings.Replace(text, old, fresh, 1)
	}
	d := deploy(t, ctx, demo.Read(t, text))
	places := map[string]string{
		"application": "10.140.0.5", "operator": "10.141.0.5", "stranger": "10.143.0.5", "neighbour": "10.128.0.77",
		"health-check": "198.18.248.5", "no-health-check": "198.18.236.5",
	}
	for name, address := range places {
		testkit.OK(t, d.AddStranger(ctx, name, netip.MustParseAddr(address)))
	}
	leader := d.whole(t, ctx)

	api := loadbalancer.NewNetworkLoadBalancerServiceClient(d.conn)
	balancers, err := api.List(ctx, &loadbalancer.ListNetworkLoadBalancersRequest{FolderId: d.plan.Folder})
	testkit.OK(t, err)
	if n := len(balancers.NetworkLoadBalancers); n != 1 {
		t.Fatalf("%d load balancers", n)
	}
	balancer := balancers.NetworkLoadBalancers[0]
	record, err := dns.NewDnsZoneServiceClient(d.conn).GetRecordSet(ctx, &dns.GetDnsZoneRecordSetRequest{DnsZoneId: "dnsexample", Name: d.spec.Cloud.EntryPoint + ".", Type: "A"})
	testkit.OK(t, err)
	if want := balancer.Listeners[0].Address; !slices.Equal(record.Data, []string{want}) {
		t.Errorf("the entry point is %v, and the load balancer at %s", record.Data, want)
	}
	ask := func() *loadbalancer.GetTargetStatesResponse {
		t.Helper()
		states, err := api.GetTargetStates(ctx, &loadbalancer.GetTargetStatesRequest{NetworkLoadBalancerId: balancer.Id, TargetGroupId: balancer.AttachedTargetGroups[0].TargetGroupId})
		testkit.OK(t, err)
		return states
	}
	// The check of the other range is asked by the load balancer itself.
	proxies := d.Offering(role.Proxy)
	for _, running := range []int{2, 1} {
		healthy := 0
		for _, s := range ask().TargetStates {
			if s.Status == loadbalancer.TargetState_HEALTHY {
				healthy++
			}
		}
		if healthy != running || len(ask().TargetStates) != 2 {
			t.Errorf("%d HAProxies run, and the load balancer has %v", running, ask().TargetStates)
		}
		if running == 2 {
			d.run(t, ctx, proxies[0], "systemctl stop haproxy")
		}
	}
	d.run(t, ctx, proxies[0], "systemctl start haproxy")
	within(t, 20*time.Second, "both HAProxies are healthy again", func() bool {
		return !slices.ContainsFunc(ask().TargetStates, func(s *loadbalancer.TargetState) bool { return s.Status != loadbalancer.TargetState_HEALTHY })
	})
	states := ask()
	check := balancer.AttachedTargetGroups[0].HealthChecks[0].GetHttpOptions()
	for i, target := range states.TargetStates {
		for _, listener := range balancer.Listeners {
			// What arrives at the listener comes to this target, from the client's
			// own address.
			at := client.Target{
				Hosts: []client.Host{{Name: d.spec.Cloud.EntryPoint, Address: netip.MustParseAddr(target.Address)}},
				Port:  int(listener.TargetPort), Database: d.access.Primary.Database, User: d.access.Primary.User,
			}
			connect := func(ctx context.Context) (*pgx.Conn, error) {
				return at.Connect(ctx, d.DialAs("application"), d.ca(), d.Secret(d.access.Role, "password."+at.User))
			}
			testkit.OK(t, workload.Session(ctx, connect, func(ctx context.Context, conn *pgx.Conn) error {
				var replica bool
				if err := conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&replica); err != nil {
					return err
				}
				if toReplicas := int(listener.Port) == d.access.Replicas.Port; replica != toReplicas {
					t.Errorf("port %d of %s leads to a replica: %t, want %t", listener.Port, target.Address, replica, toReplicas)
				}
				if replica {
					return nil
				}
				return row(ctx, conn, i)
			}))
		}
		for name, admitted := range map[string]bool{
			"health-check":    true,
			"no-health-check": false, "application": false, "operator": false, "stranger": false, "neighbour": false,
		} {
			status, _, err := d.ask(ctx, name, nil, http.MethodGet, fmt.Sprintf("http://%s:%d%s", target.Address, check.Port, check.Path), "", "")
			if got := status == http.StatusOK; got != admitted {
				t.Errorf("the check of %s from %s: %d, %v; want it answered: %t", target.Address, places[name], status, err, admitted)
			}
		}
	}
	for _, name := range []string{"stranger", "neighbour"} {
		if d.reaches(ctx, name, states.TargetStates[0].Address, d.access.Primary.Port) {
			t.Errorf("%s reaches HAProxy, and is not in access.clients", places[name])
		}
	}
	t.Log(d.waitStep(t, ctx, leader, "archive", "ok", time.Minute))
	t.Log(d.waitStep(t, ctx, leader, "backup", "ok a full backup is made", 2*time.Minute))
}

// row writes one.
func row(ctx context.Context, conn *pgx.Conn, id int) error {
	if _, err := conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS kept (id int PRIMARY KEY)"); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, "INSERT INTO kept VALUES ($1) ON CONFLICT DO NOTHING", id)
	return err
}
