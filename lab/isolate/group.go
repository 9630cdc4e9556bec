//go:build linux

package isolate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Group is one cgroup in the version 2 hierarchy and, on a host that still
// has it, its twin in systemd's own version 1 hierarchy (systemd-nspawn makes
// cgroups there too, and would share them between machines).
type Group struct {
	name string
	dir  string // version 2
	old  string // version 1, name=systemd; "" where there is none
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9.-]{0,99}$`)

// Find names the group; it need not exist. It refuses names that are not
// plain, and a host without cgroup version 2. Groups lie at the root of the
// hierarchy, so that a later process finds them wherever it runs itself.
func Find(name string) (*Group, error) {
	if !nameForm.MatchString(name) {
		return nil, fmt.Errorf("cgroup name %q: want lower case letters, digits, dots and dashes", name)
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	g := &Group{name: name}
	for s := bufio.NewScanner(f); s.Scan(); {
		mount, super, _ := strings.Cut(s.Text(), " - ")
		m, t := strings.Fields(mount), strings.Fields(super)
		if len(m) < 5 || len(t) < 3 {
			continue
		}
		switch {
		case t[0] == "cgroup2" && g.dir == "":
			g.dir = filepath.Join(m[4], name)
		case t[0] == "cgroup" && slices.Contains(strings.Split(t[2], ","), "name=systemd"):
			g.old = filepath.Join(m[4], name)
		}
	}
	if g.dir == "" {
		return nil, errors.New("no cgroup2 file system is mounted on this host (systemd-nspawn with a unified hierarchy needs one)")
	}
	return g, nil
}

// Make makes the group. It refuses a group that still has processes; an empty
// one is made anew.
func (g *Group) Make() error {
	if busy, err := g.Busy(); err != nil {
		return err
	} else if busy {
		return fmt.Errorf("cgroup %q has processes: what was started under this name still runs", g.name)
	}
	if err := g.Remove(); err != nil {
		return err
	}
	for _, dir := range g.dirs() {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return errors.Join(err, g.Remove())
		}
	}
	return nil
}

func (g *Group) dirs() []string {
	if g.old == "" {
		return []string{g.dir}
	}
	return []string{g.dir, g.old}
}

// Open gives the group as a file, to start a process in it
// (syscall.SysProcAttr.CgroupFD).
func (g *Group) Open() (*os.File, error) { return os.Open(g.dir) }

// EnterOld puts the calling thread into the version 1 twin, which CgroupFD
// does not know: children follow.
func (g *Group) EnterOld() error { return g.moveOld(g.old) }

// LeaveOld takes the calling thread out again; a group with a thread in it
// cannot be removed.
func (g *Group) LeaveOld() error { return g.moveOld(filepath.Dir(g.old)) }

func (g *Group) moveOld(to string) error {
	if g.old == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(to, "tasks"), []byte("0"), 0)
}

// Busy tells whether any process is in the group or below it. A group that
// does not exist is not busy.
func (g *Group) Busy() (bool, error) {
	events, err := os.ReadFile(filepath.Join(g.dir, "cgroup.events"))
	if gone(err) {
		return false, nil
	}
	return strings.Contains(string(events), "populated 1"), err
}

// Kill ends every process in the group at once, without asking them. A group
// that does not exist is no error.
func (g *Group) Kill() error {
	err := os.WriteFile(filepath.Join(g.dir, "cgroup.kill"), []byte("1"), 0)
	if gone(err) {
		return nil
	}
	return err
}

// Freeze stops every process in the group where it is, or has them go on. A group
// that does not exist is no error.
func (g *Group) Freeze(stop bool) error {
	state := map[bool]string{true: "1", false: "0"}[stop]
	err := os.WriteFile(filepath.Join(g.dir, "cgroup.freeze"), []byte(state), 0)
	if gone(err) {
		return nil
	}
	return err
}

// Wait returns when the group has no process left, or with the context's error.
func (g *Group) Wait(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if busy, err := g.Busy(); err != nil || !busy {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("cgroup %q still has processes: %w", g.name, ctx.Err())
		}
	}
}

// Remove removes the group and every group that its processes made below it.
// One that does not exist is no error.
func (g *Group) Remove() error {
	var errs []error
	for _, dir := range g.dirs() {
		var made []string
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				made = append(made, path)
			}
			return err
		})
		if err != nil && !gone(err) {
			errs = append(errs, err)
		}
		for _, path := range slices.Backward(made) { // a parent can go when its children have gone
			if err := os.Remove(path); err != nil && !gone(err) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// gone: a cgroup's files answer ENODEV when the group is removed between open
// and read.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) }
