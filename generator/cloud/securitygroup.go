package cloud

import (
	"net/netip"
	"slices"

	"pgha-gen/generator/role"
)

// SecurityGroup is the cloud's own firewall of a role's machines. It admits
// those whom theirs admits, and lets out everything, as that does.
type SecurityGroup struct {
	Name, Role string
	Rules      []Rule
}

// Rule admits to a port, or lets out. It is about networks or about a group.
type Rule struct {
	Egress   bool
	Protocol Protocol
	Port     int // of TCP; 0: any
	Networks []netip.Prefix
	Group    string // the machines that have this security group
}

// Protocol is what a rule is about.
type Protocol string

// The protocols.
const (
	TCP  Protocol = "tcp"
	ICMP Protocol = "icmp"
	Any  Protocol = "any"
)

// mostNetworks are as many as a rule holds (the limits of Virtual Private
// Cloud).
const mostNetworks = 50

var everybody = netip.MustParsePrefix("0.0.0.0/0")

// securityGroup is made of the same ports as the firewall. Machines are their
// role's group there, so that it holds for those without an address, too.
func securityGroup(c *role.Cluster, g *role.Group) *SecurityGroup {
	roleOf := map[string]string{}
	for _, other := range c.Groups {
		for _, source := range c.Sources(other.Nodes()) {
			roleOf[source] = other.Name
		}
	}
	group := &SecurityGroup{Name: c.Named(g.Name), Role: g.Name}
	for _, port := range g.Plan.Ports {
		var groups []string
		var networks []netip.Prefix
		for _, source := range port.From {
			network, err := netip.ParsePrefix(source)
			switch name := roleOf[source]; {
			case name != "" && !slices.Contains(groups, name):
				groups = append(groups, name)
			case name == "" && err == nil && !slices.Contains(networks, network):
				networks = append(networks, network)
			}
		}
		for some := range slices.Chunk(networks, mostNetworks) {
			group.Rules = append(group.Rules, Rule{Protocol: TCP, Port: port.Number, Networks: some})
		}
		for _, name := range groups {
			group.Rules = append(group.Rules, Rule{Protocol: TCP, Port: port.Number, Group: c.Named(name)})
		}
	}
	// firewall.nft admits echo requests and errors from everybody.
	return &SecurityGroup{group.Name, group.Role, append(group.Rules,
		Rule{Protocol: ICMP, Networks: []netip.Prefix{everybody}},
		Rule{Egress: true, Protocol: Any, Networks: []netip.Prefix{everybody}})}
}
