//go:build linux

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"pgha-gen/lab/private"
)

func (a *app) downCommand() *cobra.Command {
	purge := false
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Take the lab down, whatever is left of it",
		Long: `Cut the power of all machines and remove every process, network namespace and
loop device of the lab: also of one that died, or never came up. Logs and disks
stay in its folder until the next up.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := a.folder()
			if err != nil {
				return err
			}
			if err := needRoot(); err != nil {
				return err
			}
			if err := private.Check(string(f)); err != nil {
				return err
			}
			cache, err := a.cacheOf(f)
			if err != nil {
				return err
			}
			was, err := f.Take(cmd.Context(), a.network, cache)
			if err != nil {
				return err
			}
			if was.Empty() {
				fmt.Fprintln(a.err, "pgha-lab: no lab was there")
			} else {
				fmt.Fprintf(a.err, "pgha-lab: removed %s\n", was)
			}
			if !purge {
				return nil
			}
			if err := f.Purge(); err != nil {
				return err
			}
			fmt.Fprintf(a.err, "pgha-lab: removed what the lab kept in %s\n", f)
			return nil
		},
	}
	cmd.Flags().BoolVar(&purge, "purge", false, "remove its files, too: logs, disks, images")
	return cmd
}
