//go:build linux

package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pgha-gen/lab/image"
	"pgha-gen/lab/isolate"
	"pgha-gen/lab/machine"
	"pgha-gen/lab/netns"
)

// Inventory is what a lab has on the host, beside files.
type Inventory struct {
	Keeper     int // the process that keeps it up; 0: none
	Machines   []string
	Namespaces []string
	Loops      []string
	Bakes      int // images that were being made by a process that died
}

// Empty says whether the lab has nothing.
func (i Inventory) Empty() bool {
	return i.Keeper+i.Bakes == 0 && len(i.Machines)+len(i.Namespaces)+len(i.Loops) == 0
}

func (i Inventory) String() string {
	var parts []string
	if i.Keeper != 0 {
		parts = append(parts, fmt.Sprintf("process %d", i.Keeper))
	}
	for _, kind := range []struct {
		n    int
		name string
	}{{len(i.Machines), "machine"}, {len(i.Namespaces), "network namespace"}, {len(i.Loops), "loop device"}, {i.Bakes, "unfinished image"}} {
		switch kind.n {
		case 0:
		case 1:
			parts = append(parts, "1 "+kind.name)
		default:
			parts = append(parts, fmt.Sprintf("%d %ss", kind.n, kind.name))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// look takes the inventory of the lab in a folder, whose network has this
// name; without its process, since who has the lock must not look at it.
func (f Folder) look(network string) (i Inventory, err error) {
	states, err := f.machines()
	if err != nil {
		return i, err
	}
	for _, state := range states {
		group, err := isolate.Find(machine.ID(state))
		if err != nil {
			return i, err
		}
		busy, err := group.Busy()
		if err != nil {
			return i, err
		}
		if busy {
			i.Machines = append(i.Machines, filepath.Base(state))
		}
	}
	if i.Namespaces, err = netns.Leftovers(network); err != nil {
		return i, err
	}
	disks, err := filepath.EvalSymlinks(f.path("machines"))
	if errors.Is(err, fs.ErrNotExist) {
		return i, nil
	}
	if err != nil {
		return i, err
	}
	i.Loops, err = machine.Loops(disks)
	return i, err
}

// machines are the state folders of all machines there ever were in the folder.
func (f Folder) machines() ([]string, error) {
	entries, err := os.ReadDir(f.path("machines"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var states []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != "disks" {
			states = append(states, filepath.Join(f.path("machines"), e.Name()))
		}
	}
	return states, err
}

// Take takes the lab down and gives what there was. A lab that is up ends in
// order; of one that died, every machine, namespace and loop device is removed.
// The files stay. No lab is no error. A network of this name that belongs to a
// lab in another folder is left alone. The network and the cache given here
// are used only if the record is lost.
func (f Folder) Take(ctx context.Context, network, cache string) (Inventory, error) {
	network, cache = f.recorded(network, cache)
	up, err := f.look(network)
	if err != nil {
		return up, err
	}
	if up.Keeper, err = end(ctx, f.path("lock")); err != nil {
		return up, err
	}
	left, err := f.sweep(ctx, network, cache)
	if up.Keeper == 0 {
		return left, err
	}
	return up, err
}

// recorded are the names of the network and the cache in the record or,
// without one, these.
func (f Folder) recorded(network, cache string) (string, string) {
	if r, ok, err := f.Load(); err == nil && ok { // a record that is damaged must not keep a lab up
		return r.Network, r.Cache
	}
	return network, cache
}

// sweep removes what a lab that died has left, and gives what that was. It
// refuses while a lab is up in the folder.
func (f Folder) sweep(ctx context.Context, network, cache string) (Inventory, error) {
	if _, err := os.Stat(string(f)); err == nil {
		l, err := take(f.path("lock"), "a lab is up in "+string(f))
		if err != nil {
			return Inventory{}, err
		}
		defer l.give()
	}
	network, cache = f.recorded(network, cache)
	was, err := f.look(network)
	if err != nil {
		return was, err
	}
	l, err := takeNetwork(network)
	var taken *TakenError
	if errors.As(err, &taken) && len(was.Machines) == 0 {
		return Inventory{}, nil // none of it is ours
	}
	if err != nil {
		return was, err
	}
	defer l.drop()
	was.Bakes, err = f.clear(ctx, network, cache)
	return was, err
}

// clear ends and removes what a process that died has left, and gives how many
// images it left half made. The caller holds both locks.
func (f Folder) clear(ctx context.Context, network, cache string) (bakes int, err error) {
	states, err := f.machines()
	errs := []error{err}
	for _, state := range states {
		errs = append(errs, machine.Clear(ctx, state))
	}
	spaces, err := netns.Leftovers(network)
	errs = append(errs, err)
	for _, space := range spaces {
		errs = append(errs, netns.Remove(ctx, space))
	}
	bakes, err = image.Cache{Dir: cache}.Clear(ctx)
	if err := errors.Join(append(errs, err)...); err != nil {
		return bakes, err
	}
	// The kernel lets go of a loop device a little after the machine that had
	// it mounted.
	for wait := time.Millisecond; ; wait *= 2 {
		left, err := f.look(network)
		if err != nil || left.Empty() {
			return bakes, err
		}
		if wait > 4*time.Second {
			return bakes, fmt.Errorf("cannot remove all of the lab: there still is %s (%s)", left,
				strings.Join(append(append(left.Machines, left.Namespaces...), left.Loops...), ", "))
		}
		time.Sleep(wait)
	}
}

// claim is the right to run a lab in a folder, under a name.
type claim struct{ folder, name *lock }

func (f Folder) claim(network string) (c claim, err error) {
	if c.folder, err = take(f.path("lock"), "a lab is up in "+string(f)); err != nil {
		return c, err
	}
	if c.name, err = takeNetwork(network); err != nil {
		c.folder.give()
	}
	return c, err
}

func takeNetwork(name string) (*lock, error) {
	return take(filepath.Join(locks, name+".lock"), fmt.Sprintf("a lab in another folder has the network %q", name))
}

func (c claim) give() {
	c.name.drop()
	c.folder.give()
}

// forget removes what a lab wrote; all with its images and logs, too. The
// folder itself stays if it holds anything else.
func (f Folder) forget(all bool) error {
	names := []string{"machines", "lab.json", "lab.json.new", "ca.crt", "pgpass", "resolv.conf", "control", "work", "timeline.svg", "timeline.txt"}
	if all {
		names = append(names, "cache", "bake.log", "lab.log", "lock")
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, os.RemoveAll(f.path(name)))
	}
	if all {
		os.Remove(string(f)) // refused by the system unless it is empty
	}
	return errors.Join(errs...)
}

// Purge removes the files of a lab that was taken down, its images with them.
// It refuses while it is up.
func (f Folder) Purge() error {
	if _, err := os.Stat(string(f)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	l, err := take(f.path("lock"), "a lab is up in "+string(f))
	if err != nil {
		return err
	}
	defer l.give()
	return f.forget(true)
}
