package tree

import (
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
)

func TestAdd(t *testing.T) {
	tr := Tree{}
	for name, data := range map[string]string{"a/run": "#!/bin/sh\n", "a/text": "# !", "b": "", "a.b": "#", ".dot/ü n": "x"} {
		testkit.OK(t, tr.Add(name, []byte(data)))
	}
	modes := map[string]fs.FileMode{}
	for name, f := range tr {
		modes[name] = f.Mode
	}
	want := map[string]fs.FileMode{"a/run": 0o755, "a/text": 0o644, "b": 0o644, "a.b": 0o644, ".dot/ü n": 0o644}
	if diff := cmp.Diff(want, modes); diff != "" {
		t.Errorf("what starts with #! can be run, nothing else (-want +got):\n%s", diff)
	}
}

func TestAddRefused(t *testing.T) {
	tests := []struct {
		name, reason string
		path         string
		want         string
	}{
		{"empty", "no name", "", "not a path within the tree"},
		{"root", "not a file", ".", "not a path within the tree"},
		{"up", "it would leave the tree", "../x", "not a path within the tree"},
		{"up inside", "it would leave the tree", "a/../../x", "not a path within the tree"},
		{"absolute", "it would leave the tree", "/x", "not a path within the tree"},
		{"double slash", "two names for one file", "a//b", "not a path within the tree"},
		{"slash at the end", "a folder", "a/", "not a path within the tree"},
		{"dot", "two names for one file", "./a", "not a path within the tree"},
		{"line break", "it would be a second line of sums", "a\nb", "characters that do not print"},
		{"backslash", "sha256sum escapes it", `a\b`, "without backslashes"},
		{"not UTF-8", "not text", "\xff", "not a path within the tree"},
		{"sums", "ours", "SHA256SUMS", "written by the tree itself"},
		{"again", "one of the two would be lost", "dir/file", "added twice"},
		{"file as a folder", "it is a file already", "dir/file/x", `"dir/file" and "dir/file/x"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tr := Tree{}
			testkit.OK(t, tr.Add("dir/file", []byte("first")))
			if err := tr.Add(test.path, []byte("second")); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q: %s", err, test.want, test.reason)
			}
			if len(tr) != 1 || string(tr["dir/file"].Data) != "first" {
				t.Errorf("the tree changed: %v", tr)
			}
		})
	}
}

func TestAddFS(t *testing.T) {
	tr := Tree{}
	fsys := fstest.MapFS{"x.sh": {Data: []byte("#!/bin/sh\n")}, "d/.e": {Data: []byte("e")}}
	for _, prefix := range []string{"", "p/q"} {
		testkit.OK(t, tr.AddFS(prefix, fsys))
	}
	want := []string{"d/.e", "p/q/d/.e", "p/q/x.sh", "x.sh"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(tr))); diff != "" {
		t.Errorf("every file, below the prefix (-want +got):\n%s", diff)
	}
	if got := tr["p/q/x.sh"].Mode; got != 0o755 {
		t.Errorf("x.sh has mode %o, want 755", got)
	}

	links := t.TempDir()
	testkit.OK(t, os.Symlink("/etc/passwd", filepath.Join(links, "link")))
	for name, refused := range map[string]struct {
		prefix string
		fsys   fs.FS
		want   string
	}{
		"link":             {"p", os.DirFS(links), `"p/link": neither file nor folder`},
		"device":           {"p", fstest.MapFS{"dev": {Mode: fs.ModeDevice}}, `"p/dev": neither file nor folder`},
		"prefix":           {"../p", fsys, "not a path within the tree"},
		"already there":    {"", fsys, "added twice"},
		"no such folder":   {"", os.DirFS(filepath.Join(links, "none")), "no such file"},
		"unreadable files": {"r", unreadable{fsys}, "permission denied"},
	} {
		if err := tr.AddFS(refused.prefix, refused.fsys); err == nil || !strings.Contains(err.Error(), refused.want) {
			t.Errorf("%s: got error %v, want %q", name, err, refused.want)
		}
	}
}

// unreadable lists files and does not open them.
type unreadable struct{ fstest.MapFS }

func (u unreadable) Open(name string) (fs.File, error) {
	if info, err := u.Stat(name); err == nil && !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return u.MapFS.Open(name)
}

func (u unreadable) ReadFile(name string) ([]byte, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

func TestSums(t *testing.T) {
	tr := Tree{"b": {Data: []byte("x")}, "a/c": {}}
	want := "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a/c\n" +
		"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881  b\n"
	if diff := cmp.Diff(want, string(tr.Sums())); diff != "" {
		t.Errorf("sorted, in sha256sum's format (-want +got):\n%s", diff)
	}
}

func TestSha256sumAgrees(t *testing.T) {
	testkit.Need(t, "sha256sum")
	dir := filepath.Join(t.TempDir(), "out")
	testkit.OK(t, sample(t).Write(t.Context(), dir))
	cmd := exec.Command("sha256sum", "--check", "--strict", SumsName)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// sample is a tree of several depths.
func sample(t *testing.T) Tree {
	t.Helper()
	tr := Tree{}
	for name, data := range map[string]string{"README.md": "hello\n", "bin/run.sh": "#!/bin/sh\n", "a/b/c/d": "", "a/with blank": "x"} {
		testkit.OK(t, tr.Add(name, []byte(data)))
	}
	return tr
}
