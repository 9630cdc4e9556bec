//go:build !linux

// Command pgha-lab runs a whole cluster on a Linux host.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	fmt.Fprintf(os.Stderr, "pgha-lab: the lab's machines need Linux, and this is %s\n", runtime.GOOS)
	os.Exit(1)
}
