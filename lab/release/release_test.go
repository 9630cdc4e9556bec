//go:build linux

package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const module = "../etcd"

func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("building etcd takes a minute the first time: left out by -short")
	}
	cache := filepath.Join(t.TempDir(), "cache")
	a, err := Build(t.Context(), module, cache)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("etcd-v3.5.15-linux-amd64.tar.gz 3.5.15", filepath.Base(a.Path)+" "+a.Version); diff != "" {
		t.Errorf("name and version (-want +got):\n%s", diff)
	}

	f, err := os.Open(a.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	var names []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.FileInfo().Mode().String()+" "+h.Name)
		if h.Typeflag == tar.TypeReg {
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(out, filepath.Base(h.Name)), data, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	const top = "etcd-v3.5.15-linux-amd64/"
	want := []string{"drwxr-xr-x " + top, "-rwxr-xr-x " + top + "etcd", "-rwxr-xr-x " + top + "etcdctl", "-rwxr-xr-x " + top + "etcdutl"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if runtime.GOOS == "linux" && runtime.GOARCH == "amd64" {
		for _, args := range [][]string{{"etcd", "--version"}, {"etcdctl", "version"}, {"etcdutl", "version"}} {
			said, err := exec.CommandContext(t.Context(), filepath.Join(out, args[0]), args[1]).CombinedOutput()
			if err != nil || !bytes.Contains(said, []byte("3.5.15")) {
				t.Errorf("%q says %q, %v: want version 3.5.15", args, said, err)
			}
		}
	}

	before, err := os.Stat(a.Path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Build(t.Context(), module, cache)
	if diff := cmp.Diff(a, again); diff != "" || err != nil {
		t.Errorf("second build: %v (-want +got):\n%s", err, diff)
	}
	if after, err := os.Stat(a.Path); err != nil || !os.SameFile(before, after) {
		t.Errorf("the second build did not use the cache (%v)", err)
	}
	other, err := Build(t.Context(), module, filepath.Join(t.TempDir(), "other"))
	if diff := cmp.Diff(a.SHA256, other.SHA256); diff != "" || err != nil {
		t.Errorf("built again elsewhere: %v (-want +got):\n%s", err, diff)
	}
}

// made is a module of a test, with this build.sh; without a script, it has
// none.
func made(t *testing.T, script string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module made\n", "go.sum": "", "build.sh": script} {
		if text == "" && name == "build.sh" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRefused(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name, reason string
		ctx          context.Context
		module, want string
	}{
		{"no module", "the folder is not there", t.Context(), filepath.Join(t.TempDir(), "gone"), "gone"},
		{"another module", "nothing says how to build it", t.Context(), made(t, ""), "build.sh: no such file"},
		{"failed build", "its words say why", t.Context(), made(t, "echo half >$1/x; echo why >&2; exit 3"), "exit status 3: why"},
		{"no archive", "there is nothing to install", t.Context(), made(t, ":"), "made no archive with a version in its name"},
		{"no version", "the spec names one", t.Context(), made(t, ": >$1/x.tar.gz"), "made no archive with a version in its name"},
		{"interrupted", "the context is done", cancelled, module, "canceled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cache := filepath.Join(t.TempDir(), "cache")
			if a, err := Build(tt.ctx, tt.module, cache); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("have %v, %v: want an error with %q: %s", a, err, tt.want, tt.reason)
			}
			if left, _ := filepath.Glob(cache + "/*"); len(left) > 0 {
				t.Errorf("left in the cache: %q", left)
			}
		})
	}
}

// An interrupt ends the script and what it started, and nothing half built
// stays.
func TestHalfBuilt(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	ctx, cancel := context.WithCancel(t.Context())
	began := time.Now()
	time.AfterFunc(300*time.Millisecond, cancel)
	_, err := Build(ctx, made(t, "echo half >$1/x-v1.2.3-linux-amd64.tar.gz; sleep 60 & wait; sleep 60"), cache)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("have error %v, want %v", err, context.Canceled)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it ended after %v: something of it went on", took)
	}
	if left, _ := filepath.Glob(cache + "/*"); len(left) > 0 {
		t.Errorf("left in the cache: %q", left)
	}
}

// Two processes may build the same at once: the first one's archive stays.
func TestBuiltMeanwhile(t *testing.T) {
	cache := t.TempDir()
	dir := filepath.Join(cache, "release")
	if err := os.MkdirAll(filepath.Join(dir, "theirs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := build(t.Context(), made(t, ": >$1/x-v1-linux-amd64.tar.gz"), cache, dir); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(cache + "/*/*"); len(left) != 1 || left[0] != filepath.Join(dir, "theirs") {
		t.Errorf("in the cache: %q", left)
	}
}
