//go:build linux

// Package isolate runs commands and code so that nothing of them is left: in a
// cgroup and a mount namespace of their own, or on a thread of their own.
package isolate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// NspawnState is where systemd-nspawn keeps what it knows of its containers:
// to be hidden, since one that is killed does not tidy up there.
const NspawnState = "/run/systemd/nspawn"

// settle is how long the kernel may take to end what was killed.
const settle = 10 * time.Second

// Config is what to run.
type Config struct {
	ID     string       // the name of the cgroup: unique on this host
	Args   []string     // the command
	Env    []string     // added to this process's environment
	Output io.Writer    // where its standard output and error go; an error of it is told by Left
	Hide   []string     // folders of the host that it sees empty, and whatever it writes there is gone with it
	Before func() error // runs in the mount namespace, before the command; nil for nothing
	After  func() error // runs there when every process has ended, also when Before was refused; nil for nothing
}

// Run is a command that was started.
type Run struct {
	group  *Group
	cmd    *exec.Cmd
	copied chan error // one value, when the output has ended
	done   chan struct{}
	status error // how the command ended
	left   error // what could not be cleaned up
}

// Start starts the command. Its mount namespace sees what the host mounts and
// unmounts later, and not the other way round. When this process dies,
// however it dies, the command gets SIGTERM. Refused: an ID whose processes
// still run.
func Start(cfg Config) (*Run, error) {
	group, err := Find(cfg.ID)
	if err != nil {
		return nil, err
	}
	if err := group.Make(); err != nil {
		return nil, err
	}
	r := &Run{group: group, copied: make(chan error, 1), done: make(chan struct{})}
	started := make(chan error)
	Go(func() {
		defer close(r.done)
		err := r.start(cfg)
		if err != nil {
			r.left = r.clean(cfg)
		}
		started <- err
		if err != nil {
			return
		}
		// Waiting here keeps the thread: a death signal is sent when the
		// thread that started the command ends.
		r.status = r.cmd.Wait()
		r.left = errors.Join(r.clean(cfg), <-r.copied)
	})
	if err := <-started; err != nil {
		<-r.done
		return nil, errors.Join(err, r.left)
	}
	return r, nil
}

func (r *Run) start(cfg Config) error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("cannot make a mount namespace: %w", err)
	}
	// Slave, not private: a private copy would pin every network namespace
	// and file system of the host that is unmounted while the command runs.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("cannot make mounts one-way: %w", err)
	}
	for _, dir := range cfg.Hide {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("cannot hide %q: %w", dir, err)
		}
	}
	if cfg.Before != nil {
		if err := cfg.Before(); err != nil {
			return err
		}
	}
	if err := r.group.EnterOld(); err != nil {
		return err
	}
	dir, err := r.group.Open()
	if err != nil {
		return err
	}
	defer dir.Close()
	r.cmd = exec.Command(cfg.Args[0], cfg.Args[1:]...)
	r.cmd.Env = append(r.cmd.Environ(), cfg.Env...)
	// A pipe of our own: os/exec's would keep Wait waiting for children that
	// outlive the command.
	from, to, err := os.Pipe()
	if err != nil {
		return err
	}
	defer to.Close()
	r.cmd.Stdout, r.cmd.Stderr = to, to
	r.cmd.SysProcAttr = &syscall.SysProcAttr{
		UseCgroupFD: true,
		CgroupFD:    int(dir.Fd()),
		Pdeathsig:   syscall.SIGTERM,
		Setpgid:     true, // an interrupt typed at the terminal is for the lab, which then ends its machines in order
	}
	if err := r.cmd.Start(); err != nil {
		return errors.Join(err, from.Close())
	}
	go func() {
		_, err := io.Copy(cfg.Output, from)
		if err != nil {
			io.Copy(io.Discard, from) // a writer that is full must not stop the command
		}
		r.copied <- errors.Join(err, from.Close())
	}()
	return nil
}

// clean runs on the run's own thread, in its mount namespace.
func (r *Run) clean(cfg Config) error {
	ctx, cancel := context.WithTimeout(context.Background(), settle)
	defer cancel()
	errs := []error{r.group.Kill(), r.group.Wait(ctx)}
	if cfg.After != nil {
		errs = append(errs, cfg.After())
	}
	errs = append(errs, r.group.LeaveOld(), r.group.Remove())
	return errors.Join(errs...)
}

// Done is closed when the command and all that it started have ended and been
// cleaned up.
func (r *Run) Done() <-chan struct{} { return r.done }

// Status waits for the end and tells how the command ended (an
// *exec.ExitError if not well).
func (r *Run) Status() error { <-r.done; return r.status }

// Left waits for the end and tells what could not be cleaned up.
func (r *Run) Left() error { <-r.done; return r.left }

// Kill ends every process of the run at once.
func (r *Run) Kill() error { return r.group.Kill() }

// Init gives the process that is 1 in a PID namespace which the command made,
// and whether there is one. It is ready when it runs another program than the
// command itself.
func (r *Run) Init() (pid int, ready bool, found bool) {
	select {
	case <-r.done:
		return 0, false, false
	default:
	}
	parent := r.cmd.Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", parent, parent))
	if err != nil {
		return 0, false, false
	}
	for _, child := range strings.Fields(string(children)) {
		status, err := os.ReadFile(filepath.Join("/proc", child, "status"))
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(status), "\nNSpid:")
		line, _, _ := strings.Cut(after, "\n")
		if ids := strings.Fields(line); len(ids) < 2 || ids[len(ids)-1] != "1" {
			continue
		}
		pid, err := strconv.Atoi(child)
		if err != nil {
			continue
		}
		return pid, !sameProgram(parent, pid), true
	}
	return 0, false, false
}

func sameProgram(a, b int) bool {
	x, errX := os.Stat(fmt.Sprintf("/proc/%d/exe", a))
	y, errY := os.Stat(fmt.Sprintf("/proc/%d/exe", b))
	return errX != nil || errY != nil || os.SameFile(x, y)
}

// Clear ends what a process that is no more has left under this ID. Nothing
// there is no error.
func Clear(ctx context.Context, id string) error {
	group, err := Find(id)
	if err != nil {
		return err
	}
	if err := group.Kill(); err != nil {
		return err
	}
	if err := group.Wait(ctx); err != nil {
		return err
	}
	return group.Remove()
}

// Freeze stops every process where it is, or has them go on.
func (r *Run) Freeze(stop bool) error { return r.group.Freeze(stop) }
