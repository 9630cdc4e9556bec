//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
)

func (a *app) runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run -- COMMAND [ARGUMENT...]",
		Short: "Run a command as an operator of the cluster does",
		Long: `Run any command in the lab's network and with its DNS, in a folder that has the
spec in force (pgha.yaml) and the cluster's secrets (secrets/<cluster>), as an operator
has them: what works there is the same line as in the cloud. It connects from the first address
of each subnet; what only operators may do is permitted if access.operators of the
spec has these. The exit status is the command's.`,
		Example: `  pgha-lab run -- pgha-gen cluster status
  pgha-lab run -- pgha-gen secrets generate --rotate passwords
  pgha-lab run -- getent hosts demo-pg-1`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cli.Usagef("run needs a command (as in: run -- pgha-gen cluster status)")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			f, r, err := a.running()
			if err != nil {
				return err
			}
			program, err := exec.LookPath(args[0])
			if err == nil {
				program, err = filepath.Abs(program)
			}
			if err != nil {
				return fmt.Errorf("cannot run %s: %w", args[0], cli.Cause(err))
			}
			if len(r.Access.NoOperators) > 0 {
				a.Say("access.operators does not admit %s: what only operators may do is refused (add it to the spec, then %s refresh)",
					strings.Trim(fmt.Sprint(r.Access.NoOperators), "[]"), a.self())
			}
			return f.Exec(r, f.Work(), append([]string{program}, args[1:]...), os.Environ())
		},
	}
}
