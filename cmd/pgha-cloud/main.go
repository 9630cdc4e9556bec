// Command pgha-cloud makes the cluster of a spec exist in Yandex Cloud. It is a
// program of its own, since the cloud's SDK takes longer to start than all that
// pgha-gen does.
package main

import (
	"net"
	"os"

	"pgha-gen/roles"
)

func main() {
	os.Exit(run(os.Args[1:], roles.All(), connect(os.Getenv), new(net.Dialer).DialContext, os.Stdin, os.Stdout, os.Stderr))
}
