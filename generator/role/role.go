// Package role is what the generator knows of a cluster and of a kind of
// machine in it, without knowing any kind by name.
package role

import (
	"io/fs"
	"net/netip"

	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/emit"
	"pgha-gen/generator/spec"
)

// Contract is the number that an image and user-data must share. It rises when
// one of them starts to need something of the other.
const Contract = 2

// MetricsPort is where each machine gives out what it knows of itself.
const MetricsPort = 9190

// Role is a kind of machine. It is added by adding its folder under roles/ and
// one line to the command's list.
type Role struct {
	Name  string                    // its key under roles: in the spec
	Doc   string                    // one sentence
	Files fs.FS                     // bake.sh, and rootfs/ with files at their real paths
	New   func(c *Cluster) Settings // its part of the spec with every default, for a cluster whose common part is known
}

// Settings is a role's part of the spec. It is a pointer to a struct that
// spec.Decode fills.
type Settings interface {
	// Nodes are the machines of the role, in the order of the spec.
	Nodes() []Node
	// Hardware is what each machine of the role has.
	Hardware() Machine
	// Check reports what is wrong, at being the place of the role's part.
	Check(c *Cluster, at spec.Place)
	// Bake is the environment of the role's bake.sh.
	Bake(c *Cluster) emit.Map
	// Boot is what the role adds to the user-data of its machines.
	Boot(c *Cluster) (*cloudinit.Config, error)
	// Service is what the shared boot steps need to know of the role.
	Service(c *Cluster) Service
	// Advisories are known defects of a version of one of the image's components,
	// the worst first and at the end what to do, as ends of a sentence that starts
	// with both.
	Advisories(component, version string) []string
	// Guide is what a person should know of the role in this cluster.
	Guide(c *Cluster) Guide
}

// Follower is Settings with defaults that follow from other values of the same
// role, which it has by the time of the call.
type Follower interface{ Follow() }

// Judged is Settings that let a program check what they add to its configuration.
type Judged interface {
	Judge(c *Cluster) (Judge, error)
}

// Judge is a check of files by the program that they are for. It has no Program if
// there is nothing to check.
type Judge struct {
	Program []string                                    // and its arguments, run in a folder with the files
	Files   map[string][]byte                           // by name
	Main    string                                      // the file that it names lines of
	Place   func(at spec.Place, line string) spec.Place // where the role's part of the spec has such a line
}

// Service tells the boot steps, which all roles share, about one role.
type Service struct {
	Unit     string   // the systemd unit that the machine is for
	User     string   // who owns the secrets
	Data     string   // where the data disk is mounted; empty: the role has none
	Requires []string // what the image must have, such as name>=1.2
	Exact    []string // what the spec asks for exactly, such as name=1.2; a distribution may append to it
	Secrets  []Secret // what the machine needs of Lockbox
	Founds   bool     // its machines found the cluster, if they are told that they may
	Ports    []Port   // where its machines listen
	Env      emit.Map // what the role's own scripts need beside that, as PGHA_* variables
}

// Secret is one file below /run/pgha/secrets. Its Lockbox entry is named
// <node>.<File> if every node has its own, else just File.
type Secret struct {
	File       string
	Own        bool // each node has its own
	Kind       SecretKind
	CommonName string   // of a Certificate; empty: none
	Behind     []Node   // of a Certificate: machines that pass clients on, whose names it is good for, too
	Variables  []string // of an Environment: each gets a password
}

// SecretKind says what a secret is, and so how it is made.
type SecretKind int

// The kinds of secrets. A certificate x.crt always has its key, x.key, beside it.
const (
	Authority   SecretKind = iota // the certificate of the cluster's own authority
	Certificate                   // signed by it, for a server and a client
	Key                           // the private key of the certificate of the same name
	Password                      // one password
	Environment                   // variables with a password each, as systemd reads them
)

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

// Machine is the virtual hardware of a role's machines. All are alike: any of
// them may have to do the work of any other.
type Machine struct {
	Stateless
	DataDisk Disk `yaml:"data_disk"`
}

// Stateless is a machine that keeps no data.
type Stateless struct {
	Platform     string    `yaml:"platform"`
	Cores        int       `yaml:"cores"`
	CoreFraction int       `yaml:"core_fraction"`
	Memory       spec.Size `yaml:"memory"`
	BootDisk     Disk      `yaml:"boot_disk"`
	Preemptible  bool      `yaml:"preemptible"`
}

// Disk is a network disk.
type Disk struct {
	Type DiskType  `yaml:"type"`
	Size spec.Size `yaml:"size"`
}

// Guide is a role's part of the cluster's README.
type Guide struct {
	Facts []Fact
	Try   []Fact // what a person tries once the cluster runs, and the command, run where the spec is
	Fixed []Fact // keys of the spec that a cluster takes when it is founded, and what of them; it never takes them again
}

// Port is a TCP port that a machine listens on, and the machine's firewall opens.
type Port struct {
	Number int
	For    string   // who connects to it, for what
	From   []string // networks, and names of machines that have no address; nobody else is let in
	Limit  int      // how many connections one address may hold; 0: any number
}

// Fact is something that a person wants to know before it happens.
type Fact struct{ Name, Value string }
