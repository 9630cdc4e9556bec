//go:build linux

// Package machine runs one machine of the lab: a root file system booted by
// systemd-nspawn, with a console, disks and a plug to pull.
package machine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pgha-gen/lab/isolate"
	"pgha-gen/lab/private"
)

// settle is how long ending a machine may take once its processes are killed.
const settle = 15 * time.Second

// Config is a machine to start. Everything it writes is below State, except
// its disks.
//
//	State/upper, work   what the machine changed on its root; kept, so that a machine can be started again
//	State/root          where the two are mounted, in the machine's own mount namespace only
//	State/console.log   every console line, with its time; appended
type Config struct {
	Name      string            // host name at boot, until the guest sets its own
	Root      string            // the image: a folder, never written to
	State     string            // a folder of this machine alone, not on tmpfs
	Fresh     bool              // forget what an earlier machine in State changed on its root: a new machine from the image
	Namespace string            // path of its network namespace
	Disks     []Disk            // attached at boot
	Files     map[string][]byte // by absolute path; written before each boot: what DHCP would have written
	Now       func() time.Time  // the clock of the console
	// Power is told when the machine gets power, and when it has none any more: in its
	// namespace the host's kernel would answer for it. nil: nobody is told.
	Power func(on bool) error
}

// Machine is a machine that was started. It ends when it is powered off or
// cut, when it powers off or reboots by itself, and when this process dies
// (systemd-nspawn is then told to shut it down). Disks and State outlive it:
// a new Start with the same State is the reboot.
//
// A power cut ends all processes at once, but what they had written to files
// is in the host's page cache and survives: data lost for want of fsync is
// not shown by this lab.
type Machine struct {
	console *Console
	run     *isolate.Run
	loops   []*loop
	log     *os.File
	root    *os.File // the image, held locked
	power   func(on bool) error
	ended   chan struct{}
	left    error
}

var nameForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

func (cfg Config) check() error {
	var errs []error
	if !nameForm.MatchString(cfg.Name) {
		errs = append(errs, fmt.Errorf("machine name %q: want a host name of lower case letters, digits and dashes", cfg.Name))
	}
	for what, path := range map[string]string{"root": cfg.Root, "state": cfg.State, "namespace": cfg.Namespace} {
		// overlayfs and systemd-nspawn split their arguments at these
		if !filepath.IsAbs(path) || strings.ContainsAny(path, ":,\\\n") {
			errs = append(errs, fmt.Errorf("machine %q: %s %q: want an absolute path without colon, comma and backslash", cfg.Name, what, path))
		}
	}
	for _, d := range cfg.Disks {
		if !nameForm.MatchString(d.Name) {
			errs = append(errs, fmt.Errorf("machine %q: disk name %q: want lower case letters, digits and dashes", cfg.Name, d.Name))
		}
	}
	for path := range cfg.Files {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path {
			errs = append(errs, fmt.Errorf("machine %q: file %q: want a clean absolute path", cfg.Name, path))
		}
	}
	if cfg.Now == nil {
		errs = append(errs, fmt.Errorf("machine %q: no clock given", cfg.Name))
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// ID names the machine's cgroup. It follows from State alone, so that a later
// process finds what an earlier one left.
func ID(state string) string {
	return fmt.Sprintf("pgha-machine-%x", sha256.Sum256([]byte(filepath.Clean(state))))[:29]
}

// Start boots a machine and returns when its init runs; the context bounds
// that. What boots it needs root. Refused: a State whose machine still runs
// or that is not this user's alone, a disk that is still held.
func Start(ctx context.Context, cfg Config) (*Machine, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := private.Make(cfg.State); err != nil {
		return nil, err
	}
	m := &Machine{power: cfg.Power, ended: make(chan struct{})}
	if m.power == nil {
		m.power = func(bool) error { return nil }
	}
	if err := m.start(cfg); err != nil {
		return nil, fmt.Errorf("cannot start machine %q: %w", cfg.Name, errors.Join(err, m.release()))
	}
	powered := m.power(true)
	go func() {
		defer close(m.ended)
		<-m.run.Done()
		m.console.end()
		m.left = errors.Join(m.run.Left(), m.power(false), m.release())
	}()
	err := powered
	if err == nil {
		err = m.waitInit(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot start machine %q: %w", cfg.Name, errors.Join(err, m.Close()))
	}
	return m, nil
}

func (m *Machine) start(cfg Config) error {
	var err error
	if m.log, err = os.OpenFile(filepath.Join(cfg.State, "console.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644); err != nil {
		return err
	}
	m.console = newConsole(cfg.Now, m.log)
	// A shared lock keeps the image from being removed.
	if m.root, err = os.Open(cfg.Root); err != nil {
		return err
	}
	if err := unix.Flock(int(m.root.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return fmt.Errorf("root %q is being removed: %w", cfg.Root, err)
	}
	args := []string{
		"systemd-nspawn", "--quiet", "--settings=no", "--register=no", "--keep-unit",
		"--machine=" + cfg.Name, "--directory=" + filepath.Join(cfg.State, "root"),
		"--network-namespace-path=" + cfg.Namespace,
		// Its firewall: nothing but its own namespace is in its reach.
		"--capability=CAP_NET_ADMIN",
		// What these would copy in or out is the host's; a machine of the
		// cloud does not have it.
		"--resolv-conf=off", "--timezone=off", "--link-journal=no",
	}
	for _, d := range cfg.Disks {
		l, err := attach(d)
		if err != nil {
			return err
		}
		m.loops = append(m.loops, l)
		args = append(args, "--bind="+l.dev.Name()+":/dev/disk/by-id/virtio-"+d.Name)
	}
	root := filepath.Join(cfg.State, "root")
	m.run, err = isolate.Start(isolate.Config{
		ID:   ID(cfg.State),
		Args: append(args, "--boot"),
		Env: []string{
			"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1",      // systemd 258 and later run on nothing else
			"SYSTEMD_NSPAWN_API_VFS_WRITABLE=network", // sysctls of its network are its own
			"TERM=dumb", // reaches the guest: no colours on the console
		},
		Output: m.console,
		Hide:   []string{isolate.NspawnState},
		Before: func() error {
			if err := enter(cfg.Namespace); err != nil {
				return err
			}
			if err := forgetRules(); err != nil {
				return err
			}
			if err := mountOverlay(cfg, root); err != nil {
				return err
			}
			return writeFiles(root, cfg.Files)
		},
		After: func() error { return unmount(root) },
	})
	return err
}

// enter puts the calling thread, and so systemd-nspawn, into the machine's
// network namespace. The option for that is not enough: systemd-nspawn mounts
// the guest's /sys before it follows the option, and the guest would see the
// host's interfaces in /sys/class/net, where cloud-init looks.
func enter(namespace string) error {
	ns, err := os.Open(namespace)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("cannot enter %q: %w", namespace, err)
	}
	return nil
}

// mountOverlay runs when no process of an earlier machine in State is left: its
// cgroup is empty.
func mountOverlay(cfg Config, root string) error {
	upper, work := filepath.Join(cfg.State, "upper"), filepath.Join(cfg.State, "work")
	if cfg.Fresh {
		if err := errors.Join(os.RemoveAll(upper), os.RemoveAll(work)); err != nil {
			return err
		}
	}
	for _, dir := range []string{upper, work, root} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	// index=off: with an index, the kernel refuses an upper folder whose
	// image has been baked anew.
	options := "index=off,lowerdir=" + cfg.Root + ",upperdir=" + upper + ",workdir=" + work
	if err := unix.Mount("overlay", root, "overlay", 0, options); err != nil {
		return fmt.Errorf("cannot mount an overlay of %q at %q: %w", cfg.Root, root, err)
	}
	return nil
}

func writeFiles(root string, files map[string][]byte) error {
	r, err := os.OpenRoot(root) // an image may have a link where the file goes: never write through it to the host
	if err != nil {
		return err
	}
	defer r.Close()
	for path, data := range files {
		name := strings.TrimPrefix(path, "/")
		if err := r.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return fmt.Errorf("cannot write %q into the machine: %w", path, err)
		}
		if err := r.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("cannot write %q into the machine: %w", path, err)
		}
		if err := r.WriteFile(name, data, 0o644); err != nil {
			return fmt.Errorf("cannot write %q into the machine: %w", path, err)
		}
	}
	return nil
}

// unmount is not lazy: busy means that something of the machine is left. The
// kernel frees the namespaces of dead processes a little later than their
// cgroup.
func unmount(root string) error {
	for wait := time.Millisecond; ; wait *= 2 {
		err := unix.Unmount(root, 0)
		if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) { // it was never mounted
			return nil
		}
		if wait > time.Second {
			return fmt.Errorf("cannot unmount %q: %w", root, err)
		}
		time.Sleep(wait)
	}
}

func (m *Machine) waitInit(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, running := m.Init(); running {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("its init does not run yet: %w", ctx.Err())
		case <-m.ended:
			var said strings.Builder
			for _, l := range m.console.Lines() {
				said.WriteString("\n" + l.Text)
			}
			return fmt.Errorf("it ended at once: %v%s", m.run.Status(), said.String())
		}
	}
}

