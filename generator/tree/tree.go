// Package tree is a set of files in memory, as a generator makes them, and
// their way to a folder.
package tree

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"
)

// SumsName is the file that Write adds to a tree: what was written, and the
// mark that the folder is ours to replace.
const SumsName = "SHA256SUMS"

// File is the content of a regular file and its permissions.
type File struct {
	Mode fs.FileMode
	Data []byte
}

// Tree holds files by path: relative, clean, with slashes. Folders are those
// that the paths name; there are no links and no empty folders.
type Tree map[string]File

// Add puts a file into the tree, executable if data starts with "#!".
//
// Refused are paths that are not relative and clean or that hold a backslash
// or a character that does not print, SumsName, a path that is already there,
// and one below a file. A file that is added where others already need a
// folder is only found by Write.
func (t Tree) Add(name string, data []byte) error {
	if err := checkPath(name); err != nil {
		return err
	}
	if _, found := t[name]; found {
		return fmt.Errorf("%q: added twice", name)
	}
	for folder := path.Dir(name); folder != "."; folder = path.Dir(folder) {
		if _, found := t[folder]; found {
			return fmt.Errorf("%q and %q: one of them would be file and folder at once", folder, name)
		}
	}
	mode := fs.FileMode(0o644)
	if bytes.HasPrefix(data, []byte("#!")) {
		mode = 0o755
	}
	t[name] = File{Mode: mode, Data: data}
	return nil
}

// AddFS adds every file of fsys below prefix, with Add; prefix "" is the root
// of the tree. Links and all that is neither file nor folder are refused.
func (t Tree) AddFS(prefix string, fsys fs.FS) error {
	return fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%q: neither file nor folder: want no links and no devices", path.Join(prefix, name))
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		// Not path.Join, which would clean "../" away unseen.
		if prefix != "" {
			name = prefix + "/" + name
		}
		return t.Add(name, data)
	})
}

// Sums returns the SHA-256 of every file in the format of sha256sum(1), by
// path.
func (t Tree) Sums() []byte {
	var b bytes.Buffer
	for _, name := range t.Names() {
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(t[name].Data), name)
	}
	return b.Bytes()
}

// Names are the paths of all files, in order.
func (t Tree) Names() []string {
	return slices.Sorted(maps.Keys(t))
}

// check refuses what Add would, and other modes than permissions: files can
// be put into the map without Add.
func (t Tree) check() error {
	again := Tree{}
	for _, name := range t.Names() {
		if mode := t[name].Mode; mode&^fs.ModePerm != 0 {
			return fmt.Errorf("%q: mode %v is more than permissions", name, mode)
		}
		if err := again.Add(name, nil); err != nil {
			return err
		}
	}
	return nil
}

func checkPath(name string) error {
	switch {
	case !fs.ValidPath(name) || name == ".":
		return fmt.Errorf(`%q: not a path within the tree: want a relative one without "." and ".." and "//"`, name)
	case name == SumsName:
		return errors.New(SumsName + ": written by the tree itself")
	case strings.ContainsFunc(name, func(r rune) bool { return r == '\\' || !unicode.IsPrint(r) }):
		// sha256sum(1) would write them escaped.
		return fmt.Errorf("%q: want a path without backslashes and characters that do not print", name)
	}
	return nil
}
