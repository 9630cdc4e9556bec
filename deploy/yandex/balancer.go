package yandex

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/loadbalancer/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pgha-gen/generator/cloud"
)

// balanced waits until the plan's load balancer, if it is there, sends clients to
// the new machine that it has as a target.
func (r *Replacement) balanced(ctx context.Context, cc grpc.ClientConnInterface, p *cloud.Plan, w World) error {
	if p.Balancer == nil || !slices.Contains(p.Balancer.Targets, r.Name) {
		return nil
	}
	lb, ok := r.found.Around[cloud.KindBalancer][p.Balancer.Name].(*loadbalancer.NetworkLoadBalancer)
	if !ok || len(lb.AttachedTargetGroups) == 0 {
		return nil
	}
	states := &loadbalancer.GetTargetStatesRequest{NetworkLoadBalancerId: lb.Id, TargetGroupId: lb.AttachedTargetGroups[0].TargetGroupId}
	machine, err := compute.NewInstanceServiceClient(cc).Get(ctx, &compute.GetInstanceRequest{InstanceId: r.id})
	if err != nil {
		return trouble("look at machine "+r.Name, err)
	}
	address := machine.NetworkInterfaces[0].GetPrimaryV4Address().GetAddress()
	said := ""
	for {
		all, err := loadbalancer.NewNetworkLoadBalancerServiceClient(cc).GetTargetStates(ctx, states)
		at := slices.IndexFunc(all.GetTargetStates(), func(s *loadbalancer.TargetState) bool { return s.Address == address })
		is := ""
		switch {
		case ctx.Err() != nil || status.Code(err) == codes.DeadlineExceeded:
			return fmt.Errorf("machine %s is ready, but load balancer %s sends no clients to it: it is %s (it may still come)", r.Name, p.Balancer.Name, cmp.Or(said, "not known"))
		case err != nil:
			return trouble("ask load balancer "+p.Balancer.Name+" for its targets", err)
		case at < 0:
			return fmt.Errorf("load balancer %s has no target with the address %s of machine %s (pgha-cloud deploy adds it)", p.Balancer.Name, address, r.Name)
		default:
			is = strings.ToLower(all.TargetStates[at].Status.String())
		}
		if is == "healthy" {
			return nil
		}
		if is != said {
			said = is
			w.Said(r.Name, "is "+is+" for load balancer "+p.Balancer.Name)
		}
		select {
		case <-ctx.Done():
		case <-time.After(w.Between):
		}
	}
}
