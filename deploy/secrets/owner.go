package secrets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ignoreFile tells git to ignore all that is beside and below it.
const ignoreFile, ignoreAll = ".gitignore", "*\n"

// examineFolder says whether a folder is there. Refused is one that others can
// read, put there, or could put another in the place of: whoever made an
// authority has its key.
func examineFolder(dir string, uid int) (there bool, err error) {
	if err := examineWay(dir, uid); err != nil {
		return false, err
	}
	switch at, err := os.Lstat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("cannot read %q: %w", dir, cause(err))
	case at.Mode().Type() == fs.ModeSymlink:
		return false, fmt.Errorf("%q is a link (-o names the folder itself)", dir)
	case !at.IsDir():
		return false, fmt.Errorf("%q is not a folder (-o names another)", dir)
	case at.Mode().Perm()&0o077 != 0:
		return false, fmt.Errorf("%q is open to others, mode %04o (if only secrets are in it, chmod 700; or -o names another)", dir, at.Mode().Perm())
	default:
		return true, examineOwner(dir, at, uid)
	}
}

func examineOwner(name string, at fs.FileInfo, uid int) error {
	if owner, _, known := owner(at); known && owner != uid {
		return fmt.Errorf("%q belongs to user %d, and this runs as user %d (who put it there knows what is in it: -o names another folder)", name, owner, uid)
	}
	return nil
}

// examineWay looks at the folders that lead to dir, and at links among them.
// Each must be the user's own or root's, and others must not be able to put
// something else in the place of what is in it. A group that has the number of
// its user is that user's own, as Linux distributions make them.
func examineWay(dir string, uid int) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	root := filepath.VolumeName(abs) + string(filepath.Separator)
	at, left, links := root, steps(filepath.Dir(abs)), 0
	for len(left) > 0 {
		step := left[0]
		left = left[1:]
		if step == ".." {
			at = filepath.Dir(at)
			continue
		}
		name := filepath.Join(at, step)
		info, err := os.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return fmt.Errorf("cannot read %q: %w", name, cause(err))
		}
		owner, group, known := owner(info)
		mode := info.Mode()
		switch {
		case !known:
			return nil
		case owner != uid && owner != 0:
			return fmt.Errorf("%q is below %q of user %d, who could put another folder in its place (-o names another)", dir, name, owner)
		case mode.Type() == fs.ModeSymlink:
			if links++; links > 40 {
				return fmt.Errorf("%q leads through too many links (-o names another folder)", dir)
			}
			to, err := os.Readlink(name)
			if err != nil {
				return fmt.Errorf("cannot read %q: %w", name, cause(err))
			}
			if filepath.IsAbs(to) {
				at = root
			}
			left = append(steps(to), left...)
			continue
		case !mode.IsDir():
			return nil // whoever opens something in it says so
		case mode&fs.ModeSticky == 0 && (mode&0o002 != 0 || mode&0o020 != 0 && group != owner):
			return fmt.Errorf("%q is below %q, mode %04o, where others could put another folder in its place (chmod go-w, or -o names another)", dir, name, mode.Perm())
		}
		at = name
	}
	return nil
}

// steps are the names in a path.
func steps(path string) []string {
	return strings.FieldsFunc(path[len(filepath.VolumeName(path)):], func(r rune) bool { return r == filepath.Separator })
}

// makeFolder makes dir and what leads to it, where that is not there.
func makeFolder(dir string, uid int) error {
	above := filepath.Dir(dir)
	made := false
	err := os.MkdirAll(filepath.Dir(above), 0o700)
	if err == nil {
		made, err = makeOne(above)
	}
	if made && err == nil {
		err = os.WriteFile(filepath.Join(above, ignoreFile), []byte(ignoreAll), 0o600)
	}
	if err == nil {
		_, err = makeOne(dir)
	}
	if err != nil {
		return fmt.Errorf("cannot make %q: %w", dir, cause(err))
	}
	// Once more: where all may write, another may have been faster.
	_, err = examineFolder(dir, uid)
	return err
}

func makeOne(dir string) (made bool, err error) {
	err = os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}
