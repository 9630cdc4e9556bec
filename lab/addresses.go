//go:build linux

package lab

import (
	"fmt"
	"hash/fnv"
	"net/netip"

	"pgha-gen/generator/role"
)

// Addresses are those of a cluster's nodes: the spec's, and where it has none,
// the one that the lab gives, as DHCP does in the cloud: in the subnet of the
// node's zone, and the same for a name each time as long as nobody else has it.
func Addresses(c *role.Cluster) (map[string]netip.Addr, error) { return addresses(c, nil) }

// addresses is Addresses where machines have some already, and keep them.
func addresses(c *role.Cluster, have map[string]netip.Addr) (map[string]netip.Addr, error) {
	all := map[string]netip.Addr{}
	taken := map[netip.Addr]bool{}
	for _, a := range have {
		taken[a] = true
	}
	subnets := map[string]netip.Prefix{} // of zones in which a node has an address
	var without []role.Node
	for _, p := range c.Groups {
		for _, n := range p.Nodes() {
			if !n.Address.IsValid() {
				n.Address = have[n.Name]
			}
			if !n.Address.IsValid() {
				without = append(without, n)
				continue
			}
			all[n.Name], taken[n.Address] = n.Address, true
			if _, known := subnets[n.Zone]; !known {
				subnets[n.Zone] = subnet(n.Address)
			}
		}
	}
	for _, n := range without {
		s, known := subnets[n.Zone]
		if !known {
			s = usualSubnet(n.Zone)
		}
		a, err := choose(n.Name, s, taken)
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", n.Name, err)
		}
		all[n.Name], taken[a] = a, true
	}
	return all, nil
}

// usualSubnet is what a zone has in a network that the cloud makes by default:
// ru-central1-a has 10.128.0.0/24, the next letter 10.129.0.0/24.
func usualSubnet(zone string) netip.Prefix {
	letter := zone[len(zone)-1] - 'a'
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 128 + letter, 0, 0}), 24)
}

// choose begins at a place that follows from the name. The first three
// addresses of a subnet are the network's, the gateway's and the resolver's,
// the last is for all.
func choose(name string, s netip.Prefix, taken map[netip.Addr]bool) (netip.Addr, error) {
	const first, last = 3, 254
	h := fnv.New32a()
	h.Write([]byte(name))
	four := s.Addr().As4()
	for i := range uint32(last - first + 1) {
		four[3] = byte(first + (h.Sum32()%(last-first+1)+i)%(last-first+1))
		if a := netip.AddrFrom4(four); !taken[a] {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("subnet %s has no free address (give the node one elsewhere)", s)
}
