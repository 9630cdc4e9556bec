package yandex

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/access"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/dns/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/iam/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/loadbalancer/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/lockbox/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/operation"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/vpc/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"pgha-gen/generator/cloud"
)

// part is one of what is around the machines. It says the same as create.sh.
type part struct {
	kind    cloud.Kind
	name    string
	create  func(context.Context, *builder) (thing, error)
	differs func(*Found, thing) []string // what is left as it is; nil: nothing is looked at
	settled func(*Found, thing) bool     // whether settle has nothing to do; nil: there is no settle
	settle  func(context.Context, *builder) error
	says    string // what settle is about
}

func (p *part) String() string { return string(p.kind) + " " + p.name }

// todo is what is done of a part.
type todo struct {
	*part
	create, settle bool
}

// builder makes parts, and knows the ids of what is there.
type builder struct {
	grpc.ClientConnInterface
	*cloud.Plan
	said func(name, sentence string)

	mu       sync.Mutex
	ids      map[cloud.Kind]map[string]string
	machines map[string]*compute.Instance
	balancer *loadbalancer.NetworkLoadBalancer
}

func newBuilder(cc grpc.ClientConnInterface, p *cloud.Plan, f *Found, said func(name, sentence string)) *builder {
	b := &builder{ClientConnInterface: cc, Plan: p, said: said, ids: map[cloud.Kind]map[string]string{}, machines: map[string]*compute.Instance{}}
	for kind, all := range f.Around {
		for _, t := range all {
			b.is(kind, t)
		}
	}
	for name, m := range f.Machines {
		b.machines[name] = m
	}
	return b
}

// is notes that something is there.
func (b *builder) is(kind cloud.Kind, t thing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ids[kind] == nil {
		b.ids[kind] = map[string]string{}
	}
	b.ids[kind][t.GetName()] = t.GetId()
	if balancer, ok := t.(*loadbalancer.NetworkLoadBalancer); ok && b.Balancer != nil && balancer.Name == b.Balancer.Name {
		b.balancer = balancer
	}
}

// isMachine notes that a machine is there.
func (b *builder) isMachine(m *compute.Instance) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.machines[m.Name] = m
}

