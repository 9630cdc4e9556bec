//go:build linux

package machine_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/lab/image"
	"pgha-gen/lab/isolate"
	"pgha-gen/lab/labtest"
	"pgha-gen/lab/machine"
	"pgha-gen/lab/machine/machinetest"
	"pgha-gen/lab/netns"
)

// network gives a network of this test's own, with one machine plugged in.
func network(t *testing.T) *netns.Port {
	t.Helper()
	name := fmt.Sprintf("pgha-mt%d", os.Getpid())
	n, err := netns.New(t.Context(), name, []netip.Prefix{netip.MustParsePrefix("10.1.0.1/24")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if left, err := netns.Leftovers(name); err != nil || len(left) > 0 {
			t.Errorf("namespaces left: %q, %v", left, err)
		}
	})
	p, err := n.Attach(t.Context(), "m1", netip.MustParsePrefix("10.1.0.5/24"), netip.MustParseAddr("10.1.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func base(t *testing.T) string {
	t.Helper()
	root, err := image.Cache{Dir: labtest.Cache}.Base(t.Context(), image.Base{Suite: "forky"}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func start(t *testing.T, cfg machine.Config) *machine.Machine {
	t.Helper()
	began := time.Now()
	m, err := machine.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() }) // for a test that fails half way; the test itself looks at the error
	t.Logf("init runs after %v", time.Since(began).Round(time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	// Not a later target: systemd says no more on the console once a login
	// prompt is there.
	line, err := m.Console().WaitLine(ctx, func(s string) bool { return strings.Contains(s, "Reached target basic.target") })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("after %v: %s", line.At.Sub(began).Round(time.Millisecond), line.Text)
	return m
}

func run(t *testing.T, m *machine.Machine, script string) string {
	t.Helper()
	out, err := machinetest.Exec(t.Context(), m, "sh", "-euc", script)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// nothingLeft looks with its own eyes, not with the package's: every
// process's root, every process's mounts, every loop device.
func nothingLeft(t *testing.T, state string) {
	t.Helper()
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range entries {
		tasks, _ := filepath.Glob(p + "/task/*") // ours has threads with mounts of their own
		for _, task := range tasks {
			mounts, _ := os.ReadFile(task + "/mountinfo") // a process that ended meanwhile has none
			if strings.Contains(string(mounts), state) {
				cmdline, _ := os.ReadFile(p + "/cmdline")
				t.Errorf("%s (%q) still has a mount of %s", task, cmdline, state)
			}
		}
	}
	if held, err := machine.Loops(state); err != nil || len(held) > 0 {
		t.Errorf("loop devices left: %q, %v", held, err)
	}
}

func TestMachine(t *testing.T) {
	labtest.Need(t, "ip", "nsenter", "mmdebstrap", "systemd-nspawn", "nft")
	root, state, port := base(t), labtest.State(t), network(t)
	nft := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("ip", append([]string{"netns", "exec", port.Namespace, "nft"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	nft("add", "table", "inet", "of_an_earlier_boot")
	cfg := machine.Config{
		Name: "m1", Root: root, State: filepath.Join(state, "m1"), Namespace: port.Path, Now: time.Now,
		Disks: []machine.Disk{{Name: "pgdata", Path: filepath.Join(state, "pgdata.img"), Size: 64 << 20}},
		Files: map[string][]byte{
			"/etc/cloud/cloud-init.disabled": nil,
			"/etc/resolv.conf":               []byte("nameserver 10.1.0.2\n"),
		},
	}

	var m *machine.Machine
	var powers []string
	cfg.Power = func(on bool) error {
		power := map[bool]string{true: "on", false: "off"}[on]
		if m != nil {
			if _, running := m.Init(); running {
				power += ", init runs"
			}
		}
		powers = append(powers, power)
		return nil
	}
	m = start(t, cfg)
	if rules := nft("list", "ruleset"); rules != "" {
		t.Errorf("a machine that was powered on has rules:\n%s", rules)
	}
	nft("add", "table", "inet", "of_this_boot")
	if _, err := machine.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "still") {
		t.Errorf("a second start on the same state: %v, want it refused", err)
	}
	if rules := nft("list", "ruleset"); !strings.Contains(rules, "of_this_boot") {
		t.Errorf("the refused start took away the rules of the machine that runs: %q", rules)
	}
	const dev = "/dev/disk/by-id/virtio-pgdata"
	for _, tt := range []struct{ name, script, want string }{
		{"host name", "cat /proc/sys/kernel/hostname", "m1"},
		{"file", "cat /etc/resolv.conf", "nameserver 10.1.0.2"},
		{"address", "ip -4 -o addr show eth0 | grep -c 10.1.0.5/24", "1"},
		{"MAC address", "cat /sys/class/net/eth0/address", port.MAC.String()},
		{"no other network", "ls /sys/class/net | tr '\\n' ' '", "eth0 lo"},
		{"empty disk", "blkid -p " + dev + " || echo $?", "2"},
		{"disk", "mkfs.ext4 -q " + dev + "; mkdir /data; mount " + dev + " /data; echo kept >/data/f; sync -f /data/f; blkid -o value -s TYPE " + dev, "ext4"},
		{"root", "echo kept >/root/f; cat /root/f", "kept"},
		{"all well", "systemctl is-system-running --wait || systemctl --failed", "running"},
		{"settings of the network, and no others", "echo 7 >/proc/sys/net/ipv4/tcp_retries2; cat /proc/sys/net/ipv4/tcp_retries2; { echo 1 >/proc/sys/vm/swappiness; } 2>/dev/null || echo refused", "7\nrefused"},
		{"right to change the network", "ip link set lo down && ip link set lo up && echo yes", "yes"},
	} {
		if got := run(t, m, tt.script); got != tt.want {
			t.Errorf("%s: have %q, want %q", tt.name, got, tt.want)
		}
	}
	if _, err := machinetest.Exec(t.Context(), m, "sh", "-c", "echo why >&2; exit 3"); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("a command that ends badly: %v, want its standard error", err)
	}
	group, err := isolate.Find(machine.ID(cfg.State))
	if err != nil {
		t.Fatal(err)
	}
	if busy, err := group.Busy(); err != nil || !busy {
		t.Errorf("while it runs, the machine's cgroup is busy: %v, %v", busy, err)
	}

	began := time.Now()
	if err := m.PowerCut(); err != nil {
		t.Fatal(err)
	}
	t.Logf("power cut took %v", time.Since(began).Round(time.Millisecond))
	if busy, err := group.Busy(); err != nil || busy {
		t.Errorf("after the power cut, the machine's cgroup is busy: %v, %v", busy, err)
	}
	nothingLeft(t, state)
	if _, err := machinetest.Exec(t.Context(), m, "true"); !errors.Is(err, machine.ErrEnded) {
		t.Errorf("a command in a machine that has ended: %v, want %v", err, machine.ErrEnded)
	}
	if _, err := m.Console().WaitLine(t.Context(), func(string) bool { return false }); !errors.Is(err, machine.ErrEnded) {
		t.Errorf("a line of a machine that has ended: %v, want %v", err, machine.ErrEnded)
	}

	m = start(t, cfg) // the reboot: both are there
	if got := run(t, m, "cat /root/f; mount "+dev+" /data; cat /data/f"); got != "kept\nkept" {
		t.Errorf("after the power cut: have %q, want root and disk kept", got)
	}
	began = time.Now()
	if err := machinetest.PowerOff(t.Context(), m); err != nil {
		t.Error(err)
	}
	t.Logf("power off took %v", time.Since(began).Round(time.Millisecond))
	nothingLeft(t, state)

	cfg.Fresh = true // the replacement: the disk is there, the root is the image's
	m = start(t, cfg)
	if got := run(t, m, "test -e /root/f || echo gone; mkdir /data; mount "+dev+" /data; cat /data/f"); got != "gone\nkept" {
		t.Errorf("after the replacement: have %q, want the disk kept only", got)
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	nothingLeft(t, state)
	log, err := os.ReadFile(filepath.Join(cfg.State, "console.log"))
	if n := strings.Count(string(log), "Reached target basic.target"); err != nil || n != 3 {
		t.Errorf("console.log has %d boots, want 3 (%v)", n, err)
	}
	// A cut takes the power first: no process may end its connections in order. What
	// was refused changed nothing.
	want := []string{"on", "off, init runs", "off", "on", "off", "on", "off, init runs", "off"}
	if diff := cmp.Diff(want, powers); diff != "" {
		t.Errorf("power (-want +got):\n%s", diff)
	}
}

const parentEnv = "PGHA_TEST_MACHINE_STATE"

// TestParentDies runs itself as the process that is killed: first the part
// for that process, then the test.
func TestParentDies(t *testing.T) {
	labtest.Need(t, "ip", "nsenter", "mmdebstrap", "systemd-nspawn")
	root := base(t)
	config := func(state, namespace string) machine.Config {
		return machine.Config{
			Name: "m1", Root: root, State: state, Namespace: namespace, Now: time.Now,
			Disks: []machine.Disk{{Name: "pgdata", Path: state + ".img", Size: 8 << 20}},
			Files: map[string][]byte{"/etc/cloud/cloud-init.disabled": nil},
		}
	}
	if child := os.Getenv(parentEnv); child != "" {
		state, namespace, _ := strings.Cut(child, " ")
		m := start(t, config(state, namespace))
		fmt.Println("\nrunning", run(t, m, "mkfs.ext4 -q /dev/disk/by-id/virtio-pgdata; mount /dev/disk/by-id/virtio-pgdata /mnt; echo yes"))
		select {}
	}
	dir, port := labtest.State(t), network(t)
	state := filepath.Join(dir, "m1")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestParentDies$", "-test.v")
	cmd.Env = append(os.Environ(), parentEnv+"="+state+" "+port.Path)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	running := false
	for s := bufio.NewScanner(out); !running && s.Scan(); {
		running = s.Text() == "running yes"
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	cmd.Wait() // it was killed
	if !running {
		t.Fatal("the other process did not start its machine")
	}
	// The kernel has told systemd-nspawn, which shuts the machine down.
	group, err := isolate.Find(machine.ID(state))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := group.Wait(ctx); err != nil {
		t.Error(err)
	}
	if err := machine.Clear(ctx, state); err != nil {
		t.Error(err)
	}
	time.Sleep(100 * time.Millisecond) // the kernel frees a mount namespace a little after its last process
	nothingLeft(t, state)
}

// A disk grows, and its device with it; it never becomes smaller.
func TestGrowDisk(t *testing.T) {
	labtest.Need(t, "losetup")
	file := filepath.Join(labtest.State(t), "disk")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { exec.Command("losetup", "--detach", device).Run() })
	if err := machine.GrowDisk(file, 4<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("blockdev", "--getsize64", device).Output(); string(out) != "4194304\n" {
		t.Errorf("%s has %s bytes, %v", device, out, err)
	}
	for _, size := range []int64{4 << 20, 1 << 20} {
		if err := machine.GrowDisk(file, size); err == nil || !strings.HasSuffix(err.Error(), "has 4194304 bytes already (a disk can only become larger)") {
			t.Errorf("to %d bytes: %v", size, err)
		}
	}
	if err := machine.GrowDisk(file+"x", 8<<20); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a disk that is not there: %v", err)
	}
}

func TestRefused(t *testing.T) {
	labtest.Need(t, "ip", "systemd-nspawn")
	dir, port := labtest.State(t), network(t)
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name, reason string
		ctx          context.Context
		change       func(*machine.Config)
		want         string
	}{
		{"name", "it is a host name", t.Context(), func(c *machine.Config) { c.Name = "M_1" }, `"M_1"`},
		{"state", "overlayfs splits at commas", t.Context(), func(c *machine.Config) { c.State = "/a,b" }, `"/a,b"`},
		{"root", "whose folder is current is not ours to say", t.Context(), func(c *machine.Config) { c.Root = "root" }, `"root"`},
		{"disk name", "it becomes a path", t.Context(), func(c *machine.Config) { c.Disks = []machine.Disk{{Name: "../x"}} }, `"../x"`},
		{"file", "it must be inside the machine", t.Context(), func(c *machine.Config) { c.Files = map[string][]byte{"/../x": nil} }, `"/../x"`},
		{"clock", "console lines have times", t.Context(), func(c *machine.Config) { c.Now = nil }, "clock"},
		{"no root", "nothing to boot", t.Context(), func(c *machine.Config) { c.Root = filepath.Join(dir, "gone") }, "gone"},
		{"no namespace", "the host's network is not for machines", t.Context(), func(c *machine.Config) { c.Namespace = "/run/netns/pgha-gone" }, "pgha-gone"},
		{"not a namespace", "it is another file", t.Context(), func(c *machine.Config) { c.Namespace = "/etc/passwd" }, "/etc/passwd"},
		{"disk without size", "it is not there yet", t.Context(), func(c *machine.Config) {
			c.Disks = []machine.Disk{{Name: "d", Path: filepath.Join(dir, "d.img")}}
		}, "want a size"},
		{"disk twice", "two mounts of one file system destroy it", t.Context(), func(c *machine.Config) {
			d := machine.Disk{Name: "d", Path: filepath.Join(dir, "twice.img"), Size: 1 << 20}
			c.Disks = []machine.Disk{d, d}
		}, "still held by /dev/loop"},
		{"disk is a folder", "only files are disks", t.Context(), func(c *machine.Config) { c.Disks = []machine.Disk{{Name: "d", Path: dir, Size: 1}} }, dir},
		{"file through a link", "it would be the host's file", t.Context(), func(c *machine.Config) {
			c.Root, c.Files = dir, map[string][]byte{"/link/pgha-escaped": nil}
		}, "/link/pgha-escaped"},
		{"nothing in the root", "systemd-nspawn says why", t.Context(), func(*machine.Config) {}, "ended at once"},
		{"interrupted", "the context is done before init runs", cancelled, func(*machine.Config) {}, "canceled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := machine.Config{Name: "m1", Root: empty, State: filepath.Join(dir, "m1"), Namespace: port.Path, Now: time.Now}
			tt.change(&cfg)
			m, err := machine.Start(tt.ctx, cfg)
			if err == nil {
				m.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("have error %v, want one with %q: %s", err, tt.want, tt.reason)
			}
			nothingLeft(t, dir)
		})
	}
	if _, err := os.Stat("/etc/pgha-escaped"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was written to the host (%v)", err)
	}
	if err := machine.Clear(t.Context(), filepath.Join(dir, "never")); err != nil {
		t.Errorf("clearing what never was: %v", err)
	}
}
