package role

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/netip"
	"slices"

	"pgha-gen/generator/specfile"
)

// Format is the format of the spec that this program reads.
const Format = "pgha/v1"

// Cluster is a checked spec with every default filled in.
type Cluster struct {
	Format     string            `yaml:"format,required"`
	Name       string            `yaml:"name,required"`
	Cloud      Cloud             `yaml:"cloud,required"`
	Access     Access            `yaml:"access,required"`
	Failover   Failover          `yaml:"failover"`
	Durability Durability        `yaml:"durability"`
	Targets    Targets           `yaml:"targets"`
	Backup     Backup            `yaml:"backup"`
	Restore    Restore           `yaml:"restore"`
	Secrets    Secrets           `yaml:"secrets"`
	Images     Images            `yaml:"images"`
	Roles      specfile.Deferred `yaml:"roles,required"`

	Groups   []*Group          `yaml:"-"` // the roles, in the program's order
	Warnings specfile.Problems `yaml:"-"` // what works and should still be known
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
	Region   string `yaml:"region"`
	Domain   string `yaml:"domain"`
	FolderID string `yaml:"folder_id,required"`
	// The network: its id, or Create. Empty: that of the subnets, or one that
	// is created with them.
	Network string `yaml:"network"`
	// Zone to the subnet's id, or to the addresses of one that is created.
	Subnets    map[string]string `yaml:"subnets"`
	NATGateway bool              `yaml:"nat_gateway"`
	// Role to the id of the account of its machines. Only roles that read
	// secrets have one. One that is not given is created.
	ServiceAccounts      map[string]string `yaml:"service_accounts"`
	SecurityGroups       []string          `yaml:"security_groups"`
	CreateSecurityGroups bool              `yaml:"create_security_groups"`
	Placement            Placement         `yaml:"placement"`
	Maintenance          Maintenance       `yaml:"maintenance"`
	LoadBalancer         LoadBalancer      `yaml:"load_balancer"`
	// The name by which clients connect. It is in the certificates of those
	// that they verify.
	EntryPoint string `yaml:"entry_point"`
	DNSZone    string `yaml:"dns_zone"` // of its record: an id, or Create; empty: it is made elsewhere
}

// LoadBalancer is the kind of network load balancer before proxies.
type LoadBalancer string

// The values of LoadBalancer.
const (
	NoBalancer LoadBalancer = "none"
	Internal   LoadBalancer = "internal" // with an address of the network
	External   LoadBalancer = "external" // with a public one
)

// Values are all of them.
func (LoadBalancer) Values() []string { return specfile.Values(NoBalancer, Internal, External) }

// Balanced says whether there is a load balancer before the proxies.
func (c *Cluster) Balanced() bool { return c.Cloud.LoadBalancer != NoBalancer }

// EntryPoints are the names by which clients connect beside those of machines.
func (c *Cluster) EntryPoints() []string {
	if c.Cloud.EntryPoint == "" {
		return nil
	}
	return []string{c.Cloud.EntryPoint}
}

// Targets are what the cluster must be able to do, by prediction.
type Targets struct {
	Failover specfile.Duration `yaml:"failover"` // the longest without a write; 0: no target
	LostRows int               `yaml:"lost_rows"`
}

// NoTarget is that of Targets.LostRows that anything meets.
const NoTarget = -1

// Placement is how machines that could fail together are placed.
type Placement string

// The values of Placement.
const (
	Spread   Placement = "spread" // those of a role in the same zone on different racks
	Anywhere Placement = "none"   // wherever there is room
)

// Values are all of them.
func (Placement) Values() []string { return specfile.Values(Spread, Anywhere) }

// Maintenance is what happens to a machine whose host is maintained.
type Maintenance struct {
	Policy      MaintenancePolicy `yaml:"policy"`
	GracePeriod specfile.Duration `yaml:"grace_period"` // between the announcement and that
}

// MaintenancePolicy is a policy of the cloud.
type MaintenancePolicy string

// The values of MaintenancePolicy.
const (
	Migrate MaintenancePolicy = "migrate" // to another host, while it runs
	Restart MaintenancePolicy = "restart" // on another host
)

// Values are all of them.
func (MaintenancePolicy) Values() []string { return specfile.Values(Migrate, Restart) }

// Secrets says where the secrets are; none is ever in the spec.
type Secrets struct {
	Lockbox map[string]string `yaml:"lockbox"` // role to secret id; one that is not given is created
	// The certificates of the authorities that the cluster trusts, in PEM.
	// They are no secret. Empty until they are made.
	CA specfile.Text `yaml:"ca"`
}

