//go:build linux

package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Disk is a file that the machine sees as the block device
// /dev/disk/by-id/virtio-<Name>.
type Disk struct {
	Name string
	Path string // made, sparse, when it is not there; never removed
	Size int64  // bytes; used only to make it
}

// loop is a loop device that the kernel takes down by itself when nothing has
// it open any more: neither this process nor a mount in the machine.
type loop struct {
	dev     *os.File
	backing string
}

// attach makes the disk's file if needed and a loop device on it. It refuses
// a file that a loop device still holds: two mounts of one file system
// destroy it.
func attach(d Disk) (*loop, error) {
	f, err := os.OpenFile(d.Path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("disk %q: %q is not a regular file", d.Name, d.Path)
	}
	if info.Size() == 0 {
		if d.Size <= 0 {
			return nil, fmt.Errorf("disk %q: want a size in bytes to make %q, have %d", d.Name, d.Path, d.Size)
		}
		if err := f.Truncate(d.Size); err != nil {
			return nil, err
		}
	}
	path, err := filepath.EvalSymlinks(d.Path)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, err
	}
	if held, err := Loops(path); err != nil {
		return nil, err
	} else if len(held) > 0 {
		return nil, fmt.Errorf("disk %q: %q is still held by %s", d.Name, path, strings.Join(held, ", "))
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot make a loop device: %w", err)
	}
	defer control.Close()
	for range 100 {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("cannot find a free loop device: %w", err)
		}
		dev, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return nil, fmt.Errorf("cannot open a free loop device: %w", err)
		}
		c := &unix.LoopConfig{Fd: uint32(f.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		copy(c.Info.File_name[:len(c.Info.File_name)-1], path)
		err = unix.IoctlLoopConfigure(int(dev.Fd()), c)
		if err == nil {
			l := &loop{dev: dev, backing: path}
			if err := l.quicken(); err != nil {
				return nil, errors.Join(err, dev.Close())
			}
			return l, nil
		}
		dev.Close()
		if !errors.Is(err, unix.EBUSY) { // somebody was faster: take the next one
			return nil, fmt.Errorf("cannot set up %s: %w", dev.Name(), err)
		}
	}
	return nil, errors.New("cannot find a free loop device: others were faster a hundred times")
}

// GrowDisk makes a disk's file larger, and a machine that runs sees it at once.
// Refused: a file that is not there, and a size that is not larger.
func GrowDisk(path string, size int64) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if size <= info.Size() {
		return fmt.Errorf("disk %q has %d bytes already (a disk can only become larger)", path, info.Size())
	}
	if err := os.Truncate(path, size); err != nil {
		return err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return err
	}
	devices, err := Loops(path)
	if err != nil {
		return err
	}
	for _, device := range devices {
		dev, err := os.Open(device)
		if err != nil {
			return err
		}
		err = unix.IoctlSetInt(int(dev.Fd()), unix.LOOP_SET_CAPACITY, 0)
		dev.Close()
		if err != nil {
			return fmt.Errorf("cannot grow %s: %w", device, err)
		}
	}
	return nil
}

// detach lets go of the device and waits until the kernel has taken it down.
func (l *loop) detach(ctx context.Context) error {
	if err := l.quicken(); err != nil {
		return errors.Join(err, l.dev.Close())
	}
	l.dev.Close() // a second close is no harm
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		held, err := Loops(l.backing)
		if err != nil || len(held) == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%q is still held by %s: %w", l.backing, strings.Join(held, ", "), ctx.Err())
		}
	}
}

// Loops names the loop devices whose backing file is path or lies under it.
func Loops(path string) ([]string, error) {
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	var held []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			continue // taken down meanwhile
		}
		if err != nil {
			return nil, err
		}
		backing := strings.TrimSuffix(strings.TrimSpace(string(b)), " (deleted)")
		if backing == path || strings.HasPrefix(backing, path+"/") {
			held = append(held, filepath.Join("/dev", strings.Split(file, "/")[3]))
		}
	}
	return held, nil
}
