package etcd_test

import (
	"errors"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgha-gen/internal/testkit"
	"pgha-gen/packer/packertest"
)

// TestStop: a member that is about to stop has no clients any more and takes
// none, and is there for the others and for its own machine. Its start takes that back.
func TestStop(t *testing.T) {
	testkit.Need(t, "nft", "ss")
	m, w := packertest.New(t, "../../packer/rootfs/usr/lib/pgha", "rootfs/usr/lib/pgha"), packertest.NewWire(t)
	m.Write(m.Lib+"/etcd-stop.nft", testkit.Text(t, "rootfs/usr/lib/pgha/etcd-stop.nft"))
	m.Identity()
	m.Write(m.Run+"/identity.env", strings.ReplaceAll(m.Read(m.Run+"/identity.env"), "127.0.0.1", "10.77.0.1"))
	w.Listen(2379)
	w.Listen(2380)
	connect := func() (c net.Conn, err error) {
		w.Outside(func() { c, err = net.DialTimeout("tcp4", "10.77.0.1:2379", 5*time.Second) })
		return c, err
	}
	client, peer := w.Dial(2, 2379, 5*time.Second), w.Dial(2, 2380, 5*time.Second)
	var own net.Conn
	w.Inside(func() {
		var err error
		own, err = net.DialTimeout("tcp4", "10.77.0.1:2379", 5*time.Second)
		testkit.OK(t, err)
	})
	defer own.Close()

	w.Inside(func() {
		if got := m.Boot("etcd-stop.sh"); got.Status != 0 || got.Console != "" {
			t.Fatalf("status %d, console %q\n%s", got.Status, got.Console, got.Output)
		}
	})
	testkit.OK(t, client.SetReadDeadline(time.Now().Add(5*time.Second)))
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("who waits for an answer: %v, want a reset", err)
	}
	if _, err := connect(); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("who connects: %v, want a refusal", err)
	}
	if !packertest.Echoes(peer) {
		t.Error("another member is cut off")
	}
	if !packertest.Echoes(own) {
		t.Error("the machine itself is cut off")
	}

	// As the unit says it.
	_, command, _ := strings.Cut(testkit.Text(t, "rootfs/usr/lib/systemd/system/etcd.service"), "\nExecStartPre=+/usr/sbin/nft \"")
	command, _, _ = strings.Cut(command, "\"\n")
	start := func() {
		w.Inside(func() {
			if out, err := exec.Command("nft", command).CombinedOutput(); err != nil || len(out) > 0 {
				t.Fatalf("nft %q: %v\n%s", command, err, out)
			}
			if out, err := exec.Command("nft", "list", "tables").CombinedOutput(); err != nil || len(out) > 0 {
				t.Fatalf("%v; left over: %s", err, out)
			}
		})
	}
	start()
	c, err := connect()
	testkit.OK(t, err)
	defer c.Close()
	if !packertest.Echoes(c) {
		t.Error("etcd starts again, and its port stays shut")
	}
	start() // where it had not been stopped
}
