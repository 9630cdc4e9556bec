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
// a machine that it has as a target.
func balanced(ctx context.Context, cc grpc.ClientConnInterface, p *cloud.Plan, id, name string, w World) error {
	if p.Balancer == nil || !slices.Contains(p.Balancer.Targets, name) {
		return nil
	}
	states := &loadbalancer.GetTargetStatesRequest{}
	var err error
	if states.NetworkLoadBalancerId, states.TargetGroupId, err = balancer(ctx, cc, p); err != nil || states.NetworkLoadBalancerId == "" {
		return err
	}
	machine, err := compute.NewInstanceServiceClient(cc).Get(ctx, &compute.GetInstanceRequest{InstanceId: id})
	if err != nil {
		return trouble("look at machine "+name, err)
	}
	address := machine.NetworkInterfaces[0].GetPrimaryV4Address().GetAddress()
	said := ""
	for {
		all, err := loadbalancer.NewNetworkLoadBalancerServiceClient(cc).GetTargetStates(ctx, states)
		at := slices.IndexFunc(all.GetTargetStates(), func(s *loadbalancer.TargetState) bool { return s.Address == address })
		is := ""
		switch {
		case ctx.Err() != nil || status.Code(err) == codes.DeadlineExceeded:
			return fmt.Errorf("machine %s is ready, but load balancer %s sends no clients to it: it is %s (it may still come)", name, p.Balancer.Name, cmp.Or(said, "not known"))
		case err != nil:
			return trouble("ask load balancer "+p.Balancer.Name+" for its targets", err)
		case at < 0:
			return fmt.Errorf("load balancer %s has no target with the address %s of machine %s (sh create.sh adds it)", p.Balancer.Name, address, name)
		default:
			is = strings.ToLower(all.TargetStates[at].Status.String())
		}
		if is == "healthy" {
			return nil
		}
		if is != said {
			said = is
			w.Said(name, "is "+is+" for load balancer "+p.Balancer.Name)
		}
		select {
		case <-ctx.Done():
		case <-time.After(w.Between):
		}
	}
}

// balancer finds the plan's load balancer and its target group; empty: it is not
// there.
func balancer(ctx context.Context, cc grpc.ClientConnInterface, p *cloud.Plan) (id, targets string, err error) {
	err = pages("load balancers", func(token string) (string, error) {
		r, err := loadbalancer.NewNetworkLoadBalancerServiceClient(cc).List(ctx, &loadbalancer.ListNetworkLoadBalancersRequest{FolderId: p.Folder, PageSize: pageSize, PageToken: token})
		for _, b := range r.GetNetworkLoadBalancers() {
			if b.Name == p.Balancer.Name && len(b.AttachedTargetGroups) > 0 {
				id, targets = b.Id, b.AttachedTargetGroups[0].TargetGroupId
			}
		}
		return r.GetNextPageToken(), err
	})
	return id, targets, err
}
