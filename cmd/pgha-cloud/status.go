package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/deploy/yandex"
	"pgha-gen/generator/cloud"
)

func (a *app) statusCommand() *cobra.Command {
	var file cli.SpecFile
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the cluster's machines as the cloud sees them",
		Long: `Show whether each machine of the spec is there, the state of its instance, and what
it said last of its boot on its serial console: that it is ready, where it waits,
or why it failed. It needs no way into the network; what runs on the machines is for
pgha-gen cluster status.

The exit status is 0 if all of them run and none waits or failed; else it is 1.`,
		Example: `  pgha-cloud status`,
		Args:    cli.NoArguments,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.status(cmd.Context(), file) },
	}
	file.Flag(cmd)
	return cmd
}

func (a *app) status(ctx context.Context, file cli.SpecFile) error {
	c, err := a.read(file)
	if err != nil {
		return err
	}
	cc, err := a.cloud(ctx)
	if err != nil {
		return err
	}
	states, err := yandex.States(ctx, cc, cloud.New(c))
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	var wrong []string
	for _, s := range states {
		step := strings.TrimSpace(s.Last.Name + " " + s.Last.Status + " " + s.Last.Detail)
		fmt.Fprintln(w, cli.Printable(fmt.Sprintf("%s\t%s\t%s", s.Name, cmp.Or(s.Instance, "not there"), cmp.Or(step, "-"))))
		if !s.Well() {
			wrong = append(wrong, s.Name)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s not well: %s", cli.Count(len(wrong), "machine"), strings.Join(wrong, ", "))
	}
	return nil
}
