//go:build linux

// Package image makes the root file systems that the lab's machines boot
// from, and keeps them for the next run.
package image

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"pgha-gen/lab/isolate"
)

// format is part of every digest. Raise it when this package makes something
// else from the same inputs.
const format = "pgha-lab/1"

//go:embed customize.sh
var customize []byte

// Base is a plain Debian root that boots, with cloud-init and SSH: what the
// cloud's own base image is.
type Base struct {
	Suite    string   // such as forky
	Packages []string // added to Packages()
	CAs      [][]byte // certificates (PEM) that the whole system trusts
}

// Packages is what every base has.
func Packages() []string {
	return []string{
		"systemd", "systemd-sysv", "dbus", "udev", "cloud-init", "openssh-server", "iproute2", "procps",
		"e2fsprogs", "ca-certificates", "sudo",
	}
}

// Digest names the base. Debian's own changes are not in it: to have them,
// remove the base from the cache.
func (b Base) Digest() string {
	return digest("base", b.Suite, b.packages(), b.CAs, customize)
}

func (b Base) packages() []string {
	all := append(Packages(), b.Packages...)
	slices.Sort(all)
	return slices.Compact(all)
}

// Recipe is a folder with bake.sh, which is run in a copy of a base with Env
// as its environment.
type Recipe struct {
	Dir string
	Env map[string]string
}

// Digest names the image that the recipe makes from a base with this digest:
// every path, mode and byte below Dir counts, and the environment. Refused: a
// recipe without bake.sh, and anything in it that is not a file or a folder.
func (r Recipe) Digest(base string) (string, error) {
	if _, err := os.Stat(filepath.Join(r.Dir, "bake.sh")); err != nil {
		return "", fmt.Errorf("recipe %q: %w", r.Dir, err)
	}
	files, err := list(r.Dir)
	if err != nil {
		return "", err
	}
	for name := range r.Env {
		if !envName.MatchString(name) {
			return "", fmt.Errorf("recipe %q: environment name %q: want letters, digits and underscores", r.Dir, name)
		}
	}
	return digest("image", base, files, r.Env), nil
}

// file is one of a recipe, as a digest counts it.
type file struct {
	Path string
	Mode fs.FileMode
	Sum  string
}

// list gives all files below dir.
func list(dir string) (files []file, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("recipe: %q is neither a file nor a folder", path)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files = append(files, file{name, info.Mode(), hex.EncodeToString(hash(data))})
		return err
	})
	return files, err
}

// envName is what a shell takes as the name of a variable.
var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func hash(b []byte) []byte { s := sha256.Sum256(b); return s[:] }

// digest goes through JSON because it separates its values and sorts its maps.
func digest(inputs ...any) string {
	b, err := json.Marshal(append([]any{format}, inputs...))
	if err != nil {
		panic(err) // strings, bytes, and lists and maps of them always marshal
	}
	return hex.EncodeToString(hash(b))[:32]
}

// Base gives the folder of the base, and builds it with mmdebstrap when it is
// not there: that needs root, Debian's mirror, and half a minute. What the
// tools say goes to log.
func (c Cache) Base(ctx context.Context, b Base, log io.Writer) (root string, err error) {
	d := b.Digest()
	return c.get(ctx, "base-", d, keepBases, log, func(dir string) error {
		// The hook and the certificates lie beside the root, and go with the
		// building folder.
		hook := filepath.Join(dir, "customize.sh")
		if err := os.WriteFile(hook, customize, 0o755); err != nil {
			return err
		}
		if err := os.Mkdir(filepath.Join(dir, "ca"), 0o755); err != nil {
			return err
		}
		for i, ca := range b.CAs {
			if err := os.WriteFile(filepath.Join(dir, "ca", fmt.Sprintf("pgha-lab-%d.crt", i)), ca, 0o644); err != nil {
				return err
			}
		}
		return run(ctx, d, log,
			"mmdebstrap", "--quiet", "--variant=minbase", "--format=directory",
			// A mirror may lag behind the expiry date of its release file; in
			// the root, for the bake, too.
			`--aptopt=Acquire::Check-Valid-Until "false"`,
			"--include="+strings.Join(b.packages(), ","),
			"--customize-hook="+hook,
			b.Suite, filepath.Join(dir, "root"))
	})
}

// Bake gives the folder of the image that the recipe makes from the base (a
// folder that Base gave), and makes it when it is not there. bake.sh runs as
// root in a container without an init, with the recipe as its current folder,
// and with the host's network, for Debian's mirror and what the caller serves
// on loopback.
func (c Cache) Bake(ctx context.Context, base string, r Recipe, log io.Writer) (root string, err error) {
	d, err := r.Digest(filepath.Base(base))
	if err != nil {
		return "", err
	}
	return c.get(ctx, "image-", d, keepImages, log, func(dir string) error {
		root := filepath.Join(dir, "root")
		// An overlay would save the second that this copy takes, and need it
		// again to be flattened.
		if err := run(ctx, d, log, "cp", "-a", "--reflink=auto", base, root); err != nil {
			return err
		}
		recipe, err := filepath.Abs(r.Dir)
		if err != nil {
			return err
		}
		args := append(container(d, root),
			"--bind-ro="+strings.ReplaceAll(recipe, ":", `\:`)+":"+inside, "--chdir="+inside)
		for _, name := range slices.Sorted(maps.Keys(r.Env)) {
			args = append(args, "--setenv="+name+"="+r.Env[name])
		}
		if err := run(ctx, d, log, append(args, "/bin/sh", inside+"/bake.sh")...); err != nil {
			return err
		}
		return dropResolvConf(root)
	})
}

// container is the command that runs something in a root which is not booted.
func container(digest, root string) []string {
	return []string{
		"systemd-nspawn", "--quiet", "--settings=no", "--register=no", "--keep-unit", "--as-pid2", "--console=pipe",
		"--machine=" + id(digest), "--directory=" + root,
		"--timezone=off", "--link-journal=no", "--resolv-conf=bind-host",
	}
}

// dropResolvConf removes the empty file onto which the host's was bound. One
// that the recipe wrote, or that was a link, stays.
func dropResolvConf(root string) error {
	path := filepath.Join(root, "etc/resolv.conf")
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || !info.Mode().IsRegular() || info.Size() > 0 {
		return err
	}
	return os.Remove(path)
}

// inside is where the recipe lies while it runs: systemd-nspawn mounts a
// tmpfs at /tmp, so nothing of it stays.
const inside = "/tmp/pgha-recipe"

func id(digest string) string { return "pgha-image-" + digest[:min(16, len(digest))] }

// run runs a tool that must not outlive the context.
func run(ctx context.Context, digest string, log io.Writer, args ...string) error {
	return runConfined(ctx, isolate.Config{
		ID:     id(digest),
		Args:   args,
		Env:    []string{"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "TERM=dumb"},
		Output: log,
		Hide:   []string{isolate.NspawnState},
	})
}

func runConfined(ctx context.Context, cfg isolate.Config) error {
	tool := cfg.Args[0]
	if _, err := exec.LookPath(tool); err != nil {
		return err
	}
	r, err := isolate.Start(cfg)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { r.Kill() }) // its error shows as a command that ended well
	defer stop()
	if err := errors.Join(r.Status(), r.Left()); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("%s: %w", tool, err)
	}
	return nil
}
