//go:build linux

package netns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"pgha-gen/internal/testkit"
	"pgha-gen/lab/labtest"
)

var prefix = netip.MustParsePrefix

// name is this test process's own.
func name() string { return fmt.Sprintf("pgha-nt%d", os.Getpid()) }

func noLeftovers(t *testing.T) {
	t.Helper()
	left, err := Leftovers(name())
	if err != nil || len(left) > 0 {
		t.Errorf("namespaces left: %q, %v", left, err)
	}
}

// hostNetwork is what the host has of a network: interfaces and routes.
func hostNetwork(t *testing.T) []string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	routes := testkit.Text(t, "/proc/net/route")
	return append(names, strings.Split(routes, "\n")...)
}

func newNetwork(t *testing.T) *Network {
	t.Helper()
	n, err := New(t.Context(), name(), []netip.Prefix{
		prefix("10.1.0.1/24"), prefix("10.1.0.2/24"), prefix("10.2.0.1/24"), prefix("169.254.169.254/32"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		noLeftovers(t)
	})
	return n
}

func attach(t *testing.T, n *Network, machine, addr, gateway string) *Port {
	t.Helper()
	p, err := n.Attach(t.Context(), machine, prefix(addr), netip.MustParseAddr(gateway))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// whoCalls serves the caller's address on each connection.
func whoCalls(t *testing.T, l net.Listener) {
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			io.WriteString(c, host)
			c.Close()
		}
	}()
}

