package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/generator"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// The forms in which validate says its findings.
const (
	asText = "text"
	asJSON = "json"
)

func (a *app) validateCommand() *cobra.Command {
	var file cli.SpecFile
	var output string
	var strict bool
	cmd := &cobra.Command{
		Use:   "validate [FILE]",
		Short: "Check a spec, and show every problem with its place",
		Long: `Check a spec, and show every problem with its place. Only the file is read:
what a change of it means to a running cluster, pgha-gen diff says. If this host has
haproxy, that checks what the spec adds to its configuration.

With --output json, standard output is one list of all problems and warnings, in the
order of the file, then of notes on the file as a whole:
  file, line, column   the place; line and column count from 1
  path                 the key, such as roles.etcd.nodes[0].zone; "" for the file as a whole
  text                 what is wrong, and in parentheses what instead
  severity             problem, warning or note
If the file cannot be read, there is no list, but an error on standard error.`,
		Example: `  pgha-gen validate --strict
  pgha-gen validate staging.yaml --output json`,
		Args: cli.OneArgument("file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if cmd.Flags().Changed("file") {
					return cli.Usagef("validate takes one file, but got %q and %q", args[0], file)
				}
				file = cli.SpecFile(args[0])
			}
			switch output {
			case asText:
				return a.validate(file, strict)
			case asJSON:
				return a.validateJSON(file, strict)
			}
			return cli.Usagef("unknown output %q (want %s or %s)", output, asText, asJSON)
		},
	}
	file.Flag(cmd)
	cmd.Flags().BoolVar(&strict, "strict", false, "fail on warnings, too")
	cmd.Flags().StringVar(&output, "output", asText, "text or json")
	return cmd
}

// judged gives the cluster of a spec, with the warnings of this host's programs
// among its own.
func (a *app) judged(file cli.SpecFile) (*role.Cluster, error) {
	src, err := file.Read(a.In)
	if err != nil {
		return nil, err
	}
	c, err := generator.Read(file.String(), src, a.roles)
	if err != nil {
		return nil, err
	}
	more, err := judge(file.String(), src, c)
	if err != nil {
		return nil, err
	}
	c.Warnings = append(c.Warnings, more...)
	c.Warnings.Sort()
	return c, nil
}

func (a *app) validate(file cli.SpecFile, strict bool) error {
	c, err := a.judged(file)
	if err != nil {
		return err
	}
	a.Report(c.Warnings)
	if err := strictly(strict, len(c.Warnings), file.String()); err != nil {
		return err
	}
	var parts []string
	for _, g := range c.Groups {
		parts = append(parts, fmt.Sprintf("%d %s", len(g.Nodes()), g.Name))
	}
	if _, err = fmt.Fprintf(a.Out, "%s: cluster %s is fine: %s\n", file, c.Name, strings.Join(parts, ", ")); err != nil {
		return err
	}
	for _, note := range notes(c) {
		fmt.Fprintf(a.Err, "%s: note: %s\n", file, note)
	}
	return nil
}

// validateJSON says the same for programs.
func (a *app) validateJSON(file cli.SpecFile, strict bool) error {
	c, err := a.judged(file)
	var found, more specfile.Problems
	switch {
	case err == nil:
		found = c.Warnings
		for _, note := range notes(c) {
			more = append(more, specfile.Problem{File: file.String(), Line: 1, Column: 1, Text: note})
		}
	case !errors.As(err, &found):
		return err
	}
	if err := a.ReportJSON(found, more); err != nil {
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: %s", file, cli.Count(len(found), "problem"))
	}
	return strictly(strict, len(found), file.String())
}

// notes are what a person should know of a good spec, and need not change.
func notes(c *role.Cluster) []string {
	var all []string
	if over := overQuota(c); over != "" {
		all = append(all, fmt.Sprintf("more than the quotas of a new cloud: %s (see Quotas in its console, and ask there for more before you create machines)", over))
	}
	return all
}

// overQuota says of what the cluster needs more than a new cloud may have. It is
// no warning: a spec does not know the cloud, whose quotas may be raised by now.
func overQuota(c *role.Cluster) string {
	var all []string
	for _, n := range c.Needs() {
		if n.Over {
			all = append(all, fmt.Sprintf("%s %s (quota %s)", n.Amount, n.What, n.Quota))
		}
	}
	return strings.Join(all, ", ")
}
