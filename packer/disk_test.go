package packer_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
	"pgha-gen/packer/packertest"
)

// A disk that is attached later is taken as soon as it is there.
func TestDiskLater(t *testing.T) {
	m := packertest.New(t, scripts)
	dir := t.TempDir()
	device, target := dir+"/virtio-data", dir+"/mnt"
	m.Identity()
	m.Cluster("PGHA_DATA_DEVICE="+device, "PGHA_DATA_MOUNT="+target)
	m.Fake("sleep", fmt.Sprintf(`echo "$1" >>%[1]s/slept; if [ "$(wc -l <%[1]s/slept)" = 6 ]; then : >%[2]s; fi`, dir, device))
	m.Fake("blkid", "exit 2")
	for _, program := range []string{"mkfs.ext4", "mount", "chown", "resize2fs"} {
		m.Fake(program, "")
	}
	m.Fake("mountpoint", "exit 1")
	m.Fake("findmnt", "echo ext4")
	got := m.Boot("disk.sh")
	want := "demo-etcd-1 disk wait there is no " + device + ": attach the data disk to this machine under the device name data\n" +
		"demo-etcd-1 disk ok " + device + " on " + target + "\n"
	if diff := cmp.Diff(want, got.Console); diff != "" || got.Status != 0 {
		t.Errorf("status %d, console (-want +got):\n%s\n%s", got.Status, diff, got.Output)
	}
	// Somebody stands there and waits for it.
	if diff := cmp.Diff("1 2 2 2 2 2", strings.Join(strings.Fields(m.Read(dir+"/slept")), " ")); diff != "" {
		t.Errorf("pauses (-want +got):\n%s", diff)
	}
}

// loop is an image of this many MiB as a device.
type loop struct {
	t             *testing.T
	image, device string
}

func newLoop(t *testing.T, size int64) *loop {
	t.Helper()
	testkit.Need(t, "mkfs.ext4", "blkid", "losetup", "findmnt", "resize2fs")
	testkit.Root(t)
	l := &loop{t: t, image: filepath.Join(t.TempDir(), "image")}
	testkit.OK(t, os.WriteFile(l.image, nil, 0o600))
	testkit.OK(t, os.Truncate(l.image, size<<20))
	out, err := exec.Command("losetup", "--find", "--show", l.image).CombinedOutput()
	if err != nil {
		t.Skipf("no loop device can be had: %s", out)
	}
	l.device = strings.TrimSpace(string(out))
	t.Cleanup(func() { l.run("losetup", "-d", l.device) })
	return l
}

func (l *loop) run(name string, args ...string) {
	l.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		l.t.Fatalf("%s %v: %s", name, args, out)
	}
}

// grow makes the disk larger, as the cloud does.
func (l *loop) grow(size int64) {
	l.t.Helper()
	testkit.OK(l.t, os.Truncate(l.image, size<<20))
	l.run("losetup", "-c", l.device)
}

// machine is one with this disk, and these lines in cluster.env.
func (l *loop) machine(target string, lines ...string) *packertest.Machine {
	l.t.Helper()
	m := packertest.New(l.t, scripts)
	m.Identity()
	m.Cluster(append([]string{"PGHA_DATA_DEVICE=" + l.device, "PGHA_DATA_MOUNT=" + target}, lines...)...)
	return m
}

// boot mounts the disk at a directory.
func (l *loop) boot(target string, lines ...string) packertest.Result {
	l.t.Helper()
	m := l.machine(target, lines...)
	got := m.Boot("disk.sh")
	if (got.Status == 0) == strings.Contains(got.Console, " disk fail ") {
		l.t.Fatalf("status %d: %s", got.Status, got.Output)
	}
	return got
}

func (l *loop) unmountAtTheEnd(target string) {
	l.t.Cleanup(func() {
		if out, err := exec.Command("umount", target).CombinedOutput(); err != nil && !strings.Contains(string(out), "not mounted") {
			l.t.Errorf("umount: %s", out)
		}
	})
}

// mayResize says whether this process has CAP_SYS_RESOURCE, which root lacks in
// many a container.
func mayResize(t *testing.T) bool {
	t.Helper()
	status := testkit.Text(t, "/proc/self/status")
	for line := range strings.Lines(status) {
		var have uint64
		if n, _ := fmt.Sscanf(line, "CapEff: %x", &have); n == 1 {
			const sysResource = 24
			return have>>sysResource&1 == 1
		}
	}
	return false
}

// size is how many MiB a file system has.
func size(t *testing.T, target string) uint64 {
	t.Helper()
	var s syscall.Statfs_t
	testkit.OK(t, syscall.Statfs(target, &s))
	return s.Blocks * uint64(s.Bsize) >> 20
}

