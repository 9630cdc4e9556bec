package cloudapi_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/loadbalancer/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloudapi"
)

// The state of a load balancer's target is what its check says, unless a test sets it.
func TestTargetStates(t *testing.T) {
	var asked []string
	answers := true
	c, sdk := serve(t, cloudapi.Config{Check: func(_ context.Context, url string) bool { asked = append(asked, url); return answers }})
	s := newSite(t, sdk)
	op, err := compute.NewInstanceServiceClient(sdk).Create(t.Context(), s.instance("demo-haproxy-1"))
	address := wait[*compute.Instance](t, sdk, op, err).NetworkInterfaces[0].PrimaryV4Address.Address
	op, err = loadbalancer.NewTargetGroupServiceClient(sdk).Create(t.Context(), &loadbalancer.CreateTargetGroupRequest{
		FolderId: folder, Name: "demo", RegionId: "ru-central1", Targets: []*loadbalancer.Target{{SubnetId: s.subnet.Id, Address: address}}})
	group := wait[*loadbalancer.TargetGroup](t, sdk, op, err)
	balancers := loadbalancer.NewNetworkLoadBalancerServiceClient(sdk)
	op, err = balancers.Create(t.Context(), &loadbalancer.CreateNetworkLoadBalancerRequest{
		FolderId: folder, Name: "demo", RegionId: "ru-central1", Type: loadbalancer.NetworkLoadBalancer_EXTERNAL,
		AttachedTargetGroups: []*loadbalancer.AttachedTargetGroup{{TargetGroupId: group.Id, HealthChecks: []*loadbalancer.HealthCheck{{
			Name: "alive", Interval: durationpb.New(2 * time.Second), Timeout: durationpb.New(time.Second), HealthyThreshold: 2, UnhealthyThreshold: 2,
			Options: &loadbalancer.HealthCheck_HttpOptions_{HttpOptions: &loadbalancer.HealthCheck_HttpOptions{Port: 8405, Path: "/alive"}},
		}}}},
	})
	balancer := wait[*loadbalancer.NetworkLoadBalancer](t, sdk, op, err)
	for _, want := range []loadbalancer.TargetState_Status{loadbalancer.TargetState_HEALTHY, loadbalancer.TargetState_UNHEALTHY, loadbalancer.TargetState_INITIAL} {
		answers = want == loadbalancer.TargetState_HEALTHY
		if want == loadbalancer.TargetState_INITIAL {
			c.SetTarget(address, want)
		}
		states, err := balancers.GetTargetStates(t.Context(), &loadbalancer.GetTargetStatesRequest{NetworkLoadBalancerId: balancer.Id, TargetGroupId: group.Id})
		testkit.OK(t, err)
		if got := states.TargetStates[0].Status; got != want {
			t.Errorf("the target is %s, want %s", got, want)
		}
	}
	if url := "http://" + address + ":8405/alive"; !slices.Equal(asked, []string{url, url}) {
		t.Errorf("asked was %q", asked)
	}
}