func TestReach(t *testing.T) {
	labtest.Need(t, "ip")
	before := hostNetwork(t)
	n := newNetwork(t)
	a := attach(t, n, "a", "10.1.0.5/24", "10.1.0.1")
	b := attach(t, n, "b", "10.2.0.6/24", "10.2.0.1")
	if diff := cmp.Diff("d0:0d:0a:01:00:05", a.MAC.String()); diff != "" {
		t.Errorf("MAC address (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, hostNetwork(t)); diff != "" {
		t.Errorf("the host's network changed (-want +got):\n%s", diff)
	}

	for _, addr := range []string{"169.254.169.254:80", "10.1.0.2:53"} {
		l, err := n.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		whoCalls(t, l)
	}
	if err := in(b.Path, func() error {
		l, err := net.Listen("tcp", "10.2.0.6:5432")
		if err == nil {
			whoCalls(t, l)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := n.AddAddress(t.Context(), prefix("10.99.0.1/24")); err != nil {
		t.Fatal(err)
	}
	stranger := attach(t, n, "stranger", "10.99.0.9/24", "10.99.0.1")
	bridge := func(f func() error) error { return n.inside(f) }
	from := func(p *Port) func(func() error) error { return func(f func() error) error { return in(p.Path, f) } }

	for _, tt := range []struct {
		name, reason string
		from         func(func() error) error
		to, want     string
	}{
		{"metadata", "the emulation tells machines apart by their address", from(a), "169.254.169.254:80", "10.1.0.5"},
		{"resolver", "it is in the machine's own subnet", from(a), "10.1.0.2:53", "10.1.0.5"},
		{"resolver of another zone", "its address is in another subnet", from(b), "10.1.0.2:53", "10.2.0.6"},
		{"another zone", "zones are routed, and not translated", from(a), "10.2.0.6:5432", "10.1.0.5"},
		{"itself", "services talk to their own address", from(b), "10.2.0.6:5432", "10.2.0.6"},
		{"stranger", "tests look what answers somebody of no known subnet", from(stranger), "10.2.0.6:5432", "10.99.0.9"},
		{"from the cloud", "drills connect from there", bridge, "10.2.0.6:5432", "10.2.0.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []byte
			err := tt.from(func() error {
				c, err := net.DialTimeout("tcp", tt.to, 5*time.Second)
				if err != nil {
					return err
				}
				defer c.Close()
				got, err = io.ReadAll(c)
				return err
			})
			if err != nil {
				t.Fatalf("%v (%s)", err, tt.reason)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("the caller's address (-want +got), %s:\n%s", tt.reason, diff)
			}
		})
	}

	for _, tt := range []struct {
		name string
		dial func(context.Context, string, string) (net.Conn, error)
		want string
	}{{"as the network", n.Dial, "10.2.0.1"}, {"as a machine", func(ctx context.Context, network, address string) (net.Conn, error) {
		return Dial(ctx, a.Namespace, network, address)
	}, "10.1.0.5"}} {
		c, err := tt.dial(t.Context(), "tcp", "10.2.0.6:5432")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if string(got) != tt.want || err != nil {
			t.Errorf("%s: the caller is %q, %v, want %q", tt.name, got, err, tt.want)
		}
		c.Close()
	}
	p, err := n.ListenPacket("udp", "10.1.0.2:53")
	if err != nil {
		t.Fatal(err)
	}
	p.Close()

	if err := n.Detach("b"); err != nil {
		t.Fatal(err)
	}
	left, err := Leftovers(name())
	if diff := cmp.Diff([]string{name(), name() + "-a", name() + "-stranger"}, left); diff != "" || err != nil {
		t.Errorf("namespaces after Detach: %v (-want +got):\n%s", err, diff)
	}
	attach(t, n, "b", "10.2.0.6/24", "10.2.0.1") // a machine made again
}

// Who is off is silent: in its namespace the host's kernel would refuse a connection.
// Power and cable do not take each other's place.
func TestPower(t *testing.T) {
	labtest.Need(t, "ip")
	n := newNetwork(t)
	p := attach(t, n, "a", "10.1.0.5/24", "10.1.0.1")
	tests := []struct {
		name    string
		do      func(context.Context, *Port, bool) error
		on      bool
		answers bool
	}{
		{"on from the beginning", n.Power, true, true},
		{"off", n.Power, false, false},
		{"cable in, and still off", n.Cable, true, false},
		{"on again", n.Power, true, true},
		{"cable pulled", n.Cable, false, false},
		{"on, and still no cable", n.Power, true, false},
		{"cable in", n.Cable, true, true},
	}
	for _, tt := range tests {
		testkit.OK(t, tt.do(t.Context(), p, tt.on))
		ctx, cancel := context.WithTimeout(t.Context(), map[bool]time.Duration{true: 10 * time.Second, false: 300 * time.Millisecond}[tt.answers])
		_, err := n.Dial(ctx, "tcp", "10.1.0.5:5432")
		cancel()
		if answered := errors.Is(err, unix.ECONNREFUSED); answered != tt.answers {
			t.Errorf("%s: %v, want an answer: %v", tt.name, err, tt.answers)
		}
	}
}

func TestRefused(t *testing.T) {
	labtest.Need(t, "ip")
	n := newNetwork(t)
	a := attach(t, n, "a", "10.1.0.5/24", "10.1.0.1")
	gateway := netip.MustParseAddr("10.1.0.1")
	for _, tt := range []struct {
		name, reason string
		do           func() error
		want         string
	}{
		{"network there already", "two labs must not share one", func() error { _, err := New(t.Context(), n.Name, nil); return err }, "exists"},
		{"network name", "it becomes a file name", func() error { _, err := New(t.Context(), "a/b", nil); return err }, `"a/b"`},
		{"half made network", "the second address is there already", func() error {
			_, err := New(t.Context(), n.Name+"-half", []netip.Prefix{prefix("10.1.0.1/24"), prefix("10.1.0.1/24")})
			return err
		}, "address add"},
		{"machine there already", "it has a namespace", func() error {
			_, err := n.Attach(t.Context(), "a", prefix("10.1.0.6/24"), gateway)
			return err
		}, "attached already"},
		{"machine name", "it becomes a file name", func() error {
			_, err := n.Attach(t.Context(), "../a", prefix("10.1.0.6/24"), gateway)
			return err
		}, `"../a"`},
		{"gateway elsewhere", "the kernel would refuse the route", func() error {
			_, err := n.Attach(t.Context(), "c", prefix("10.2.0.6/24"), gateway)
			return err
		}, `"10.1.0.1"`},
		{"interrupted", "half a machine must go", func() error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := n.Attach(ctx, "d", prefix("10.1.0.7/24"), gateway)
			return err
		}, "canceled"},
		{"name to listen on", "looked up in the host's network", func() error { _, err := n.Listen("tcp", "localhost:80"); return err }, "literal"},
		{"name to dial", "looked up in the host's network", func() error { _, err := n.Dial(t.Context(), "tcp", "localhost:80"); return err }, "literal"},
		{"name to dial as a machine", "looked up in the host's network", func() error { _, err := Dial(t.Context(), a.Namespace, "tcp", "localhost:80"); return err }, "literal"},
		{"address twice", "two gateways of one subnet", func() error { return n.AddAddress(t.Context(), prefix("10.1.0.1/24")) }, "address add"},
		{"name to receive on", "looked up in the host's network", func() error { _, err := n.ListenPacket("udp", ":53"); return err }, "literal"},
		{"namespace name", "it becomes a path", func() error { return Remove(t.Context(), "../a") }, `"../a"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.do(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("have error %v, want one with %q: %s", err, tt.want, tt.reason)
			}
		})
	}
	left, err := Leftovers(name())
	if diff := cmp.Diff([]string{name(), name() + "-a"}, left); diff != "" || err != nil {
		t.Errorf("namespaces after all that was refused: %v (-want +got):\n%s", err, diff)
	}
	for range 2 {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	noLeftovers(t)
	if _, err := n.Listen("tcp", "10.1.0.1:80"); err == nil {
		t.Error("a closed network listens")
	}
	if err := Remove(t.Context(), name()); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
}

// A machine remembers the gateway's MAC address. A bridge would take the least
// of its ports' when one is plugged in, and the machines lose the gateway until
// they ask again.
func TestGatewayStays(t *testing.T) {
	testkit.Root(t)
	n := newNetwork(t)
	mac := func() (address string) {
		t.Helper()
		if err := n.inside(func() error {
			i, err := net.InterfaceByName(bridge)
			if err == nil {
				address = i.HardwareAddr.String()
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return address
	}
	before := mac()
	for i := range 6 {
		if _, err := n.Attach(t.Context(), fmt.Sprintf("m%d", i), netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(10 + i)}), 24), netip.MustParseAddr("10.1.0.1")); err != nil {
			t.Fatal(err)
		}
		if after := mac(); after != before {
			t.Fatalf("with %d machines the gateway is at %s, before at %s", i+1, after, before)
		}
	}
}
