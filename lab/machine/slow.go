//go:build linux

package machine

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// CanSlowDisks is nil where SlowDisk works, or says why it does not: it needs the
// controller blkio of cgroup version 1. Version 2 limits every group but the one that
// the kernel's own threads are in, and these write the journals of file systems.
func CanSlowDisks() error {
	_, err := limitFile()
	return err
}

// limitFile limits the disks of all processes and threads in the root of the hierarchy.
func limitFile() (string, error) {
	const none = "this host cannot slow a disk (that needs cgroup version 1 with the controller blkio)"
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	dir := blkio(f)
	if dir == "" {
		return "", errors.New(none)
	}
	file := filepath.Join(dir, "blkio.throttle.write_iops_device")
	if _, err := os.Stat(file); err != nil {
		return "", fmt.Errorf("%s: %w", none, err)
	}
	return file, nil
}

// blkio is where the controller's hierarchy is mounted; empty: nowhere.
func blkio(mountinfo io.Reader) string {
	for s := bufio.NewScanner(mountinfo); s.Scan(); {
		mount, super, _ := strings.Cut(s.Text(), " - ")
		m, t := strings.Fields(mount), strings.Fields(super)
		if len(m) >= 5 && m[3] == "/" && len(t) >= 3 && t[0] == "cgroup" && slices.Contains(strings.Split(t[2], ","), "blkio") {
			return m[4]
		}
	}
	return ""
}

// SlowDisk lets a disk that a machine has take no more than so many writes a second;
// 0: as many as it can. It ends with the machine's power.
func SlowDisk(path string, writes int) error {
	path, err := filepath.EvalSymlinks(path)
	switch {
	case writes == 0 && errors.Is(err, fs.ErrNotExist): // lost meanwhile, with its machine
		return nil
	case err != nil:
		return err
	}
	devices, err := Loops(path)
	if err != nil {
		return err
	}
	if len(devices) == 0 && writes > 0 {
		return fmt.Errorf("disk %q: no machine that runs has it", path)
	}
	for _, device := range devices {
		if err := limit(device, writes); err != nil {
			return err
		}
	}
	return nil
}

func limit(device string, writes int) error {
	file, err := limitFile()
	if err != nil {
		return err
	}
	var info unix.Stat_t
	if err := unix.Stat(device, &info); err != nil {
		return fmt.Errorf("cannot slow %s: %w", device, err)
	}
	rule := fmt.Sprintf("%d:%d %d", unix.Major(info.Rdev), unix.Minor(info.Rdev), writes)
	if err := os.WriteFile(file, []byte(rule), 0); err != nil {
		return fmt.Errorf("cannot slow %s: %w", device, err)
	}
	return nil
}

// quicken ends what SlowDisk did to the device, also for a process that died.
func (l *loop) quicken() error {
	if CanSlowDisks() != nil {
		return nil
	}
	return limit(l.dev.Name(), 0)
}
