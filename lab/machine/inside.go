//go:build linux

package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Exec runs a command inside the machine and gives its standard output. The
// error carries its standard error. Refused: a machine that has ended.
func (m *Machine) Exec(ctx context.Context, args ...string) ([]byte, error) {
	return m.ExecInput(ctx, "", args...)
}

// ExecInput is Exec with something on standard input, where no process list
// shows it.
func (m *Machine) ExecInput(ctx context.Context, input string, args ...string) ([]byte, error) {
	pid, running := m.Init()
	if !running {
		return nil, fmt.Errorf("cannot run %q: %w", args, ErrEnded)
	}
	enter := []string{"-t", fmt.Sprint(pid), "-m", "-p", "-u", "-i", "-n", "-C", "--"}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "TERM=dumb"}
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &said
	// nsenter forks to enter the PID namespace: killing it alone would leave
	// the command.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = 15 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return out.Bytes(), fmt.Errorf("%q in the machine: %w: %s", args, err, bytes.TrimSpace(said.Bytes()))
	}
	return out.Bytes(), nil
}

// ErrCut says that a machine did not shut down in time.
var ErrCut = errors.New("did not shut down in time, its power was cut")

const (
	// stopGrace is what the cloud gives a machine to shut down before its power
	// is cut.
	stopGrace = 30 * time.Second
	// halt is SIGRTMIN+3, which systemd-nspawn sends to stop a machine.
	halt = unix.Signal(37)
)

// PowerOff shuts the machine down, and cuts its power when it has not ended
// after 30 seconds, or when the context is done. A machine that has ended is no
// error.
func (m *Machine) PowerOff(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	if pid, running := m.Init(); running {
		if err := unix.Kill(pid, halt); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	err := m.Wait(ctx)
	if ctx.Err() != nil {
		return errors.Join(ErrCut, m.PowerCut())
	}
	return err
}

// Pause stops every process of the machine where it is, as the cloud does
// while it moves a machine to another host; or has them go on.
func (m *Machine) Pause(stop bool) error { return m.run.Freeze(stop) }
