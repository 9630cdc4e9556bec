package yc

import (
	"net/netip"
	"strconv"
	"strings"

	"pgha-gen/generator/cloud"
)

// place is the service and kind by which yc knows a kind of thing.
func place(kind cloud.Kind) []string {
	return map[cloud.Kind][]string{
		cloud.KindNetwork:       {"vpc", "network"},
		cloud.KindSubnet:        {"vpc", "subnet"},
		cloud.KindSecurityGroup: {"vpc", "security-group"},
		cloud.KindAccount:       {"iam", "service-account"},
		cloud.KindSecret:        {"lockbox", "secret"},
		cloud.KindZone:          {"dns", "zone"},
		cloud.KindTargets:       {"load-balancer", "target-group"},
		cloud.KindBalancer:      {"load-balancer", "network-load-balancer"},
		cloud.KindBucket:        {"storage", "bucket"},
	}[kind]
}

// Kind is what yc calls a kind: a service, and a kind of its.
func Kind(kind cloud.Kind) string { return strings.Join(place(kind), " ") }

// base are the lines for all but disks and machines.
func (s *script) base(p *cloud.Plan) {
	s.WriteString("\n")
	for _, g := range p.Given {
		words := append([]string{"given", g.Key}, place(g.Kind)...)
		words = append(words, g.ID)
		if g.Zone != "" {
			words = append(words, g.Zone)
		}
		s.line(words...)
	}
	if p.Network != nil {
		s.network(p.Network)
	}
	// They name each other, so all are there before the first has rules.
	for _, g := range p.SecurityGroups {
		s.resource(cloud.KindSecurityGroup, g.Name, inNetwork(p.Network)...)
	}
	for _, g := range p.SecurityGroups {
		s.line(append([]string{"rules", g.Name}, rules(g)...)...)
	}
	for _, a := range p.Accounts {
		s.resource(cloud.KindAccount, a.Name)
	}
	for _, secret := range p.Secrets {
		// A secret has at least one entry. The real ones come from pgha-gen
		// secrets generate.
		s.resource(cloud.KindSecret, secret.Name, "--payload", `[{"key": "none", "text_value": "none"}]`)
		s.line("reader", secret.Name, idOf(cloud.KindAccount, &secret.Reader))
	}
	if b := p.Bucket; b != nil && b.Created {
		s.line("bucket", b.Name, idOf(cloud.KindAccount, &b.Writer), s.lifecycle(b.Lifecycle()))
	}
	if b := p.Balancer; b != nil && b.Record != nil && b.Record.Zone.ID == "" {
		s.resource(cloud.KindZone, b.Record.Zone.Name, "--zone", b.Record.Domain, "--private-visibility", "--network-ids", idOf(cloud.KindNetwork, &p.Network.Ref))
	}
	for _, g := range p.PlacementGroups {
		s.line("resource", "compute", "placement-group", g.Name, "--spread-strategy")
	}
}

// waysOut are about the subnets that are there.
func (s *script) waysOut(p *cloud.Plan) {
	for _, g := range p.Given {
		words := []string{"way_out", g.Key, g.ID}
		for _, m := range p.Machines {
			if g.Kind == cloud.KindSubnet && m.Subnet.ID == g.ID && m.Account != nil {
				words = append(words, m.Name)
			}
		}
		if len(words) > 3 {
			s.line(words...)
		}
	}
}

func (s *script) network(n *cloud.Network) {
	if n.ID == "" {
		s.resource(cloud.KindNetwork, n.Name)
	}
	var route []string
	if n.NAT != "" {
		s.line("resource", "vpc", "gateway", n.NAT)
		s.line(append([]string{"resource", "vpc", "route-table", n.NAT}, append(inNetwork(n),
			"--route", list("destination", "0.0.0.0/0", "gateway-name", n.NAT))...)...)
		route = []string{"--route-table-name", n.NAT}
	}
	for _, subnet := range n.Subnets {
		s.resource(cloud.KindSubnet, subnet.Name, append(inNetwork(n), append([]string{
			"--zone", subnet.Zone, "--range", subnet.Range.String()}, route...)...)...)
	}
}

func inNetwork(n *cloud.Network) []string {
	if n.ID != "" {
		return []string{"--network-id", n.ID}
	}
	return []string{"--network-name", n.Name}
}

// resource adds the creation of something, and keeps its id if it is asked for.
func (s *script) resource(kind cloud.Kind, name string, args ...string) {
	s.line(append(append([]string{"resource"}, place(kind)...), append([]string{name}, args...)...)...)
	s.ids = append(s.ids, variableOf(kind, name))
	s.WriteString(s.ids[len(s.ids)-1] + "=$id\n")
}

// set makes a variable of the value of another, or of a word.
func (s *script) set(name, word string) {
	text, err := quote(word)
	if err != nil && s.failed == nil {
		s.failed = err
	}
	s.WriteString("\n" + name + "=" + text + "\n")
}

// rules are those of a security group.
func rules(g *cloud.SecurityGroup) []string {
	var words []string
	for _, r := range g.Rules {
		pairs := []string{"direction", "ingress", "protocol", string(r.Protocol)}
		if r.Egress {
			pairs[1] = "egress"
		}
		if r.Port != 0 {
			pairs = append(pairs, "port", strconv.Itoa(r.Port))
		}
		if r.Group != "" {
			pairs = append(pairs, "security-group-name", r.Group)
		} else {
			pairs = append(pairs, "v4-cidrs", "["+join(r.Networks)+"]")
		}
		words = append(words, "--rule", list(pairs...))
	}
	return words
}

func join(networks []netip.Prefix) string {
	var all []string
	for _, n := range networks {
		all = append(all, n.String())
	}
	return strings.Join(all, ",")
}
