//go:build !unix

package tree

// lock is for systems that have no flock: nothing waits there.
func lock(string) (unlock func()) { return func() {} }