// id is that of what is given, or of what is there by now; empty: of nothing.
func (b *builder) id(kind cloud.Kind, r *cloud.Ref) string {
	switch {
	case r == nil || *r == (cloud.Ref{}):
		return ""
	case r.ID != "":
		return r.ID
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ids[kind][r.Name]
}

func (b *builder) labels() map[string]string { return map[string]string{label: b.Cluster} }

// do makes one wave of parts after the other. Those of a wave are made side by
// side, and then settled side by side.
func (b *builder) do(ctx context.Context, waves [][]*todo) error {
	for _, wave := range waves {
		for _, step := range []func(*todo) error{
			func(t *todo) error {
				if !t.create {
					return nil
				}
				made, err := t.part.create(ctx, b)
				if err != nil {
					return trouble("create "+t.String(), err)
				}
				b.is(t.kind, made)
				b.said(t.String(), "created")
				return nil
			},
			func(t *todo) error {
				if !t.settle {
					return nil
				}
				if err := t.part.settle(ctx, b); err != nil {
					return trouble("set "+t.says+" of "+t.String(), err)
				}
				b.said(t.String(), "has "+t.says)
				return nil
			},
		} {
			g := &group{}
			slots := make(chan struct{}, atOnce)
			for _, t := range wave {
				g.Go(func() error {
					slots <- struct{}{}
					defer func() { <-slots }()
					if g.Failed() || ctx.Err() != nil {
						return ctx.Err()
					}
					return step(t)
				})
			}
			if err := g.Wait(); err != nil {
				return err
			}
		}
	}
	return nil
}

// made is what an operation that creates something answers.
func made[T thing](ctx context.Context, b *builder, op *operation.Operation, err error) (thing, error) {
	return done[T](ctx, b, op, err)
}

// base are the waves of what goes before machines.
func base(p *cloud.Plan) [][]*part {
	var first, second, third []*part
	if n := p.Network; n != nil {
		first, second, third = network(n)
	}
	for _, g := range p.SecurityGroups {
		second = append(second, securityGroup(p, g))
	}
	for _, a := range p.Accounts {
		first = append(first, &part{kind: cloud.KindAccount, name: a.Name, create: func(ctx context.Context, b *builder) (thing, error) {
			op, err := iam.NewServiceAccountServiceClient(b).Create(ctx, &iam.CreateServiceAccountRequest{FolderId: b.Folder, Name: a.Name, Labels: b.labels()})
			return made[*iam.ServiceAccount](ctx, b, op, err)
		}})
	}
	for _, s := range p.Secrets {
		first = append(first, secret(s))
	}
	if p.Bucket != nil && p.Bucket.Created {
		second = append(second, bucketPart(p.Bucket))
	}
	for _, g := range p.PlacementGroups {
		first = append(first, &part{kind: kindPlacement, name: g.Name, create: func(ctx context.Context, b *builder) (thing, error) {
			op, err := compute.NewPlacementGroupServiceClient(b).Create(ctx, &compute.CreatePlacementGroupRequest{FolderId: b.Folder, Name: g.Name, Labels: b.labels(),
				PlacementStrategy: &compute.CreatePlacementGroupRequest_SpreadPlacementStrategy{SpreadPlacementStrategy: &compute.SpreadPlacementStrategy{}}})
			return made[*compute.PlacementGroup](ctx, b, op, err)
		}})
	}
	if lb := p.Balancer; lb != nil && lb.Record != nil && lb.Record.Zone.ID == "" {
		second = append(second, &part{kind: cloud.KindZone, name: lb.Record.Zone.Name, create: func(ctx context.Context, b *builder) (thing, error) {
			op, err := dns.NewDnsZoneServiceClient(b).Create(ctx, &dns.CreateDnsZoneRequest{FolderId: b.Folder, Name: lb.Record.Zone.Name, Labels: b.labels(), Zone: lb.Record.Domain,
				PrivateVisibility: &dns.PrivateVisibility{NetworkIds: []string{b.id(cloud.KindNetwork, &b.Network.Ref)}}})
			return made[*dns.DnsZone](ctx, b, op, err)
		}, differs: func(_ *Found, t thing) []string {
			zone, _ := t.(*dns.DnsZone)
			return differ(nil, "zone", zone.GetZone(), lb.Record.Domain)
		}})
	}
	return [][]*part{first, second, third}
}

const everywhere = "0.0.0.0/0"

func network(n *cloud.Network) (first, second, third []*part) {
	if n.ID == "" {
		first = append(first, &part{kind: cloud.KindNetwork, name: n.Name, create: func(ctx context.Context, b *builder) (thing, error) {
			op, err := vpc.NewNetworkServiceClient(b).Create(ctx, &vpc.CreateNetworkRequest{FolderId: b.Folder, Name: n.Name, Labels: b.labels()})
			return made[*vpc.Network](ctx, b, op, err)
		}})
	}
	route := cloud.Ref{Name: n.NAT}
	if n.NAT != "" {
		first = append(first, &part{kind: kindGateway, name: n.NAT, create: func(ctx context.Context, b *builder) (thing, error) {
			op, err := vpc.NewGatewayServiceClient(b).Create(ctx, &vpc.CreateGatewayRequest{FolderId: b.Folder, Name: n.NAT, Labels: b.labels(),
				Gateway: &vpc.CreateGatewayRequest_SharedEgressGatewaySpec{SharedEgressGatewaySpec: &vpc.SharedEgressGatewaySpec{}}})
			return made[*vpc.Gateway](ctx, b, op, err)
		}})
		second = append(second, &part{kind: kindRoutes, name: n.NAT, create: func(ctx context.Context, b *builder) (thing, error) {
			op, err := vpc.NewRouteTableServiceClient(b).Create(ctx, &vpc.CreateRouteTableRequest{FolderId: b.Folder, Name: n.NAT, Labels: b.labels(), NetworkId: b.id(cloud.KindNetwork, &n.Ref),
				StaticRoutes: []*vpc.StaticRoute{{Destination: &vpc.StaticRoute_DestinationPrefix{DestinationPrefix: everywhere}, NextHop: &vpc.StaticRoute_GatewayId{GatewayId: b.id(kindGateway, &route)}}}})
			return made[*vpc.RouteTable](ctx, b, op, err)
		}, differs: func(f *Found, t thing) []string {
			table, _ := t.(*vpc.RouteTable)
			if !leadsOut(table) {
				return []string{"it has no route to the gateway"}
			}
			return differ(nil, "network", table.NetworkId, f.id(cloud.KindNetwork, n.Ref))
		}})
	}
	for _, s := range n.Subnets {
		third = append(third, &part{kind: cloud.KindSubnet, name: s.Name, create: func(ctx context.Context, b *builder) (thing, error) {
			op, err := vpc.NewSubnetServiceClient(b).Create(ctx, &vpc.CreateSubnetRequest{FolderId: b.Folder, Name: s.Name, Labels: b.labels(), NetworkId: b.id(cloud.KindNetwork, &n.Ref),
				ZoneId: s.Zone, V4CidrBlocks: []string{s.Range.String()}, RouteTableId: b.id(kindRoutes, &route)})
			return made[*vpc.Subnet](ctx, b, op, err)
		}, differs: func(f *Found, t thing) []string {
			subnet, _ := t.(*vpc.Subnet)
			all := differ(nil, "zone", subnet.ZoneId, s.Zone)
			all = differ(all, "range", strings.Join(subnet.V4CidrBlocks, " and "), s.Range.String())
			all = differ(all, "network", subnet.NetworkId, f.id(cloud.KindNetwork, n.Ref))
			if n.NAT != "" && subnet.RouteTableId != f.id(kindRoutes, route) {
				all = append(all, "its route table is not "+n.NAT)
			}
			return all
		}})
	}
	return first, second, third
}

// leadsOut tells whether a route table leads to the rest of the world.
func leadsOut(t *vpc.RouteTable) bool {
	return slices.ContainsFunc(t.GetStaticRoutes(), func(r *vpc.StaticRoute) bool { return r.GetDestinationPrefix() == everywhere })
}

// securityGroup has its rules once all of them are there: they name each other.
func securityGroup(p *cloud.Plan, g *cloud.SecurityGroup) *part {
	return &part{kind: cloud.KindSecurityGroup, name: g.Name, says: "the rules of the spec",
		create: func(ctx context.Context, b *builder) (thing, error) {
			op, err := vpc.NewSecurityGroupServiceClient(b).Create(ctx, &vpc.CreateSecurityGroupRequest{FolderId: b.Folder, Name: g.Name, Labels: b.labels(), NetworkId: b.id(cloud.KindNetwork, &p.Network.Ref)})
			return made[*vpc.SecurityGroup](ctx, b, op, err)
		},
		differs: func(f *Found, t thing) []string {
			there, _ := t.(*vpc.SecurityGroup)
			return differ(nil, "network", there.NetworkId, f.id(cloud.KindNetwork, p.Network.Ref))
		},
		settled: func(f *Found, t thing) bool {
			there, _ := t.(*vpc.SecurityGroup)
			var have, want []string
			for _, r := range there.Rules {
				have = append(have, ruleWords(r.Direction, r.ProtocolName, r.Ports, r.GetCidrBlocks(), r.GetSecurityGroupId()+r.GetPredefinedTarget()))
			}
			for _, r := range g.Rules {
				spec := ruleSpec(r, f.id(cloud.KindSecurityGroup, cloud.Ref{Name: r.Group}))
				want = append(want, ruleWords(spec.Direction, spec.GetProtocolName(), spec.Ports, spec.GetCidrBlocks(), spec.GetSecurityGroupId()))
			}
			slices.Sort(have)
			slices.Sort(want)
			return slices.Equal(have, want)
		},
		settle: func(ctx context.Context, b *builder) error {
			var specs []*vpc.SecurityGroupRuleSpec
			for _, r := range g.Rules {
				specs = append(specs, ruleSpec(r, b.id(cloud.KindSecurityGroup, &cloud.Ref{Name: r.Group})))
			}
			return setRules(ctx, b, b.id(cloud.KindSecurityGroup, &cloud.Ref{Name: g.Name}), specs)
		},
	}
}

// setRules gives a security group these rules and no others.
func setRules(ctx context.Context, cc grpc.ClientConnInterface, id string, specs []*vpc.SecurityGroupRuleSpec) error {
	op, err := vpc.NewSecurityGroupServiceClient(cc).Update(ctx, &vpc.UpdateSecurityGroupRequest{SecurityGroupId: id, RuleSpecs: specs, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"rule_specs"}}})
	_, err = done[*vpc.SecurityGroup](ctx, cc, op, err)
	return err
}

