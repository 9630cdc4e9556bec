//go:build linux

package isolate

import "syscall"

// Terminate asks the command to end.
func (r *Run) Terminate() error { return r.cmd.Process.Signal(syscall.SIGTERM) }
