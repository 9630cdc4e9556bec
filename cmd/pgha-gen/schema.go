package main

import (
	"io"

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

func (a *app) referenceCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reference",
		Short: "Write the reference of pgha.yaml: every key, its default, a sentence",
		Args:  cli.NoArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(a.Out, generator.Reference(a.roles))
			return err
		},
	}
}
