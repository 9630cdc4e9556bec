//go:build linux

// Package lab runs a cluster on one Linux host: the images and the user-data
// that the cloud would get, on machines that see an emulated cloud.
package lab

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"pgha-gen/deploy/secrets"
	"pgha-gen/generator/role"
	"pgha-gen/lab/cloud"
	"pgha-gen/lab/machine"
	"pgha-gen/lab/netns"
	"pgha-gen/lab/private"
)

// Config is a cluster to run.
type Config struct {
	Cluster *role.Cluster
	Images  map[string]string // role to root folder, as Baker.Images gives them; only these roles are run
	State   string            // a folder of this lab alone, not on tmpfs
	Cache   string            // the Baker's
	Secrets string            // where the folder of this cluster's secrets is, or is made; empty: below State
	Name    string            // of the network; at most 8 characters, unique on the host
	Now     func() time.Time
	Faults  cloud.Faults   // of the cloud's services; nil: none
	Buckets *cloud.Buckets // what object storage has, also of other labs; nil: nothing
}

// Lab is a cluster whose machines are there. They are powered on one by one.
//
//	<State>/<node>/        what the machine keeps, and its console.log
//	<State>/disks/<name>   its data disk: survives the machine, as in the cloud
type Lab struct {
	Cloud   *cloud.Cloud
	Network *netns.Network
	CA      *secrets.CA // the cluster's own

	config  Config
	closers []func() error // in the order in which things were made

	mu       sync.Mutex // guards what changes with the spec
	cluster  *role.Cluster
	payloads map[string]secrets.Payload
	latest   map[string]secrets.Payload // what Lockbox has
	versions map[string]int             // ever put there: numbers their ids
	operator secrets.Payload
	api      bool // machines read the Lockbox of an API
	nodes    map[string]*node
	created  int            // machines ever created: numbers their ids
	subnets  []netip.Prefix // those with a gateway
}

// node is a machine as the lab knows it, on or off.
type node struct {
	role.Node
	part     *role.Group
	instance cloud.Instance // as the cloud has it
	port     *netns.Port
	running  *machine.Machine
	fresh    bool // the next start is a new machine's first
}

// New makes the network, the cloud with its secrets, and the machines, all
// powered off. What it made so far is taken down again if it fails.
func New(ctx context.Context, config Config) (*Lab, error) {
	cluster := *config.Cluster // gets a CA of its own
	l := &Lab{config: config, cluster: &cluster, nodes: map[string]*node{}, latest: map[string]secrets.Payload{}, versions: map[string]int{}, Cloud: cloud.New(config.Now, rand.Reader, config.Faults, config.Buckets)}
	if err := l.setUp(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Lab) setUp(ctx context.Context) (err error) {
	if err := private.Make(l.config.State); err != nil {
		return err
	}
	if err := private.Make(filepath.Join(l.config.State, "disks")); err != nil {
		return err
	}
	given, err := Addresses(l.cluster)
	if err != nil {
		return err
	}
	if l.Network, err = netns.New(ctx, l.config.Name, cloudAddresses()); err != nil {
		return err
	}
	l.closers = append(l.closers, l.Network.Close)
	if err := l.fillLockbox(); err != nil {
		return err
	}
	if err := l.serve(); err != nil {
		return err
	}
	return l.createNodes(ctx, given, true)
}

func subnet(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, 24).Masked() }

// gateway and resolver are the first two addresses of a subnet, as in the
// cloud.
func gateway(s netip.Prefix) netip.Addr  { return s.Addr().Next() }
func resolver(s netip.Prefix) netip.Addr { return gateway(s).Next() }