// ruleSpec is a rule, which is about a group of this id if it is about one.
func ruleSpec(r cloud.Rule, group string) *vpc.SecurityGroupRuleSpec {
	spec := &vpc.SecurityGroupRuleSpec{Direction: vpc.SecurityGroupRule_INGRESS, Protocol: &vpc.SecurityGroupRuleSpec_ProtocolName{ProtocolName: strings.ToUpper(string(r.Protocol))}}
	if r.Egress {
		spec.Direction = vpc.SecurityGroupRule_EGRESS
	}
	if r.Port != 0 {
		spec.Ports = &vpc.PortRange{FromPort: int64(r.Port), ToPort: int64(r.Port)}
	}
	if r.Group != "" {
		spec.Target = &vpc.SecurityGroupRuleSpec_SecurityGroupId{SecurityGroupId: group}
		return spec
	}
	blocks := &vpc.CidrBlocks{}
	for _, n := range r.Networks {
		blocks.V4CidrBlocks = append(blocks.V4CidrBlocks, n.String())
	}
	spec.Target = &vpc.SecurityGroupRuleSpec_CidrBlocks{CidrBlocks: blocks}
	return spec
}

// ruleWords are the same for rules that admit the same.
func ruleWords(direction vpc.SecurityGroupRule_Direction, protocol string, ports *vpc.PortRange, blocks *vpc.CidrBlocks, target string) string {
	networks := slices.Concat(blocks.GetV4CidrBlocks(), blocks.GetV6CidrBlocks())
	slices.Sort(networks)
	return fmt.Sprintf("%s %s %d-%d %s %s", direction, strings.ToUpper(protocol), ports.GetFromPort(), ports.GetToPort(), strings.Join(networks, ","), target)
}

