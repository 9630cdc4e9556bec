//go:build linux

// Package netns is the lab's network: a namespace with a bridge, which stands
// for the cloud, and one namespace for each machine.
package netns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"pgha-gen/lab/isolate"
)

const (
	dir    = "/run/netns" // where ip(8) keeps named namespaces
	bridge = "br0"
	// Given, it stays: otherwise it would be the least of the ports', and change
	// when a machine is attached.
	bridgeMAC = "d0:0d:00:00:00:01"
)

// Network is one network. The host's own network is never touched, and cannot
// reach this one.
//
// All machines hang on one bridge, whatever their subnet; the bridge's
// namespace holds the gateways' addresses and routes between the subnets, so
// that zones can be told apart by firewall rules in one place.
type Network struct {
	Name string // of the namespace that holds the bridge

	mu    sync.Mutex
	ports map[string]*Port
	made  int // ports ever made: numbers their interfaces
}

// Port is the end of the wire that a machine is plugged into.
type Port struct {
	Machine   string
	Namespace string // its name, for ip(8)
	Path      string // its file
	MAC       net.HardwareAddr
	Link      string // the other end's interface, on the bridge: down is a pulled cable, or no power

	mu          sync.Mutex
	pulled, off bool
}

// nameForm keeps <network>-<machine> a plain file name.
var nameForm = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

func checkName(what, name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("%s name %q: want lower case letters, digits and dashes", what, name)
	}
	return nil
}

// New makes the network and its cloud side, a namespace of this name, with
// these addresses on the bridge: each subnet's gateway and resolver, and the
// metadata address as a /32. Refused: a name whose namespace is there
// already.
func New(ctx context.Context, name string, addrs []netip.Prefix) (*Network, error) {
	if err := checkName("network", name); err != nil {
		return nil, err
	}
	if err := ip(ctx, "netns", "add", name); err != nil {
		return nil, fmt.Errorf("cannot make network %q: %w", name, err)
	}
	n := &Network{Name: name, ports: map[string]*Port{}}
	if err := n.setUp(ctx, addrs); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot make network %q: %w", name, err), n.Close())
	}
	return n, nil
}

func (n *Network) setUp(ctx context.Context, addrs []netip.Prefix) error {
	for _, s := range [][]string{
		{"link", "set", "lo", "up"},
		{"link", "add", bridge, "address", bridgeMAC, "type", "bridge"},
		{"link", "set", bridge, "up"},
	} {
		if err := ip(ctx, append([]string{"-n", n.Name}, s...)...); err != nil {
			return err
		}
	}
	for _, a := range addrs {
		if err := n.AddAddress(ctx, a); err != nil {
			return err
		}
	}
	// Subnets share the bridge, so a router would tell machines to talk
	// directly: they cannot, they have no route.
	return n.inside(func() error {
		for _, setting := range []struct{ path, value string }{
			{"ip_forward", "1"},
			{"conf/all/send_redirects", "0"},
			{"conf/" + bridge + "/send_redirects", "0"},
		} {
			if err := os.WriteFile("/proc/sys/net/ipv4/"+setting.path, []byte(setting.value), 0); err != nil {
				return err
			}
		}
		return nil
	})
}

