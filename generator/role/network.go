package role

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"pgha-gen/generator/specfile"
)

// Create says of the network that there is none yet.
const Create = "create"

// SubnetID is the id of a zone's subnet, if that is there already.
func (c Cloud) SubnetID(zone string) (string, bool) {
	subnet, ok := c.Subnets[zone]
	if !ok || strings.Contains(subnet, "/") {
		return "", false
	}
	return subnet, true
}

// SubnetRange are the addresses of a zone's subnet, if that is to be created.
func (c Cloud) SubnetRange(zone string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(c.Subnets[zone])
	return p, err == nil
}

// CreatesNetwork says whether there is a network to be created.
func (c Cloud) CreatesNetwork() bool {
	return c.Network == Create || c.Network == "" && !c.bringsSubnets()
}

// bringsSubnets says whether the spec has a subnet that is there already.
func (c Cloud) bringsSubnets() bool {
	for zone := range c.Subnets {
		if _, ok := c.SubnetID(zone); ok {
			return true
		}
	}
	return false
}

// DeriveSubnets gives each zone with nodes a subnet, if the spec has none: 256
// addresses by the letter of the zone, 10.128.0.0/24 for zone a.
func (c *Cluster) DeriveSubnets() {
	if len(c.Cloud.Subnets) > 0 {
		return
	}
	for _, g := range c.Groups {
		for _, n := range g.Nodes() {
			if c.zoneProblem(n.Zone) == "" {
				c.Cloud.Subnets[n.Zone] = fmt.Sprintf("10.%d.0.0/24", 128+n.Zone[len(n.Zone)-1]-'a')
			}
		}
	}
}

// zoneProblem says why there can be no such zone; empty: there can.
func (c *Cluster) zoneProblem(zone string) string {
	switch {
	case !zoneName.MatchString(zone):
		return zoneName.refusal(zone)
	case regionName.MatchString(c.Cloud.Region) && !strings.HasPrefix(zone, c.Cloud.Region+"-"):
		return fmt.Sprintf("zone %q is not in region %q (its name would start with %s-)", zone, c.Cloud.Region, c.Cloud.Region)
	}
	return ""
}

func (c *Cluster) checkNetwork(at specfile.Place) {
	subnets, network := at.Key("subnets"), at.Key("network")
	brings, made := c.Cloud.bringsSubnets(), map[string]netip.Prefix{}
	for _, zone := range slices.Sorted(maps.Keys(c.Cloud.Subnets)) {
		here := subnets.Key(zone)
		if why := c.zoneProblem(zone); why != "" {
			if !zoneName.MatchString(zone) || specfile.Known(at.Key("region")) {
				here.KeyProblem("%s", why)
			}
			continue
		}
		if !strings.Contains(c.Cloud.Subnets[zone], "/") {
			checkID(here, c.Cloud.Subnets[zone], listSubnets)
			continue
		}
		p, ok := c.Cloud.SubnetRange(zone)
		switch {
		case !ok || !p.Addr().Is4() || !p.Addr().IsPrivate():
			here.Problem("%q is neither the id of a subnet nor private IPv4 addresses for one (want one such as 10.128.0.0/24)", c.Cloud.Subnets[zone])
			continue
		case p.Masked() != p:
			here.Problem("%q has bits set behind the prefix (want %s)", p, p.Masked())
			continue
		case p.Bits() < 16 || p.Bits() > 28:
			here.Problem("%s (want /16 to /28, as the cloud has subnets)", p)
			continue
		}
		for _, other := range slices.Sorted(maps.Keys(made)) {
			if made[other].Overlaps(p) {
				here.Problem("%s overlaps that of zone %s (subnets of a network are apart)", p, other)
			}
		}
		made[zone] = p
	}
	if !specfile.Known(subnets) {
		return
	}
	if brings && len(made) > 0 {
		subnets.Problem("some are ids and some are addresses (want ids alone, for subnets that are there, or addresses alone, for some that are created)")
		return
	}
	if c.Cloud.Network != "" && c.Cloud.Network != Create {
		checkID(network, c.Cloud.Network, "yc vpc network list")
	}
	switch {
	case brings && c.Cloud.Network == Create:
		network.Problem("there is no network to create for subnets that are there (leave it out, or give its id)")
	case brings && c.Cloud.NATGateway:
		at.Key("nat_gateway").Problem("subnets that are there are never changed (leave it out, and give them a route to a NAT gateway yourself)")
	case brings && c.Cloud.Network == "" && c.Cloud.CreateSecurityGroups:
		at.Key("create_security_groups").Problem("needs the network (give its id as cloud.network, that of the subnets)")
	}
}

