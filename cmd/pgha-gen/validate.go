package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pgha-gen/generator"
	"pgha-gen/generator/role"
)

func (a *app) validateCommand() *cobra.Command {
	var file string
	var strict bool
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Say everything that is wrong with a spec, and where",
		Long: `Say everything that is wrong with a spec, and where. It knows the file alone: of a
cluster that runs it can only say which keys that has taken when it was founded,
and does not take again. README.md of the rendering says what of each.`,
		Args: noArguments,
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
			if _, err = fmt.Fprintf(a.out, "%s: cluster %s is fine: %s\n", name(file), c.Name, strings.Join(parts, ", ")); err != nil {
				return err
			}
			fmt.Fprintf(a.err, "%s: note: a cluster that runs takes no change of these, or not of all in them: %s (README.md of the rendering says more)\n", name(file), fixed(c))
			return nil
		},
	}
	fileFlag(cmd, &file)
	cmd.Flags().BoolVar(&strict, "strict", false, "fail on warnings, too")
	return cmd
}

// fixed are the keys that are fixed at founding; of those that follow each other
// in one section, the section is said once.
func fixed(c *role.Cluster) string {
	var all []string
	section := ""
	for _, f := range generator.Fixed(c) {
		key := f.Name
		if at := strings.LastIndex(key, "."); at > 0 && key[:at] == section {
			key = key[at:]
		} else {
			section = key[:max(at, 0)]
		}
		all = append(all, key)
	}
	return strings.Join(all, ", ")
}
