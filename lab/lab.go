//go:build linux

// Package lab runs a cluster on one Linux host: the images and the user-data
// that the cloud would get, on machines that see an emulated cloud.
package lab

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"pgha-gen/deploy/secrets"
	"pgha-gen/generator/role"
	"pgha-gen/generator/spec"
	"pgha-gen/generator/yc"
	"pgha-gen/lab/client"
	"pgha-gen/lab/cloud"
	"pgha-gen/lab/machine"
	"pgha-gen/lab/netns"
	"pgha-gen/lab/private"
)

// Config is a cluster to run.
type Config struct {
	Cluster *role.Cluster
	Images  map[string]string // role to root folder, as Workshop.Images gives them; only these roles are run
	State   string            // a folder of this lab alone, not on tmpfs
	Cache   string            // the Workshop's
	Name    string            // of the network; at most 8 characters, unique on the host
	Now     func() time.Time
}

// Lab is a cluster whose machines are there. They are powered on one by one.
//
//	<State>/<node>/        what the machine keeps, and its console.log
//	<State>/disks/<name>   its data disk: survives the machine, as in the cloud
type Lab struct {
	Cloud   *cloud.Cloud
	Network *netns.Network
	CA      *secrets.CA // the cluster's own

	config    Config
	payloads  map[string]secrets.Payload
	nodes     map[string]*node
	subnets   []netip.Prefix // those with a gateway
	strangers map[string]*netns.Port
	closers   []func() error
}

// node is a machine as the lab knows it, on or off.
type node struct {
	role.Node
	role    string
	part    *role.Group
	id      string
	port    *netns.Port
	running *machine.Machine
	fresh   bool // the next start is a new machine's first
}

// The cloud's addresses. Lockbox's stands for a public one, out of the range
// that is kept for documentation.
var (
	metadataAddress = netip.MustParseAddr("169.254.169.254")
	lockboxAddress  = netip.MustParseAddr("198.51.100.1")
)

const lockboxName = "payload.lockbox.api.cloud.yandex.net"

// New makes the network, the cloud with its secrets, and the machines, all
// powered off. What it made so far is taken down again if it fails.
func New(ctx context.Context, config Config) (*Lab, error) {
	cluster := *config.Cluster // gets the lab's own authority
	config.Cluster = &cluster
	l := &Lab{config: config, nodes: map[string]*node{}, strangers: map[string]*netns.Port{}, Cloud: cloud.New(config.Now, rand.Reader)}
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
	given, err := Addresses(l.config.Cluster)
	if err != nil {
		return err
	}
	l.subnets = subnetsOf(given)
	addresses := []netip.Prefix{netip.PrefixFrom(metadataAddress, 32), netip.PrefixFrom(lockboxAddress, 32)}
	for _, s := range l.subnets {
		addresses = append(addresses, netip.PrefixFrom(gateway(s), 24), netip.PrefixFrom(resolver(s), 24))
	}
	if l.Network, err = netns.New(ctx, l.config.Name, addresses); err != nil {
		return err
	}
	l.closers = append(l.closers, l.Network.Close)
	if err := l.fillLockbox(); err != nil {
		return err
	}
	if err := l.serve(l.subnets); err != nil {
		return err
	}
	return l.createNodes(ctx, given)
}

