//go:build linux

// Package release builds a program from source, for machines that install it
// from an archive.
package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"pgha-gen/lab/private"
)

// Archive is a release as a file.
type Archive struct {
	Path    string // …/<program>-v1.2.3-linux-amd64.tar.gz
	Version string // 1.2.3
	SHA256  string // in hex
}

// name is how projects name their archives.
var name = regexp.MustCompile(`-v([0-9][^/]*)-linux-amd64\.tar\.gz$`)

// Build gives the archive that build.sh in this folder, a Go module, makes.
// It is made when cache (a folder, made if needed) does not have it for this
// module and this Go. What the script says is in the error.
func Build(ctx context.Context, module, cache string) (a Archive, err error) {
	version, err := run(ctx, module, "go", "env", "GOVERSION")
	if err != nil {
		return a, err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s", version)
	for _, file := range []string{"build.sh", "go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(module, file))
		if err != nil {
			return a, err
		}
		fmt.Fprintf(sum, "%s %d\n%s", file, len(data), data)
	}
	if cache, err = filepath.Abs(cache); err != nil {
		return a, err
	}
	dir := filepath.Join(cache, "release-"+hex.EncodeToString(sum.Sum(nil))[:32])
	if a, err = find(dir); !errors.Is(err, os.ErrNotExist) {
		return a, err
	}
	if err := build(ctx, module, cache, dir); err != nil {
		return a, fmt.Errorf("cannot build the release of %q: %w", module, err)
	}
	return find(dir)
}

// find gives the archive in a folder.
func find(dir string) (a Archive, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return a, err
	}
	for _, file := range files {
		if m := name.FindStringSubmatch(file.Name()); m != nil {
			path := filepath.Join(dir, file.Name())
			data, err := os.ReadFile(path)
			return Archive{Path: path, Version: m[1], SHA256: fmt.Sprintf("%x", sha256.Sum256(data))}, err
		}
	}
	return a, errors.New("build.sh made no archive with a version in its name")
}

// build fills dir, whole or not at all.
func build(ctx context.Context, module, cache, dir string) (err error) {
	if err := private.Make(cache); err != nil {
		return err
	}
	work, err := os.MkdirTemp(cache, "building-release-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if _, err := run(ctx, module, "sh", "build.sh", work); err != nil {
		return err
	}
	if _, err := find(work); err != nil {
		return err
	}
	err = os.Rename(work, dir)
	if _, there := os.Stat(dir); err != nil && there == nil {
		return nil // another process built the same meanwhile
	}
	return err
}

// run runs a command in the module and gives its standard output.
func run(ctx context.Context, module string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = module
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	// What it started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return "", fmt.Errorf("%s in %q: %w: %s", strings.Join(args[:2], " "), module, err, bytes.TrimSpace(said.Bytes()))
	}
	return out.String(), nil
}
