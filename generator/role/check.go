package role

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"pgha-gen/generator/spec"
)

// The cloud's limits (yandex/cloud/compute/v1/instance_service.proto and the
// table of quotas and limits of Compute Cloud).
const (
	largest        = 4 * spec.TiB  // disk; no platform has more memory
	leastBoot      = 5 * spec.GiB  // an image has 3 to 4
	unitReplicated = 93 * spec.GiB // allocation unit of the two fast disk types
	longestName    = 58            // a disk's 63, less what the data disk's name adds to the node's
	longestFamily  = 48            // an image's 63, less the time that the bake adds to its family
)

var (
	// Of a host, too, narrower than the cloud's own pattern: no underscore, which
	// neither DNS names nor certificates can hold.
	clusterName = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)
	zoneName    = regexp.MustCompile(`^[a-z]{2}[-a-z0-9]*-[a-z]$`)
	regionName  = regexp.MustCompile(`^[a-z][-a-z0-9]{0,38}[a-z0-9]$`)
	domainName  = regexp.MustCompile(`^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)*[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	cloudID     = regexp.MustCompile(`^[a-z0-9][-a-z0-9]{1,49}$`)
	familyName  = regexp.MustCompile(`^[a-z][-a-z0-9]{1,61}[a-z0-9]$`)
	userName    = regexp.MustCompile(`^[a-z_][-a-z0-9_]{0,31}$`)
	sha256Form  = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// Check reports everything that is wrong with the cluster as a whole: the
// common part, and what no role can see alone. at is the document's root.
func (c *Cluster) Check(at spec.Place) {
	roles := at.Key("roles")
	if c.Format != Format {
		at.Key("format").Problem("unknown format %q (this program reads %s)", c.Format, Format)
	}
	if longest := c.longestClusterName(); !IsClusterName(c.Name, longest) {
		at.Key("name").Problem("%q cannot start host names and image families (want a to z, 0 to 9 and -, a letter first, at most %d characters)", c.Name, longest)
	}
	c.checkCloud(at.Key("cloud"))
	c.checkAccess(at.Key("access"))
	c.checkImages(at.Key("images"))
	c.checkCA(at.Key("secrets").Key("ca"))
	if len(c.Groups) == 0 {
		if spec.Known(roles) {
			roles.Problem("no role (give at least one)")
		}
		return
	}
	lockbox, accounts := at.Key("secrets").Key("lockbox"), at.Key("cloud").Key("service_accounts")
	c.checkIDs(lockbox, c.Secrets.Lockbox, "the id of the Lockbox secret for these machines", "reads no secret", "yc lockbox secret list")
	c.checkDistinct(lockbox, c.Secrets.Lockbox, "secret")
	// With one account for two roles, a machine of either could read both secrets.
	c.checkIDs(accounts, c.Cloud.ServiceAccounts, "the id of the service account of these machines", "needs no service account", "yc iam service-account list")
	c.checkDistinct(accounts, c.Cloud.ServiceAccounts, "account")
	c.checkNodes(roles)
	for _, p := range c.Groups {
		here := roles.Key(p.Name)
		c.checkMachine(here.Key("machine"), p.Settings.Machines())
		p.Settings.Check(c, here)
	}
}

func (c *Cluster) checkCloud(at spec.Place) {
	region := regionName.MatchString(c.Cloud.Region)
	if !region {
		at.Key("region").Problem("%q is no region (want one such as ru-central1)", c.Cloud.Region)
	}
	// What follows from a wrong region by default is not a problem of its own.
	if (region || at.Key("domain").Given()) && (!domainName.MatchString(c.Cloud.Domain) || len(c.Cloud.Domain) > 189) {
		at.Key("domain").Problem("%q is no DNS domain (want one such as ru-central1.internal)", c.Cloud.Domain)
	}
	checkID(at.Key("folder_id"), c.Cloud.FolderID, "yc resource-manager folder list")
	for i, id := range c.Cloud.SecurityGroups {
		checkID(at.Key("security_groups").Index(i), id, "yc vpc security-group list")
	}
	if n := len(c.Cloud.SecurityGroups); n > 5 {
		at.Key("security_groups").Problem("%d security groups (want at most 5, all that a network interface can have)", n)
	}
	if len(c.Cloud.Subnets) == 0 {
		at.Key("subnets").Problem("no subnet (give one for each zone with nodes, as zone: id)")
	}
	for _, zone := range sortedKeys(c.Cloud.Subnets) {
		switch {
		case !zoneName.MatchString(zone):
			at.Key("subnets").Key(zone).KeyProblem("%q is no availability zone (want one such as ru-central1-a)", zone)
			continue
		case region && spec.Known(at.Key("region")) && !strings.HasPrefix(zone, c.Cloud.Region+"-"):
			at.Key("subnets").Key(zone).KeyProblem("zone %q is not in region %q (its name would start with %s-)", zone, c.Cloud.Region, c.Cloud.Region)
		}
		checkID(at.Key("subnets").Key(zone), c.Cloud.Subnets[zone], listSubnets)
	}
}

// Placeholder ends what stands for an id that a person has yet to put in.
const Placeholder = "..."

const listSubnets = "yc vpc subnet list"

// checkID looks at an id of the cloud; list is the command that shows them.
func checkID(at spec.Place, id, list string) {
	switch {
	case strings.HasSuffix(id, Placeholder):
		at.Problem("%q is not filled in (put in the id, as this shows it: %s)", id, list)
	case !cloudID.MatchString(id):
		at.Problem("%q is no id of the cloud (want one such as b1gexample)", id)
	}
}

func (c *Cluster) checkAccess(at spec.Place) {
	if len(c.Access.Clients) == 0 {
		at.Key("clients").Problem("no network (give those that may reach PostgreSQL)")
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

// checkDistinct wants another id for each role.
func (c *Cluster) checkDistinct(at spec.Place, ids map[string]string, what string) {
	of := map[string]string{}
	for _, p := range c.Groups {
		id := ids[p.Name]
		if other, taken := of[id]; taken && cloudID.MatchString(id) {
			at.Key(p.Name).Problem("%q is the %s of role %s already (want one for each role: a machine must read the secret of its own role alone)", id, what, other)
		}
		of[id] = p.Name
	}
}

// checkIDs looks at an id for each role that reads secrets.
func (c *Cluster) checkIDs(at spec.Place, ids map[string]string, what, none, list string) {
	var known, without []string
	for _, p := range c.Groups {
		if !p.ReadsSecrets {
			without = append(without, p.Name)
			continue
		}
		known = append(known, p.Name)
		if id, ok := ids[p.Name]; ok {
			checkID(at.Key(p.Name), id, list)
		} else {
			at.Key(p.Name).Problem("missing (%s)", what)
		}
	}
	for _, role := range sortedKeys(ids) {
		switch {
		case slices.Contains(without, role):
			at.Key(role).KeyProblem("role %s %s (leave it out)", role, none)
		case !slices.Contains(known, role) && spec.Known(at.Root().Key("roles").Key(role)):
			at.Key(role).Unknown("role of this cluster", known)
		}
	}
}

func (c *Cluster) checkCA(at spec.Place) {
	if c.Secrets.CA == "" {
		return
	}
	if _, err := ParseCA(string(c.Secrets.CA)); err != nil {
		at.Problem("%v", err)
	}
}

// checkNodes looks at all machines together, whatever their role.
func (c *Cluster) checkNodes(at spec.Place) {
	names := map[string]string{} // node to where it is
	addresses := map[string]string{}
	for _, p := range c.Groups {
		nodes := p.Nodes()
		list := at.Key(p.Name).Key("nodes")
		if len(nodes) == 0 {
			list.Problem("no node (give at least one)")
		}
		for i, n := range nodes {
			here := list.Index(i)
			name := here.Key("name")
			if !IsClusterName(n.Name, longestName) {
				name.Problem("%q is no host name (want a to z, 0 to 9 and -, a letter first, at most %d characters)", n.Name, longestName)
			}
			if other, taken := names[n.Name]; taken {
				name.Problem("%q is the name of %s already (names are unique in the cluster)", n.Name, other)
			} else {
				names[n.Name] = here.String()
			}
			if _, ok := c.Cloud.Subnets[n.Zone]; !ok && len(c.Cloud.Subnets) > 0 {
				here.Key("zone").Problem("zone %q has no subnet (known from cloud.subnets: %s)", n.Zone, strings.Join(sortedKeys(c.Cloud.Subnets), ", "))
			}
			if !n.Address.IsValid() {
				continue
			}
			address := here.Key("address")
			if other, taken := addresses[n.Address.String()]; taken {
				address.Problem("%s is the address of %s already (addresses are unique)", n.Address, other)
			} else {
				addresses[n.Address.String()] = here.String()
			}
			switch {
			case !n.Address.Is4() || !n.Address.IsPrivate():
				address.Problem("%s is no private IPv4 address (the cloud's subnets have only those)", n.Address)
			case n.Address.As4()[3] == 1 || n.Address.As4()[3] == 2:
				address.Problem("%s belongs to the cloud (.1 is a subnet's gateway, .2 its DNS)", n.Address)
			case n.Address.As4()[3] == 0 || n.Address.As4()[3] == 255:
				address.Problem("%s is a network's own address (want a host's)", n.Address)
			}
		}
	}
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// IsClusterName says whether a cluster can have the name, if it can have names
// of at most this length.
func IsClusterName(name string, longest int) bool {
	return len(name) <= longest && clusterName.MatchString(name)
}

// longestClusterName follows from the roles that the cluster has: their names
// end those of image families.
func (c *Cluster) longestClusterName() int {
	var names []string
	for _, p := range c.Groups {
		names = append(names, p.Name)
	}
	return LongestClusterName(names...)
}

// LongestClusterName is how long the name of a cluster with these roles can be.
func LongestClusterName(roles ...string) int {
	longest := longestFamily
	for _, role := range roles {
		longest = min(longest, longestFamily-len((&Cluster{}).ImageFamily(role)))
	}
	return longest
}
