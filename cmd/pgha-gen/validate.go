package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) validateCommand() *cobra.Command {
	var file string
	var strict bool
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Say everything that is wrong with a spec, and where",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			c, err := a.read(file)
			if err != nil {
				return err
			}
			if strict && len(c.Warnings) > 0 {
				return fmt.Errorf("%s: %s, and --strict was asked for", name(file), count(len(c.Warnings), "warning"))
			}
			var parts []string
			for _, p := range c.Parts {
				parts = append(parts, fmt.Sprintf("%d %s", len(p.Settings.Nodes()), p.Name))
			}
			_, err = fmt.Fprintf(a.out, "%s: cluster %s is fine: %s\n", name(file), c.Name, strings.Join(parts, ", "))
			return err
		},
	}
	fileFlag(cmd, &file)
	cmd.Flags().BoolVar(&strict, "strict", false, "fail on warnings, too")
	return cmd
}
