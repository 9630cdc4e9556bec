// Package cloud plans what must exist in Yandex Cloud for a cluster.
package cloud

import (
	"cmp"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// Plan is all that must exist for a cluster. Each back end, such as that for
// yc, writes the same plan in its own words. What the spec has ids of is there
// already: it is checked, and never changed.
type Plan struct {
	Cluster string // marks everything that is created
	Folder  string
	Token   string  // permits machines to bootstrap the cluster
	Given   []Given // what is there already

	Network         *Network // what of the network is created; nil: nothing
	SecurityGroups  []*SecurityGroup
	Accounts        []*Account
	Secrets         []*Secret
	Payloads        []*Payload
	PlacementGroups []*PlacementGroup
	Machines        []*Machine
	Balancer        *Balancer // nil: there is none
	Bucket          *Bucket   // nil: there are no backups in the cloud's object storage
}

// Ref is something in the cloud: by its id, if the spec has that, or by the
// name that it is created with.
type Ref struct{ ID, Name string }

// Kind is a kind of what can be given.
type Kind string

// The kinds.
const (
	KindNetwork       Kind = "network"
	KindSubnet        Kind = "subnet"
	KindSecurityGroup Kind = "security group"
	KindAccount       Kind = "service account"
	KindSecret        Kind = "secret"
	KindZone          Kind = "zone"
	KindTargets       Kind = "target group"
	KindBalancer      Kind = "network load balancer"
	KindBucket        Kind = "bucket"
)

// Given is what the spec has the id of.
type Given struct {
	Kind Kind
	ID   string
	Key  string // of the spec
	Zone string // of a subnet
}

// Network is a network with its subnets.
type Network struct {
	Ref
	NAT     string // name of the NAT gateway and of the route to it; empty: there is none
	Subnets []Subnet
}

// Subnet is a subnet that is created.
type Subnet struct {
	Name, Zone string
	Range      netip.Prefix
}

// Account is the service account of a role's machines.
type Account struct{ Name, Role string }

// Secret is a Lockbox secret that is created, without its payload.
type Secret struct {
	Name, Role string
	Reader     Ref // the account that may read it, and nobody else
}

// Payload is what the secret of a role must hold, be it created or given.
type Payload struct {
	Role    string
	Secret  Ref
	Entries []string
}

// PlacementGroup spreads the machines of a role in a zone over racks.
type PlacementGroup struct{ Name, Role string }

// Machine is a machine, its boot disk, and its data disk.
type Machine struct {
	Name, Role, Zone    string
	Bootstraps          bool // it may bootstrap the cluster, if no other machine of its role is there
	Platform            string
	Cores, CoreFraction int
	Memory              specfile.Size
	Preemptible         bool
	Boot                role.Disk
	ImageFamily         string // of the boot disk
	Data                *Disk  // nil: it keeps no data
	Subnet              Ref
	Address             netip.Addr // not valid: the cloud chooses it
	SecurityGroups      []Ref
	Account             *Ref // whose token it gets; nil: none
	Secret              *Ref // whose id its metadata has; nil: user-data has it, or it needs none
	PlacementGroup      string
	Maintenance         Maintenance
}

// Disk is a data disk. It outlives its machine.
type Disk struct {
	Name string
	role.Disk
}

// Maintenance is what happens to a machine whose host is maintained.
type Maintenance struct {
	Policy string
	Grace  time.Duration
}

// New is the plan of a cluster, which has its roles' plans.
func New(c *role.Cluster) *Plan {
	p := &Plan{Cluster: c.Name, Folder: c.Cloud.FolderID, Token: c.Token()}
	p.given(c)
	p.Network = network(c)
	if c.Cloud.CreateSecurityGroups {
		for _, g := range c.Groups {
			p.SecurityGroups = append(p.SecurityGroups, securityGroup(c, g))
		}
	}
	for _, g := range c.WithSecrets() {
		account := Ref{c.Cloud.ServiceAccounts[g.Name], c.Named(g.Name)}
		if account.ID == "" {
			p.Accounts = append(p.Accounts, &Account{account.Name, g.Name})
		}
		if c.Secrets.Lockbox[g.Name] == "" {
			p.Secrets = append(p.Secrets, &Secret{c.Named(g.Name), g.Name, account})
		}
		p.Payloads = append(p.Payloads, payload(c, g))
	}
	for _, g := range c.Groups {
		for _, zone := range slices.Sorted(maps.Keys(c.Together(g))) {
			p.PlacementGroups = append(p.PlacementGroups, &PlacementGroup{placementGroup(c, g, zone), g.Name})
		}
	}
	for _, g := range c.Groups {
		for _, n := range g.Nodes() {
			p.Machines = append(p.Machines, machine(c, g, n))
		}
	}
	p.Balancer = balancer(c)
	p.Bucket = bucket(c)
	return p
}

func payload(c *role.Cluster, g *role.Group) *Payload {
	one := &Payload{Role: g.Name, Secret: Ref{ID: c.Secrets.Lockbox[g.Name]}}
	if one.Secret.ID == "" {
		one.Secret.Name = c.Named(g.Name)
	}
	for _, s := range g.Plan.Secrets {
		for _, n := range g.Nodes() {
			if entry := s.Entry(n.Name); !slices.Contains(one.Entries, entry) {
				one.Entries = append(one.Entries, entry)
			}
		}
	}
	return one
}

func (p *Plan) given(c *role.Cluster) {
	add := func(kind Kind, id, key, zone string) {
		if id != "" {
			p.Given = append(p.Given, Given{kind, id, key, zone})
		}
	}
	if c.Cloud.Network != role.Create {
		add(KindNetwork, c.Cloud.Network, "cloud.network", "")
	}
	for _, zone := range slices.Sorted(maps.Keys(c.Cloud.Subnets)) {
		id, _ := c.Cloud.SubnetID(zone)
		add(KindSubnet, id, "cloud.subnets."+zone, zone)
	}
	for _, id := range c.Cloud.SecurityGroups {
		add(KindSecurityGroup, id, "cloud.security_groups", "")
	}
	if c.Cloud.DNSZone != role.Create {
		add(KindZone, c.Cloud.DNSZone, "cloud.dns_zone", "")
	}
	for _, g := range c.WithSecrets() {
		add(KindAccount, c.Cloud.ServiceAccounts[g.Name], "cloud.service_accounts."+g.Name, "")
		add(KindSecret, c.Secrets.Lockbox[g.Name], "secrets.lockbox."+g.Name, "")
	}
	if b := bucket(c); b != nil && !b.Created {
		add(KindBucket, b.Name, "backup.bucket", "")
	}
}

func network(c *role.Cluster) *Network {
	n := &Network{Ref: Ref{ID: c.Cloud.Network}}
	if c.Cloud.CreatesNetwork() {
		n.Ref = Ref{Name: c.Name}
	}
	for _, zone := range slices.Sorted(maps.Keys(c.Cloud.Subnets)) {
		if addresses, ok := c.Cloud.SubnetRange(zone); ok {
			n.Subnets = append(n.Subnets, Subnet{subnetName(c, zone), zone, addresses})
		}
	}
	if c.Cloud.NATGateway {
		n.NAT = c.Name
	}
	if n.Ref == (Ref{}) {
		return nil
	}
	return n
}

func subnetName(c *role.Cluster, zone string) string { return c.Name + "-" + zone }

func placementGroup(c *role.Cluster, g *role.Group, zone string) string {
	return c.Named(g.Name) + "-" + zone[len(zone)-1:]
}

func machine(c *role.Cluster, g *role.Group, n role.Node) *Machine {
	m := g.Settings.Machines()
	one := &Machine{
		Name: n.Name, Role: g.Name, Zone: n.Zone, Bootstraps: g.Plan.Bootstraps,
		Platform: m.Platform, Cores: m.Cores, CoreFraction: m.CoreFraction, Memory: m.Memory, Preemptible: m.Preemptible,
		Boot: m.BootDisk, ImageFamily: c.ImageFamily(g.Name),
		Subnet: Ref{Name: subnetName(c, n.Zone)}, Address: n.Address,
		Maintenance: Maintenance{string(c.Cloud.Maintenance.Policy), time.Duration(c.Cloud.Maintenance.GracePeriod)},
	}
	if m.DataDisk != nil {
		one.Data = &Disk{n.DataDisk(), *m.DataDisk}
	}
	if id, ok := c.Cloud.SubnetID(n.Zone); ok {
		one.Subnet = Ref{ID: id}
	}
	for _, id := range c.Cloud.SecurityGroups {
		one.SecurityGroups = append(one.SecurityGroups, Ref{ID: id})
	}
	if c.Cloud.CreateSecurityGroups {
		one.SecurityGroups = append(one.SecurityGroups, Ref{Name: c.Named(g.Name)})
	}
	if g.ReadsSecrets {
		one.Account = &Ref{Name: c.Named(g.Name)}
		if id := c.Cloud.ServiceAccounts[g.Name]; id != "" {
			one.Account = &Ref{ID: id}
		}
		if c.Secrets.Lockbox[g.Name] == "" {
			one.Secret = &Ref{Name: c.Named(g.Name)}
		}
	}
	if c.Together(g)[n.Zone] > 0 {
		one.PlacementGroup = placementGroup(c, g, n.Zone)
	}
	return one
}

// Machine is the machine of this name, or nil.
func (p *Plan) Machine(name string) *Machine {
	for _, m := range p.Machines {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// Roles are the machines by role, in the order of the spec.
func (p *Plan) Roles() [][]*Machine {
	var all [][]*Machine
	for i, m := range p.Machines {
		if i == 0 || m.Role != p.Machines[i-1].Role {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], m)
	}
	return all
}

// Change is one of what is around machines in the cloud.
type Change struct {
	Name   string
	What   string // what happens, if there is more to say
	Before bool   // it can be made before machines are created; else behind that
}

// Changes are those around the machines of a role that is in both plans. They
// are made while the machines run.
func Changes(old, new *Plan, role string) []Change {
	var all []Change
	for _, after := range new.SecurityGroups {
		for _, before := range old.SecurityGroups {
			if after.Role == role && before.Name == after.Name && !reflect.DeepEqual(before.Rules, after.Rules) {
				all = append(all, Change{"security group " + after.Name, "", true})
			}
		}
	}
	if b := new.Bucket; b != nil && b.Created && b.Role == role && (old.Bucket == nil || *old.Bucket != *b) {
		all = append(all, Change{"bucket " + b.Name, "", true})
	}
	before, after := old.Balancer, new.Balancer
	switch of := cmp.Or(after, before); {
	case of == nil || new.Machine(of.Targets[0]) != nil && new.Machine(of.Targets[0]).Role != role || reflect.DeepEqual(before, after):
	case after == nil:
		all = append(all, Change{"load balancer " + of.Name, "delete it, once clients connect in another way", false})
	case before == nil || reflect.DeepEqual(before.fixed(), after.fixed()):
		all = append(all, Change{"load balancer " + of.Name, "", false})
	default:
		all = append(all, Change{"load balancer " + of.Name, "delete it first, since it is made anew; its address may be another one then", false})
	}
	return all
}

// fixed is what create.sh does not change of a load balancer that is there.
func (b *Balancer) fixed() Balancer {
	fixed := *b
	fixed.Targets, fixed.Record, fixed.EntryPoint = nil, nil, ""
	return fixed
}
