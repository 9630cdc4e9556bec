package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
)

// dump shows a folder as a value: "mode content" by path, links as "link target".
func dump(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		key, _ := strings.CutPrefix(name, dir)
		switch {
		case d.IsDir():
			got[key+"/"] = fmt.Sprintf("%04o", info.Mode().Perm())
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(name)
			got[key] = "link " + target
			return err
		default:
			data, err := os.ReadFile(name)
			got[key] = fmt.Sprintf("%04o %s", info.Mode().Perm(), data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func write(t *testing.T, name, data string) {
	t.Helper()
	testkit.OK(t, os.MkdirAll(filepath.Dir(name), 0o755))
	testkit.OK(t, os.WriteFile(name, []byte(data), 0o644))
}

func sampleDump(t *testing.T) map[string]string {
	return map[string]string{
		"/": "0755", "/README.md": "0644 hello\n", "/bin/": "0755", "/bin/run.sh": "0755 #!/bin/sh\n",
		"/a/": "0755", "/a/b/": "0755", "/a/b/c/": "0755", "/a/b/c/d": "0644 ", "/a/with blank": "0644 x",
		"/SHA256SUMS": "0644 " + string(sample(t).Sums()),
	}
}

func TestWrite(t *testing.T) {
	// The umask belongs to the process: no test of this package runs in parallel.
	defer syscall.Umask(syscall.Umask(0o077))
	tests := []struct {
		name, reason string
		prepare      func(t *testing.T, dir string)
	}{
		{"new", "the parents are made too", func(*testing.T, string) {}},
		{"empty folder", "nothing can be lost", func(t *testing.T, dir string) {
			testkit.OK(t, os.MkdirAll(dir, 0o700))
		}},
		{"the same again", "identical input, identical folder", func(t *testing.T, dir string) {
			testkit.OK(t, sample(t).Write(t.Context(), dir))
		}},
		{"another tree of ours", "files that are no longer made go away", func(t *testing.T, dir string) {
			testkit.OK(t, (Tree{"old/file": {Mode: 0o600, Data: []byte("x")}, "README.md": {Mode: 0o600}}).Write(t.Context(), dir))
		}},
		{"a listed file is gone", "what is gone cannot be lost", func(t *testing.T, dir string) {
			testkit.OK(t, sample(t).Write(t.Context(), dir))
			testkit.OK(t, os.RemoveAll(filepath.Join(dir, "a")))
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			parent := filepath.Join(t.TempDir(), "p", "q")
			dir := filepath.Join(parent, "out")
			test.prepare(t, dir)
			if err := sample(t).Write(t.Context(), dir); err != nil {
				t.Fatalf("%v: %s", err, test.reason)
			}
			if diff := cmp.Diff(sampleDump(t), dump(t, dir)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
			if got := names(t, parent); !slices.Equal(got, []string{"out"}) {
				t.Errorf("beside the folder are %q, want it alone", got)
			}
		})
	}
}

func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestWriteRefused(t *testing.T) {
	ours := func(t *testing.T, dir string) {
		testkit.OK(t, sample(t).Write(t.Context(), dir))
	}
	link := func(t *testing.T, target, name string) {
		testkit.OK(t, os.Symlink(target, name))
	}
	tests := []struct {
		name, reason string
		tree         Tree // nil: the sample
		prepare      func(t *testing.T, dir string)
		want         string
	}{
		{"a file", "it is not ours", nil, func(t *testing.T, dir string) { write(t, dir, "x") }, `out": not a folder`},
		{"a link", "what it points to is not beside it", nil, func(t *testing.T, dir string) {
			ours(t, dir+"2")
			link(t, dir+"2", dir)
		}, `out": not a folder`},
		{"a folder of others", "no sums, not ours", nil, func(t *testing.T, dir string) { write(t, dir+"/x", "x") }, "not empty, and not made by us"},
		{"sums are a link", "not a file that we wrote", nil, func(t *testing.T, dir string) {
			write(t, dir+"/x", "x")
			link(t, "x", dir+"/SHA256SUMS")
		}, "not empty, and not made by us"},
		{"sums of another form", "they say nothing", nil, func(t *testing.T, dir string) { write(t, dir+"/SHA256SUMS", "hello\n") }, `"hello\n" is not a line of sha256sum`},
		{"a new file", "it would be lost", nil, func(t *testing.T, dir string) {
			ours(t, dir)
			write(t, dir+"/a/mine", "x")
		}, `out/a/mine": not made by us`},
		{"an edited file", "the edit would be lost", nil, func(t *testing.T, dir string) {
			ours(t, dir)
			write(t, dir+"/a/with blank", "y")
		}, `out/a/with blank": changed since it was written`},
		{"a link to an equal file", "it is not what we wrote", nil, func(t *testing.T, dir string) {
			ours(t, dir)
			testkit.OK(t, os.Rename(dir+"/README.md", dir+"2"))
			link(t, "../out2", dir+"/README.md")
		}, `out/README.md": not made by us`},
		{"the parent is a file", "no folder can be in it", nil, func(t *testing.T, dir string) { write(t, filepath.Dir(dir), "x") }, "not a directory"},
		{"a name too long, in new parents", "an error in the middle removes what was made", Tree{"a": {Mode: 0o644}, strings.Repeat("n", 300): {Mode: 0o644}},
			func(*testing.T, string) {}, "file name too long"},
		{"a name too long, in an old folder", "an error in the middle leaves the old content", Tree{"a": {Mode: 0o644}, strings.Repeat("n", 300): {Mode: 0o644}}, ours, "file name too long"},
		{"a folder name too long", "an error in the middle leaves the old content", Tree{strings.Repeat("n", 300) + "/x": {Mode: 0o644}}, ours, "file name too long"},
		{"a path out of the tree", "put into the map without Add", Tree{"../x": {Mode: 0o644}}, ours, "not a path within the tree"},
		{"a file below a file", "put into the map without Add", Tree{"a": {Mode: 0o644}, "a/b": {Mode: 0o644}}, ours, "file and folder at once"},
		{"a mode with more", "put into the map without Add", Tree{"a": {Mode: 0o644 | fs.ModeSetuid}}, ours, "more than permissions"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			dir := filepath.Join(root, "p", "out")
			test.prepare(t, dir)
			before := dump(t, root)
			tr := test.tree
			if tr == nil {
				tr = sample(t)
			}
			if err := tr.Write(t.Context(), dir); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q: %s", err, test.want, test.reason)
			}
			if diff := cmp.Diff(before, dump(t, root)); diff != "" {
				t.Errorf("an error changed something (-before +after):\n%s", diff)
			}
		})
	}
}

func TestWriteIntoUnwritableParent(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can write everywhere; the parent that is a file stands for this one")
	}
	parent := t.TempDir()
	testkit.OK(t, os.Chmod(parent, 0o500))
	if err := sample(t).Write(t.Context(), filepath.Join(parent, "out")); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got error %v, want a missing permission", err)
	}
	if got := names(t, parent); got != nil {
		t.Errorf("left behind: %q", got)
	}
}

