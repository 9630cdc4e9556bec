package yc

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/access"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/iam/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/lockbox/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/vpc/v1"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// baseFlags are those of the commands for what goes before machines.
func baseFlags() map[string]string {
	return map[string]string{
		"vpc network list": "", "vpc gateway list": "", "vpc route-table list": "", "vpc security-group list": "", "compute placement-group list": "",
		"vpc network create":        "name description labels async!",
		"vpc subnet create":         "name description labels zone network-id network-name route-table-id route-table-name range* domain-name domain-name-server* ntp-server* async!",
		"vpc gateway create":        "name description labels async!",
		"vpc route-table create":    "name description labels network-id network-name route* async!",
		"vpc security-group create": "name description labels network-id network-name rule* async!",
		"vpc security-group update": "id name async! new-name description labels clear-rules! rule*",

		"iam service-account create":          "name description labels async!",
		"lockbox secret create":               "name description labels kms-key-id version-description payload deletion-protection! async!",
		"lockbox secret list-access-bindings": "id name",
		"lockbox secret add-access-binding":   "id name role service-account-id service-account-name user-account-id subject async!",
		"lockbox secret add-version":          "id name description base-version-id payload async!",
		"compute placement-group create":      "name description labels spread-strategy! partitions async!",
	}
}

// base does what goes before machines.
func (c *call) base(ctx context.Context, command, id string) (any, error) {
	networks, subnets, gateways := vpc.NewNetworkServiceClient(c.api), vpc.NewSubnetServiceClient(c.api), vpc.NewGatewayServiceClient(c.api)
	routes, groups := vpc.NewRouteTableServiceClient(c.api), vpc.NewSecurityGroupServiceClient(c.api)
	secrets, placements := lockbox.NewSecretServiceClient(c.api), compute.NewPlacementGroupServiceClient(c.api)
	name, labels := c.flag("name"), properties(c.flag("labels"))
	network := func() (string, error) { return c.other(ctx, "vpc network", "network-id", c.flag("network-name")) }
	switch command {
	case "vpc network list":
		list, err := networks.List(ctx, &vpc.ListNetworksRequest{FolderId: c.folder})
		return all(list.GetNetworks(), err)
	case "vpc gateway list":
		list, err := gateways.List(ctx, &vpc.ListGatewaysRequest{FolderId: c.folder})
		return all(list.GetGateways(), err)
	case "vpc route-table list":
		list, err := routes.List(ctx, &vpc.ListRouteTablesRequest{FolderId: c.folder})
		return all(list.GetRouteTables(), err)
	case "vpc security-group list":
		list, err := groups.List(ctx, &vpc.ListSecurityGroupsRequest{FolderId: c.folder})
		return all(list.GetSecurityGroups(), err)
	case "compute placement-group list":
		list, err := placements.List(ctx, &compute.ListPlacementGroupsRequest{FolderId: c.folder})
		return all(list.GetPlacementGroups(), err)
	case "vpc network create":
		return c.wait(ctx)(networks.Create(ctx, &vpc.CreateNetworkRequest{FolderId: c.folder, Name: name, Labels: labels}))
	case "vpc gateway create":
		return c.wait(ctx)(gateways.Create(ctx, &vpc.CreateGatewayRequest{FolderId: c.folder, Name: name, Labels: labels,
			Gateway: &vpc.CreateGatewayRequest_SharedEgressGatewaySpec{SharedEgressGatewaySpec: &vpc.SharedEgressGatewaySpec{}}}))
	case "vpc route-table create":
		in := &vpc.CreateRouteTableRequest{FolderId: c.folder, Name: name, Labels: labels}
		var err error
		if in.NetworkId, err = network(); err != nil {
			return nil, err
		}
		for _, text := range c.flags["route"] {
			p := properties(text)
			gateway, err := c.other(ctx, "vpc gateway", "", p["gateway-name"])
			if err != nil {
				return nil, err
			}
			in.StaticRoutes = append(in.StaticRoutes, &vpc.StaticRoute{
				Destination: &vpc.StaticRoute_DestinationPrefix{DestinationPrefix: p["destination"]}, NextHop: &vpc.StaticRoute_GatewayId{GatewayId: gateway},
			})
		}
		return c.wait(ctx)(routes.Create(ctx, in))
	case "vpc subnet create":
		in := &vpc.CreateSubnetRequest{FolderId: c.folder, Name: name, Labels: labels, ZoneId: c.flag("zone"), V4CidrBlocks: c.flags["range"]}
		var err error
		if in.NetworkId, err = network(); err != nil {
			return nil, err
		}
		if in.RouteTableId, err = c.other(ctx, "vpc route-table", "route-table-id", c.flag("route-table-name")); err != nil {
			return nil, err
		}
		return c.wait(ctx)(subnets.Create(ctx, in))
	case "vpc security-group create":
		in := &vpc.CreateSecurityGroupRequest{FolderId: c.folder, Name: name, Labels: labels}
		var err error
		if in.NetworkId, err = network(); err != nil {
			return nil, err
		}
		if in.RuleSpecs, err = c.rules(ctx); err != nil {
			return nil, err
		}
		return c.wait(ctx)(groups.Create(ctx, in))
	case "vpc security-group update":
		rules, err := c.rules(ctx)
		if err != nil {
			return nil, err
		}
		return c.wait(ctx)(groups.Update(ctx, &vpc.UpdateSecurityGroupRequest{SecurityGroupId: id, RuleSpecs: rules, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"rule_specs"}}}))
	case "iam service-account create":
		return c.wait(ctx)(iam.NewServiceAccountServiceClient(c.api).Create(ctx, &iam.CreateServiceAccountRequest{FolderId: c.folder, Name: name, Labels: labels}))
	case "lockbox secret create":
		entries, err := c.payload()
		if err != nil {
			return nil, err
		}
		return c.wait(ctx)(secrets.Create(ctx, &lockbox.CreateSecretRequest{FolderId: c.folder, Name: name, Labels: labels, VersionPayloadEntries: entries}))
	case "lockbox secret add-version":
		entries, err := c.payload()
		if err != nil {
			return nil, err
		}
		return c.wait(ctx)(secrets.AddVersion(ctx, &lockbox.AddVersionRequest{SecretId: id, BaseVersionId: c.flag("base-version-id"), PayloadEntries: entries}))
	case "lockbox secret list-access-bindings":
		list, err := secrets.ListAccessBindings(ctx, &access.ListAccessBindingsRequest{ResourceId: id})
		return all(list.GetAccessBindings(), err)
	case "lockbox secret add-access-binding":
		return c.wait(ctx)(secrets.UpdateAccessBindings(ctx, &access.UpdateAccessBindingsRequest{ResourceId: id, AccessBindingDeltas: []*access.AccessBindingDelta{{
			Action: access.AccessBindingAction_ADD, AccessBinding: &access.AccessBinding{RoleId: c.flag("role"), Subject: &access.Subject{Id: c.flag("service-account-id"), Type: "serviceAccount"}},
		}}}))
	case "compute placement-group create":
		in := &compute.CreatePlacementGroupRequest{FolderId: c.folder, Name: name, Labels: labels}
		if c.flag("spread-strategy") != "" {
			in.PlacementStrategy = &compute.CreatePlacementGroupRequest_SpreadPlacementStrategy{SpreadPlacementStrategy: &compute.SpreadPlacementStrategy{}}
		}
		return c.wait(ctx)(placements.Create(ctx, in))
	}
	return nil, fmt.Errorf("unknown command %q", command)
}

