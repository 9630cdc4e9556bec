//go:build linux

package image

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgha-gen/lab/labtest"
)

// What somebody else has put into the cache is never given to a machine.
func TestPlanted(t *testing.T) {
	labtest.Need(t)
	const other = 1234
	for _, test := range []struct {
		name, reason string
		set          func(dir, root string) error
		want         string // DIR is the cache's folder; empty: the root is taken
	}{
		{"one's own", "it is what the cache is for", func(_, root string) error { return os.Mkdir(root, 0o755) }, ""},
		{"foreign root", "it would run as root", func(_, root string) error {
			return errors.Join(os.Mkdir(root, 0o755), os.Chown(root, other, other))
		}, `the cache has a root that cannot be trusted: "DIR/base-d" belongs to user 1234, who may have put anything there (remove it, or name another folder)`},
		{"root that others write to", "anything may be in it", func(_, root string) error {
			return errors.Join(os.Mkdir(root, 0o755), os.Chmod(root, 0o777))
		}, `the cache has a root that cannot be trusted: others may write to "DIR/base-d", and may have (remove it, or name another folder)`},
		{"link", "it leads to what another cache has", func(dir, root string) error {
			return errors.Join(os.Mkdir(dir+"/elsewhere", 0o755), os.Symlink(dir+"/elsewhere", root))
		}, `the cache has a root that cannot be trusted: "DIR/base-d" is not a folder (remove it, or name another folder)`},
		{"foreign cache", "its owner can put a root there at any time", func(dir, root string) error {
			return errors.Join(os.Mkdir(root, 0o755), os.Chown(dir, other, other))
		}, `"DIR" belongs to user 1234, who may have put anything there (remove it, or name another folder)`},
		{"open cache", "everybody can", func(dir, root string) error {
			return errors.Join(os.Mkdir(root, 0o755), os.Chmod(dir, 0o777))
		}, `others may write to "DIR", and may have (remove it, or name another folder)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			root := filepath.Join(dir, "base-d")
			if err := errors.Join(os.Mkdir(dir, 0o700), test.set(dir, root)); err != nil {
				t.Fatal(err)
			}
			said := ""
			got, err := Cache{Dir: dir}.get(t.Context(), "base-", "d", keepBases, io.Discard, func(string) error { return errors.New("made anew") })
			if err != nil {
				said = strings.ReplaceAll(err.Error(), dir, "DIR")
			}
			if said != test.want || err == nil && got != root {
				t.Errorf("%s: have %q, %q, want %q", test.reason, got, said, test.want)
			}
			if info, err := os.Stat(dir); test.want == "" && (err != nil || info.Mode().Perm() != 0o700) {
				t.Errorf("the cache is %v, %v, want mode 0700", info, err)
			}
		})
	}
}

// A folder in which somebody else began to build is not built in.
func TestPlantedBuilding(t *testing.T) {
	labtest.Need(t)
	dir := filepath.Join(t.TempDir(), "cache")
	building := filepath.Join(dir, "building-d")
	if err := errors.Join(os.MkdirAll(filepath.Join(building, "root/planted"), 0o755), os.Chown(building, 1234, 1234)); err != nil {
		t.Fatal(err)
	}
	root, err := Cache{Dir: dir}.get(t.Context(), "base-", "d", keepBases, io.Discard, func(dir string) error {
		return os.Mkdir(filepath.Join(dir, "root"), 0o755)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "planted")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was planted is in the root: %v", err)
	}
}
