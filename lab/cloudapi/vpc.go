package cloudapi

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/vpc/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func fillSubnet(c *Cloud, _ *request, m proto.Message) error {
	s, _ := m.(*vpc.Subnet)
	if err := c.zone(s.ZoneId); err != nil {
		return err
	}
	if len(s.V4CidrBlocks) != 1 {
		return refuse("v4_cidr_blocks: want one")
	}
	p, err := netip.ParsePrefix(s.V4CidrBlocks[0])
	if err != nil || p.Masked() != p || !p.Addr().IsPrivate() || p.Bits() < 16 || p.Bits() > 28 {
		return refuse("v4_cidr_blocks: %s (want a private network of /16 to /28)", s.V4CidrBlocks[0])
	}
	for _, other := range all[*vpc.Subnet](c) {
		if other.Id != s.Id && other.NetworkId == s.NetworkId && netip.MustParsePrefix(other.V4CidrBlocks[0]).Overlaps(p) {
			return status.Errorf(codes.FailedPrecondition, "Subnet %s overlaps %s of subnet %s", p, other.V4CidrBlocks[0], other.Id)
		}
	}
	return nil
}

func fillGateway(_ *Cloud, _ *request, m proto.Message) error {
	g, _ := m.(*vpc.Gateway)
	g.Gateway = &vpc.Gateway_SharedEgressGateway{SharedEgressGateway: &vpc.SharedEgressGateway{}}
	return nil
}

func fillRoutes(_ *Cloud, _ *request, m proto.Message) error {
	t, _ := m.(*vpc.RouteTable)
	for i, route := range t.StaticRoutes {
		if _, err := netip.ParsePrefix(route.GetDestinationPrefix()); err != nil {
			return refuse("static_routes[%d].destination_prefix: %q", i, route.GetDestinationPrefix())
		}
		if route.NextHop == nil {
			return refuse("static_routes[%d]: no next hop", i)
		}
	}
	return nil
}

// most a group may have, and a rule.
const mostRules, mostNetworks = 50, 50

func fillSecurityGroup(c *Cloud, r *request, m proto.Message) error {
	g, _ := m.(*vpc.SecurityGroup)
	g.Status = vpc.SecurityGroup_ACTIVE
	var specs []*vpc.SecurityGroupRuleSpec
	switch in := r.in.(type) {
	case *vpc.CreateSecurityGroupRequest:
		specs = in.RuleSpecs
	case *vpc.UpdateSecurityGroupRequest:
		if in.UpdateMask != nil && !slices.Contains(in.UpdateMask.Paths, "rule_specs") {
			return nil
		}
		specs = in.RuleSpecs
	}
	g.Rules = nil
	return c.addRules(g, specs)
}

func (c *Cloud) addRules(g *vpc.SecurityGroup, specs []*vpc.SecurityGroupRuleSpec) error {
	for i, spec := range specs {
		rule := &vpc.SecurityGroupRule{
			Id: c.id("enpr"), Description: spec.Description, Labels: spec.Labels, Direction: spec.Direction, Ports: spec.Ports,
			ProtocolName: strings.ToUpper(spec.GetProtocolName()), ProtocolNumber: spec.GetProtocolNumber(),
		}
		switch target := spec.Target.(type) {
		case *vpc.SecurityGroupRuleSpec_CidrBlocks:
			for _, block := range slices.Concat(target.CidrBlocks.V4CidrBlocks, target.CidrBlocks.V6CidrBlocks) {
				if p, err := netip.ParsePrefix(block); err != nil || p.Masked() != p {
					return refuse("rule_specs[%d].cidr_blocks: %q is no network", i, block)
				}
			}
			if n := len(target.CidrBlocks.V4CidrBlocks); n > mostNetworks {
				return refuse("rule_specs[%d].cidr_blocks: %d networks (at most %d)", i, n, mostNetworks)
			}
			rule.Target = &vpc.SecurityGroupRule_CidrBlocks{CidrBlocks: target.CidrBlocks}
		case *vpc.SecurityGroupRuleSpec_SecurityGroupId:
			rule.Target = &vpc.SecurityGroupRule_SecurityGroupId{SecurityGroupId: target.SecurityGroupId}
		case *vpc.SecurityGroupRuleSpec_PredefinedTarget:
			if !slices.Contains([]string{"self_security_group", "loadbalancer_healthchecks"}, target.PredefinedTarget) {
				return refuse("rule_specs[%d].predefined_target: %q", i, target.PredefinedTarget)
			}
			rule.Target = &vpc.SecurityGroupRule_PredefinedTarget{PredefinedTarget: target.PredefinedTarget}
		default:
			return refuse("rule_specs[%d]: no target", i)
		}
		if p := spec.Ports; p != nil && p.FromPort > p.ToPort {
			return refuse("rule_specs[%d].ports: from %d to %d", i, p.FromPort, p.ToPort)
		}
		g.Rules = append(g.Rules, rule)
	}
	if len(g.Rules) > mostRules {
		return status.Errorf(codes.ResourceExhausted, "Security group %s would have %d rules (at most %d)", g.Name, len(g.Rules), mostRules)
	}
	return nil
}

func updateRules(c *Cloud, r *request, in *vpc.UpdateSecurityGroupRulesRequest) (proto.Message, error) {
	t, err := c.thing(c.kindOf(r.service()), in.SecurityGroupId)
	if err != nil {
		return nil, err
	}
	if err := c.exist(in.ProtoReflect(), ""); err != nil {
		return nil, err
	}
	before := t.Message
	g, _ := proto.Clone(before).(*vpc.SecurityGroup)
	for _, id := range in.DeletionRuleIds {
		n := len(g.Rules)
		g.Rules = slices.DeleteFunc(g.Rules, func(rule *vpc.SecurityGroupRule) bool { return rule.Id == id })
		if len(g.Rules) == n {
			return nil, status.Errorf(codes.NotFound, "Security group rule %s not found", id)
		}
	}
	if err := c.addRules(g, in.AdditionRuleSpecs); err != nil {
		return nil, err
	}
	t.Message = g
	return c.start(r, work{
		ids:    map[string]string{"security_group_id": g.Id},
		finish: func() proto.Message { return g },
		undo:   func() { t.Message = before },
	})
}

// plug is an address in a subnet that nobody has: the one that is asked for, or
// the first.
func (c *Cloud) plug(s *vpc.Subnet, asked string) (string, error) {
	network := netip.MustParsePrefix(s.V4CidrBlocks[0])
	first := network.Addr().Next().Next().Next() // behind the gateway and the DNS
	taken := map[string]bool{}
	for _, used := range c.addresses(s.Id) {
		taken[used] = true
	}
	if asked == "" {
		for a := first; network.Contains(a.Next()); a = a.Next() {
			if !taken[a.String()] {
				return a.String(), nil
			}
		}
		return "", status.Errorf(codes.ResourceExhausted, "Subnet %s has no free address", s.Id)
	}
	a, err := netip.ParseAddr(asked)
	switch {
	case err != nil:
		return "", refuse("address: %q is no address", asked)
	case !network.Contains(a) || a.Less(first) || !network.Contains(a.Next()):
		return "", refuse("address: %s is not one for machines of subnet %s (%s)", asked, s.Id, network)
	case taken[asked]:
		return "", status.Errorf(codes.FailedPrecondition, "Address %s is already in use", asked)
	}
	return asked, nil
}
