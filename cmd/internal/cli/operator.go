package cli

import (
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"pgha-gen/deploy/operate"
	"pgha-gen/generator"
	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/role"
)

// DefaultSecrets is the folder that has a folder of secrets for each cluster.
const DefaultSecrets = "secrets"

// OperatorFolder names an operator's folder; empty: the one that secrets
// generate writes.
type OperatorFolder string

// Flag adds --operator, which sets the name.
func (f *OperatorFolder) Flag(cmd *cobra.Command) {
	cmd.Flags().StringVar((*string)(f), "operator", "", "the operator's `folder` (default "+DefaultSecrets+"/<cluster>/operator)")
}

// Running is a cluster that is operated on, with its spec and who operates.
type Running struct {
	*operate.Client
	Spec     *role.Cluster
	Operator *operate.Operator
}

// Connect reads the operator's folder. Nobody is asked anything yet. What the
// user-data of a role cannot be made from is said, and not compared.
func (f OperatorFolder) Connect(c *role.Cluster, dial operate.Dial, s Streams) (*Running, error) {
	if f == "" {
		f = OperatorFolder(filepath.Join(DefaultSecrets, c.Name, "operator"))
	}
	operator, err := operate.Open(string(f), time.Now())
	if err != nil {
		return nil, err
	}
	digests := map[string]string{}
	for _, g := range c.Groups {
		data, err := generator.UserData(c, g)
		if err != nil {
			s.Say("%v, so what its machines work by is not compared", err)
			continue
		}
		digests[g.Name] = cloudinit.Digest(data)
	}
	client, err := operate.NewClient(c, operator, digests, operate.World{Dial: dial, Now: time.Now})
	if err != nil {
		return nil, err
	}
	return &Running{client, c, operator}, nil
}
