package etcd_test

import (
	"errors"
	"net"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"pgha-gen/internal/testkit"
	"pgha-gen/packer/packertest"
)

// TestStop: a member that is about to stop answers who has asked, resets who
// asks now and who connects, and is there for its own machine. Its end takes that back.
func TestStop(t *testing.T) {
	testkit.Need(t, "nft")
	m, w := packertest.New(t, "../../packer/rootfs/usr/lib/pgha", "rootfs/usr/lib/pgha"), packertest.NewWire(t)
	m.Write(m.Lib+"/etcd-stop.nft", testkit.Text(t, "rootfs/usr/lib/pgha/etcd-stop.nft"))
	m.Identity()
	w.Listen(2380)
	decided := make(chan struct{})
	w.Inside(func() {
		l, err := net.Listen("tcp4", "10.77.0.1:2379")
		testkit.OK(t, err)
		t.Cleanup(func() { l.Close() })
		go serve(l, decided)
	})
	run := func(script string) packertest.Result {
		var got packertest.Result
		w.Inside(func() { got = m.Boot(script) })
		if got.Status != 0 {
			t.Fatalf("%s: status %d\n%s", script, got.Status, got.Output)
		}
		return got
	}
	connect := func() (c net.Conn, err error) {
		w.Outside(func() { c, err = net.DialTimeout("tcp4", "10.77.0.1:2379", 5*time.Second) })
		return c, err
	}
	idle := w.Dial(2, 2379, 5*time.Second)
	peer := w.Dial(2, 2380, 5*time.Second)

	slow := w.Dial(3, 2379, 5*time.Second)
	_, err := slow.Write([]byte{proposal})
	testkit.OK(t, err)

	if got := run("etcd-stop.sh"); got.Console != "" {
		t.Errorf("it says %q", got.Console)
	}
	if slept := m.Slept(); slept != "0.5" {
		t.Errorf("who has asked already has %q s, want 0.5", slept)
	}
	close(decided)
	testkit.OK(t, slow.SetReadDeadline(time.Now().Add(5*time.Second)))
	if _, err := slow.Read(make([]byte, 1)); err != nil {
		t.Errorf("who has asked: %v, want an answer", err)
	}
	if _, err := idle.Write([]byte{'x'}); err == nil {
		testkit.OK(t, idle.SetReadDeadline(time.Now().Add(5*time.Second)))
		_, err = idle.Read(make([]byte, 1))
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("who asks: %v, want a reset", err)
		}
	}
	if _, err := connect(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("who connects: %v, want a refusal", err)
	}
	if !packertest.Echoes(peer) {
		t.Error("another member is cut off")
	}
	w.Inside(func() {
		c, err := net.DialTimeout("tcp4", "10.77.0.1:2379", 5*time.Second)
		if err != nil {
			t.Errorf("the machine itself: %v", err)
			return
		}
		defer c.Close()
		if !packertest.Echoes(c) {
			t.Error("the machine itself is cut off")
		}
	})

	run("etcd-ended.sh")
	c, err := connect()
	testkit.OK(t, err)
	defer c.Close()
	if !packertest.Echoes(c) {
		t.Error("etcd has ended, and its port stays shut")
	}
	w.Inside(func() {
		if out, err := exec.Command("nft", "list", "tables").CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%v; left over: %s", err, out)
		}
	})
	run("etcd-ended.sh") // where etcd ends without having been stopped
}

const proposal = 'p'

// serve gives back what it gets, a proposal once it is decided.
func serve(l net.Listener, decided <-chan struct{}) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			for b := make([]byte, 1); ; {
				if _, err := c.Read(b); err != nil {
					return
				}
				if b[0] == proposal {
					<-decided
				}
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		}()
	}
}
