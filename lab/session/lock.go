//go:build linux

package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"pgha-gen/lab/private"
)

// locks is where the names of networks are locked, which are the host's and
// not of one folder. It goes when the host restarts, as the networks do.
const locks = "/run/pgha-lab"

// lock is a POSIX lock on a file. The kernel knows which process holds it, and
// lifts it when that process ends. A process id written into a file could be
// another process's by now.
type lock struct{ file *os.File }

// TakenError says who holds a lock.
type TakenError struct {
	What string
	PID  int
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("%s (process %d): take it down first (pgha-lab down)", e.What, e.PID)
}

// take takes a lock. It must not be asked for one that this process holds: a
// POSIX lock is the process's, and closing any file handle of it gives it up.
func take(path, what string) (*lock, error) {
	if err := private.Make(filepath.Dir(path)); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		switch {
		case err == nil && current(f):
			return &lock{f}, nil
		case err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES):
			return nil, errors.Join(fmt.Errorf("cannot lock %q: %w", path, err), f.Close())
		}
		pid := 0
		if err != nil {
			if pid, err = holder(path); err != nil {
				return nil, errors.Join(err, f.Close())
			}
		}
		if f.Close(); pid != 0 {
			return nil, &TakenError{what, pid}
		}
	}
}

// current tells whether a file still is the one at its path: whoever had the
// lock may have removed it.
func current(f *os.File) bool {
	there, err := os.Stat(f.Name())
	if err != nil {
		return false
	}
	mine, err := f.Stat()
	return err == nil && os.SameFile(there, mine)
}

func (l *lock) give() { l.file.Close() }

// drop gives a lock up and removes its file.
func (l *lock) drop() {
	os.Remove(l.file.Name()) // one that stays is no harm
	l.give()
}

// holder is the process that holds a lock; 0: none. It must not be asked of a
// lock that this process holds.
func holder(path string) (pid int, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	at := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &at); err != nil {
		return 0, fmt.Errorf("cannot see who holds %q: %w", path, err)
	}
	if at.Type == unix.F_UNLCK {
		return 0, nil
	}
	return int(at.Pid), nil
}

// Keeper is the process that keeps the lab of this folder up; 0: none.
func (f Folder) Keeper() (pid int, err error) { return holder(f.path("lock")) }

// patience is how long a lab may take to end in order before it is killed.
const patience = 30 * time.Second

// end ends the process that holds a lock, in order or else at once. It
// returns when the lock is free.
func end(ctx context.Context, path string) (pid int, err error) {
	pid, err = holder(path)
	if err != nil || pid == 0 {
		return pid, err
	}
	process, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return pid, nil
	}
	if err != nil {
		return pid, fmt.Errorf("cannot find process %d: %w", pid, err)
	}
	defer unix.Close(process)
	// Between the two looks the number may have become another process's; the
	// handle now is of one process for ever.
	if again, err := holder(path); err != nil || again != pid {
		return pid, err
	}
	kill := time.NewTimer(patience)
	defer kill.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for signal := unix.SIGTERM; ; {
		if signal != 0 {
			if err := unix.PidfdSendSignal(process, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return pid, fmt.Errorf("cannot end process %d: %w", pid, err)
			}
			signal = 0
		}
		if now, err := holder(path); err != nil || now != pid {
			return pid, err
		}
		select {
		case <-tick.C:
		case <-kill.C:
			signal = unix.SIGKILL
		case <-ctx.Done():
			return pid, fmt.Errorf("process %d, which keeps the lab up, has not ended yet: %w", pid, ctx.Err())
		}
	}
}
