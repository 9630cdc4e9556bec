//go:build linux

package machine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pgha-gen/lab/labtest"
)

// A slow disk takes its time for each write, until it is quick again.
func TestSlowDisk(t *testing.T) {
	labtest.Need(t, "losetup")
	rules, err := limitFile()
	if err != nil {
		t.Skip(err)
	}
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
	dev, err := os.OpenFile(device, os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	block, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS) // O_DIRECT wants it aligned
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(block)

	if err := SlowDisk(file, 20); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 28 {
		if _, err := dev.WriteAt(block, 0); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took < time.Second {
		t.Errorf("28 writes took %v, at 20 a second", took)
	}
	limited := func() bool {
		t.Helper()
		var info unix.Stat_t
		text, err := os.ReadFile(rules)
		if err = errors.Join(err, unix.Stat(device, &info)); err != nil {
			t.Fatal(err)
		}
		return strings.Contains("\n"+string(text), fmt.Sprintf("\n%d:%d ", unix.Major(info.Rdev), unix.Minor(info.Rdev)))
	}
	if !limited() {
		t.Errorf("%s has no rule for %s", rules, device)
	}
	if err := SlowDisk(file, 0); err != nil {
		t.Fatal(err)
	}
	if limited() {
		t.Errorf("%s is slow still", device)
	}

	if err := SlowDisk(file+"x", 20); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a disk that is not there: %v", err)
	}
	if err := SlowDisk(file+"x", 0); err != nil {
		t.Errorf("quick again when the disk is lost: %v", err)
	}
	if err := errors.Join(dev.Close(), exec.Command("losetup", "--detach", device).Run()); err != nil {
		t.Fatal(err)
	}
	if err := SlowDisk(file, 20); err == nil || !strings.HasSuffix(err.Error(), "/disk\": no machine that runs has it") {
		t.Errorf("a disk that no machine has: %v", err)
	}
	if err := SlowDisk(file, 0); err != nil {
		t.Errorf("quick again when its machine is off: %v", err)
	}
}

// What a process that died left of a limit ends when the device is used again, and
// with the power.
func TestSlowDiskEnds(t *testing.T) {
	labtest.Need(t, "losetup")
	rules, err := limitFile()
	if err != nil {
		t.Skip(err)
	}
	dir := labtest.State(t)
	l, err := attach(Disk{Name: "disk", Path: filepath.Join(dir, "disk"), Size: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := SlowDisk(filepath.Join(dir, "disk"), 7); err != nil {
		t.Fatal(err)
	}
	if err := l.detach(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(rules); err != nil || strings.Contains(string(text), " 7\n") {
		t.Errorf("left: %s, %v", text, err)
	}
	if err := limit(l.dev.Name(), 7); err != nil {
		t.Fatal(err)
	}
	if l, err = attach(Disk{Name: "disk", Path: filepath.Join(dir, "disk"), Size: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	defer l.detach(t.Context())
	if text, err := os.ReadFile(rules); err != nil || strings.Contains(string(text), " 7\n") {
		t.Errorf("%s is slow from before: %s, %v", l.dev.Name(), text, err)
	}
}

func TestBlkio(t *testing.T) {
	const two = "38 30 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	for name, test := range map[string]struct{ text, want string }{
		"alone":            {two + "36 30 0:31 / /sys/fs/cgroup/blkio rw,relatime shared:9 - cgroup cgroup rw,blkio\n", "/sys/fs/cgroup/blkio"},
		"with another":     {"36 30 0:31 / /cg rw - cgroup none rw,cpu,blkio\n" + two, "/cg"},
		"a group of it":    {"36 30 0:31 /docker/7 /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n", ""},
		"version 2 alone":  {two, ""},
		"others":           {"36 30 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", ""},
		"a file system":    {"36 30 8:1 / /blkio rw - ext4 /dev/blkio rw,blkio\n", ""},
		"not a mount":      {"\n", ""},
		"nothing is there": {"", ""},
	} {
		if got := blkio(strings.NewReader(test.text)); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