// createNodes creates the machines of the spec that are not there, as
// deploy/create.sh does in the cloud, and gives the user-data of today to those
// that are. Only the first machines may bootstrap the cluster.
func (l *Lab) createNodes(ctx context.Context, given map[string]netip.Addr, first bool) error {
	data, err := userData(l.cluster)
	if err != nil {
		return err
	}
	for _, part := range l.cluster.Groups {
		if l.config.Images[part.Name] == "" {
			continue
		}
		for _, n := range part.Nodes() {
			n.Address = given[n.Name] // the machine's; user-data has the spec's
			if known := l.nodes[n.Name]; known != nil {
				known.part = part
				err = l.setAttribute(known, "user-data", data[part.Name])
			} else {
				err = l.create(ctx, part, n, data[part.Name], first)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Lab) create(ctx context.Context, part *role.Group, n role.Node, data string, first bool) error {
	c := l.cluster
	if err := l.route(ctx, subnet(n.Address)); err != nil {
		return err
	}
	port, err := l.Network.Attach(ctx, n.Name, netip.PrefixFrom(n.Address, 24), gateway(subnet(n.Address)))
	if err != nil {
		return err
	}
	attributes := map[string]string{"user-data": data}
	if first && part.Plan.Bootstraps {
		attributes["pgha-bootstrap"] = c.Token()
	}
	account := ""
	if part.ReadsSecrets {
		account = labAccount(c, part.Name)
		if c.Secrets.Lockbox[part.Name] == "" {
			attributes["pgha-secret"] = labSecret(c, part.Name)
		}
	}
	l.created++
	node := &node{Node: n, part: part, port: port, fresh: true, instance: cloud.Instance{
		ID: fmt.Sprintf("fhm%s%d", part.Name, l.created), Name: n.Name, Hostname: c.FQDN(n.Name), Zone: n.Zone, Region: c.Cloud.Region,
		CloudID: "b1glab", FolderID: c.Cloud.FolderID, SubnetID: c.Cloud.Subnets[n.Zone], ImageID: "fd8lab" + part.Name,
		ServiceAccountID: account, Address: n.Address, MAC: port.MAC.String(),
		Attributes: attributes, Disks: disks(part),
	}}
	l.nodes[n.Name] = node
	return l.Cloud.Put(node.instance)
}

// labSecret and labAccount are the ids of a role's secret and service account:
// the spec's, or, where that has those created, the lab's.
func labSecret(c *role.Cluster, name string) string {
	return cmp.Or(c.Secrets.Lockbox[name], "e6qlab"+name)
}

func labAccount(c *role.Cluster, name string) string {
	return cmp.Or(c.Cloud.ServiceAccounts[name], "ajelab"+name)
}

// route gives a subnet its gateway, and its resolver, once.
func (l *Lab) route(ctx context.Context, s netip.Prefix) error {
	if slices.Contains(l.subnets, s) {
		return nil
	}
	for _, a := range []netip.Addr{gateway(s), resolver(s)} {
		if err := l.Network.AddAddress(ctx, netip.PrefixFrom(a, 24)); err != nil {
			return err
		}
	}
	l.subnets = append(l.subnets, s)
	return l.serveNames(resolver(s))
}

func resolvConf(s netip.Prefix, domain string) []byte {
	return fmt.Appendf(nil, "nameserver %s\nsearch %s\n", resolver(s), domain)
}

// ResolvConf is the resolv.conf of those who connect from outside of the
// machines.
func (l *Lab) ResolvConf() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return resolvConf(l.subnets[0], l.cluster.Cloud.Domain)
}

func disks(part *role.Group) []cloud.Disk {
	all := []cloud.Disk{{DeviceName: "boot"}}
	if part.Settings.Machines().DataDisk != nil {
		all = append(all, cloud.Disk{DeviceName: role.DataDevice})
	}
	return all
}

// Start powers a machine on.
func (l *Lab) Start(ctx context.Context, name string) error {
	n, err := l.node(name)
	if err != nil {
		return err
	}
	l.mu.Lock()
	domain, data := l.cluster.Cloud.Domain, n.part.Settings.Machines().DataDisk
	l.mu.Unlock()
	config := machine.Config{
		Name:      name,
		Root:      l.config.Images[n.part.Name],
		State:     filepath.Join(l.config.State, name),
		Fresh:     n.fresh,
		Namespace: n.port.Path,
		Now:       l.config.Now,
		Power:     func(on bool) error { return l.Network.Power(context.Background(), n.port, on) },
		Files: map[string][]byte{
			// What DHCP writes in the cloud.
			"/etc/resolv.conf": resolvConf(subnet(n.Address), domain),
			// The interface comes with its address; cloud-init shall not set
			// it up.
			"/etc/cloud/cloud.cfg.d/90-lab-network.cfg": []byte("network: {config: disabled}\n"),
		},
	}
	if data != nil {
		config.Disks = []machine.Disk{{Name: role.DataDevice, Path: l.disk(n.Node), Size: int64(data.Size)}}
	}
	m, err := machine.Start(ctx, config)
	if err != nil {
		return fmt.Errorf("cannot start %s: %w", name, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n.running, n.fresh = m, false
	return nil
}

// Names are the nodes that have a machine: those of the spec, in its order,
// then those that the spec has no more.
func (l *Lab) Names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.names()
}

func (l *Lab) names() []string {
	var names []string
	for _, p := range l.cluster.Groups {
		for _, n := range p.Nodes() {
			if l.nodes[n.Name] != nil {
				names = append(names, n.Name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.nodes)) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Machine is a node's machine as it was last powered on; nil if it never was.
func (l *Lab) Machine(name string) *machine.Machine {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.nodes[name]; n != nil {
		return n.running
	}
	return nil
}

// Secret is an entry of a role's payload in Lockbox: what a person would have
// from pgha-gen secrets generate.
func (l *Lab) Secret(role, entry string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.payloads[role][entry]
}

// Payloads are what the machines should have of Lockbox, by role.
func (l *Lab) Payloads() map[string]secrets.Payload {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.payloads)
}

// Operator is a copy of the files, by name, that an operator of the cluster has.
func (l *Lab) Operator() secrets.Payload {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.operator)
}

func (l *Lab) disk(n role.Node) string {
	return filepath.Join(l.config.State, "disks", n.DataDisk())
}

func (l *Lab) node(name string) (*node, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.nodes[name]
	if n == nil {
		return nil, fmt.Errorf("the lab has no node %q (it has %s)", name, strings.Join(l.names(), ", "))
	}
	return n, nil
}

// Close cuts the power of every machine and takes the cloud and the network
// down. The state folder stays. It can be called again.
func (l *Lab) Close() error {
	names := l.Names()
	failures := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		if m := l.Machine(name); m != nil {
			wg.Go(func() { failures[i] = m.Close() })
		}
	}
	wg.Wait()
	for i := len(l.closers) - 1; i >= 0; i-- {
		failures = append(failures, l.closers[i]())
	}
	l.closers = nil
	return errors.Join(failures...)
}
