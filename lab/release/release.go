// Package release builds etcd from source and packs it as its authors' release is packed, for machines that install it from there.
package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"pgha-gen/lab/private"
)

// format is part of every digest. Raise it when this package makes something else from the same module.
const format = "pgha-lab-release/1"

// program is a file of the release and the package it is built from: names as upstream has them.
type program struct{ file, pkg string }

func programs() []program {
	return []program{
		{"etcd", "go.etcd.io/etcd/server/v3"},
		{"etcdctl", "go.etcd.io/etcd/etcdctl/v3"},
		{"etcdutl", "go.etcd.io/etcd/etcdutl/v3"},
	}
}

// Archive is a release as a file.
type Archive struct {
	Path    string // …/etcd-v3.5.15-linux-amd64.tar.gz
	Version string // 3.5.15
	SHA256  string // in hex
}

// Build gives the release that the Go module in this folder pins, for linux/amd64. It is built when cache (a folder,
// made if needed) does not have it yet: the same module and Go version give the same bytes. Building from nothing
// takes a minute and downloads the module's dependencies. What the go command says is in the error.
func Build(ctx context.Context, module, cache string) (Archive, error) {
	version, err := goTool(ctx, module, "list", "-m", "-f", "{{.Version}}", programs()[0].pkg)
	if err != nil {
		return Archive{}, err
	}
	compiler, err := goTool(ctx, module, "env", "GOVERSION")
	if err != nil {
		return Archive{}, err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n", format, compiler)
	for _, file := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(module, file))
		if err != nil {
			return Archive{}, err
		}
		fmt.Fprintf(h, "%s %d\n%s", file, len(data), data)
	}
	if cache, err = filepath.Abs(cache); err != nil {
		return Archive{}, err
	}
	top := "etcd-" + version + "-linux-amd64"
	dir := filepath.Join(cache, "etcd-"+hex.EncodeToString(h.Sum(nil))[:32])
	a := Archive{Path: filepath.Join(dir, top+".tar.gz"), Version: strings.TrimPrefix(version, "v")}
	if _, err := os.Stat(a.Path); errors.Is(err, os.ErrNotExist) {
		err = build(ctx, module, cache, dir, top)
		if err != nil {
			return Archive{}, fmt.Errorf("cannot build etcd %s: %w", version, err)
		}
	}
	data, err := os.ReadFile(a.Path)
	if err != nil {
		return Archive{}, err
	}
	sum := sha256.Sum256(data)
	a.SHA256 = hex.EncodeToString(sum[:])
	return a, nil
}

// build fills dir, whole or not at all.
func build(ctx context.Context, module, cache, dir, top string) (err error) {
	if err := private.Make(cache); err != nil {
		return err
	}
	work, err := os.MkdirTemp(cache, "building-release-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	var files []string
	for _, p := range programs() {
		out := filepath.Join(work, p.file)
		if _, err := goTool(ctx, module, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, p.pkg); err != nil {
			return err
		}
		files = append(files, out)
	}
	made := filepath.Join(work, "made")
	if err := os.Mkdir(made, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(made, top+".tar.gz"))
	if err != nil {
		return err
	}
	if err := errors.Join(pack(f, top, files), f.Close()); err != nil {
		return err
	}
	err = os.Rename(made, dir)
	if _, there := os.Stat(dir); err != nil && there == nil {
		return nil // another process built the same meanwhile
	}
	return err
}

// pack writes files, by their base names, into one folder of a tar.gz. No clock, owner or name of this host gets in.
func pack(w io.Writer, top string, files []string) error {
	zipped := gzip.NewWriter(w)
	t := tar.NewWriter(zipped)
	entry := tar.Header{Format: tar.FormatUSTAR, ModTime: time.Unix(0, 0), Mode: 0o755}
	folder := entry
	folder.Typeflag, folder.Name = tar.TypeDir, top+"/"
	if err := t.WriteHeader(&folder); err != nil {
		return err
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file := entry
		file.Typeflag, file.Name, file.Size = tar.TypeReg, top+"/"+filepath.Base(path), int64(len(data))
		if err := t.WriteHeader(&file); err != nil {
			return err
		}
		if _, err := t.Write(data); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), zipped.Close())
}

// goTool runs the go command in the module and gives what it says on standard output.
func goTool(ctx context.Context, module string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = module
	// What else would change the bytes, or the module.
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1", "GOWORK=off", "GOFLAGS=-mod=readonly", "GOEXPERIMENT=")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.WaitDelay = 5 * time.Second // its compilers end a little later than itself
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return "", fmt.Errorf("go %s in %q: %w: %s", args[0], module, err, bytes.TrimSpace(said.Bytes()))
	}
	return strings.TrimSpace(out.String()), nil
}
