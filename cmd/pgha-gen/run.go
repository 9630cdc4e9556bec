package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/deploy/operate"
	"pgha-gen/generator"
	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
)

// app is one run of the command.
type app struct {
	cli.Streams
	roles []*role.Role
	dial  operate.Dial // of a running cluster's machines
}

func run(args []string, known []*role.Role, dial operate.Dial, in io.Reader, out, err io.Writer) int {
	a := &app{cli.Streams{Name: "pgha-gen", In: in, Out: out, Err: err}, known, dial}
	root := &cobra.Command{
		Use:   "pgha-gen",
		Short: "Images, user-data and commands for a highly available PostgreSQL cluster",
		Long: `pgha-gen turns one file, pgha.yaml, into everything that a highly available
PostgreSQL cluster needs on Yandex Cloud: per role a Packer template that bakes
an image, cloud-init user-data with which the machine configures itself at first
boot, and the commands that create the machines.`,
	}
	root.AddCommand(a.initCommand(), a.validateCommand(), a.renderCommand(), a.diffCommand(), a.imageCommand(), a.schemaCommand(), a.referenceCommand(), a.secretsCommand(), a.clusterCommand())
	return cli.Run(context.Background(), root, args, a.Streams)
}

func (a *app) roleNames() []string {
	var names []string
	for _, r := range a.roles {
		names = append(names, r.Name)
	}
	return names
}

// load gives the cluster of a spec. Its warnings are not said.
func (a *app) load(file cli.SpecFile) (*role.Cluster, error) {
	text, err := file.Read(a.In)
	if err != nil {
		return nil, err
	}
	return generator.Read(file.String(), text, a.roles)
}

// read is load that says how many warnings there are: which ones is for
// validate, so that what a command itself has to say is seen.
func (a *app) read(file cli.SpecFile) (*role.Cluster, error) {
	c, err := a.load(file)
	if err != nil || len(c.Warnings) == 0 {
		return c, err
	}
	words := []string{"pgha-gen", "validate"}
	if file != cli.DefaultSpec {
		words = append(words, string(file))
	}
	command, err := emit.Shell(words...)
	if err != nil { // a name that no shell takes
		command = "pgha-gen validate"
	}
	a.Say("%s in %s (see %s)", cli.Count(len(c.Warnings), "warning"), file, command)
	return c, nil
}

// strictly is the failure that --strict asks for where there are warnings.
func strictly(strict bool, warnings int, what string) error {
	if !strict || warnings == 0 {
		return nil
	}
	return fmt.Errorf("%s: %s, and --strict was asked for", what, cli.Count(warnings, "warning"))
}
