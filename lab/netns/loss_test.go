//go:build linux

package netns

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgha-gen/lab/labtest"
)

// Packets are lost from one machine to another, bridged or routed, and nowhere
// else; and when that ends, nowhere.
func TestLose(t *testing.T) {
	labtest.Need(t, "ip", "nft")
	n := newNetwork(t)
	attach(t, n, "a", "10.1.0.10/24", "10.1.0.1")
	addresses := map[string]string{"b": "10.1.0.11", "c": "10.2.0.12"}
	attach(t, n, "b", "10.1.0.11/24", "10.1.0.1")
	attach(t, n, "c", "10.2.0.12/24", "10.2.0.1")
	for name, address := range addresses {
		var l net.Listener
		if err := reach(Space(n.Name, name), address+":7", func() (err error) { l, err = net.Listen("tcp", address+":7"); return err }); err != nil {
			t.Fatal(err)
		}
		whoCalls(t, l)
	}
	reaches := func(name string) bool {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		c, err := Dial(ctx, Space(n.Name, "a"), "tcp", addresses[name]+":7")
		if err != nil {
			return false
		}
		c.Close()
		return true
	}
	loss := func(from, to string) Loss {
		return Loss{netip.MustParseAddr(from), netip.MustParseAddr(to), 100}
	}
	for _, step := range []struct {
		name   string
		losses []Loss
		b, c   bool
	}{
		{"nothing", nil, true, true},
		{"to b", []Loss{loss("10.1.0.10", "10.1.0.11")}, false, true},
		{"from c", []Loss{loss("10.2.0.12", "10.1.0.10")}, true, false},
		{"of others", []Loss{loss("10.1.0.11", "10.2.0.12")}, true, true},
		{"both", []Loss{loss("10.1.0.10", "10.1.0.11"), loss("10.1.0.10", "10.2.0.12")}, false, false},
		{"nothing again", nil, true, true},
	} {
		if err := n.Lose(t.Context(), step.losses...); err != nil {
			t.Fatal(err)
		}
		if b, c := reaches("b"), reaches("c"); b != step.b || c != step.c {
			t.Errorf("%s: a reaches b: %t, c: %t, want %t, %t", step.name, b, c, step.b, step.c)
		}
	}
}

// A slow cable takes its time, and a fast one again does not.
func TestSlow(t *testing.T) {
	labtest.Need(t, "ip", "tc")
	n := newNetwork(t)
	a := attach(t, n, "a", "10.1.0.10/24", "10.1.0.1")
	l, err := n.Listen("tcp", "10.1.0.1:7")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write(make([]byte, 200<<10))
			c.Close()
		}
	}()
	took := func() time.Duration {
		start := time.Now()
		c, err := Dial(t.Context(), a.Namespace, "tcp", "10.1.0.1:7")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if n, err := io.Copy(io.Discard, c); n != 200<<10 || err != nil {
			t.Fatalf("got %d bytes, %v", n, err)
		}
		return time.Since(start)
	}
	for _, step := range []struct {
		bits        int
		least, most time.Duration
	}{{0, 0, 500 * time.Millisecond}, {2_000_000, 600 * time.Millisecond, 5 * time.Second}, {0, 0, 500 * time.Millisecond}} {
		if err := n.Slow(t.Context(), a, step.bits); err != nil {
			t.Fatal(err)
		}
		if got := took(); got < step.least || got > step.most {
			t.Errorf("%d bits a second: 200 kB took %v, want %v to %v", step.bits, got, step.least, step.most)
		}
	}
}

func TestLossRules(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	for want, loss := range map[string]Loss{
		"0 % of the packets":                 {a, b, 0},
		"101 % of the packets":               {a, b, 101},
		"want two IPv4 addresses":            {a, a, 5},
		`packets from "invalid IP" to "10.0`: {netip.Addr{}, b, 5},
	} {
		if _, err := lossRules([]Loss{loss}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", loss, err, want)
		}
	}
	rules, err := lossRules([]Loss{{a, b, 5}})
	if want := "\t\tip saddr 10.0.0.1 ip daddr 10.0.0.2 numgen random mod 100 < 5 drop\n"; err != nil || strings.Count(rules, want) != 2 {
		t.Errorf("%v\n%s\nwant twice %q", err, rules, want)
	}
}

// Packets of a machine arrive later, in both directions, large ones too; and when
// that has ended, at once.
func TestDelay(t *testing.T) {
	labtest.Need(t, "ip")
	n := newNetwork(t)
	a := attach(t, n, "a", "10.1.0.10/24", "10.1.0.1")
	attach(t, n, "b", "10.1.0.11/24", "10.1.0.1")
	for _, place := range []struct{ space, address string }{{Space(n.Name, "b"), "10.1.0.11:7"}, {n.Name, "10.1.0.1:7"}} {
		var l net.Listener
		if err := reach(place.space, place.address, func() (err error) { l, err = net.Listen("tcp", place.address); return err }); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				// One that ended while it was delayed may have lost its last packet.
				go func() {
					defer c.Close()
					io.Copy(c, c)
				}()
			}
		}()
	}
	// echo sends a megabyte there and back, and gives how long the first byte took
	// after the connection was made.
	echo := func(address string) time.Duration {
		c, err := Dial(t.Context(), a.Namespace, "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		start := time.Now()
		if _, err := c.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		first := time.Since(start)
		go c.Write(make([]byte, 1<<20))
		if n, err := io.ReadFull(c, make([]byte, 1<<20)); err != nil {
			t.Fatalf("%s: %d bytes came back: %v", address, n, err)
		}
		return first
	}
	addresses := []string{"10.1.0.11:7", "10.1.0.1:7"}
	end, err := n.Delay(t.Context(), a, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Delay(t.Context(), a, time.Second); err == nil || !strings.HasPrefix(err.Error(), `cannot delay machine "a": `) {
		t.Errorf("delayed twice: %v, want it refused", err)
	}
	for _, address := range addresses {
		if took := echo(address); took < 100*time.Millisecond || took > 400*time.Millisecond {
			t.Errorf("%s: %v there and back, want 100 ms", address, took)
		}
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	for _, address := range addresses {
		if took := echo(address); took > 50*time.Millisecond {
			t.Errorf("%s: still %v there and back", address, took)
		}
	}
	if err := end(); err != nil {
		t.Errorf("ended again: %v", err)
	}
}
