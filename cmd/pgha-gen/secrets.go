package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pgha-gen/deploy/secrets"
	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/tree"
)

func (a *app) secretsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                        "secrets",
		Short:                      "Make what the machines must not get from anywhere but Lockbox",
		SuggestionsMinimumDistance: 2,
		RunE: func(*cobra.Command, []string) error {
			return usageError{errors.New("secrets what? (generate)")}
		},
	}
	cmd.Args = func(_ *cobra.Command, args []string) error { return unknownCommand(cmd, args) }
	cmd.AddCommand(a.generateCommand())
	return cmd
}

func (a *app) generateCommand() *cobra.Command {
	var file, dir string
	var kinds []string
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Make the authority, certificates and passwords, or what is missing of them",
		Long: `Make the secrets of the cluster in DIR/<cluster>, a folder that only you can read:
  ca.crt       the authority's certificate, which clients verify the servers with
  ca.key       its key: keep it off-line; machines never get it
  ROLE.json    for each role what its machines read, as yc takes it for Lockbox

Run it again after a change of the spec: what is there stays, what is missing is
made, certificates that end within 30 days or do not fit their node any more are
renewed, and what no machine reads any more is dropped; ROLE.gone.json then makes
Lockbox forget it. ca.key may be away if there is nothing to sign. No secret is
ever printed; the commands that put them into Lockbox are.`,
		Example: `  pgha-gen secrets generate
  pgha-gen secrets generate -o ~/secrets --rotate certificates`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			rotate, err := rotation(kinds)
			if err != nil {
				return usageError{err}
			}
			if dir == "" {
				return usageError{errors.New("-o needs a folder")}
			}
			return a.generateSecrets(file, dir, rotate)
		},
	}
	fileFlag(cmd, &file)
	cmd.Flags().StringVarP(&dir, "output", "o", "secrets", "the folder that has a folder for each cluster")
	cmd.Flags().StringArrayVar(&kinds, "rotate", nil, "make all of a `kind` anew: certificates or passwords (may be given twice)")
	return cmd
}

func rotation(kinds []string) (secrets.Rotation, error) {
	var r secrets.Rotation
	for _, kind := range kinds {
		switch kind {
		case "certificates":
			r.Certificates = true
		case "passwords":
			r.Passwords = true
		default:
			return r, fmt.Errorf("cannot rotate %q (want certificates or passwords; the authority is never rotated)", kind)
		}
	}
	return r, nil
}

func (a *app) generateSecrets(file, dir string, rotate secrets.Rotation) error {
	c, err := a.read(file)
	if err != nil {
		return err
	}
	target := filepath.Join(dir, c.Name)
	if err := refuseRendered(target); err != nil {
		return err
	}
	if err := a.refuseTracked(target); err != nil {
		return err
	}
	w, err := secrets.Generate(target, c, rotate, time.Now(), rand.Reader)
	if err != nil {
		return err
	}
	for _, s := range w.Warnings {
		fmt.Fprintf(a.err, "pgha-gen: warning: %s\n", s)
	}
	if !w.Fresh {
		for _, change := range w.Changes {
			fmt.Fprintf(a.err, "pgha-gen: %s\n", change)
		}
	}
	switch {
	case w.Fresh:
		fmt.Fprintf(a.err, "pgha-gen: wrote %s (%s; keep ca.key off-line)\n", target, strings.Join(w.Files, ", "))
	case len(w.Files) > 0:
		fmt.Fprintf(a.err, "pgha-gen: wrote %s (%s)\n", target, strings.Join(w.Files, ", "))
	default:
		fmt.Fprintf(a.err, "pgha-gen: %s has everything already, nothing was written\n", target)
	}
	if rotate.Passwords {
		fmt.Fprintln(a.err, "pgha-gen: warning: a running cluster keeps its old passwords: change them there, too (ALTER ROLE on the primary), before a machine boots with the new ones")
	}
	return a.sayPush(c, target, w.Push)
}

// sayPush says the commands that bring the files to Lockbox.
func (a *app) sayPush(c *role.Cluster, target string, push []secrets.Push) error {
	if len(push) == 0 {
		return nil
	}
	fmt.Fprintln(a.err, "pgha-gen: next, put them into Lockbox; machines read them when they boot:")
	for _, p := range push {
		command, err := emit.Shell("yc", "lockbox", "secret", "add-version", "--id", c.Secrets.Lockbox[p.Role], "--payload", "-")
		if err != nil {
			return err
		}
		name, err := emit.Shell(filepath.Join(target, p.File))
		if err != nil {
			return err
		}
		line := "  " + command + " <" + name
		if p.Once {
			line += " && rm " + name
		}
		fmt.Fprintln(a.err, line)
	}
	return nil
}

// refuseRendered keeps secrets out of what render writes, replaces and people
// commit.
func refuseRendered(target string) error {
	at, err := filepath.Abs(target)
	if err != nil {
		return err
	}
	for ; ; at = filepath.Dir(at) {
		if there(filepath.Join(at, tree.SumsName)) && there(filepath.Join(at, "cluster.yaml")) {
			return fmt.Errorf("%q is in what render wrote to %q, which has no secrets and is replaced (-o names another folder)", target, at)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

// refuseTracked keeps secrets out of git.
func (a *app) refuseTracked(target string) error {
	at, err := filepath.Abs(target)
	if err != nil {
		return err
	}
	for root := at; ; root = filepath.Dir(root) {
		if !there(filepath.Join(root, ".git")) {
			if root == filepath.Dir(root) {
				return nil
			}
			continue
		}
		inside, err := filepath.Rel(root, at)
		if err != nil {
			return err
		}
		// With the slash, since the folder need not be there yet.
		err = exec.Command("git", "-C", root, "check-ignore", "--quiet", "--", filepath.ToSlash(inside)+"/").Run()
		var exit *exec.ExitError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &exit) && exit.ExitCode() == 1:
			return fmt.Errorf("%q would be committed with the git repository %q (add /%s/ to its .gitignore, or -o names a folder elsewhere)", target, root, filepath.ToSlash(inside))
		}
		fmt.Fprintf(a.err, "pgha-gen: warning: %q is in the git repository %q, and git does not say whether it is ignored: do not commit it\n", target, root)
		return nil
	}
}

func there(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