// checkPlaced reports a node whose zone has no subnet, or whose address is not
// in it.
func (c *Cluster) checkPlaced(here specfile.Place, n Node) {
	zone, address := here.Key("zone"), here.Key("address")
	if !specfile.Known(here.Root().Key("cloud").Key("subnets")) {
		return
	}
	if _, ok := c.Cloud.Subnets[n.Zone]; !ok {
		known := slices.Sorted(maps.Keys(c.Cloud.Subnets))
		switch why := c.zoneProblem(n.Zone); {
		case here.Root().Key("cloud").Key("subnets").Given() && len(known) > 0:
			zone.Problem("zone %q has no subnet (known from cloud.subnets: %s)", n.Zone, strings.Join(known, ", "))
		case why != "" && specfile.Known(here.Root().Key("cloud").Key("region")):
			zone.Problem("%s", why)
		}
		return
	}
	p, ok := c.Cloud.SubnetRange(n.Zone)
	if ok && n.Address.IsValid() && n.Address.Is4() && n.Address.IsPrivate() && !p.Contains(n.Address) {
		address.Problem("%s is not in the subnet of zone %s, which is %s (want one in it, or other addresses for cloud.subnets.%s)", n.Address, n.Zone, p, n.Zone)
	}
}

// mostSpread is how many machines a placement group holds (the limits of
// Compute Cloud).
const mostSpread = 5

// Together are the zones in which a role has several machines, which are to be
// spread: zone to how many.
func (c *Cluster) Together(g *Group) map[string]int {
	many := map[string]int{}
	for _, n := range g.Nodes() {
		many[n.Zone]++
	}
	maps.DeleteFunc(many, func(_ string, n int) bool { return n < 2 || c.Cloud.Placement != Spread })
	return many
}

func (c *Cluster) checkPlacement(at specfile.Place) {
	if cloud := at.Key("cloud"); !specfile.Known(cloud.Key("subnets"), cloud.Key("placement")) {
		return
	}
	for _, g := range c.Groups {
		together := c.Together(g)
		for _, zone := range slices.Sorted(maps.Keys(together)) {
			if n := together[zone]; n > mostSpread {
				at.Key("roles").Key(g.Name).Key("nodes").Problem("%d nodes in zone %s, and at most %d can be on different racks (want other zones, or cloud.placement: none)", n, zone, mostSpread)
			}
		}
	}
}

func (c *Cluster) checkMaintenance(at specfile.Place) {
	CheckRange(at.Key("grace_period"), c.Cloud.Maintenance.GracePeriod, specfile.Second, specfile.Minute, "%s (want 1s to 1m, as the cloud has it)")
}

// checkEntryPoint looks at what stands before the proxies.
func (c *Cluster) checkEntryPoint(at specfile.Place) {
	balancer, entry, zone := at.Key("load_balancer"), at.Key("entry_point"), at.Key("dns_zone")
	name := c.Cloud.EntryPoint
	if name != "" && (!domainName.MatchString(name) || !strings.Contains(name, ".") || len(name) > longestDomain) {
		entry.Problem("%q is no name of a host with its domain (want one such as db.example.net)", name)
	}
	if c.Cloud.DNSZone != "" && c.Cloud.DNSZone != Create {
		checkID(zone, c.Cloud.DNSZone, "yc dns zone list")
	}
	switch {
	case !specfile.Known(balancer, entry, zone):
	case !c.Balanced() && c.Cloud.DNSZone != "":
		zone.Problem("has a record for a load balancer, and there is none (leave it out, or want cloud.load_balancer internal or external)")
	case c.Balanced() && name == "":
		balancer.Problem("needs a name (give one as cloud.entry_point: clients verify the name that they connect to, and the load balancer's address is in no certificate)")
	case c.Cloud.DNSZone == Create && !c.Cloud.CreatesNetwork() && c.Cloud.Network == "" && specfile.Known(at.Key("subnets"), at.Key("network")):
		zone.Problem("needs the network (give its id as cloud.network, that of the subnets)")
	}
	if proxies := c.Offering(Proxy); c.Balanced() && len(proxies) < 2 && specfile.Known(balancer, at.Root().Key("roles")) {
		balancer.Problem("needs two proxies, and there is %d (want more nodes of a role that proxies, or none)", len(proxies))
	}
}
