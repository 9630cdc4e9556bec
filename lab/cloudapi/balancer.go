package cloudapi

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/dns/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/loadbalancer/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/vpc/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func fillTargets(c *Cloud, _ *request, m proto.Message) error {
	g, _ := m.(*loadbalancer.TargetGroup)
	return c.targets(g.Targets)
}

// targets refuses those that are no instance's, or there twice.
func (c *Cloud) targets(targets []*loadbalancer.Target) error {
	seen := map[string]bool{}
	for i, t := range targets {
		found := slices.ContainsFunc(all[*compute.Instance](c), func(i *compute.Instance) bool {
			return slices.ContainsFunc(i.NetworkInterfaces, func(nic *compute.NetworkInterface) bool {
				return nic.SubnetId == t.SubnetId && nic.PrimaryV4Address.GetAddress() == t.Address
			})
		})
		if !found {
			return refuse("targets[%d]: no instance has address %s of subnet %s", i, t.Address, t.SubnetId)
		}
		if seen[t.Address] {
			return status.Errorf(codes.AlreadyExists, "Target %s is there already", t.Address)
		}
		seen[t.Address] = true
	}
	return nil
}

func addTargets(c *Cloud, r *request, in *loadbalancer.AddTargetsRequest) (proto.Message, error) {
	return c.changeTargets(r, in.TargetGroupId, func(have []*loadbalancer.Target) []*loadbalancer.Target { return append(have, in.Targets...) })
}

func removeTargets(c *Cloud, r *request, in *loadbalancer.RemoveTargetsRequest) (proto.Message, error) {
	return c.changeTargets(r, in.TargetGroupId, func(have []*loadbalancer.Target) []*loadbalancer.Target {
		return slices.DeleteFunc(have, func(t *loadbalancer.Target) bool {
			return slices.ContainsFunc(in.Targets, func(gone *loadbalancer.Target) bool { return proto.Equal(gone, t) })
		})
	})
}

func (c *Cloud) changeTargets(r *request, id string, change func([]*loadbalancer.Target) []*loadbalancer.Target) (proto.Message, error) {
	g, err := get[*loadbalancer.TargetGroup](c, r.service(), id)
	if err != nil {
		return nil, err
	}
	before := g.Targets
	after := change(slices.Clone(before))
	if r.Name() == "AddTargets" {
		if err := c.targets(after); err != nil {
			return nil, err
		}
	}
	g.Targets = after
	return c.start(r, work{
		ids:    map[string]string{"target_group_id": id},
		finish: func() proto.Message { return g },
		undo:   func() { g.Targets = before },
	})
}

func fillBalancer(c *Cloud, r *request, m proto.Message) error {
	b, _ := m.(*loadbalancer.NetworkLoadBalancer)
	b.Status, b.SessionAffinity = loadbalancer.NetworkLoadBalancer_ACTIVE, loadbalancer.NetworkLoadBalancer_CLIENT_IP_PORT_PROTO
	in, ok := r.in.(*loadbalancer.CreateNetworkLoadBalancerRequest)
	if !ok {
		return nil
	}
	for i, spec := range in.ListenerSpecs {
		l := &loadbalancer.Listener{Name: spec.Name, Port: spec.Port, Protocol: spec.Protocol, TargetPort: cmp.Or(spec.TargetPort, spec.Port), IpVersion: loadbalancer.IpVersion_IPV4}
		if slices.ContainsFunc(b.Listeners, func(other *loadbalancer.Listener) bool { return other.Name == l.Name || other.Port == l.Port }) {
			return refuse("listener_specs[%d]: name %s or port %d is there twice", i, l.Name, l.Port)
		}
		internal := spec.GetInternalAddressSpec()
		switch {
		case b.Type == loadbalancer.NetworkLoadBalancer_INTERNAL && internal != nil:
			s, err := get[*vpc.Subnet](c, "vpc.v1.SubnetService", internal.SubnetId)
			if err != nil {
				return err
			}
			l.SubnetId = s.Id
			if len(b.Listeners) > 0 && b.Listeners[0].SubnetId == s.Id && internal.Address == "" {
				l.Address = b.Listeners[0].Address
			} else if l.Address, err = c.plug(s, internal.Address); err != nil {
				return err
			}
		case b.Type == loadbalancer.NetworkLoadBalancer_EXTERNAL && spec.GetExternalAddressSpec() != nil:
			l.Address = cmp.Or(spec.GetExternalAddressSpec().Address, fmt.Sprintf("203.0.113.%d", 10+len(all[*loadbalancer.NetworkLoadBalancer](c))))
		default:
			return refuse("listener_specs[%d]: its address is not one of an %s load balancer", i, strings.ToLower(b.Type.String()))
		}
		b.Listeners = append(b.Listeners, l)
	}
	return nil
}

// SetTarget sets what load balancers say of the target with that address. By
// itself it is healthy.
func (c *Cloud) SetTarget(address string, status loadbalancer.TargetState_Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.targetStatus[address] = status
}

