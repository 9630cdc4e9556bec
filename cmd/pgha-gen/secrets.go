package main

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/deploy/secrets"
)

func (a *app) secretsCommand() *cobra.Command {
	return cli.Group(&cobra.Command{Use: "secrets", Short: "Make the cluster's certificates and passwords"}, a.generateCommand())
}

func (a *app) generateCommand() *cobra.Command {
	var file cli.SpecFile
	var dir string
	var kinds []string
	var finish bool
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Make the certificate authority, certificates and passwords that are missing",
		Long: `Make the secrets of the cluster in DIR/<cluster>, a folder that only you can read:
  ca.crt       the certificate of the cluster's own authority, for clients too
  ca.key       its key: keep it off-line; machines never get it
  ROLE.json    what the machines of a role read from Lockbox, in the format of yc
  operator/    what a person needs to administer the cluster from a network of
               access.operators: a certificate and a password; never in Lockbox

Run it again after a change of the spec. What is there is kept, what is missing is
made, and what no machine reads any more is dropped; ROLE.gone.json then removes it
from Lockbox. Certificates that end within 30 days, or do not fit their node any
more, are renewed; a warning says so from 60 days before their end. ca.key may be
away while there is nothing to sign. No secret is ever printed; the commands that
put them into Lockbox are.

The authority is replaced in three runs. After each, do what the command says to
Lockbox and the spec, and wait until every machine has taken it over:
  --rotate authority      makes the new one, ca-next.key; machines trust both
  --rotate certificates   signs all certificates with the new one; its key becomes ca.key
  --finish                removes the old one

Machines take secrets over while they run, within 6 minutes, and no session ends.
With --rotate passwords new sessions need the new password from then on: give it
to the clients.`,
		Example: `  pgha-gen secrets generate
  pgha-gen secrets generate -o ~/secrets --rotate certificates`,
		Args: cli.NoArguments,
		RunE: func(*cobra.Command, []string) error {
			rotate, err := secrets.ParseRotation(kinds, finish)
			if err != nil {
				return cli.UsageError(err)
			}
			if dir == "" {
				return cli.Usagef("-o needs a folder")
			}
			return a.generateSecrets(file, dir, rotate)
		},
	}
	file.Flag(cmd)
	cmd.Flags().StringVarP(&dir, "output", "o", cli.DefaultSecrets, "the folder that has a folder for each cluster")
	cmd.Flags().StringArrayVar(&kinds, "rotate", nil, "make all of a `kind` anew: authority, certificates or passwords")
	cmd.Flags().BoolVar(&finish, "finish", false, "remove the authority that was replaced")
	return cmd
}

func (a *app) generateSecrets(file cli.SpecFile, dir string, rotate secrets.Rotation) error {
	c, err := a.read(file)
	if err != nil {
		return err
	}
	w, err := secrets.Generate(filepath.Join(dir, c.Name), c, rotate, secrets.World{UID: os.Geteuid(), Now: time.Now(), Random: rand.Reader})
	if err != nil {
		return err
	}
	again := []string{"pgha-gen", "secrets", "generate"}
	if file != cli.DefaultSpec {
		again = append(again, "-f", string(file))
	}
	if dir != cli.DefaultSecrets {
		again = append(again, "-o", dir)
	}
	said, err := w.Report(c, file.String(), again)
	for _, s := range said {
		a.Say("%s", s)
	}
	return err
}
