//go:build unix

package tree

import (
	"os"
	"syscall"
)

// lock waits until no other program writes below dir: what it finds there of a
// writer is then left by one that is gone. A file system that has no locks is
// used without; two writers at once are rare, and each checks what it replaces.
func lock(dir string) (unlock func()) {
	f, err := os.Open(dir)
	if err != nil {
		return func() {}
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return func() {}
	}
	return func() { f.Close() }
}