func targetStates(c *Cloud, r *request, in *loadbalancer.GetTargetStatesRequest) (proto.Message, error) {
	b, err := get[*loadbalancer.NetworkLoadBalancer](c, r.service(), in.NetworkLoadBalancerId)
	if err != nil {
		return nil, err
	}
	g, err := get[*loadbalancer.TargetGroup](c, "loadbalancer.v1.TargetGroupService", in.TargetGroupId)
	if err != nil {
		return nil, err
	}
	out := &loadbalancer.GetTargetStatesResponse{}
	for _, t := range g.Targets {
		status, ok := c.targetStatus[t.Address]
		if !ok {
			status = c.checked(b, g.Id, t.Address)
		}
		out.TargetStates = append(out.TargetStates, &loadbalancer.TargetState{SubnetId: t.SubnetId, Address: t.Address, Status: status})
	}
	return out, nil
}

// checked is what a load balancer's check says of a target now. The cloud's wants
// some answers of the same kind before it changes its mind.
func (c *Cloud) checked(b *loadbalancer.NetworkLoadBalancer, group, address string) loadbalancer.TargetState_Status {
	for _, g := range b.AttachedTargetGroups {
		if c.config.Check == nil || g.TargetGroupId != group || len(g.HealthChecks) == 0 {
			continue
		}
		check := g.HealthChecks[0]
		ctx, cancel := context.WithTimeout(c.ctx, check.Timeout.AsDuration())
		defer cancel()
		url := fmt.Sprintf("http://%s:%d%s", address, check.GetHttpOptions().GetPort(), check.GetHttpOptions().GetPath())
		if !c.config.Check(ctx, url) {
			return loadbalancer.TargetState_UNHEALTHY
		}
	}
	return loadbalancer.TargetState_HEALTHY
}

// records are those of a zone, in their order.
type records []*dns.RecordSet

func fillZone(_ *Cloud, _ *request, m proto.Message) error {
	z, _ := m.(*dns.DnsZone)
	if z.PrivateVisibility == nil && z.PublicVisibility == nil {
		return refuse("private_visibility: want this, or public_visibility")
	}
	return nil
}

func emptied(c *Cloud, t *thing) error {
	if n := len(c.records[t.text("id")]); n > 0 {
		return status.Errorf(codes.FailedPrecondition, "DNS zone %s has %d records", t.text("id"), n)
	}
	return protected(c, t)
}

func listRecords(c *Cloud, r *request, in *dns.ListDnsZoneRecordSetsRequest) (proto.Message, error) {
	if _, err := get[*dns.DnsZone](c, r.service(), in.DnsZoneId); err != nil {
		return nil, err
	}
	return &dns.ListDnsZoneRecordSetsResponse{RecordSets: c.records[in.DnsZoneId]}, nil
}

func getRecord(c *Cloud, r *request, in *dns.GetDnsZoneRecordSetRequest) (proto.Message, error) {
	if _, err := get[*dns.DnsZone](c, r.service(), in.DnsZoneId); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(c.records[in.DnsZoneId], func(s *dns.RecordSet) bool { return s.Name == in.Name && s.Type == in.Type })
	if i < 0 {
		return nil, status.Errorf(codes.NotFound, "Record %s %s not found", in.Name, in.Type)
	}
	return c.records[in.DnsZoneId][i], nil
}

func updateRecords(c *Cloud, r *request, in *dns.UpdateRecordSetsRequest) (proto.Message, error) {
	for _, add := range in.Additions {
		if slices.ContainsFunc(c.records[in.DnsZoneId], func(s *dns.RecordSet) bool { return sameRecord(s, add) }) {
			return nil, status.Errorf(codes.AlreadyExists, "Record %s %s is there already", add.Name, add.Type)
		}
	}
	return c.changeRecords(r, in.DnsZoneId, in.Deletions, in.Additions)
}

func upsertRecords(c *Cloud, r *request, in *dns.UpsertRecordSetsRequest) (proto.Message, error) {
	return c.changeRecords(r, in.DnsZoneId, in.Deletions, slices.Concat(in.Replacements, in.Merges))
}

func sameRecord(a, b *dns.RecordSet) bool { return a.Name == b.Name && a.Type == b.Type }

// changeRecords deletes, and puts others in the place of those of their names.
func (c *Cloud) changeRecords(r *request, zone string, deletions, replacements []*dns.RecordSet) (proto.Message, error) {
	z, err := get[*dns.DnsZone](c, r.service(), zone)
	if err != nil {
		return nil, err
	}
	before := c.records[zone]
	after := slices.Clone(before)
	for _, gone := range deletions {
		n := len(after)
		after = slices.DeleteFunc(after, func(s *dns.RecordSet) bool { return sameRecord(s, gone) })
		if len(after) == n {
			return nil, status.Errorf(codes.NotFound, "Record %s %s not found", gone.Name, gone.Type)
		}
	}
	for _, s := range replacements {
		if !strings.HasSuffix(s.Name, "."+z.Zone) && s.Name != z.Zone {
			return nil, refuse("record %s is not in zone %s", s.Name, z.Zone)
		}
		for _, data := range s.Data {
			if _, err := netip.ParseAddr(data); s.Type == "A" && err != nil {
				return nil, refuse("record %s: %q is no address", s.Name, data)
			}
		}
		after = append(slices.DeleteFunc(after, func(old *dns.RecordSet) bool { return sameRecord(old, s) }), s)
	}
	c.records[zone] = after
	return c.start(r, work{
		finish: func() proto.Message { return &dns.RecordSetDiff{Additions: replacements, Deletions: deletions} },
		undo:   func() { c.records[zone] = before },
	})
}
