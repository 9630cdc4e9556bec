// Command packer-plugin-pgha bakes a role of a cluster in any Packer build.
package main

import (
	"fmt"
	"os"

	"github.com/hashicorp/packer-plugin-sdk/plugin"

	"pgha-gen/packer/plugin/provisioner/pgha"
	"pgha-gen/packer/plugin/version"
)

func main() {
	set := plugin.NewSet()
	set.RegisterProvisioner(plugin.DEFAULT_NAME, new(pgha.Provisioner))
	set.SetVersion(version.Plugin())
	if err := set.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "packer-plugin-pgha: %v\n", err)
		os.Exit(1)
	}
}