// Defaults is a cluster with every default that does not depend on another
// value of the spec.
func Defaults() *Cluster {
	return &Cluster{
		Cloud: Cloud{
			Region:          "ru-central1",
			Subnets:         map[string]string{},
			ServiceAccounts: map[string]string{},
			SecurityGroups:  []string{},
			Maintenance:     Maintenance{Policy: Migrate, GracePeriod: specfile.Minute},
			LoadBalancer:    NoBalancer,
		},
		Access:     Access{Operators: []netip.Prefix{}, Monitoring: []netip.Prefix{}},
		Failover:   Fast,
		Durability: Quorum,
		Targets:    Targets{LostRows: NoTarget},
		Backup:     defaultBackup(),
		Secrets:    Secrets{Lockbox: map[string]string{}},
		Images: Images{
			Builder:      Yandex,
			Architecture: AMD64,
			Base:         Base{Family: "ubuntu-2404-lts", User: "ubuntu"},
			Bake:         BakeMachine{DiskSize: 10 * specfile.GiB},
		},
	}
}

// DeriveDefaults fills in the defaults that follow from values of another
// reading of the same spec: the domain is the region's, and images are baked
// in a subnet of the cluster's. Packer makes a network for each bake that has
// none, and clouds have a quota of two. Who has subnets has what belongs to
// them, too; for all others it is created.
func (c *Cluster) DeriveDefaults(of *Cluster) {
	c.Cloud.Domain = of.Cloud.Region + ".internal"
	if of.Cloud.bringsSubnets() {
		c.Cloud.Placement = Anywhere
	} else {
		c.Cloud.NATGateway, c.Cloud.CreateSecurityGroups, c.Cloud.Placement = true, true, Spread
	}
	zone := of.Cloud.Region + "-a"
	if _, ok := of.Cloud.Subnets[zone]; !ok && len(of.Cloud.Subnets) > 0 {
		zone = slices.Min(slices.Collect(maps.Keys(of.Cloud.Subnets)))
	}
	c.Images.Bake.Zone = zone
	if of.Images.Bake.Zone != "" {
		zone = of.Images.Bake.Zone
	}
	c.Images.Bake.SubnetID, _ = of.Cloud.SubnetID(zone)
}

// WithSecrets are the groups whose machines read secrets.
func (c *Cluster) WithSecrets() []*Group {
	return c.groups(func(g *Group) bool { return g.ReadsSecrets })
}

// WithoutSecrets are the names of the other roles. Their machines know the
// authorities from the spec.
func (c *Cluster) WithoutSecrets() []string {
	return names(c.groups(func(g *Group) bool { return !g.ReadsSecrets }))
}

// Operator is the role whose operators the cluster has; nil if none has any.
func (c *Cluster) Operator() *Group {
	for _, g := range c.Groups {
		if g.Plan != nil && g.Plan.Operator != nil {
			return g
		}
	}
	return nil
}

func names(groups []*Group) []string {
	var all []string
	for _, g := range groups {
		all = append(all, g.Name)
	}
	return all
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

// Group is the role's group, or nil if the cluster does not have it.
func (c *Cluster) Group(role string) *Group {
	for _, g := range c.Groups {
		if g.Name == role {
			return g
		}
	}
	return nil
}

// FQDN is the name of a node in the DNS of the cloud's network.
func (c *Cluster) FQDN(node string) string { return node + "." + c.Cloud.Domain }

// Token is different for every cluster, also for one of the same name in
// another folder. It marks data disks, and keeps members of different
// clusters apart. It is no secret.
func (c *Cluster) Token() string { return token(c.Cloud.FolderID, c.Name) }

func token(folder, name string) string {
	sum := sha256.Sum256([]byte(folder + "/" + name))
	return name + "-" + hex.EncodeToString(sum[:4])
}

// ImageFamily is the family that the image of a role is published in.
func (c *Cluster) ImageFamily(role string) string { return c.Name + "-" + role }

// Named is what belongs to the machines of a role and is created for them: their
// account, secret and security group.
func (c *Cluster) Named(role string) string { return c.Name + "-" + role }

// SecretWords are the options by which yc finds the secret of a role.
func (c *Cluster) SecretWords(role string) []string {
	if id := c.Secrets.Lockbox[role]; id != "" {
		return []string{"--id", id}
	}
	return []string{"--folder-id", c.Cloud.FolderID, "--name", c.Named(role)}
}

// Failover is how fast a lost leader is replaced, in one word.
type Failover string

// The values of Failover.
const (
	Fast     Failover = "fast"
	Balanced Failover = "balanced"
	Safe     Failover = "safe"
)

// Values are all of them.
func (Failover) Values() []string { return specfile.Values(Fast, Balanced, Safe) }

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
func (Durability) Values() []string { return specfile.Values(Async, Sync, Strict, Quorum) }

// Architecture is a Debian architecture.
type Architecture string

// The values of Architecture; the cloud's own machines are amd64.
const (
	AMD64 Architecture = "amd64"
	ARM64 Architecture = "arm64"
)

// Values are all of them.
func (Architecture) Values() []string { return specfile.Values(AMD64, ARM64) }