func TestDiskGrows(t *testing.T) {
	for _, test := range []struct {
		kind        string
		small, more int64
	}{{"ext4", 64, 128}, {"xfs", 320, 640}} {
		t.Run(test.kind, func(t *testing.T) {
			testkit.Need(t, "mkfs."+test.kind)
			l := newLoop(t, test.small)
			target := filepath.Join(t.TempDir(), "mnt")
			l.unmountAtTheEnd(target)
			if test.kind == "xfs" {
				l.run("mkfs.xfs", "-q", l.device)
			}
			ok := "demo-etcd-1 disk ok " + l.device + " on " + target + "\n"
			if got := l.boot(target, "PGHA_SERVICE_USER=root"); got.Console != ok {
				t.Fatal(got.Output)
			}
			before := size(t, target)
			testkit.OK(t, os.WriteFile(target+"/kept", []byte("data"), 0o600))
			l.grow(test.more)
			if test.kind == "ext4" && !mayResize(t) {
				// Of this, the machine still boots, and says what is wrong.
				want := "demo-etcd-1 disk wait " + l.device + " is larger than its file system, which does not grow: "
				if got := l.boot(target, "PGHA_SERVICE_USER=root"); !strings.HasPrefix(got.Console, want) || !strings.Contains(got.Console, "ermi") || !strings.HasSuffix(got.Console, ok) {
					t.Errorf("console %q, want %q, that it is not permitted, and ok", got.Console, want)
				}
				got := l.machine(target).Boot("disk.sh", "grow")
				if want := strings.Replace(want, " wait ", " warn ", 1); !strings.HasPrefix(got.Console, want) || strings.Count(got.Console, "\n") != 1 || got.Status != 0 {
					t.Errorf("while it runs: status %d, console %q, want %q and no more", got.Status, got.Console, want)
				}
				t.Skip("only root with CAP_SYS_RESOURCE can grow an ext4 that is mounted")
			}
			// Once while the machine runs, and once as after a boot.
			m := l.machine(target)
			request := m.Run + "/disk-grow"
			m.Write(request, "")
			if got := m.Boot("disk.sh", "grow"); got.Console != "" || got.Status != 0 {
				t.Fatal(got.Output)
			}
			if _, err := os.Stat(request); !os.IsNotExist(err) {
				t.Errorf("it is asked to grow again and again: %v", err)
			}
			grown := size(t, target)
			if grown < before*3/2 {
				t.Errorf("%d MiB of a disk that grew from %d to %d, before it was %d", grown, test.small, test.more, before)
			}
			l.run("umount", target)
			l.grow(2 * test.more)
			if got := l.boot(target, "PGHA_SERVICE_USER=root"); got.Console != ok {
				t.Fatal(got.Output)
			}
			if again := size(t, target); again < grown*3/2 {
				t.Errorf("%d MiB after the disk grew again, before it was %d", again, grown)
			}
			if kept, err := os.ReadFile(target + "/kept"); string(kept) != "data" {
				t.Errorf("the disk lost its files: %q, %v", kept, err)
			}
		})
	}
}

// A kept disk whose files have another image's number belongs to the service
// again; what it links to does not.
func TestDiskOwner(t *testing.T) {
	nobody := packertest.LookUp(t, "nobody")
	l := newLoop(t, 64)
	target, outside := filepath.Join(t.TempDir(), "mnt"), filepath.Join(t.TempDir(), "outside")
	l.unmountAtTheEnd(target)
	ok := "demo-etcd-1 disk ok " + l.device + " on " + target + "\n"
	if got := l.boot(target, "PGHA_SERVICE_USER=nobody"); got.Console != ok {
		t.Fatalf("an empty disk: %s", got.Output)
	}

	const another = 4711
	write := func(path string) {
		t.Helper()
		testkit.OK(t, os.MkdirAll(filepath.Dir(path), 0o700))
		testkit.OK(t, os.WriteFile(path, []byte("data"), 0o600))
	}
	write(outside + "/shadow")
	write(target + "/data/member/wal/0.wal")
	for _, link := range []string{"/data/link", "/link"} {
		testkit.OK(t, os.Symlink(outside, target+link))
	}
	m := packertest.New(t, scripts)
	for _, path := range []string{"/data", "/link"} {
		m.Give(target+path, packertest.User{UID: another, GID: another})
	}

	owner := func(path string) string {
		t.Helper()
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return packertest.Owner(info)
	}
	service := fmt.Sprintf("%d:%d", nobody.UID, nobody.GID)
	l.run("umount", target)
	got := l.boot(target, "PGHA_SERVICE_USER=nobody")
	said := fmt.Sprintf("demo-etcd-1 disk wait %s/data belongs to %d:%d: giving it to nobody (%s)\n", target, another, another, service)
	if !strings.HasPrefix(got.Console, said) || !strings.HasSuffix(got.Console, ok) {
		t.Errorf("console %q, want %q first", got.Console, said)
	}
	want := map[string]string{
		target: "0:0", target + "/lost+found": "0:0", target + "/.pgha": "0:0", outside: "0:0", outside + "/shadow": "0:0",
		target + "/data": service, target + "/data/member/wal/0.wal": service, target + "/data/link": service, target + "/link": service,
	}
	found := map[string]string{}
	for path := range want {
		found[path] = owner(path)
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}

	// All is right: nothing is touched, however deep another owner is.
	deep := target + "/data/member/wal/0.wal"
	testkit.OK(t, os.Chown(deep, another, another))
	if got := l.boot(target, "PGHA_SERVICE_USER=nobody"); got.Console != ok {
		t.Errorf("nothing to take over: %q", got.Console)
	}
	if got := owner(deep); got != fmt.Sprintf("%d:%d", another, another) {
		t.Errorf("a file was touched although its directory is right: %s", got)
	}
}
