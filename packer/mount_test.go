package packer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
	"pgha-gen/packer/packertest"
)

func TestDisk(t *testing.T) {
	const mkfs, mount, umount = "mkfs.ext4 -q -L pgha-etcd DEV\n", "mount -t ext4 -o noatime DEV MNT\n", "umount MNT\n"
	const grow, growXFS = "resize2fs DEV\n", "xfs_growfs MNT\n"
	const look = "mount -t ext4 -o ro,noload DEV MNT\n"
	const ok, fail = "demo-etcd-1 disk ok DEV on MNT\n", "demo-etcd-1 disk fail "
	other := "nothing was changed; attach the right disk, or an empty one\n"
	tests := []struct {
		name, reason string
		noDevice     bool
		blkid        string // what it prints; its status is that of the last command
		mounted      string // the device that is mounted already
		files        map[string]string
		fakes        map[string]string
		calls        string
		console      string
		marker       string
	}{
		{name: "empty", reason: "nothing at all: ours to format", blkid: "exit 2",
			calls: mkfs + mount + grow, console: ok, marker: "demo-1a2b3c4d\n"},
		{name: "ours", reason: "a machine was replaced and its disk kept", blkid: "echo TYPE=ext4",
			files: map[string]string{".pgha": "demo-1a2b3c4d\n", "data/x": "1"},
			calls: look + umount + mount + grow, console: ok, marker: "demo-1a2b3c4d\n"},
		{name: "xfs", reason: "a disk that was formatted by hand", blkid: "echo TYPE=xfs",
			files: map[string]string{".pgha": "demo-1a2b3c4d\n"},
			calls: "mount -t xfs -o noatime DEV MNT\n" + growXFS, console: ok, marker: "demo-1a2b3c4d\n"},
		{name: "interrupted", reason: "power was lost between mkfs and the mark", blkid: "echo TYPE=ext4",
			files: map[string]string{"lost+found/.keep": "", ".pgha.new": ""},
			calls: look + umount + mount + grow, console: ok, marker: "demo-1a2b3c4d\n"},
		{name: "another cluster's", reason: "the wrong disk was attached", blkid: "echo TYPE=ext4",
			files: map[string]string{".pgha": "prod-99999999\n"},
			calls: look + umount, console: fail + "DEV belongs to cluster prod-99999999, not to demo-1a2b3c4d: " + other, marker: "prod-99999999\n"},
		{name: "somebody's files", reason: "a disk with files and no mark is not ours", blkid: "echo TYPE=ext4",
			files: map[string]string{"thesis.tex": "x"},
			calls: look + umount, console: fail + "DEV holds files but no cluster's mark: " + other},
		{name: "another cluster's, cut off", reason: "its journal has to be replayed: only the mount to write shows all", blkid: "echo TYPE=ext4",
			files: map[string]string{".pgha": "prod-99999999\n"},
			fakes: map[string]string{"dumpe2fs": "echo 'Filesystem features: has_journal needs_recovery'"},
			calls: mount + umount, console: fail + "DEV belongs to cluster prod-99999999, not to demo-1a2b3c4d: " + other, marker: "prod-99999999\n"},
		{name: "partitions", reason: "a partition table is not nothing", blkid: "echo PTTYPE=gpt",
			console: fail + "DEV holds something else than a data file system (PTTYPE=gpt blkid status 0): " + other},
		{name: "luks", reason: "a signature that is not a data file system", blkid: "echo TYPE=crypto_LUKS",
			console: fail + "DEV holds something else than a data file system (TYPE=crypto_LUKS blkid status 0): " + other},
		{name: "ambivalent", reason: "two signatures at once", blkid: "exit 8",
			console: fail + "DEV holds something else than a data file system (blkid status 8): " + other},
		{name: "unreadable", reason: "blkid says 2, as for an empty disk, when it cannot read", blkid: "exit 2",
			fakes:   map[string]string{"dd": "exit 1"},
			console: fail + "cannot read DEV: nothing was changed; replace the disk\n"},
		{name: "mkfs fails", reason: "its own words say why", blkid: "exit 2",
			fakes:   map[string]string{"mkfs.ext4": "echo 'device is in use' >&2; exit 1"},
			console: fail + "cannot format DEV: device is in use\n"},
		{name: "mount fails", reason: "its own words say why", blkid: "echo TYPE=ext4",
			fakes:   map[string]string{"mount": "echo 'bad superblock' >&2; exit 32"},
			console: fail + "cannot mount DEV on MNT: bad superblock\n"},
		{name: "mounted", reason: "the unit was restarted", mounted: "DEV",
			files: map[string]string{".pgha": "demo-1a2b3c4d\n"},
			calls: grow, console: ok, marker: "demo-1a2b3c4d\n"},
		{name: "does not grow", reason: "a file system that stays small is a file system all the same", blkid: "echo TYPE=ext4",
			files: map[string]string{".pgha": "demo-1a2b3c4d\n"},
			fakes: map[string]string{"resize2fs": "echo resize2fs 1.47.2 >&2; echo 'no space for it' >&2; echo old_desc_blocks = 1; exit 1"},
			calls: look + umount + mount, marker: "demo-1a2b3c4d\n",
			console: "demo-etcd-1 disk wait DEV is larger than its file system, which does not grow: no space for it\n" + ok},
		{name: "xfs does not grow", reason: "the same", blkid: "echo TYPE=xfs",
			files: map[string]string{".pgha": "demo-1a2b3c4d\n"},
			fakes: map[string]string{"xfs_growfs": "echo 'bad geometry' >&2; exit 1"},
			calls: "mount -t xfs -o noatime DEV MNT\n", marker: "demo-1a2b3c4d\n",
			console: "demo-etcd-1 disk wait DEV is larger than its file system, which does not grow: bad geometry\n" + ok},
		{name: "another one mounted", reason: "something else sits on the data directory", mounted: "/dev/vdz1",
			console: fail + "MNT is mounted from /dev/vdz1, not from DEV: unmount it\n"},
		{name: "no device", reason: "the disk is attached later, if at all", noDevice: true,
			console: "demo-etcd-1 disk wait there is no DEV: attach the data disk to this machine under the device name data\n"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := packertest.New(t, scripts)
			dir := t.TempDir()
			device, target := dir+"/virtio-data", dir+"/mnt"
			names := strings.NewReplacer("DEV", device, "MNT", target)
			if !tc.noDevice {
				m.Write(device, "")
			}
			for name, text := range tc.files {
				m.Write(filepath.Join(target, name), text)
			}
			m.Patience(60)
			m.Identity()
			m.Cluster("PGHA_DATA_DEVICE="+device, "PGHA_DATA_MOUNT="+target)
			calls := dir + "/calls"
			for _, program := range []string{"mkfs.ext4", "mount", "umount", "resize2fs", "xfs_growfs"} {
				m.Fake(program, fmt.Sprintf("echo %s \"$@\" >>%s", program, calls))
			}
			m.Fake("blkid", tc.blkid)
			m.Fake("chown", "")
			m.Fake("mountpoint", fmt.Sprintf("[ -n %q ]", tc.mounted))
			kind := "ext4"
			if strings.Contains(tc.blkid, "xfs") {
				kind = "xfs"
			}
			m.Fake("findmnt", `case "$*" in *FSTYPE*) echo `+kind+` ;; *) echo `+names.Replace(tc.mounted)+` ;; esac`)
			for name, text := range tc.fakes {
				m.Fake(name, text)
			}
			got := m.Boot("disk.sh")
			if diff := cmp.Diff(names.Replace(tc.console), got.Once()); diff != "" {
				t.Errorf("%s: console (-want +got):\n%s\n%s", tc.reason, diff, got.Output)
			}
			if diff := cmp.Diff(names.Replace(tc.calls), m.Read(calls)); diff != "" {
				t.Errorf("%s: programs run (-want +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.marker, m.Read(target+"/.pgha")); diff != "" {
				t.Errorf("%s: marker (-want +got):\n%s", tc.reason, diff)
			}
			if wantOK := strings.Contains(tc.console, " ok "); wantOK != (got.Status == 0) {
				t.Errorf("%s: status %d", tc.reason, got.Status)
			}
		})
	}
}