// release gives back what only this process holds.
func (m *Machine) release() error {
	ctx, cancel := context.WithTimeout(context.Background(), settle)
	defer cancel()
	var errs []error
	for _, l := range m.loops {
		errs = append(errs, l.detach(ctx))
	}
	for _, f := range []*os.File{m.log, m.root} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// Console is the machine's serial console, since this Start.
func (m *Machine) Console() *Console { return m.console }

// Init gives the host's process id of the machine's init, and whether it runs.
func (m *Machine) Init() (pid int, running bool) {
	pid, running, _ = m.run.Init()
	return pid, running
}

// Wait waits until the machine has ended and its root and disks are free again,
// and gives what could not be cleaned up; or the context's error before that.
func (m *Machine) Wait(ctx context.Context) error {
	select {
	case <-m.ended:
		return m.left
	case <-ctx.Done():
		return ctx.Err()
	}
}

// PowerCut ends every process of the machine at once and returns when nothing
// is left: no process, no mount, no loop device. A machine that has ended is
// no error.
func (m *Machine) PowerCut() error {
	select {
	case <-m.ended:
		return m.left
	default:
	}
	// First of all: no connection of the machine may end in order.
	if err := m.power(false); err != nil {
		return err
	}
	// What its file systems still have to write must not take longer than settle.
	for _, l := range m.loops {
		if err := l.quicken(); err != nil {
			return err
		}
	}
	// Killing init is killing its PID namespace; systemd-nspawn then ends by
	// itself and tidies up. Killing systemd-nspawn would leave init running.
	if pid, _, found := m.run.Init(); found {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	} else if err := m.run.Kill(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), settle)
	defer cancel()
	if err := m.Wait(ctx); ctx.Err() == nil {
		return err
	}
	if err := m.run.Kill(); err != nil {
		return err
	}
	return m.Wait(context.Background())
}

// Close cuts the power of a machine that runs, and tells what could not be
// cleaned up. It can be called again.
func (m *Machine) Close() error { return m.PowerCut() }

// Clear ends a machine that a process which died has left in this State folder.
// No machine is no error.
func Clear(ctx context.Context, state string) error { return isolate.Clear(ctx, ID(state)) }
