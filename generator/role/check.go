package role

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"pgha-gen/generator/specfile"
)

// Check reports everything that is wrong with the cluster as a whole: the
// common part, and what no role can see alone. at is the document's root.
func (c *Cluster) Check(at specfile.Place) {
	roles, secrets, cloud := at.Key("roles"), at.Key("secrets"), at.Key("cloud")
	if c.Format != Format {
		at.Key("format").Problem("unknown format %q (this program reads %s)", c.Format, Format)
	}
	if longest := LongestClusterName(names(c.Groups)...); !IsClusterName(c.Name, longest) {
		at.Key("name").Problem("%q cannot start host names and image families (want a to z, 0 to 9 and -, a letter first, at most %d characters)", c.Name, longest)
	}
	c.checkCloud(cloud)
	c.checkAccess(at.Key("access"))
	c.checkImages(at.Key("images"))
	targets := at.Key("targets")
	CheckRange(targets.Key("failover"), c.Targets.Failover, 0, specfile.Hour, "%s (want at most 1h, or 0s for no target)")
	CheckRange(targets.Key("lost_rows"), c.Targets.LostRows, NoTarget, 0, "%d (want 0, or -1 for no target: how many rows are in what may be lost, nobody knows)")
	c.checkBackup(at.Key("backup"))
	c.checkRestore(at.Key("restore"))
	if c.Secrets.CA != "" {
		if _, err := ParseCA(string(c.Secrets.CA)); err != nil {
			secrets.Key("ca").Problem("%v", err)
		}
	}
	if len(c.Groups) == 0 {
		if specfile.Known(roles) {
			roles.Problem("no role (give at least one)")
		}
		return
	}
	c.checkIDs(secrets.Key("lockbox"), c.Secrets.Lockbox, "secret", "reads no secret", "yc lockbox secret list")
	// With one account for two roles, a machine of either could read both
	// secrets.
	c.checkIDs(cloud.Key("service_accounts"), c.Cloud.ServiceAccounts, "account", "needs no service account", "yc iam service-account list")
	c.checkNodes(roles)
	c.checkPlacement(at)
	c.checkEntryPoint(cloud)
	for _, g := range c.Groups {
		here := roles.Key(g.Name)
		c.checkMachine(here.Key("machine"), g.Settings.Machines())
		g.Settings.Check(c, here)
	}
}

func (c *Cluster) checkCloud(at specfile.Place) {
	regionName.check(at.Key("region"), c.Cloud.Region)
	region := regionName.MatchString(c.Cloud.Region)
	// What follows from a wrong region by default is not a problem of its
	// own.
	if domain := c.Cloud.Domain; (region || at.Key("domain").Given()) && (!domainName.MatchString(domain) || len(domain) > longestDomain) {
		at.Key("domain").Problem("%s", domainName.refusal(domain))
	}
	checkID(at.Key("folder_id"), c.Cloud.FolderID, "yc resource-manager folder list")
	for i, id := range c.Cloud.SecurityGroups {
		checkID(at.Key("security_groups").Index(i), id, "yc vpc security-group list")
	}
	if n := len(c.Cloud.SecurityGroups); n > 5 {
		at.Key("security_groups").Problem("%d security groups (want at most 5, all that a network interface can have)", n)
	}
	if n := len(c.Cloud.SecurityGroups); n == 5 && c.Cloud.CreateSecurityGroups {
		at.Key("security_groups").Problem("5 security groups, and one is created (want at most 5 together, or create_security_groups: false)")
	}
	c.checkNetwork(at)
	c.checkMaintenance(at.Key("maintenance"))
}

// checkIDs looks at the ids of what each role that reads secrets has one of.
// what says what that is, none what a role does that has none, and list is the
// command that shows the ids. One that is not given is created.
func (c *Cluster) checkIDs(at specfile.Place, ids map[string]string, what, none, list string) {
	owners := map[string]string{}
	var known []string
	for _, g := range c.Groups {
		id, given := ids[g.Name]
		here := at.Key(g.Name)
		switch {
		case !g.ReadsSecrets && given:
			here.KeyProblem("role %s %s (leave it out)", g.Name, none)
			continue
		case !g.ReadsSecrets:
			continue
		case given:
			checkID(here, id, list)
		}
		known = append(known, g.Name)
		if owner := owners[id]; given && owner != "" && cloudID.MatchString(id) {
			here.Problem("%q is the %s of role %s already (want one for each role: a machine must read the secret of its own role alone)", id, what, owner)
		}
		owners[id] = g.Name
	}
	for _, name := range slices.Sorted(maps.Keys(ids)) {
		if c.Group(name) == nil && specfile.Known(at.Root().Key("roles").Key(name)) {
			at.Key(name).Unknown("role of this cluster", known)
		}
	}
}

// checkNodes looks at all machines together, whatever their role.
func (c *Cluster) checkNodes(at specfile.Place) {
	hosts, addresses := map[string]string{}, map[netip.Addr]string{} // each to where it is
	for _, g := range c.Groups {
		list := at.Key(g.Name).Key("nodes")
		if len(g.Nodes()) == 0 {
			list.Problem("no node (give at least one)")
		}
		for i, n := range g.Nodes() {
			here := list.Index(i)
			name, address := here.Key("name"), here.Key("address")
			if !IsClusterName(n.Name, longestHost) {
				name.Problem("%q is no host name (want a to z, 0 to 9 and -, a letter first, at most %d characters)", n.Name, longestHost)
			}
			if other := hosts[n.Name]; other != "" {
				name.Problem("%q is the name of %s already (names are unique in the cluster)", n.Name, other)
			}
			hosts[n.Name] = cmp.Or(hosts[n.Name], here.String())
			c.checkPlaced(here, n)
			if !n.Address.IsValid() {
				continue
			}
			if other := addresses[n.Address]; other != "" {
				address.Problem("%s is the address of %s already (addresses are unique)", n.Address, other)
			}
			addresses[n.Address] = cmp.Or(addresses[n.Address], here.String())
			checkAddress(address, n.Address)
		}
	}
}

func checkAddress(at specfile.Place, a netip.Addr) {
	if !a.Is4() || !a.IsPrivate() {
		at.Problem("%s is no private IPv4 address (the cloud's subnets have only those)", a)
		return
	}
	switch a.As4()[3] {
	case 1, 2:
		at.Problem("%s belongs to the cloud (.1 is a subnet's gateway, .2 its DNS)", a)
	case 0, 255:
		at.Problem("%s is a network's own address (want a host's)", a)
	}
}