// subnetsOf are the /24s that the nodes are in.
func subnetsOf(addresses map[string]netip.Addr) []netip.Prefix {
	var all []netip.Prefix
	for _, a := range addresses {
		if s := subnet(a); !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

func subnet(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, 24).Masked() }

// gateway and resolver are the first two addresses of a subnet, as in the cloud.
func gateway(s netip.Prefix) netip.Addr  { return s.Addr().Next() }
func resolver(s netip.Prefix) netip.Addr { return gateway(s).Next() }

// fillLockbox makes the cluster's secrets and puts each role's payload under
// the id that the spec gives, readable by the nodes' service account alone.
func (l *Lab) fillLockbox() error {
	c := l.config.Cluster
	var err error
	if l.CA, err = secrets.NewCA(c.Name, l.config.Now(), rand.Reader); err != nil {
		return err
	}
	c.Secrets.CA = spec.Text(l.CA.Certificate())
	if err := c.Plan(); err != nil {
		return err
	}
	if l.payloads, err = l.CA.Payloads(c, l.config.Now()); err != nil {
		return err
	}
	for name, payload := range l.payloads {
		if err := l.PutPayload(name, payload); err != nil {
			return err
		}
	}
	return nil
}

// PutPayload makes a payload the current version of a role's secret. What
// Secret and SecretsOf give stays what the machines should have.
func (l *Lab) PutPayload(role string, payload secrets.Payload) error {
	c := l.config.Cluster
	version := cloud.Version{ID: "e6v" + role}
	for key, text := range payload {
		version.Entries = append(version.Entries, cloud.Entry{Key: key, Text: text})
	}
	return l.Cloud.PutSecret(c.Secrets.Lockbox[role],
		cloud.Secret{Readers: []string{c.Cloud.ServiceAccounts[role]}, Versions: []cloud.Version{version}})
}

// Payload is a copy of what the machines of a role should have.
func (l *Lab) Payload(role string) secrets.Payload { return maps.Clone(l.payloads[role]) }

// serve opens the cloud's services inside the network.
func (l *Lab) serve(subnets []netip.Prefix) error {
	if err := l.Cloud.SetName(lockboxName, lockboxAddress); err != nil {
		return err
	}
	metadata, err := l.Network.Listen("tcp", netip.AddrPortFrom(metadataAddress, 80).String())
	if err != nil {
		return err
	}
	l.background(&http.Server{Handler: l.Cloud.Metadata(), ReadHeaderTimeout: time.Minute}, metadata)

	authority, err := loadAuthority(l.config.Cache, l.config.Now())
	if err != nil {
		return err
	}
	certificate, err := authority.server(lockboxName, l.config.Now())
	if err != nil {
		return err
	}
	lockbox, err := l.Network.Listen("tcp", netip.AddrPortFrom(lockboxAddress, 443).String())
	if err != nil {
		return err
	}
	l.background(&http.Server{
		Handler: l.Cloud.Lockbox(), ReadHeaderTimeout: time.Minute,
		// Machines whose power is cut in a handshake are no news.
		ErrorLog: log.New(io.Discard, "", 0),
	}, tls.NewListener(lockbox, &tls.Config{Certificates: []tls.Certificate{certificate}}))

	for _, s := range subnets {
		address := netip.AddrPortFrom(resolver(s), 53).String()
		packets, err := l.Network.ListenPacket("udp", address)
		if err != nil {
			return err
		}
		stream, err := l.Network.Listen("tcp", address)
		if err != nil {
			return errors.Join(err, packets.Close())
		}
		handler := l.Cloud.DNS(l.config.Cluster.Cloud.Domain)
		for _, server := range []*dns.Server{{PacketConn: packets, Handler: handler}, {Listener: stream, Handler: handler}} {
			go server.ActivateAndServe()
			l.closers = append(l.closers, func() error { return ignoreNotStarted(server.Shutdown()) })
		}
	}
	return nil
}

func (l *Lab) background(s *http.Server, listener net.Listener) {
	go s.Serve(listener)
	l.closers = append(l.closers, s.Close)
}

// ignoreNotStarted: a lab that is taken down at once may close a server before
// its goroutine ran; its socket dies with the namespace.
func ignoreNotStarted(err error) error {
	if err != nil && strings.Contains(err.Error(), "not started") {
		return nil
	}
	return err
}

// createNodes does what deploy/create.sh does in the cloud.
func (l *Lab) createNodes(ctx context.Context, given map[string]netip.Addr) error {
	c := l.config.Cluster
	data, err := userData(c)
	if err != nil {
		return err
	}
	for _, part := range c.Groups {
		if l.config.Images[part.Name] == "" {
			continue
		}
		for i, n := range part.Nodes() {
			n.Address = given[n.Name] // the machine's; user-data has the spec's
			port, err := l.Network.Attach(ctx, n.Name, netip.PrefixFrom(n.Address, 24), gateway(subnet(n.Address)))
			if err != nil {
				return err
			}
			node := &node{Node: n, role: part.Name, part: part, id: fmt.Sprintf("fhm%s%d", part.Name, i+1), port: port, fresh: true}
			l.nodes[n.Name] = node
			attributes := map[string]string{"user-data": data[part.Name]}
			if part.Plan.Bootstraps {
				attributes["pgha-bootstrap"] = c.Token()
			}
			if err := l.Cloud.Put(cloud.Instance{
				ID: node.id, Name: n.Name, Hostname: c.FQDN(n.Name), Zone: n.Zone, Region: c.Cloud.Region,
				CloudID: "b1glab", FolderID: c.Cloud.FolderID, SubnetID: c.Cloud.Subnets[n.Zone], ImageID: "fd8lab" + part.Name,
				ServiceAccountID: c.Cloud.ServiceAccounts[part.Name], Address: n.Address, MAC: port.MAC.String(),
				Attributes: attributes, Disks: disks(part),
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

func disks(part *role.Group) []cloud.Disk {
	all := []cloud.Disk{{DeviceName: "boot"}}
	if part.Settings.Machines().DataDisk != nil {
		all = append(all, cloud.Disk{DeviceName: yc.DataDevice})
	}
	return all
}

// Start powers a machine on.
func (l *Lab) Start(ctx context.Context, name string) error {
	n, err := l.node(name)
	if err != nil {
		return err
	}
	c := l.config.Cluster
	config := machine.Config{
		Name:      name,
		Root:      l.config.Images[n.role],
		State:     filepath.Join(l.config.State, name),
		Fresh:     n.fresh,
		Namespace: n.port.Path,
		Now:       l.config.Now,
		Files: map[string][]byte{
			// What DHCP writes in the cloud.
			"/etc/resolv.conf": fmt.Appendf(nil, "nameserver %s\nsearch %s\n", resolver(subnet(n.Address)), c.Cloud.Domain),
			// The interface comes with its address; cloud-init shall not set it up.
			"/etc/cloud/cloud.cfg.d/90-lab-network.cfg": []byte("network: {config: disabled}\n"),
		},
	}
	if n.part.Settings.Machines().DataDisk != nil {
		config.Disks = []machine.Disk{{
			Name: yc.DataDevice, Path: l.disk(n.Node), Size: int64(n.part.Settings.Machines().DataDisk.Size)}}
	}
	m, err := machine.Start(ctx, config)
	if err != nil {
		return fmt.Errorf("cannot start %s: %w", name, err)
	}
	n.running, n.fresh = m, false
	return nil
}

// StartAll powers these machines on, all at once; with none named, all.
func (l *Lab) StartAll(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		names = l.Names()
	}
	failures := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { failures[i] = l.Start(ctx, name) })
	}
	wg.Wait()
	return errors.Join(failures...)
}

// Names are the nodes, in the order of the spec.
func (l *Lab) Names() []string {
	var names []string
	for _, p := range l.config.Cluster.Groups {
		for _, n := range p.Nodes() {
			if l.nodes[n.Name] != nil {
				names = append(names, n.Name)
			}
		}
	}
	return names
}

// Machine is a node's machine as it was last powered on; nil if it never was.
func (l *Lab) Machine(name string) *machine.Machine {
	if n := l.nodes[name]; n != nil {
		return n.running
	}
	return nil
}

// Replace makes a node's next start that of a new machine from the image, as
// after deploy/create.sh in the cloud: it may found nothing. Without keepDisk
// its data are lost as well. The node must be off.
func (l *Lab) Replace(name string, keepDisk bool) error {
	n, err := l.node(name)
	if err != nil {
		return err
	}
	n.fresh = true
	if err := l.Cloud.RemoveAttribute(n.id, "pgha-bootstrap"); err != nil {
		return err
	}
	if keepDisk {
		return nil
	}
	return os.Remove(l.disk(n.Node))
}

// DialAs gives what connects as a machine, on or off, or as a stranger: the
// others see its address, and their firewalls let it go where that may go.
func (l *Lab) DialAs(name string) client.Dial {
	if port := l.strangers[name]; port != nil {
		return port.Dial
	}
	n, err := l.node(name)
	if err != nil {
		return func(context.Context, string, string) (net.Conn, error) { return nil, err }
	}
	return n.port.Dial
}

// AddStranger gives somebody who is no machine of the cluster a place in the
// network, to connect from (DialAs): at any address, whose subnet of 256 is
// routed. Refused: an address and a name that are taken.
func (l *Lab) AddStranger(ctx context.Context, name string, address netip.Addr) error {
	for _, n := range l.nodes {
		if n.Address == address {
			return fmt.Errorf("stranger %q: %s has the address %s", name, n.Name, address)
		}
	}
	s := subnet(address)
	if !slices.Contains(l.subnets, s) {
		if err := l.Network.AddAddress(ctx, netip.PrefixFrom(gateway(s), 24)); err != nil {
			return err
		}
		l.subnets = append(l.subnets, s)
	}
	port, err := l.Network.Attach(ctx, name, netip.PrefixFrom(address, 24), gateway(s))
	if err != nil {
		return err
	}
	l.strangers[name] = port
	return nil
}

// Cable puts a node's network cable in, or pulls it.
func (l *Lab) Cable(ctx context.Context, name string, in bool) error {
	if _, err := l.node(name); err != nil {
		return err
	}
	return l.Network.Cable(ctx, name, in)
}

// Secret is an entry of a role's payload in Lockbox: what a person would have
// from pgha-gen secrets generate.
func (l *Lab) Secret(role, entry string) string { return l.payloads[role][entry] }

// SecretsOf are the entries that a node may have: its own, and those that all
// nodes of its role share.
func (l *Lab) SecretsOf(name string) map[string]string {
	n := l.nodes[name]
	all := map[string]string{}
	for _, s := range n.part.Plan.Secrets {
		entry := s.Entry(name)
		all[entry] = l.payloads[n.role][entry]
	}
	return all
}

// InstanceID is a node's id in the lab's cloud.
func (l *Lab) InstanceID(name string) string { return l.nodes[name].id }

// DataDisk is the file that a node's data disk is; it may not be there yet.
func (l *Lab) DataDisk(name string) string { return l.disk(l.nodes[name].Node) }

func (l *Lab) disk(n role.Node) string {
	return filepath.Join(l.config.State, "disks", yc.DataDisk(n))
}

func (l *Lab) node(name string) (*node, error) {
	n := l.nodes[name]
	if n == nil {
		return nil, fmt.Errorf("the lab has no node %q (it has %s)", name, strings.Join(l.Names(), ", "))
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
		if m := l.nodes[name].running; m != nil {
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
