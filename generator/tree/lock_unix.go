//go:build unix

package tree

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// lock waits until no other program writes below dir, or ctx is done: what it
// finds there of a writer is then left by one that is gone. A file system
// that has no locks is used without; two writers at once are rare, and each
// checks what it replaces.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return func() {}, nil
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return func() { f.Close() }, nil
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
