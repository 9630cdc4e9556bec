// Command pgha-gen turns the spec of a highly available PostgreSQL cluster into
// everything that its machines need.
package main

import (
	"net"
	"os"

	"pgha-gen/roles"
)

func main() {
	os.Exit(run(os.Args[1:], roles.All(), new(net.Dialer).DialContext, os.Stdin, os.Stdout, os.Stderr))
}
