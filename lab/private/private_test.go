//go:build linux

package private_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgha-gen/lab/labtest"
	"pgha-gen/lab/private"
)

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string, mode os.FileMode, uid int) {
	t.Helper()
	do(t, os.MkdirAll(path, 0o755))
	do(t, os.Chown(path, uid, 0))
	do(t, os.Chmod(path, mode)) // the umask took from it, and chown
}

func TestMake(t *testing.T) {
	labtest.Need(t)
	const other = 1234
	for _, test := range []struct {
		name, reason string
		set          func(dir string)
		want         string // DIR is the test's folder; empty: made
	}{
		{"new", "it is made, and what is above it", func(string) {}, ""},
		{"there", "from an earlier run", func(dir string) { mkdir(t, dir+"/a/b", 0o700, 0) }, ""},
		{"others may look", "an earlier release made it so; it is closed", func(dir string) { mkdir(t, dir+"/a/b", 0o755, 0) }, ""},
		{"in a place like /tmp", "nobody can move what is another's there", func(dir string) { mkdir(t, dir+"/a", os.ModeSticky|0o777, 0) }, ""},
		{"through one's own link", "a larger disk", func(dir string) { mkdir(t, dir+"/c", 0o700, 0); do(t, os.Symlink(dir+"/c", dir+"/a")) }, ""},
		{"one's own link", "a larger disk", func(dir string) {
			mkdir(t, dir+"/c", 0o700, 0)
			mkdir(t, dir+"/a", 0o700, 0)
			do(t, os.Symlink(dir+"/c", dir+"/a/b"))
		}, ""},
		{"foreign", "somebody was here first", func(dir string) { mkdir(t, dir+"/a", os.ModeSticky|0o777, 0); mkdir(t, dir+"/a/b", 0o700, other) },
			`"DIR/a/b" belongs to user 1234, who may have put anything there (remove it, or name another folder)`},
		{"others may write", "somebody may have planted something", func(dir string) { mkdir(t, dir+"/a/b", 0o777, 0) },
			`others may write to "DIR/a/b", and may have (remove it, or name another folder)`},
		{"a group may write", "the same", func(dir string) { mkdir(t, dir+"/a/b", 0o770, 0) },
			`others may write to "DIR/a/b", and may have (remove it, or name another folder)`},
		{"foreign link", "it leads where that one likes", func(dir string) {
			mkdir(t, dir+"/c", 0o700, 0)
			mkdir(t, dir+"/a", os.ModeSticky|0o777, 0)
			do(t, os.Symlink(dir+"/c", dir+"/a/b"))
			do(t, os.Lchown(dir+"/a/b", other, 0))
		}, `"DIR/a/b" belongs to user 1234, who may have put anything there (remove it, or name another folder)`},
		{"foreign parent", "its owner can put another in its place", func(dir string) { mkdir(t, dir+"/a", 0o755, other) },
			`"DIR/a/b" cannot be kept from user 1234, who owns "DIR/a" (name another folder)`},
		{"parent that others may write to", "they can put another in its place", func(dir string) { mkdir(t, dir+"/a", 0o777, 0) },
			`"DIR/a/b" cannot be kept from others, who may write to "DIR/a" (name another folder)`},
		{"through a link into such a place", "the same", func(dir string) { mkdir(t, dir+"/c", 0o777, 0); do(t, os.Symlink(dir+"/c", dir+"/a")) },
			`"DIR/c/b" cannot be kept from others, who may write to "DIR/c" (name another folder)`},
		{"file", "no folder", func(dir string) { mkdir(t, dir+"/a", 0o700, 0); do(t, os.WriteFile(dir+"/a/b", nil, 0o600)) },
			`"DIR/a/b" is not a folder (remove it, or name another folder)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			test.set(dir)
			path := filepath.Join(dir, "a/b")
			said := ""
			if err := private.Make(path); err != nil {
				said = strings.ReplaceAll(err.Error(), dir, "DIR")
			}
			if said != test.want {
				t.Errorf("%s: have %q, want %q", test.reason, said, test.want)
			}
			if checked := private.Check(path); (checked != nil) != (test.want != "") {
				t.Errorf("%s: Check says %v", test.reason, checked)
			}
			if test.want != "" {
				return
			}
			if info, err := os.Stat(path); err != nil || info.Mode() != os.ModeDir|0o700 {
				t.Errorf("%s: it is %v, %v, want mode 0700", test.reason, info, err)
			}
		})
	}
	if err := private.Check(filepath.Join(t.TempDir(), "none")); err != nil {
		t.Errorf("a folder that is not there: %v", err)
	}
}
