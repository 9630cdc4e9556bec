package main

import (
	"context"
	"crypto/rand"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/deploy/secrets"
	"pgha-gen/deploy/yandex"
	"pgha-gen/generator/cloud"
)

func (a *app) secretsCommand() *cobra.Command {
	return cli.Group(&cobra.Command{Use: "secrets", Short: "Bring the cluster's secrets to Lockbox"}, a.pushCommand())
}

func (a *app) pushCommand() *cobra.Command {
	var file cli.SpecFile
	var dir string
	cmd := &cobra.Command{
		Use:   "push",
		Short: "Give the Lockbox secrets what pgha-gen secrets generate has made",
		Long: `Compare each role's Lockbox secret with DIR/<cluster>, where pgha-gen secrets generate
has put what the machines read, and give those that differ a new version. What a
secret holds beside that stays, but for what ROLE.gone.json names; that file is removed
then. It says of each secret how many entries were added, changed and removed, and
prints none of them. Machines take new versions over within 6 minutes, while they run.
It is safe to run again. It needs the role lockbox.admin, or lockbox.editor and
lockbox.payloadViewer.`,
		Example: `  pgha-cloud secrets push
  pgha-cloud secrets push --from ~/secrets`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return cli.Usagef("--from needs a folder")
			}
			return a.push(cmd.Context(), file, dir)
		},
	}
	file.Flag(cmd)
	cmd.Flags().StringVar(&dir, "from", "secrets", "the `folder` that has a folder for each cluster")
	return cmd
}

func (a *app) push(ctx context.Context, file cli.SpecFile, dir string) error {
	c, err := a.read(file)
	if err != nil {
		return err
	}
	dir = filepath.Join(dir, c.Name)
	kept, err := secrets.Load(dir, c, secrets.World{UID: os.Geteuid(), Now: time.Now(), Random: rand.Reader})
	if err != nil {
		return err
	}
	want := map[string]yandex.Holding{}
	for _, g := range c.WithSecrets() {
		want[g.Name] = yandex.Holding{Entries: kept.Payloads[g.Name], Gone: kept.Gone[g.Name]}
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	cc, err := a.cloud(ctx)
	if err != nil {
		return err
	}
	push, err := yandex.NewPush(ctx, cc, cloud.New(c), want)
	if err != nil {
		return interrupted(ctx, err, "nothing was done")
	}
	err = push.Do(ctx, cc, func(name, sentence string) { a.Say("%s: %s", name, sentence) }, func(role string) error { return secrets.Forgotten(dir, role) })
	return interrupted(ctx, err, "run this again: it goes on where it stopped")
}
