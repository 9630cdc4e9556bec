//go:build linux

// Command pgha-lab runs a whole cluster on this host: the very images and
// user-data that the cloud would get.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second one ends the program at once
	os.Exit(run(ctx, os.Args[0], os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
