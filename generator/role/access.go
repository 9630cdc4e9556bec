package role

import (
	"fmt"
	"net/netip"
	"slices"

	"pgha-gen/generator/specfile"
)

// Access is who may reach the machines from outside of the cluster.
type Access struct {
	Clients    []netip.Prefix `yaml:"clients,required"` // of the databases
	Operators  []netip.Prefix `yaml:"operators"`        // who administer the cluster
	Monitoring []netip.Prefix `yaml:"monitoring"`       // who read metrics
}

// mostNetworks are as many as a security group holds for each of a role's
// ports: it has 50 rules of 50 networks each (the limits of Virtual Private
// Cloud).
const mostNetworks = 250

func (c *Cluster) checkAccess(at specfile.Place) {
	if len(c.Access.Clients) == 0 {
		at.Key("clients").Problem("no network (give those that may reach PostgreSQL)")
	}
	if n := len(c.Access.Clients) + len(c.Access.Operators) + len(c.Access.Monitoring); n > mostNetworks && c.Cloud.CreateSecurityGroups {
		at.Problem("%d networks (want at most %d: a security group holds no more)", n, mostNetworks)
	}
	for _, list := range []struct {
		key, what string
		networks  []netip.Prefix
	}{
		{"clients", "reach PostgreSQL", c.Access.Clients},
		{"operators", "administer the cluster", c.Access.Operators},
		{"monitoring", "read metrics", c.Access.Monitoring},
	} {
		for i, p := range list.networks {
			here := at.Key(list.key).Index(i)
			switch {
			case !p.Addr().Is4():
				here.Problem("%q is not IPv4 (the cloud's networks are IPv4 only)", p)
			case p.Masked() != p:
				here.Problem("%q has bits set behind the prefix (want %s)", p, p.Masked())
			case Exposes(p) != "":
				here.Warn("%s may %s (name the networks)", Exposes(p), list.what)
			}
		}
		alone := slices.ContainsFunc(list.networks, func(p netip.Prefix) bool { return p.Bits() == 0 })
		if !alone && everybody(list.networks) {
			at.Key(list.key).Warn("together these are the whole internet: everybody may %s (name the networks)", list.what)
		}
	}
}

// Exposes says how much of the internet a network lets in: "everybody", or
// how many addresses. It is empty for a network of at most 2^24 addresses
// and, of IPv6, for one of the size that a provider may have.
func Exposes(p netip.Prefix) string {
	switch {
	case p.Bits() == 0:
		return "everybody"
	case p.Addr().Is4() && p.Bits() < 8:
		return fmt.Sprintf("%d addresses of the internet", uint64(1)<<(32-p.Bits()))
	case p.Addr().Is6() && p.Bits() < 16:
		return fmt.Sprintf("2^%d addresses of the internet", 128-p.Bits())
	}
	return ""
}

// notInternet are the addresses that nobody on the internet has (the registry
// of IPv4 special-purpose addresses).
var notInternet = []string{
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
	"172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3",
}

// everybody says whether all of the internet is in the networks together.
func everybody(networks []netip.Prefix) bool {
	all := append([]netip.Prefix(nil), networks...)
	for _, n := range notInternet {
		all = append(all, netip.MustParsePrefix(n))
	}
	return covered(netip.MustParsePrefix("0.0.0.0/0"), all)
}

// covered says whether each address of a network is in one of the others.
// Only those within it are tried on its halves, so the recursion is short.
func covered(p netip.Prefix, by []netip.Prefix) bool {
	var within []netip.Prefix
	for _, other := range by {
		switch {
		case other.Bits() <= p.Bits() && other.Contains(p.Addr()):
			return true
		case p.Contains(other.Addr()):
			within = append(within, other)
		}
	}
	if len(within) == 0 {
		return false
	}
	low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
	high := p.Addr().As4()
	high[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	return covered(low, within) && covered(netip.PrefixFrom(netip.AddrFrom4(high), p.Bits()+1), within)
}

// Sources are nodes as a firewall names them: their addresses, or their names
// in the network's DNS.
func (c *Cluster) Sources(nodes ...[]Node) []string {
	var all []string
	for _, n := range slices.Concat(nodes...) {
		if n.Address.IsValid() {
			all = append(all, n.Address.String()+"/32")
		} else {
			all = append(all, c.FQDN(n.Name))
		}
	}
	return all
}

// Networks are networks as a firewall names them.
func Networks(lists ...[]netip.Prefix) []string {
	var all []string
	for _, p := range slices.Concat(lists...) {
		all = append(all, p.String())
	}
	return all
}
