package role

import (
	"fmt"
	"slices"

	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/effect"
	"pgha-gen/generator/emit"
)

// Plan is what a role does in one cluster. All that is written for its
// machines is made of it.
type Plan struct {
	// The image.
	Bake     emit.Map // the environment of the role's bake.sh
	Requires []string // what the image must have, such as name>=1.2
	Exact    []string // what the spec asks for exactly, such as name=1.2; a distribution may append to it

	// The machines.
	Unit       string           // the systemd unit that they are for
	User       string           // who owns the secrets
	DataMount  string           // where the data disk is mounted, if there is one
	Bucket     string           // of object storage, that they read and write; empty: none
	Bootstraps bool             // they bootstrap the cluster, if they are told that they may
	Secrets    []Secret         // what they need of Lockbox
	Operator   *Operator        // what a person needs who administers what they run; nil: nothing
	Ports      []Port           // where they listen
	Env        emit.Map         // what the role's own scripts need beside that, as PGHA_* variables
	Files      []cloudinit.File // the role's own, for the user-data
	Lacks      string           // why there can be no user-data yet; empty: there can
	Effects    effect.Rules     // of what the lists of the image do not know; they come before those

	// What a person should know.
	Outages []Outage // as far as the role knows: Cluster.Outages has the proxy's part, too
	Expect  []Expectation
	Try     []Trial
	// What happens when the spec has a new node, has one no more, or has other
	// machines or another image: parts of a sentence.
	Joins, Leaves, Replaced string
	Judge                   *Judge // nil: there is nothing to check

	// What the other roles should know, if the role offers it.
	DCS      *DCSOffer
	Database *DatabaseOffer
	Proxy    *ProxyOffer
}

// Secret is one file below /run/pgha/secrets. Its Lockbox entry is named
// <node>.<File> if every node has its own, else just File.
type Secret struct {
	File       string
	PerNode    bool // each node has its own
	Kind       SecretKind
	CommonName string    // of a Certificate; empty: none
	ProxiedBy  []Node    // of a Certificate: machines that pass clients on, whose names it is good for, too
	Names      []string  // of a Certificate: further names that it is good for
	Variables  []string  // of an Environment: each gets a password
	CopyOf     *SecretOf // of a Passphrase: another cluster has made it; nil: this one makes it
}

// SecretOf is an entry of a secret of another cluster.
type SecretOf struct{ Cluster, Entry string }

// Entry is the name of the secret's entry in Lockbox for a node.
func (s Secret) Entry(node string) string {
	if s.PerNode {
		return node + "." + s.File
	}
	return s.File
}

// SecretKind says what a secret is, and so how it is made.
type SecretKind int

// The kinds of secrets. A certificate x.crt always has its key, x.key, beside
// it.
const (
	CA          SecretKind = iota // the certificate of the cluster's own authority
	Certificate                   // signed by it, for a server and a client
	Key                           // the private key of the certificate of the same name
	Password                      // one password
	Environment                   // variables with a password each, as systemd reads them
	Passphrase                    // made once, and kept for as long as there is anything encrypted with it
)

// PassphraseSuffix is what the files of all Passphrases end in, and no others.
const PassphraseSuffix = ".passphrase"

// Operator is what a person has who administers what a role runs.
type Operator struct {
	User      string // the common name of the certificate
	Passwords []OperatorPassword
}

// OperatorPassword is the file of a password that machines have too, as a
// variable of one of their secrets.
type OperatorPassword struct{ File, Secret, Variable string }

// Expectation is what else there is to know of an outage.
type Expectation struct{ What, Then string }

// Trial is what a person tries once the cluster runs, in the folder of the
// spec.
type Trial struct{ What, Command string }

// Judge is a check of files by the program that they are for.
type Judge struct {
	Program []string            // and its arguments, run in a folder with the files
	Files   map[string][]byte   // by name
	Main    string              // the file that it names lines of
	Written map[string][]string // a line of it that the spec brings: the keys to it, below the role's part
	// How the program says what is wrong with a line, and what is wrong at
	// all, as regular expressions. Groups of the first: the line's number,
	// and what; of the second: what.
	OfLine, OfFile string
}

// Plan makes the plan of each role, in their order. It has to be made again
// whenever the cluster was changed. It replaces the groups, so that whoever
// holds an old one keeps its plan.
func (c *Cluster) Plan() error {
	groups := make([]*Group, len(c.Groups))
	for i, g := range c.Groups {
		groups[i] = &Group{Role: g.Role, Settings: g.Settings}
	}
	c.Groups = groups
	for _, g := range c.Groups {
		p, err := g.Settings.Plan(c)
		if err != nil {
			return fmt.Errorf("role %s: %w", g.Name, err)
		}
		p.Ports = append(p.Ports, Port{
			Number: MetricsPort, Limit: metricsConnections, From: Networks(c.Access.Monitoring, c.Access.Operators),
			For: "monitoring, operators: /metrics of the machine itself: its certificates and its data disk (plain HTTP)",
		})
		if err := g.agrees(p); err != nil {
			return fmt.Errorf("role %s: %w", g.Name, err)
		}
		g.Plan = p
	}
	return nil
}

// agrees refuses a plan that is not what the role promises.
func (g *Group) agrees(p *Plan) error {
	for _, promise := range []struct {
		what       string
		made, kept bool
	}{
		{"secrets", g.ReadsSecrets, len(p.Secrets) > 0},
		{"a data disk", g.Settings.Machines().DataDisk != nil, p.DataMount != ""},
		{"offer " + string(DCS), slices.Contains(g.Offers, DCS), p.DCS != nil},
		{"offer " + string(Database), slices.Contains(g.Offers, Database), p.Database != nil},
		{"offer " + string(Proxy), slices.Contains(g.Offers, Proxy), p.Proxy != nil},
	} {
		if promise.made != promise.kept {
			return fmt.Errorf("internal error: %s: promised %t, planned %t", promise.what, promise.made, promise.kept)
		}
	}
	return nil
}