func TestSwap(t *testing.T) {
	failing := errors.New("disk on fire")
	tests := []struct {
		name, reason string
		failAt       []int
		want         map[string]string
	}{
		{"first", "nothing was moved yet", []int{1}, map[string]string{"/": "0755", "/dir/": "0755", "/dir/f": "0644 before", "/new/": "0755", "/new/f": "0644 after"}},
		{"second", "the old folder is put back", []int{2}, map[string]string{"/": "0755", "/dir/": "0755", "/dir/f": "0644 before", "/new/": "0755", "/new/f": "0644 after"}},
		{"second and third", "the old folder is still at its other place", []int{2, 3}, map[string]string{"/": "0755", "/old/": "0755", "/old/f": "0644 before", "/new/": "0755", "/new/f": "0644 after"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "r")
			write(t, root+"/dir/f", "before")
			write(t, root+"/new/f", "after")
			calls := 0
			err := swap(root+"/dir", root+"/new", root+"/old", func(from, to string) error {
				if calls++; slices.Contains(test.failAt, calls) {
					return failing
				}
				return os.Rename(from, to)
			})
			if !errors.Is(err, failing) {
				t.Errorf("got error %v, want %v", err, failing)
			}
			if diff := cmp.Diff(test.want, dump(t, root)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

func TestWriteCannotPutBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	testkit.OK(t, sample(t).Write(t.Context(), dir))
	var old string
	calls := 0
	err := Tree{"new": {Mode: 0o644}}.write(t.Context(), dir, func(from, to string) error {
		if calls++; calls > 1 {
			return fs.ErrPermission
		}
		old = to
		return os.Rename(from, to)
	})
	if want := fmt.Sprintf("the former content is in %q", old); err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("got error %v, want it to say %s", err, want)
	}
	if diff := cmp.Diff(sampleDump(t), dump(t, old)); diff != "" {
		t.Errorf("the former content is not whole (-want +got):\n%s", diff)
	}
}

func TestWriteInterrupted(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "out")
	testkit.OK(t, sample(t).Write(t.Context(), dir))
	before := dump(t, root)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, at := range []string{dir, filepath.Join(root, "deeper", "other")} {
		if err := (Tree{"new": {Mode: 0o644}}).Write(ctx, at); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got error %v, want that it was interrupted", at, err)
		}
	}
	if diff := cmp.Diff(before, dump(t, root)); diff != "" {
		t.Errorf("an interrupt changed something (-before +after):\n%s", diff)
	}
}
