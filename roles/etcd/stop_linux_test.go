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
// none, and is there for the others and for its own machine. Its end takes that back.
func TestStop(t *testing.T) {
	testkit.Need(t, "nft", "ss")
	m, w := packertest.New(t, "../../packer/rootfs/usr/lib/pgha", "rootfs/usr/lib/pgha"), packertest.NewWire(t)
	m.Write(m.Lib+"/etcd-stop.nft", testkit.Text(t, "rootfs/usr/lib/pgha/etcd-stop.nft"))
	m.Identity()
	m.Write(m.Run+"/identity.env", strings.ReplaceAll(m.Read(m.Run+"/identity.env"), "127.0.0.1", "10.77.0.1"))
	w.Listen(2379)
	w.Listen(2380)
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
	client, peer := w.Dial(2, 2379, 5*time.Second), w.Dial(2, 2380, 5*time.Second)
	var own net.Conn
	w.Inside(func() {
		var err error
		own, err = net.DialTimeout("tcp4", "10.77.0.1:2379", 5*time.Second)
		testkit.OK(t, err)
	})
	defer own.Close()

	if got := run("etcd-stop.sh"); got.Console != "" {
		t.Errorf("it says %q", got.Console)
	}
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
