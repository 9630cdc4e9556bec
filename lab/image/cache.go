//go:build linux

package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pgha-gen/lab/isolate"
	"pgha-gen/lab/private"
)

// keep is how many roots of each kind the cache keeps; the least recently
// used go first. A root is 0.5 to 1 GB.
const (
	keepBases  = 3
	keepImages = 8
)

// Cache is a folder of roots, each under the digest of what it was made from.
// A root that is there is whole. Several processes may use one cache: they
// build one after the other. Refused: a cache that is not this user's alone,
// and a root that somebody else made.
//
//	base-<digest>  image-<digest>   roots; never written to once they are there
//	building-<digest>               one that is being made; removed when that fails, or by the next process
//	lock
type Cache struct{ Dir string }

// get gives a root of the cache; make gets a new folder and makes "root" in it.
func (c Cache) get(ctx context.Context, kind, digest string, keep int, log io.Writer, make func(dir string) error) (string, error) {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(dir, ":,\\\n") { // overlayfs splits its options at these
		return "", fmt.Errorf("cache %q: want a path without colon, comma and backslash", dir)
	}
	if err := private.Make(dir); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, filepath.Join(dir, "lock"), log)
	if err != nil {
		return "", err
	}
	defer unlock()
	root := filepath.Join(dir, kind+digest)
	switch err := private.Own(root); {
	case err == nil:
		return root, touch(root)
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("the cache has a root that cannot be trusted: %w", err)
	}
	if err := c.sweep(ctx, dir); err != nil {
		return "", err
	}
	building := filepath.Join(dir, "building-"+digest)
	if err := os.Mkdir(building, 0o755); err != nil {
		return "", err
	}
	if err := make(building); err != nil {
		return "", errors.Join(fmt.Errorf("cannot make %s: %w", filepath.Base(root), err), remove(building))
	}
	if err := os.Rename(filepath.Join(building, "root"), root); err != nil {
		return "", errors.Join(err, remove(building))
	}
	return root, errors.Join(touch(root), remove(building), prune(dir, kind, keep))
}

// Clear removes what a process that died was building, and gives how many
// roots that were. It does nothing while another process builds: that one has
// cleared already.
func (c Cache) Clear(ctx context.Context) (int, error) {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return 0, err
	}
	if err := private.Check(dir); err != nil {
		return 0, err
	}
	f, err := os.Open(filepath.Join(dir, "lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return 0, nil
		}
		return 0, fmt.Errorf("cannot lock %q: %w", f.Name(), err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "building-*"))
	return len(left), errors.Join(err, c.sweep(ctx, dir))
}

// lock waits for its turn. The kernel lifts the lock when the process dies.
func lock(ctx context.Context, path string, log io.Writer) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for said := false; ; said = true {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("cannot lock %q: %w", path, err)
		}
		if !said {
			fmt.Fprintf(log, "another process is making a root in %s: waiting for it\n", filepath.Dir(path))
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("cannot lock %q: %w", path, ctx.Err())
		}
	}
}

// sweep removes what a process that died while building has left. It is
// called with the lock held: nobody builds.
func (c Cache) sweep(ctx context.Context, dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, "building-*"))
	if err != nil {
		return err
	}
	for _, building := range left {
		d := strings.TrimPrefix(filepath.Base(building), "building-")
		if err := errors.Join(isolate.Clear(ctx, idOfPacker(d)), isolate.Clear(ctx, id(d)), remove(building)); err != nil {
			return err
		}
	}
	return nil
}

// prune removes the roots of this kind that were not used for longest, but
// none that a machine runs from.
func prune(dir, kind string, keep int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	type entry struct {
		path string
		used time.Time
	}
	var roots []entry
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), kind) {
			roots = append(roots, entry{filepath.Join(dir, e.Name()), info.ModTime()})
		}
	}
	slices.SortFunc(roots, func(a, b entry) int { return b.used.Compare(a.used) })
	for _, r := range roots[min(keep, len(roots)):] {
		f, err := os.Open(r.path)
		if err != nil {
			return err
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			err = remove(r.path)
		}
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func touch(path string) error {
	now := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, now, 0)
}

// remove refuses a folder with a mount in it: a root under construction has
// the host's /dev and /sys mounted, in a mount namespace of its own, and if
// that ever were this one, removing the folder would remove the devices.
func remove(dir string) error {
	mounts, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return err
	}
	if strings.Contains(string(mounts), " "+dir+"/") {
		return fmt.Errorf("cannot remove %q: something is mounted in it", dir)
	}
	return os.RemoveAll(dir)
}