// other is the id of something that a command speaks of: what the flag says, if it
// is given, or else of what has the name; empty: of nothing.
func (c *call) other(ctx context.Context, kind, flag, name string) (string, error) {
	if id := c.flag(flag); id != "" || name == "" {
		return id, nil
	}
	return c.named(ctx, kind+" get", name)
}

// rules are those of a security group.
func (c *call) rules(ctx context.Context) (all []*vpc.SecurityGroupRuleSpec, err error) {
	for _, text := range c.flags["rule"] {
		p := properties(text)
		direction, ok := vpc.SecurityGroupRule_Direction_value[strings.ToUpper(p["direction"])]
		if !ok {
			return nil, fmt.Errorf("rule %q: direction %q (want ingress or egress)", text, p["direction"])
		}
		spec := &vpc.SecurityGroupRuleSpec{Direction: vpc.SecurityGroupRule_Direction(direction), Protocol: &vpc.SecurityGroupRuleSpec_ProtocolName{ProtocolName: strings.ToUpper(p["protocol"])}}
		if p["port"] != "" {
			port, err := strconv.ParseInt(p["port"], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("rule %q: port %q (want a number)", text, p["port"])
			}
			spec.Ports = &vpc.PortRange{FromPort: port, ToPort: port}
		}
		if group := p["security-group-name"]; group != "" {
			id, err := c.named(ctx, "vpc security-group get", group)
			if err != nil {
				return nil, err
			}
			spec.Target = &vpc.SecurityGroupRuleSpec_SecurityGroupId{SecurityGroupId: id}
		} else {
			spec.Target = &vpc.SecurityGroupRuleSpec_CidrBlocks{CidrBlocks: &vpc.CidrBlocks{V4CidrBlocks: strings.Split(p["v4-cidrs"], ",")}}
		}
		all = append(all, spec)
	}
	return all, nil
}

// payload is what a version of a secret is to hold; - is what is on standard input.
func (c *call) payload() (all []*lockbox.PayloadEntryChange, err error) {
	text := []byte(c.flag("payload"))
	if string(text) == "-" {
		if text, err = io.ReadAll(c.stdin); err != nil {
			return nil, err
		}
	}
	var entries []struct {
		Key  string `json:"key"`
		Text string `json:"text_value"`
	}
	if err := json.Unmarshal(text, &entries); err != nil {
		return nil, fmt.Errorf("payload is not a list in JSON: %w", err)
	}
	for _, e := range entries {
		all = append(all, &lockbox.PayloadEntryChange{Key: e.Key, Value: &lockbox.PayloadEntryChange_TextValue{TextValue: e.Text}})
	}
	return all, nil
}
