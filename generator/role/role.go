// Package role is what the generator knows of a cluster and of a kind of
// machine in it, without knowing any kind by name.
package role

import (
	"io/fs"
	"net/netip"

	"pgha-gen/generator/specfile"
)

// Contract is the number that an image and user-data must share. It is raised
// when one of them needs something new of the other.
const Contract = 2

// Role is a kind of machine. It is added by adding its folder under roles/
// and one line to the list there, behind the roles that it uses.
type Role struct {
	Name    string       // its key under roles: in the spec
	Doc     string       // one sentence
	Files   fs.FS        // bake.sh, and rootfs/ with files at their real paths
	Offers  []Capability // what its machines do for those of other roles
	Uses    []Capability // what its machines connect to other roles' machines for
	Defects []Defects    // of components of its image, as far as known
	// Its part of the spec's reference: its name as the one key, below it
	// every key with its default and a sentence.
	Reference string
	// Its machines read a secret in Lockbox, with a service account.
	ReadsSecrets bool
	New          func(c *Cluster) Settings // its part of the spec with every default, for a cluster whose common part is known
}

// Settings is a role's part of the spec: a pointer to a struct that
// specfile.Decode fills, and that Common is embedded in.
type Settings interface {
	// Machines are those of the role, as the spec has them.
	Machines() Machines
	// Check reports what is wrong, at being the place of the role's part.
	Check(c *Cluster, at specfile.Place)
	// Plan is what follows from settings that Check found nothing wrong with.
	// The plans of the roles that this one uses are there already.
	Plan(c *Cluster) (*Plan, error)
}

// DefaultsDeriver is Settings with defaults that follow from other values of
// the same role, which it has by the time of the call.
type DefaultsDeriver interface{ DeriveDefaults() }

// Machines are a role's machines. All have the same hardware, since any of
// them may have to do the work of any other.
type Machines struct {
	Nodes []Node // in the order of the spec
	Compute
	DataDisk *Disk // of each; nil: they keep no data
}

// Common is what the part of every role has: machines of a kind, such as
// Machine, and nodes of a kind, such as Node.
type Common[M interface{ hardware() Machines }, N interface{ node() Node }] struct {
	Machine M   `yaml:"machine"`
	Members []N `yaml:"nodes,required"`
}

// Machines implements Settings.
func (c *Common[M, N]) Machines() Machines {
	m := c.Machine.hardware()
	m.Nodes = make([]Node, len(c.Members))
	for i, n := range c.Members {
		m.Nodes[i] = n.node()
	}
	return m
}

// Node is one machine.
type Node struct {
	Name    string     `yaml:"name,required"`
	Zone    string     `yaml:"zone,required"`
	Address netip.Addr `yaml:"address"`
}

// Host is how other machines reach the node: its address, or without one its
// name in the network's DNS.
func (n Node) Host(c *Cluster) string {
	if n.Address.IsValid() {
		return n.Address.String()
	}
	return c.FQDN(n.Name)
}

// DataDisk is the name of the node's data disk in the cloud.
func (n Node) DataDisk() string { return n.Name + "-data" }

func (n Node) node() Node { return n }
