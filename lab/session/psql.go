//go:build linux

package session

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Conninfo is what psql and other clients based on libpq take to reach the
// leader, or a replica. It names the file with the passwords and has none.
func (f Folder) Conninfo(r Record, replicas bool) string {
	target := r.Access.Primary
	if replicas {
		target = r.Access.Replicas
	}
	return target.Conninfo(f.CA(), f.Passfile())
}

// Psql is the command line that starts psql: the host's or, where it has
// none, that of a machine's root, with the root's own loader and libraries,
// so that it sees the host's files.
func Psql(lookPath func(string) (string, error), root string) ([]string, error) {
	if path, err := lookPath("psql"); err == nil {
		return []string{path}, nil
	}
	if root == "" {
		return nil, errors.New("this host has no psql: apt-get install postgresql-client")
	}
	var found []string
	for _, pattern := range []string{
		"lib*/ld-linux*.so.*", "usr/lib/*-linux-gnu*", "usr/lib/postgresql/*/bin/psql",
	} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		if len(paths) == 0 {
			return nil, fmt.Errorf("this host has no psql, and the image %q has no %s: apt-get install postgresql-client", root, pattern)
		}
		found = append(found, slices.Max(paths))
	}
	return []string{found[0], "--library-path", found[1], found[2]}, nil
}

// Exec replaces this process by a command that runs in the lab's network, with
// its DNS, and in a folder; "": where this process is. It returns only if it
// cannot.
func (f Folder) Exec(r Record, dir string, args, env []string) error {
	// The kernel ends all other threads, and the new program has the namespaces
	// and the folder of this one.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := f.resolve(); err != nil {
		return fmt.Errorf("cannot give %s the lab's DNS: %w", args[0], err)
	}
	path := "/run/netns/" + r.Network
	ns, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot enter %q: %w", path, err)
	}
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("cannot enter %q: %w", path, err)
	}
	if dir != "" {
		if err := unix.Chdir(dir); err != nil {
			return fmt.Errorf("cannot enter %q: %w", dir, err)
		}
		env = append(env, "PWD="+dir)
	}
	return fmt.Errorf("cannot run %s: %w", strings.Join(args[:1], " "), syscall.Exec(args[0], args, env))
}

// resolve gives this thread, and nobody else, the lab's resolv.conf.
func (f Folder) resolve() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return err
	}
	place, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil {
		return err
	}
	return unix.Mount(f.path("resolv.conf"), place, "", unix.MS_BIND, "")
}
