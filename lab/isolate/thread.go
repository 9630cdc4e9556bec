//go:build linux

package isolate

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Go runs f in a goroutine on a thread that runs nothing else while f runs,
// and that ends with f: what f did to its thread (unshare, setns, cgroup) is
// gone with it and need not be undone.
func Go(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != os.Getpid() {
			f() // never unlocked: the runtime ends a thread whose goroutine ends locked
			return
		}
		// The main thread cannot end, and /proc/self speaks of it. Hold it
		// until f has another one.
		defer runtime.UnlockOSThread()
		locked := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(locked)
			f()
		}()
		<-locked
	}()
}
