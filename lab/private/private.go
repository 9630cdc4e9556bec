//go:build linux

// Package private makes folders that nobody else on this host can put
// anything into, or look at.
package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Make gives a folder of this user alone, with mode 0700, and makes it and
// its parents where they are missing. What is there already and could only be
// looked at by others is closed. Refused: what Check refuses.
func Make(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	// Before anything is made: a parent of somebody else leads where that one
	// likes.
	if err := checkParents(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := Check(dir); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// Check refuses a folder in which somebody else may have put something, or
// put something in its place: one that belongs to another user or that others
// may write to, and one below such a folder, unless it keeps what is
// another's in place as /tmp does. One that is not there is no error.
func Check(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := checkParents(dir); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() == fs.ModeSymlink && owner(info) == os.Geteuid():
		if dir, err = filepath.EvalSymlinks(dir); err != nil {
			return err
		}
		return Check(dir)
	}
	return Own(dir)
}

// Own refuses anything but a folder that this user made and others may not
// write to. It does not look at what is above it, and follows no link.
func Own(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	switch uid := owner(info); {
	case uid != os.Geteuid():
		return fmt.Errorf("%q belongs to user %d, who may have put anything there (remove it, or name another folder)", dir, uid)
	case !info.IsDir():
		return fmt.Errorf("%q is not a folder (remove it, or name another folder)", dir)
	case info.Mode()&0o022 != 0:
		return fmt.Errorf("others may write to %q, and may have (remove it, or name another folder)", dir)
	}
	return nil
}

// checkParents looks at what there is of the way to a folder.
func checkParents(dir string) error {
	parent := filepath.Dir(dir)
	if parent == dir {
		return nil
	}
	if err := checkParents(parent); err != nil {
		return err
	}
	info, err := os.Lstat(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if uid := owner(info); uid != os.Geteuid() && uid != 0 {
		return fmt.Errorf("%q cannot be kept from user %d, who owns %q (name another folder)", dir, uid, parent)
	}
	if info.Mode().Type() == fs.ModeSymlink {
		to, err := filepath.EvalSymlinks(parent)
		if err != nil {
			return err
		}
		return checkParents(filepath.Join(to, filepath.Base(dir)))
	}
	if info.Mode()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("%q cannot be kept from others, who may write to %q (name another folder)", dir, parent)
	}
	return nil
}

func owner(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
