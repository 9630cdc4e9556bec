// Package cloud plans what must exist in Yandex Cloud for a cluster.
package cloud

import (
	"net/netip"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// Plan is all that must exist for a cluster. Each back end, such as that for
// yc, writes the same plan in its own words.
type Plan struct {
	Cluster  string // marks everything that is created
	Folder   string
	Token    string // permits machines to bootstrap the cluster
	Machines []*Machine
}

// Machine is a machine, its boot disk, and its data disk.
type Machine struct {
	Name, Role, Zone         string
	Bootstraps               bool // it may bootstrap the cluster, if no other machine of its role is there
	Platform                 string
	Cores, CoreFraction      int
	Memory                   specfile.Size
	Preemptible              bool
	Boot                     role.Disk
	ImageFamily              string // of the boot disk
	Data                     *Disk  // nil: it keeps no data
	Subnet                   string
	Address                  netip.Addr // not valid: the cloud chooses it
	SecurityGroups           []string
	Account                  string // whose token it gets; empty: none
	MaintenancePolicy, Grace string
}

// Disk is a data disk. It outlives its machine.
type Disk struct {
	Name string
	role.Disk
}

// New is the plan of a cluster, which has its roles' plans.
func New(c *role.Cluster) *Plan {
	p := &Plan{Cluster: c.Name, Folder: c.Cloud.FolderID, Token: c.Token()}
	for _, g := range c.Groups {
		m := g.Settings.Machines()
		for _, n := range m.Nodes {
			one := &Machine{
				Name: n.Name, Role: g.Name, Zone: n.Zone, Bootstraps: g.Plan.Bootstraps,
				Platform: m.Platform, Cores: m.Cores, CoreFraction: m.CoreFraction, Memory: m.Memory, Preemptible: m.Preemptible,
				Boot: m.BootDisk, ImageFamily: c.ImageFamily(g.Name),
				Subnet: c.Cloud.Subnets[n.Zone], Address: n.Address, SecurityGroups: c.Cloud.SecurityGroups,
				Account:           c.Cloud.ServiceAccounts[g.Name],
				MaintenancePolicy: "migrate", Grace: "60s",
			}
			if m.DataDisk != nil {
				one.Data = &Disk{n.DataDisk(), *m.DataDisk}
			}
			p.Machines = append(p.Machines, one)
		}
	}
	return p
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
