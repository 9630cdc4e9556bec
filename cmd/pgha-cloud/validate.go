package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/deploy/yandex"
	"pgha-gen/generator/cloud"
)

func (a *app) validateCommand() *cobra.Command {
	var file cli.SpecFile
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Show all that would stop a deployment, before it begins",
		Long: `Compare the spec with the cloud, and show everything that would stop a deployment, a
sentence each: a folder that is not there or not yours; ids of what is not there, or in
another zone or network; names and addresses that somebody else has; roles without an
image; secrets that are not there or lack an entry, or that their account may not read; a
bucket that is not there, that somebody else has, or in which the account may not write;
subnets without a way out to Lockbox; an entry point that is not in its zone; quotas.
With the key of a service account (YC_SERVICE_ACCOUNT_KEY_FILE), also what roles that
account lacks; of another credential the cloud does not say whose it is. It changes
nothing, and reads no secret. pgha-gen validate is about the spec alone.

What the account may not see is said, and stops nothing. The exit status is 1 if
something would stop a deployment.`,
		Example: `  pgha-cloud validate`,
		Args:    cli.NoArguments,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.validate(cmd.Context(), file) },
	}
	file.Flag(cmd)
	return cmd
}

func (a *app) validate(ctx context.Context, file cli.SpecFile) error {
	c, err := a.read(file)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	cc, err := a.cloud(ctx)
	if err != nil {
		return err
	}
	checked, err := yandex.Check(ctx, cc, cloud.New(c), account(os.Getenv).ID())
	if err != nil {
		return interrupted(ctx, err, "nothing was done")
	}
	for _, unknown := range checked.Unknown {
		a.Say("not known: %s", unknown)
	}
	for _, trouble := range checked.Troubles {
		a.Say("%s", trouble)
	}
	if n := len(checked.Troubles); n > 0 {
		return fmt.Errorf("%s would stop a deployment of %s", cli.Count(n, "problem"), c.Name)
	}
	a.Say("nothing would stop a deployment of %s", c.Name)
	return nil
}
