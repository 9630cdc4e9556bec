//go:build linux

package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/lab/session"
)

func (a *app) imageCommand() *cobra.Command {
	s := &source{}
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Bake the images of all roles",
		Long: `Bake the images of all roles of the spec, with the recipes of the cloud's images,
and keep them in the cache. An image that is in the cache is not baked again. Each
role and the root folder of its image are written to standard output.`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.config(s)
			if err != nil {
				return err
			}
			log, err := os.OpenFile(c.Folder.BakeLog(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
			if err != nil {
				return err
			}
			defer log.Close()
			p := a.progress()
			var r session.Record
			images, err := session.Bake(cmd.Context(), c, log, func(n session.Progress) error {
				r.AddProgress(n)
				p.show(r, time.Now())
				return nil
			})
			p.close()
			if err != nil {
				return err
			}
			for _, part := range c.Cluster.Groups {
				fmt.Fprintf(a.Out, "%s %s\n", part.Name, images[part.Name])
			}
			return nil
		},
	}
	s.flags(cmd)
	return cmd
}