const payloadViewer = "lockbox.payloadViewer"

// secret is created without a version: what it is to hold is nobody's business
// here.
func secret(s *cloud.Secret) *part {
	return &part{kind: cloud.KindSecret, name: s.Name, says: "its reader",
		create: func(ctx context.Context, b *builder) (thing, error) {
			op, err := lockbox.NewSecretServiceClient(b).Create(ctx, &lockbox.CreateSecretRequest{FolderId: b.Folder, Name: s.Name, Labels: b.labels()})
			return made[*lockbox.Secret](ctx, b, op, err)
		},
		settled: func(f *Found, t thing) bool {
			return slices.Contains(f.Readers[t.GetId()], f.id(cloud.KindAccount, s.Reader))
		},
		settle: func(ctx context.Context, b *builder) error {
			op, err := lockbox.NewSecretServiceClient(b).UpdateAccessBindings(ctx, &access.UpdateAccessBindingsRequest{ResourceId: b.id(cloud.KindSecret, &cloud.Ref{Name: s.Name}),
				AccessBindingDeltas: []*access.AccessBindingDelta{{Action: access.AccessBindingAction_ADD, AccessBinding: &access.AccessBinding{
					RoleId: payloadViewer, Subject: &access.Subject{Id: b.id(cloud.KindAccount, &s.Reader), Type: "serviceAccount"},
				}}}})
			_, err = finished(ctx, b, op, err)
			return err
		},
	}
}

// finished waits for an operation whose answer is of no use.
func finished(ctx context.Context, cc grpc.ClientConnInterface, op *operation.Operation, err error) (proto.Message, error) {
	return done[proto.Message](ctx, cc, op, err)
}

// front are the waves of what stands before the proxies, once they are there.
func front(p *cloud.Plan) [][]*part {
	if p.Balancer == nil {
		return nil
	}
	return [][]*part{{targetGroup(p.Balancer)}, {balancer(p.Balancer)}}
}

// parts are all of a plan.
func parts(p *cloud.Plan) []*part { return slices.Concat(slices.Concat(base(p), front(p))...) }

