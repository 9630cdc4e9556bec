package packertest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pgha-gen/internal/testkit"
)

// Wire joins a machine, at 10.77.0.1, to the world outside of it, at the
// other addresses of 10.77.0.0/24 and at that of metadata: two network
// namespaces that end with the test.
type Wire struct {
	t                testing.TB
	machine, outside int
}

// NewWire lays a wire, or skips the test where nobody may.
func NewWire(t *testing.T) *Wire {
	t.Helper()
	testkit.Need(t, "ip")
	testkit.Root(t)
	w := &Wire{t: t, machine: namespace(t), outside: namespace(t)}
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %s", args, out)
		}
	}
	w.Outside(func() {
		ip("link", "set", "lo", "up")
		ip("link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), w.machine))
		for _, a := range []string{"10.77.0.2/24", "10.77.0.3/24", "10.77.0.4/24", "169.254.169.254/32"} {
			ip("address", "add", a, "dev", "eth1")
		}
		ip("link", "set", "eth1", "up")
	})
	w.Inside(func() {
		ip("link", "set", "lo", "up")
		ip("address", "add", "10.77.0.1/24", "dev", "eth0")
		ip("link", "set", "eth0", "up")
		ip("route", "add", "169.254.169.254", "dev", "eth0")
	})
	return w
}

// Inside does something in the machine's network, Outside in the one outside.
func (w *Wire) Inside(f func())  { within(w.t, w.machine, f) }
func (w *Wire) Outside(f func()) { within(w.t, w.outside, f) }

// Listen gives back what it gets, on this port of the machine.
func (w *Wire) Listen(port int) {
	w.t.Helper()
	w.Inside(func() {
		l, err := net.Listen("tcp4", fmt.Sprintf("10.77.0.1:%d", port))
		testkit.OK(w.t, err)
		w.t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					b := make([]byte, 1)
					for {
						if _, err := c.Read(b); err != nil {
							return
						}
						if _, err := c.Write(b); err != nil {
							return
						}
					}
				}()
			}
		}()
	})
}

// Dial connects from 10.77.0.<from> to a port of the machine, and gives nil
// if nobody answers within this time.
func (w *Wire) Dial(from, port int, within time.Duration) net.Conn {
	w.t.Helper()
	var c net.Conn
	w.Outside(func() {
		d := net.Dialer{Timeout: within, LocalAddr: &net.TCPAddr{IP: net.IPv4(10, 77, 0, byte(from))}}
		var err error
		if c, err = d.Dial("tcp4", fmt.Sprintf("10.77.0.1:%d", port)); err != nil {
			c = nil
			if e, ok := err.(net.Error); !ok || !e.Timeout() {
				w.t.Error(err)
			}
			return
		}
		w.t.Cleanup(func() { c.Close() })
	})
	return c
}

// Echoes says whether a connection still carries something there and back.
func Echoes(c net.Conn) bool {
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return false
	}
	b := []byte{'x'}
	if _, err := c.Write(b); err != nil {
		return false
	}
	_, err := c.Read(b)
	return err == nil
}

// namespace is a new network namespace, open until the test ends.
func namespace(t testing.TB) int {
	t.Helper()
	fd := -1
	var err error
	within(t, -1, func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			fd, err = own()
		}
	})
	if err != nil {
		testkit.Missing(t, "no network namespace can be had: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func own() (int, error) {
	return unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// within does something on a thread that is in this namespace meanwhile; -1
// is the one where it is.
func within(t testing.TB, fd int, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := own()
	if err != nil {
		t.Error(err)
		return
	}
	defer func() {
		if err := unix.Setns(home, unix.CLONE_NEWNET); err != nil {
			panic(err) // no other test may run on this thread
		}
		unix.Close(home)
	}()
	if fd >= 0 {
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
	}
	f()
}
