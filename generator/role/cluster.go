package role

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"

	"pgha-gen/generator/spec"
)

// Format is the format of the spec that this program reads.
const Format = "pgha/v1"

// Cluster is a spec as understood: every default filled in, and nothing wrong.
type Cluster struct {
	Format     string         `yaml:"format,required"`
	Name       string         `yaml:"name,required"`
	Cloud      Cloud          `yaml:"cloud,required"`
	Access     Access         `yaml:"access,required"`
	Failover   Failover       `yaml:"failover"`
	Durability Durability     `yaml:"durability"`
	Secrets    Secrets        `yaml:"secrets,required"`
	Images     Images         `yaml:"images"`
	Roles      spec.Elsewhere `yaml:"roles,required"`

	Groups   []*Group      `yaml:"-"` // the roles, in the program's order
	Warnings spec.Problems `yaml:"-"` // what works and should still be known
}

// Group is the machines of a role in this cluster.
type Group struct {
	*Role
	Settings Settings
	Plan     *Plan // nil before Cluster.Plan
}

// Nodes are the group's machines, in the order of the spec.
func (g *Group) Nodes() []Node { return g.Settings.Machines().Nodes }

// Cloud is where the cluster lives.
type Cloud struct {
	Region   string            `yaml:"region"`
	Domain   string            `yaml:"domain"`
	FolderID string            `yaml:"folder_id,required"`
	Subnets  map[string]string `yaml:"subnets,required"`
	// Role to the id of the account of its machines. Only roles that read
	// secrets have one.
	ServiceAccounts map[string]string `yaml:"service_accounts,required"`
	SecurityGroups  []string          `yaml:"security_groups"`
}

// Access is who may reach the machines from outside of the cluster.
type Access struct {
	Clients    []netip.Prefix `yaml:"clients,required"` // of the databases
	Operators  []netip.Prefix `yaml:"operators"`        // who administer the cluster
	Monitoring []netip.Prefix `yaml:"monitoring"`       // who read metrics
}

// Secrets says where the secrets are; none is ever in the spec.
type Secrets struct {
	Lockbox map[string]string `yaml:"lockbox,required"` // role to secret id
	// The certificates of the authorities that the cluster trusts, in PEM. They
	// are no secret. Empty until they are made.
	CA spec.Text `yaml:"ca"`
}

// Defaults is a cluster with every default that does not depend on another
// value of the spec.
func Defaults() *Cluster {
	return &Cluster{
		Cloud: Cloud{
			Region:         "ru-central1",
			SecurityGroups: []string{},
		},
		Access:     Access{Operators: []netip.Prefix{}, Monitoring: []netip.Prefix{}},
		Failover:   Fast,
		Durability: Quorum,
		Images: Images{
			Builder:      Yandex,
			Architecture: AMD64,
			Base:         Base{Family: "ubuntu-2404-lts", User: "ubuntu"},
			Bake:         BakeMachine{DiskSize: 10 * spec.GiB},
		},
	}
}

// DeriveDefaults fills in the defaults that follow from values of another reading
// of the same spec: the domain is the region's, and images are baked in a subnet
// of the cluster's. Packer makes a network for each bake that has none, and clouds have
// a quota of two.
func (c *Cluster) DeriveDefaults(of *Cluster) {
	c.Cloud.Domain = of.Cloud.Region + ".internal"
	zone := of.Cloud.Region + "-a"
	if _, ok := of.Cloud.Subnets[zone]; !ok && len(of.Cloud.Subnets) > 0 {
		zone = sortedKeys(of.Cloud.Subnets)[0]
	}
	c.Images.Bake.Zone = zone
	if of.Images.Bake.Zone != "" {
		zone = of.Images.Bake.Zone
	}
	c.Images.Bake.SubnetID = of.Cloud.Subnets[zone]
}

// metricsConnections is half of what metrics.py serves at a time.
const metricsConnections = 4

// WithSecrets are the groups whose machines read secrets.
func (c *Cluster) WithSecrets() []*Group {
	return c.groups(func(g *Group) bool { return g.ReadsSecrets })
}

// WithoutSecrets are the names of the other roles. Their machines know the
// authorities from the spec.
func (c *Cluster) WithoutSecrets() []string {
	var names []string
	for _, g := range c.groups(func(g *Group) bool { return !g.ReadsSecrets }) {
		names = append(names, g.Name)
	}
	return names
}