func targetGroup(lb *cloud.Balancer) *part {
	return &part{kind: cloud.KindTargets, name: lb.Name, says: "the machines of the spec",
		create: func(ctx context.Context, b *builder) (thing, error) {
			targets, err := targets(lb, b.machines)
			if err != nil {
				return nil, err
			}
			op, err := loadbalancer.NewTargetGroupServiceClient(b).Create(ctx, &loadbalancer.CreateTargetGroupRequest{FolderId: b.Folder, Name: lb.Name, Labels: b.labels(), RegionId: lb.Region, Targets: targets})
			return made[*loadbalancer.TargetGroup](ctx, b, op, err)
		},
		settled: func(f *Found, t thing) bool {
			have, _ := t.(*loadbalancer.TargetGroup)
			want, err := targets(lb, f.Machines)
			return err == nil && len(missing(want, have.Targets)) == 0 && len(missing(have.Targets, want)) == 0
		},
		settle: func(ctx context.Context, b *builder) error {
			client, id := loadbalancer.NewTargetGroupServiceClient(b), b.id(cloud.KindTargets, &cloud.Ref{Name: lb.Name})
			want, err := targets(lb, b.machines)
			if err != nil {
				return err
			}
			now, err := client.Get(ctx, &loadbalancer.GetTargetGroupRequest{TargetGroupId: id})
			if err != nil {
				return err
			}
			if add := missing(want, now.Targets); len(add) > 0 {
				op, err := client.AddTargets(ctx, &loadbalancer.AddTargetsRequest{TargetGroupId: id, Targets: add})
				if _, err := finished(ctx, b, op, err); err != nil {
					return err
				}
			}
			if remove := missing(now.Targets, want); len(remove) > 0 {
				op, err := client.RemoveTargets(ctx, &loadbalancer.RemoveTargetsRequest{TargetGroupId: id, Targets: remove})
				if _, err := finished(ctx, b, op, err); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// targets are the load balancer's machines.
func targets(lb *cloud.Balancer, machines map[string]*compute.Instance) (all []*loadbalancer.Target, err error) {
	for _, name := range lb.Targets {
		nics := machines[name].GetNetworkInterfaces()
		if len(nics) == 0 {
			return nil, fmt.Errorf("machine %s has no address", name)
		}
		all = append(all, &loadbalancer.Target{SubnetId: nics[0].SubnetId, Address: nics[0].GetPrimaryV4Address().GetAddress()})
	}
	return all, nil
}

// missing are those of all that are not among others.
func missing(all, others []*loadbalancer.Target) []*loadbalancer.Target {
	return slices.DeleteFunc(slices.Clone(all), func(t *loadbalancer.Target) bool {
		return slices.ContainsFunc(others, func(o *loadbalancer.Target) bool { return o.Address == t.Address && o.SubnetId == t.SubnetId })
	})
}

func balancer(lb *cloud.Balancer) *part {
	one := &part{kind: cloud.KindBalancer, name: lb.Name,
		create: func(ctx context.Context, b *builder) (thing, error) {
			op, err := loadbalancer.NewNetworkLoadBalancerServiceClient(b).Create(ctx, balancerRequest(lb, b))
			return made[*loadbalancer.NetworkLoadBalancer](ctx, b, op, err)
		},
		differs: func(f *Found, t thing) []string {
			there, _ := t.(*loadbalancer.NetworkLoadBalancer)
			all := differ(nil, "type", strings.ToLower(there.Type.String()), balancerType(lb))
			var have, want []string
			for _, l := range there.Listeners {
				have = append(have, fmt.Sprintf("%s %d to %d", l.Name, l.Port, l.TargetPort))
			}
			for _, l := range lb.Listeners {
				want = append(want, fmt.Sprintf("%s %d to %d", l.Name, l.Port, l.Port))
			}
			slices.Sort(have)
			slices.Sort(want)
			all = differ(all, "what it listens to", strings.Join(have, " and "), strings.Join(want, " and "))
			check := attached(lb, f.id(cloud.KindTargets, cloud.Ref{Name: lb.Name}))
			if len(there.AttachedTargetGroups) != 1 || !proto.Equal(there.AttachedTargetGroups[0], check) {
				all = append(all, "its targets or how it asks them are not as the spec wants")
			}
			if len(all) > 0 {
				all = append(all, "delete it, and it is made anew: its address may be another one then")
			}
			return all
		},
	}
	if lb.Record != nil {
		one.says = "the record " + lb.Record.Name
		one.settled = func(f *Found, t thing) bool {
			there, _ := t.(*loadbalancer.NetworkLoadBalancer)
			return proto.Equal(f.Record, record(lb.Record, there))
		}
		one.settle = func(ctx context.Context, b *builder) error {
			op, err := dns.NewDnsZoneServiceClient(b).UpsertRecordSets(ctx, &dns.UpsertRecordSetsRequest{DnsZoneId: b.id(cloud.KindZone, &lb.Record.Zone), Replacements: []*dns.RecordSet{record(lb.Record, b.balancer)}})
			_, err = finished(ctx, b, op, err)
			return err
		}
	}
	return one
}

func balancerType(lb *cloud.Balancer) string {
	if lb.Internal {
		return "internal"
	}
	return "external"
}

func balancerRequest(lb *cloud.Balancer, b *builder) *loadbalancer.CreateNetworkLoadBalancerRequest {
	r := &loadbalancer.CreateNetworkLoadBalancerRequest{
		FolderId: b.Folder, Name: lb.Name, Labels: b.labels(), RegionId: lb.Region,
		Type:                 loadbalancer.NetworkLoadBalancer_Type(loadbalancer.NetworkLoadBalancer_Type_value[strings.ToUpper(balancerType(lb))]),
		AttachedTargetGroups: []*loadbalancer.AttachedTargetGroup{attached(lb, b.id(cloud.KindTargets, &cloud.Ref{Name: lb.Name}))},
	}
	for _, l := range lb.Listeners {
		spec := &loadbalancer.ListenerSpec{Name: l.Name, Port: int64(l.Port), TargetPort: int64(l.Port), Protocol: loadbalancer.Listener_TCP}
		if lb.Internal {
			spec.Address = &loadbalancer.ListenerSpec_InternalAddressSpec{InternalAddressSpec: &loadbalancer.InternalAddressSpec{SubnetId: b.id(cloud.KindSubnet, &lb.Subnet), IpVersion: loadbalancer.IpVersion_IPV4}}
		} else {
			spec.Address = &loadbalancer.ListenerSpec_ExternalAddressSpec{ExternalAddressSpec: &loadbalancer.ExternalAddressSpec{IpVersion: loadbalancer.IpVersion_IPV4}}
		}
		r.ListenerSpecs = append(r.ListenerSpecs, spec)
	}
	return r
}

// attached is the target group of this id, with how it is asked.
func attached(lb *cloud.Balancer, id string) *loadbalancer.AttachedTargetGroup {
	c := lb.Check
	return &loadbalancer.AttachedTargetGroup{TargetGroupId: id, HealthChecks: []*loadbalancer.HealthCheck{{
		Name: "alive", Interval: durationpb.New(c.Interval), Timeout: durationpb.New(c.Timeout),
		HealthyThreshold: int64(c.Healthy), UnhealthyThreshold: int64(c.Unhealthy),
		Options: &loadbalancer.HealthCheck_HttpOptions_{HttpOptions: &loadbalancer.HealthCheck_HttpOptions{Port: int64(c.Port), Path: c.Path}},
	}}}
}

// address is that of a load balancer.
func address(lb *loadbalancer.NetworkLoadBalancer) string {
	if len(lb.GetListeners()) == 0 {
		return ""
	}
	return lb.Listeners[0].Address
}

// record is the one of a load balancer.
func record(r *cloud.Record, lb *loadbalancer.NetworkLoadBalancer) *dns.RecordSet {
	return &dns.RecordSet{Name: r.Name, Type: "A", Ttl: int64(r.TTL), Data: []string{address(lb)}}
}

// addParts adds parts, and gives what is to be done of them.
func (s *Steps) addParts(f *Found, waves [][]*part) [][]*todo {
	var all [][]*todo
	for _, wave := range waves {
		var todos []*todo
		for _, one := range wave {
			there := f.Around[one.kind][one.name]
			t := &todo{part: one, create: there == nil, settle: one.settle != nil && (there == nil || !one.settled(f, there))}
			var differs []string
			if there != nil && one.differs != nil {
				differs = one.differs(f, there)
			}
			s.item(string(one.kind), one.name, there != nil, differs)
			if item := &s.Items[len(s.Items)-1]; there != nil && t.settle {
				item.Verb = Change
				item.Says = strings.Join(append([]string{"it gets " + one.says}, differs...), ", ")
			}
			if t.create || t.settle {
				todos = append(todos, t)
			}
		}
		if len(todos) > 0 {
			all = append(all, todos)
		}
	}
	return all
}

// extraParts are those of the cluster that the spec does not want.
func (s *Steps) extraParts(p *cloud.Plan, f *Found) []Item {
	wanted := map[string]bool{}
	for _, one := range parts(p) {
		wanted[one.String()] = true
	}
	var all []Item
	for kind, things := range f.Around {
		for name, t := range things {
			if t.GetLabels()[label] == p.Cluster && !wanted[string(kind)+" "+name] {
				all = append(all, Item{Extra, string(kind), name, ""})
			}
		}
	}
	return all
}
