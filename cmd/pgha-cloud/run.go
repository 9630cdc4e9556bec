package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/deploy/operate"
	"pgha-gen/generator"
	"pgha-gen/generator/role"
)

// connector gives the connection to the cloud's API.
type connector func(context.Context) (grpc.ClientConnInterface, error)

// app is one run of the command.
type app struct {
	cli.Streams
	roles []*role.Role
	cloud connector
	dial  operate.Dial // of a running cluster's machines
}

func run(args []string, known []*role.Role, cloud connector, dial operate.Dial, in io.Reader, out, err io.Writer) int {
	a := &app{cli.Streams{Name: "pgha-cloud", In: in, Out: out, Err: err}, known, cloud, dial}
	root := &cobra.Command{
		Use:   "pgha-cloud",
		Short: "A highly available PostgreSQL cluster in Yandex Cloud",
		Long: `pgha-cloud makes the cluster that pgha.yaml describes exist in Yandex Cloud, by its
API. It does what the scripts that pgha-gen render writes do, many things at once,
and waits until the machines are ready.

Credentials are the first of these that is there, and are neither written nor shown:
  YC_TOKEN                      an IAM token
  YC_SERVICE_ACCOUNT_KEY_FILE   a file that yc iam key create has written
  yc                            what yc iam create-token gives, by yc's own profile
  metadata                      the account of the machine that this runs on`,
	}
	root.AddCommand(a.validateCommand(), a.deployCommand(), a.statusCommand(), a.refreshCommand(), a.replaceCommand(), a.rollCommand(), a.secretsCommand(), a.destroyCommand())
	return cli.Run(context.Background(), root, args, a.Streams)
}

// read gives the cluster of a spec.
func (a *app) read(file cli.SpecFile) (*role.Cluster, error) {
	text, err := file.Read(a.In)
	if err != nil {
		return nil, err
	}
	return generator.Read(file.String(), text, a.roles)
}

// userData is that of each role.
func userData(c *role.Cluster) (map[string]string, error) {
	all := map[string]string{}
	for _, g := range c.Groups {
		data, err := generator.UserData(c, g)
		if err != nil {
			return nil, err
		}
		all[g.Name] = string(data)
	}
	return all, nil
}

// agreed asks whether to do what was shown, unless that was said beforehand.
func (a *app) agreed(beforehand bool) error {
	if beforehand {
		return nil
	}
	switch yes, asked := a.Confirm("go on?"); {
	case !asked:
		return cli.Usagef("nothing was done: there is no terminal to ask on (--yes does it)")
	case !yes:
		return errors.New("nothing was done")
	}
	return nil
}