// Group is the role's group, or nil if the cluster does not have it.
func (c *Cluster) Group(role string) *Group {
	for _, g := range c.Groups {
		if g.Name == role {
			return g
		}
	}
	return nil
}

// Offers says whether a role of the cluster offers a capability.
func (c *Cluster) Offers(what Capability) bool { return len(c.offering(what)) > 0 }

// Offering are the machines that offer a capability.
func (c *Cluster) Offering(what Capability) []Node { return nodes(c.offering(what)) }

// Using are the machines of other roles that use a capability.
func (c *Cluster) Using(what Capability) []Node {
	return nodes(c.groups(func(g *Group) bool { return slices.Contains(g.Uses, what) }))
}

// DCS is the cluster's DCS as its role has planned it; nil if there is none.
func (c *Cluster) DCS() *DCSOffer { return offer(c, DCS, func(p *Plan) *DCSOffer { return p.DCS }) }

// Database is the cluster's database as its role has planned it; nil if there is
// none.
func (c *Cluster) Database() *DatabaseOffer {
	return offer(c, Database, func(p *Plan) *DatabaseOffer { return p.Database })
}

// Proxy is the first of the cluster's proxies as its role has planned it; nil if
// there is none.
func (c *Cluster) Proxy() *ProxyOffer {
	return offer(c, Proxy, func(p *Plan) *ProxyOffer { return p.Proxy })
}

func offer[O any](c *Cluster, what Capability, of func(*Plan) *O) *O {
	for _, g := range c.offering(what) {
		if g.Plan != nil {
			return of(g.Plan)
		}
	}
	return nil
}

func (c *Cluster) offering(what Capability) []*Group {
	return c.groups(func(g *Group) bool { return slices.Contains(g.Offers, what) })
}

func (c *Cluster) groups(which func(*Group) bool) []*Group {
	var all []*Group
	for _, g := range c.Groups {
		if which(g) {
			all = append(all, g)
		}
	}
	return all
}

func nodes(groups []*Group) []Node {
	var all []Node
	for _, g := range groups {
		all = append(all, g.Nodes()...)
	}
	return all
}

// Sources are nodes as a firewall names them: their addresses, or their names in
// the network's DNS.
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

// FQDN is the name of a node in the DNS of the cloud's network.
func (c *Cluster) FQDN(node string) string { return node + "." + c.Cloud.Domain }

// Token tells this cluster from every other, past ones of the same name in
// other folders included. It marks data disks, and keeps apart what speaks to
// each other; it is no secret.
func (c *Cluster) Token() string {
	sum := sha256.Sum256([]byte(c.Cloud.FolderID + "/" + c.Name))
	return c.Name + "-" + hex.EncodeToString(sum[:4])
}

// ImageFamily is the family that the image of a role is published in.
func (c *Cluster) ImageFamily(role string) string { return c.Name + "-" + role }

// Failover is how fast a lost leader is replaced, in one word.
type Failover string

// The values of Failover.
const (
	Fast     Failover = "fast"
	Balanced Failover = "balanced"
	Safe     Failover = "safe"
)

// Values are all of them.
func (Failover) Values() []string { return []string{"fast", "balanced", "safe"} }

// Durability is what an acknowledged commit survives.
type Durability string

// The values of Durability.
const (
	Async  Durability = "async"  // the leader's disk
	Sync   Durability = "sync"   // and one standby's, while there is one
	Strict Durability = "strict" // and one standby's; without one, writes wait
	Quorum Durability = "quorum" // and any one standby's, while there is one
)

// Values are all of them.
func (Durability) Values() []string { return []string{"async", "sync", "strict", "quorum"} }

// Architecture is a Debian architecture.
type Architecture string

// The values of Architecture; the cloud's own machines are amd64.
const (
	AMD64 Architecture = "amd64"
	ARM64 Architecture = "arm64"
)

// Values are all of them.
func (Architecture) Values() []string { return []string{"amd64", "arm64"} }

// DiskType is a type of network disk in the cloud.
type DiskType string

// The values of DiskType.
const (
	HDD           DiskType = "network-hdd"
	SSD           DiskType = "network-ssd"
	NonReplicated DiskType = "network-ssd-nonreplicated"
	IOM3          DiskType = "network-ssd-io-m3"
)

// Values are all of them.
func (DiskType) Values() []string {
	return []string{string(HDD), string(SSD), string(NonReplicated), string(IOM3)}
}