func TestNoDataDisk(t *testing.T) {
	m := packertest.New(t, scripts)
	m.Identity()
	m.Cluster()
	got := m.Boot("disk.sh")
	want := "demo-etcd-1 disk ok role etcd keeps no data on a disk\n"
	if got.Console != want || got.Status != 0 {
		t.Errorf("status %d, console %q, want 0, %q", got.Status, got.Console, want)
	}
}

// A real disk, as far as this host has loop devices.
func TestDiskForReal(t *testing.T) {
	l := newLoop(t, 64)
	device, target := l.device, filepath.Join(t.TempDir(), "mnt")
	l.unmountAtTheEnd(target)
	boot := func(token string) packertest.Result { return l.boot(target, "PGHA_TOKEN="+token) }
	ok := "demo-etcd-1 disk ok " + device + " on " + target + "\n"

	if got := boot("demo-1a2b3c4d"); got.Console != ok {
		t.Fatalf("an empty disk: %s", got.Output)
	}
	testkit.OK(t, os.WriteFile(target+"/kept", []byte("data"), 0o600))
	if got := boot("demo-1a2b3c4d"); got.Console != ok {
		t.Fatalf("mounted already: %s", got.Output)
	}
	l.run("umount", target)
	got := boot("prod-99999999")
	if want := "belongs to cluster demo-1a2b3c4d, not to prod-99999999"; !strings.Contains(got.Console, want) || got.Status != 1 {
		t.Fatalf("another cluster's disk: status %d, %s", got.Status, got.Output)
	}
	if _, err := os.Stat(target + "/kept"); err == nil {
		t.Fatal("another cluster's disk is still mounted")
	}
	if got := boot("demo-1a2b3c4d"); got.Console != ok {
		t.Fatalf("a kept disk: %s", got.Output)
	}
	if kept, err := os.ReadFile(target + "/kept"); string(kept) != "data" {
		t.Fatalf("a kept disk lost its files: %q, %v", kept, err)
	}
	l.run("umount", target)
	l.run("mkswap", "-f", device)
	before := testkit.Text(t, l.image)
	if got := boot("demo-1a2b3c4d"); !strings.Contains(got.Console, "holds something else") || got.Status != 1 {
		t.Fatalf("swap: status %d, %s", got.Status, got.Output)
	}
	if after, err := os.ReadFile(l.image); err != nil || string(after) != before {
		t.Fatalf("a disk that was refused was changed (%v)", err)
	}
}
