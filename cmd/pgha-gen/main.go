// Command pgha-gen turns the spec of a highly available PostgreSQL cluster into
// everything that its machines need.
package main

import (
	"os"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
