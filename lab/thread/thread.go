//go:build linux

// Package thread runs code on an operating system thread of its own, for state that Linux keeps per thread (namespaces, death signals).
package thread

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Go runs f in a goroutine on a thread that runs nothing else while f runs, and that ends with f:
// what f did to its thread (unshare, setns, cgroup) is gone with it and need not be undone.
func Go(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != os.Getpid() {
			f() // never unlocked: the runtime ends a thread whose goroutine ends locked
			return
		}
		// The main thread cannot end, and /proc/self speaks of it. Hold it until f has another one.
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
