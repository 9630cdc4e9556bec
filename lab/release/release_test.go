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

func TestRefused(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	empty := t.TempDir()
	if err := os.WriteFile(filepath.Join(empty, "go.mod"), []byte("module empty\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, reason string
		ctx          context.Context
		module, want string
	}{
		{"no module", "the folder is not there", t.Context(), filepath.Join(empty, "gone"), "gone"},
		{"another module", "it does not have etcd", t.Context(), empty, "go.etcd.io/etcd/server/v3"},
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

// TestHalfBuilt stops after the module was understood: an interrupt stands for any later trouble.
func TestHalfBuilt(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := build(ctx, module, cache, filepath.Join(cache, "etcd-x"), "etcd-x")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("have error %v, want %v", err, context.Canceled)
	}
	if left, _ := filepath.Glob(cache + "/*"); len(left) > 0 {
		t.Errorf("left in the cache: %q", left)
	}
}

func TestPackRefused(t *testing.T) {
	if err := pack(io.Discard, "top", []string{filepath.Join(t.TempDir(), "gone")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("have error %v, want %v", err, os.ErrNotExist)
	}
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := pack(full{}, "top", []string{file}); !errors.Is(err, errFull) {
		t.Errorf("have error %v, want %v", err, errFull)
	}
}

var errFull = errors.New("disk full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }
