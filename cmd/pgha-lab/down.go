//go:build linux

package main

import (
	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
)

func (a *app) downCommand() *cobra.Command {
	purge := false
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Take the lab down",
		Long: `Cut the power of all machines and remove every process, network namespace and
loop device of the lab, even if it died or never came up. Logs and disks stay in
its folder until the next up.`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := a.rootsFolder()
			if err != nil {
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
				a.Say("no lab was there")
			} else {
				a.Say("removed %s", was)
			}
			if !purge {
				return nil
			}
			if err := f.Purge(); err != nil {
				return err
			}
			a.Say("removed what the lab kept in %s", f)
			return nil
		},
	}
	cmd.Flags().BoolVar(&purge, "purge", false, "also remove its files: logs, disks, images")
	return cmd
}