// Attach makes a namespace for a machine and plugs it into the bridge: eth0,
// with its address and its default route in place, as a guest without a DHCP
// client needs it. The MAC address follows from the address, so that a
// machine made again has the same one. Refused: a machine that is attached
// already, and a gateway outside of the subnet.
func (n *Network) Attach(ctx context.Context, machine string, addr netip.Prefix, gateway netip.Addr) (*Port, error) {
	if err := checkName("machine", machine); err != nil {
		return nil, err
	}
	if !addr.Addr().Is4() || !addr.Contains(gateway) {
		return nil, fmt.Errorf("machine %q: want an IPv4 address and a gateway in its subnet, have %q and %q", machine, addr, gateway)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ports[machine] != nil {
		return nil, fmt.Errorf("machine %q is attached already", machine)
	}
	n.made++
	space := Space(n.Name, machine)
	four := addr.Addr().As4()
	p := &Port{
		Machine:   machine,
		Namespace: space,
		Path:      filepath.Join(dir, space),
		MAC:       net.HardwareAddr{0xd0, 0x0d, four[0], four[1], four[2], four[3]},
		Link:      fmt.Sprintf("port%d", n.made),
	}
	if err := ip(ctx, "netns", "add", space); err != nil {
		return nil, fmt.Errorf("cannot attach machine %q: %w", machine, err)
	}
	for _, s := range [][]string{
		{"-n", n.Name, "link", "add", p.Link, "type", "veth", "peer", "name", "eth0", "address", p.MAC.String(), "netns", space},
		{"-n", n.Name, "link", "set", p.Link, "master", bridge},
		{"-n", space, "link", "set", "lo", "up"},
		{"-n", space, "address", "add", addr.String(), "dev", "eth0"},
		{"-n", space, "link", "set", "eth0", "up"},
		{"-n", space, "route", "add", "default", "via", gateway.String()},
	} {
		if err := ip(ctx, s...); err != nil {
			return nil, errors.Join(fmt.Errorf("cannot attach machine %q: %w", machine, err), n.unplug(p))
		}
	}
	if err := n.Cable(ctx, p, true); err != nil {
		return nil, errors.Join(err, n.unplug(p))
	}
	n.ports[machine] = p
	return p, nil
}

// Detach unplugs a machine and removes its namespace. A machine that is not
// attached is no error.
func (n *Network) Detach(machine string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.ports[machine]
	if p == nil {
		return nil
	}
	delete(n.ports, machine)
	return n.unplug(p)
}

// unplug cannot be interrupted: half of it is what it is there to prevent.
// The wire goes first, because a namespace lives on, without its name, as
// long as a process is in it.
func (n *Network) unplug(p *Port) error {
	ctx := context.Background()
	err := ip(ctx, "-n", n.Name, "link", "delete", p.Link)
	if err != nil && strings.Contains(err.Error(), "Cannot find device") {
		err = nil
	}
	return errors.Join(err, Remove(ctx, p.Namespace))
}

// Cable puts a machine's cable in, or pulls it: the machine itself sees no more
// than that nobody answers.
func (n *Network) Cable(ctx context.Context, p *Port, in bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pulled = !in
	return n.wire(ctx, p)
}

// Power says whether a machine is on. One that is off answers nobody, though its
// namespace stays; when it is on again, its cable is as it was.
func (n *Network) Power(ctx context.Context, p *Port, on bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.off = !on
	return n.wire(ctx, p)
}

// wire carries what a machine says and hears.
func (n *Network) wire(ctx context.Context, p *Port) error {
	state := map[bool]string{true: "up", false: "down"}[!p.pulled && !p.off]
	if err := ip(ctx, "-n", n.Name, "link", "set", p.Link, state); err != nil {
		return fmt.Errorf("cannot set the cable of machine %q: %w", p.Machine, err)
	}
	return nil
}

// Slow lets a machine's cable carry no more than so many bits a second, in each
// direction; 0: as many as it can. What does not fit waits for 300 ms at most.
func (n *Network) Slow(ctx context.Context, p *Port, bits int) error {
	for _, end := range []struct{ namespace, device string }{{n.Name, p.Link}, {p.Namespace, "eth0"}} {
		args := []string{"-n", end.namespace, "qdisc", "replace", "dev", end.device, "root", "tbf", "rate", fmt.Sprintf("%dbit", bits), "burst", "16kb", "latency", "300ms"}
		if bits == 0 {
			args = []string{"-n", end.namespace, "qdisc", "replace", "dev", end.device, "root", "noqueue"}
		}
		if out, err := exec.CommandContext(ctx, "tc", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("cannot set the speed of machine %q: %w: %s", p.Machine, err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// AddAddress gives the bridge one more address, such as the gateway of a
// subnet in which there is nobody yet.
func (n *Network) AddAddress(ctx context.Context, a netip.Prefix) error {
	if err := ip(ctx, "-n", n.Name, "address", "add", a.String(), "dev", bridge); err != nil {
		return fmt.Errorf("cannot add an address to network %q: %w", n.Name, err)
	}
	return nil
}

// Close removes every namespace that the network made. It can be called again.
func (n *Network) Close() error {
	n.mu.Lock()
	machines := slices.Collect(maps.Keys(n.ports))
	n.mu.Unlock()
	var errs []error
	for _, machine := range machines {
		errs = append(errs, n.Detach(machine))
	}
	return errors.Join(append(errs, Remove(context.Background(), n.Name))...)
}

// Listen listens in the namespace of the bridge. The address must be literal:
// names are not looked up there.
func (n *Network) Listen(network, address string) (l net.Listener, err error) {
	err = reach(n.Name, address, func() (err error) { l, err = net.Listen(network, address); return err })
	return l, err
}

// ListenPacket is Listen for datagrams.
func (n *Network) ListenPacket(network, address string) (c net.PacketConn, err error) {
	err = reach(n.Name, address, func() (err error) { c, err = net.ListenPacket(network, address); return err })
	return c, err
}

// Dial connects from the namespace of the bridge. The address must be literal.
func (n *Network) Dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	return Dial(ctx, n.Name, network, address)
}

// Dial connects from a namespace that another process may have made, by its
// name. The address must be literal.
func Dial(ctx context.Context, namespace, network, address string) (c net.Conn, err error) {
	err = reach(namespace, address, func() (err error) { c, err = new(net.Dialer).DialContext(ctx, network, address); return err })
	return c, err
}

// Space is the name of a machine's namespace in a network of this name.
func Space(network, machine string) string { return network + "-" + machine }

// reach runs f in a namespace. It refuses an address with a name in it: the net
// package may look it up, and dial what it got, on other threads, which are in
// the host's namespace.
func reach(namespace, address string, f func() error) error {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return fmt.Errorf("address %q: want a literal IP address and a port", address)
	}
	return in(filepath.Join(dir, namespace), f)
}

// inside runs f in the namespace of the bridge.
func (n *Network) inside(f func() error) error { return in(filepath.Join(dir, n.Name), f) }

// in runs f on a thread that is in this namespace. A socket stays in the
// namespace where it was made.
func in(path string, f func() error) error {
	done := make(chan error, 1)
	isolate.Go(func() {
		done <- func() error {
			ns, err := os.Open(path)
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("cannot enter %q: %w", path, err)
			}
			return f()
		}()
	})
	return <-done
}

// Leftovers names the namespaces there are whose name is prefix or begins
// with prefix and a dash.
func Leftovers(prefix string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Name() == prefix || strings.HasPrefix(e.Name(), prefix+"-") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Remove removes a namespace by its name. One that is not there is no error.
func Remove(ctx context.Context, name string) error {
	if err := checkName("namespace", name); err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return ip(ctx, "netns", "delete", name)
}

func ip(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
