package main

import (
	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/generator"
)

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Write the JSON Schema of pgha.yaml, for editors",
		Args:  cli.NoArguments,
		RunE: func(*cobra.Command, []string) error {
			data, err := generator.Schema(a.roles)
			if err != nil {
				return err
			}
			_, err = a.Out.Write(data)
			return err
		},
	}
}
