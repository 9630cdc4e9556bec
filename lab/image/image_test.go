//go:build linux

package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"pgha-gen/lab/isolate"
	"pgha-gen/lab/labtest"
)

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// TestClear: what a process that died was building goes, and what another one
// builds now stays.
func TestClear(t *testing.T) {
	labtest.Need(t)
	c := Cache{Dir: filepath.Join(t.TempDir(), "cache")}
	clear := func(want int, reason string) {
		t.Helper()
		if n, err := c.Clear(t.Context()); n != want || err != nil {
			t.Errorf("%s: it cleared %d, %v, want %d", reason, n, err, want)
		}
	}
	clear(0, "a cache that was never used")
	write(t, filepath.Join(c.Dir, "lock"), "", 0o644)
	write(t, filepath.Join(c.Dir, "image-1", "kept"), "", 0o644)
	write(t, filepath.Join(c.Dir, "building-0123456789abcdef", "root", "half"), "", 0o644)
	unlock, err := lock(t.Context(), filepath.Join(c.Dir, "lock"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	clear(0, "another process builds")
	if diff := cmp.Diff([]string{"building-0123456789abcdef", "image-1", "lock"}, names(t, c.Dir)); diff != "" {
		t.Errorf("while another process builds (-want +got):\n%s", diff)
	}
	unlock()
	clear(1, "nobody builds")
	if diff := cmp.Diff([]string{"image-1", "lock"}, names(t, c.Dir)); diff != "" {
		t.Errorf("when nobody builds (-want +got):\n%s", diff)
	}
}

func TestBaseDigest(t *testing.T) {
	plain := Base{Suite: "forky"}.Digest()
	for _, tt := range []struct {
		name, reason string
		base         Base
		same         bool
	}{
		{"same", "a digest is a function", Base{Suite: "forky"}, true},
		{"package that every base has", "it adds nothing", Base{Suite: "forky", Packages: []string{"udev"}}, true},
		{"suite", "other packages", Base{Suite: "trixie"}, false},
		{"package", "more packages", Base{Suite: "forky", Packages: []string{"jq"}}, false},
		{"certificate", "another trust", Base{Suite: "forky", CAs: [][]byte{[]byte("x")}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if same := tt.base.Digest() == plain; same != tt.same {
				t.Errorf("same digest as a plain base: %v, want %v: %s", same, tt.same, tt.reason)
			}
		})
	}
}

func TestRecipeDigest(t *testing.T) {
	recipe := func(t *testing.T) Recipe {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "bake.sh"), "true\n", 0o644)
		write(t, filepath.Join(dir, "rootfs/etc/f"), "f\n", 0o644)
		return Recipe{Dir: dir, Env: map[string]string{"A": "1"}}
	}
	plain, err := recipe(t).Digest("base")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, reason string
		base         string
		change       func(*Recipe)
		same         bool
	}{
		{"elsewhere", "the recipe's own path does not count", "base", func(*Recipe) {}, true},
		{"base", "another image", "other", func(*Recipe) {}, false},
		{"content", "another image", "base", func(r *Recipe) { write(t, filepath.Join(r.Dir, "rootfs/etc/f"), "g\n", 0o644) }, false},
		{"mode", "a script may become executable", "base", func(r *Recipe) { write(t, filepath.Join(r.Dir, "rootfs/etc/f"), "f\n", 0o755) }, false},
		{"name", "another file", "base", func(r *Recipe) { os.Rename(filepath.Join(r.Dir, "rootfs/etc/f"), filepath.Join(r.Dir, "rootfs/f")) }, false},
		{"environment value", "bake.sh reads it", "base", func(r *Recipe) { r.Env["A"] = "2" }, false},
		{"environment name", "bake.sh reads it", "base", func(r *Recipe) { r.Env = map[string]string{"B": "1"} }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := recipe(t)
			tt.change(&r)
			got, err := r.Digest(tt.base)
			if err != nil {
				t.Fatal(err)
			}
			if same := got == plain; same != tt.same {
				t.Errorf("same digest: %v, want %v: %s", same, tt.same, tt.reason)
			}
		})
	}
	for _, tt := range []struct {
		name, reason string
		change       func(*Recipe)
		want         string
	}{
		{"no bake.sh", "nothing to run", func(r *Recipe) { os.Remove(filepath.Join(r.Dir, "bake.sh")) }, "bake.sh"},
		{"link", "what it leads to would not count", func(r *Recipe) { os.Symlink("/etc", filepath.Join(r.Dir, "rootfs/l")) }, "neither a file nor a folder"},
		{"environment name", "no shell could read it", func(r *Recipe) { r.Env["A=B"] = "" }, `"A=B"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := recipe(t)
			tt.change(&r)
			if _, err := r.Digest("base"); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("have error %v, want one with %q: %s", err, tt.want, tt.reason)
			}
		})
	}
}

// makeRoot makes a root with one file.
func makeRoot(dir string) error {
	if err := os.Mkdir(filepath.Join(dir, "root"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "root/f"), nil, 0o644)
}

func TestCache(t *testing.T) {
	labtest.Need(t) // sweeping looks into cgroups
	c := Cache{Dir: t.TempDir()}
	get := func(digest string, make func(string) error) (string, error) {
		return c.get(t.Context(), "image-", digest, 2, io.Discard, make)
	}
	mustGet := func(digest string) string {
		t.Helper()
		root, err := get(digest, makeRoot)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // file times order the entries
		return root
	}
	want := func(reason string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(append(want, "lock"), names(t, c.Dir)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
	}

	broken := errors.New("broken")
	if _, err := get("a", func(dir string) error { return errors.Join(makeRoot(dir), broken) }); !errors.Is(err, broken) {
		t.Errorf("have error %v, want %v", err, broken)
	}
	want("a root that could not be made leaves nothing")
	write(t, filepath.Join(c.Dir, "building-dead/root/f"), "", 0o644)
	a := mustGet("a")
	want("what a process left that died is removed", "image-a")
	if _, err := os.Stat(filepath.Join(a, "f")); err != nil {
		t.Error(err)
	}
	if _, err := get("a", func(string) error { return broken }); err != nil {
		t.Errorf("a root that is there is made again: %v", err)
	}
	mustGet("b")
	mustGet("a")
	mustGet("c")
	want("the one not used for longest goes", "image-a", "image-c")
	f, err := os.Open(a)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	mustGet("d")
	mustGet("e")
	want("one that a machine runs from stays", "image-a", "image-d", "image-e")
	f.Close()

	held, err := lock(t.Context(), filepath.Join(c.Dir, "lock"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var log bytes.Buffer
	if _, err := c.get(ctx, "image-", "f", 2, &log, makeRoot); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while another builds: have error %v, want %v", err, context.DeadlineExceeded)
	}
	if !strings.Contains(log.String(), "waiting") {
		t.Errorf("while another builds, the log says %q", log.String())
	}
	held()
	if _, err := (Cache{Dir: "/a:b"}).get(t.Context(), "image-", "f", 2, io.Discard, makeRoot); err == nil {
		t.Error("a path that overlayfs cannot take is accepted")
	}
}

func TestBake(t *testing.T) {
	labtest.Need(t, "mmdebstrap", "systemd-nspawn")
	base, err := Cache{Dir: labtest.Cache}.Base(t.Context(), Base{Suite: "forky"}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	// A cache beside the base's, so that a broken test leaves nothing for the
	// next one.
	dir := labtest.State(t)
	c := Cache{Dir: filepath.Join(dir, "cache")}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "served") })}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })

	recipe := filepath.Join(dir, "recipe")
	write(t, filepath.Join(recipe, "rootfs/etc/pgha/f"), "file\n", 0o640)
	write(t, filepath.Join(recipe, "bake.sh"), `#!/bin/sh
set -eu
case $WHAT in
fail) touch /half; echo broken >&2; exit 3 ;;
esac
cp -a rootfs/. /
printf '%s' "$WHAT" >/etc/pgha/what
python3 -c 'import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())' "$URL" >/etc/pgha/served
apt-config dump Acquire::Check-Valid-Until >/etc/pgha/apt
getent hosts localhost >/dev/null
`, 0o644)
	bake := func(ctx context.Context, what string, log io.Writer) (string, error) {
		return c.Bake(ctx, base, Recipe{Dir: recipe, Env: map[string]string{"WHAT": what, "URL": "http://" + l.Addr().String()}}, log)
	}
	const what = `a b"c$d'e\f`
	began := time.Now()
	root, err := bake(t.Context(), what, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a bake that does almost nothing took %v", time.Since(began).Round(time.Millisecond))
	for path, want := range map[string]string{
		"etc/pgha/f":      "file\n",
		"etc/pgha/what":   what,
		"etc/pgha/served": "served",
		"etc/pgha/apt":    "Acquire::Check-Valid-Until \"false\";\n",
	} {
		got, err := os.ReadFile(filepath.Join(root, path))
		if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", path, err, diff)
		}
	}
	for path, reason := range map[string]string{
		"etc/hostname":             "it would be the building host's",
		"etc/ssh/ssh_host_rsa_key": "every machine would have it",
		"etc/resolv.conf":          "it would be the building host's",
		"tmp/pgha-recipe":          "the recipe is not part of the image",
	} {
		if info, err := os.Lstat(filepath.Join(root, path)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is in the image: %s (%v, %v)", path, reason, info, err)
		}
	}
	if same, err := exec.Command("diff", "-q", filepath.Join(base, "etc"), filepath.Join(root, "etc")).CombinedOutput(); err == nil || !bytes.Contains(same, []byte("pgha")) {
		t.Errorf("base and image do not differ by the recipe's files: %s, %v", same, err)
	}
	began = time.Now()
	if again, err := bake(t.Context(), what, t.Output()); again != root || err != nil {
		t.Errorf("second bake: %q, %v, want %q", again, err, root)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("second bake took %v: it did not use the cache", took)
	}

	var log bytes.Buffer
	if _, err := bake(t.Context(), "fail", &log); err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(log.String(), "broken") {
		t.Errorf("have error %v and log %q, want its exit status and its words", err, log.String())
	}

	ctx, cancel := context.WithCancel(t.Context())
	hanging := &untilSaid{word: "hanging", do: cancel}
	began = time.Now()
	// What Bake would do, on the base itself: a copy takes longer than all
	// the rest.
	hang := append(container("hang", base), "--read-only", "sh", "-c", `(trap "" TERM; exec setsid sleep 300) & echo hanging; wait`)
	t.Cleanup(func() { os.Remove(filepath.Join(filepath.Dir(base), ".#"+filepath.Base(base)+".lck")) }) // systemd-nspawn's, killed
	if err := run(ctx, "hang", hanging, hang...); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: have error %v, want %v", err, context.Canceled)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("interrupting a bake took %v", took)
	}
	group, err := isolate.Find(id("hang"))
	if err != nil {
		t.Fatal(err)
	}
	if busy, err := group.Busy(); err != nil || busy {
		t.Errorf("an interrupted bake's cgroup is busy: %v, %v", busy, err)
	}
	left := names(t, c.Dir)
	if diff := cmp.Diff([]string{filepath.Base(root), "lock"}, left); diff != "" {
		t.Errorf("in the cache (-want +got):\n%s", diff)
	}
	if !slices.ContainsFunc(names(t, base), func(n string) bool { return n == "etc" }) || slices.Contains(names(t, base), "half") {
		t.Errorf("the base was changed: %q", names(t, base))
	}
}

// untilSaid calls do when it is written word.
type untilSaid struct {
	word string
	do   func()
	all  bytes.Buffer
}

func (u *untilSaid) Write(p []byte) (int, error) {
	u.all.Write(p)
	if strings.Contains(u.all.String(), u.word) {
		u.do()
	}
	return len(p), nil
}
