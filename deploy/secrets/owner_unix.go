//go:build unix

package secrets

import (
	"io/fs"
	"syscall"
)

// owner is whose a file is, where the system says so.
func owner(at fs.FileInfo) (user, group int, known bool) {
	s, ok := at.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(s.Uid), int(s.Gid), true
}
