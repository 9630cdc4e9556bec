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

const defaultSecrets = "secrets"

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
	var finish, unfounded bool
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Make the authority, certificates and passwords, or what is missing of them",
		Long: `Make the secrets of the cluster in DIR/<cluster>, a folder that only you can read:
  ca.crt       the authority's certificate, which clients verify the servers with
  ca.key       its key: keep it off-line; machines never get it
  ROLE.json    for each role what its machines read, as yc takes it for Lockbox

Run it again after a change of the spec: what is there stays, what is missing is
made, certificates that end within 30 days or do not fit their node any more are
renewed (it warns from 60 days before), and what no machine reads any more is
dropped; ROLE.gone.json then makes Lockbox forget it. ca.key may be away if there
is nothing to sign. No secret is ever printed; the commands that put them into
Lockbox are.

The authority is replaced in three runs. After each one put into Lockbox and the
spec what the command says, and go on when every machine has booted with it:
  --rotate authority      makes the new one, ca-next.key; all trust both
  --rotate certificates   has the new one sign all; its key becomes ca.key
  --finish                forgets the old one

A running cluster cannot take new passwords yet: PostgreSQL keeps the old ones,
and a machine that boots with others cannot join it. Before the cluster is
founded they can be made anew.`,
		Example: `  pgha-gen secrets generate
  pgha-gen secrets generate -o ~/secrets --rotate certificates`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			rotate, err := rotation(kinds, finish, unfounded)
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
	cmd.Flags().StringVarP(&dir, "output", "o", defaultSecrets, "the folder that has a folder for each cluster")
	cmd.Flags().StringArrayVar(&kinds, "rotate", nil, "make all of a `kind` anew: authority, certificates or passwords")
	cmd.Flags().BoolVar(&finish, "finish", false, "forget the authority that was replaced")
	cmd.Flags().BoolVar(&unfounded, "before-founding", false, "with --rotate passwords: no machine has booted with the old ones")
	return cmd
}

func rotation(kinds []string, finish, unfounded bool) (secrets.Rotation, error) {
	r := secrets.Rotation{Finish: finish}
	for _, kind := range kinds {
		switch kind {
		case "certificates":
			r.Certificates = true
		case "passwords":
			r.Passwords = true
		case "authority":
			r.Authority = true
		default:
			return r, fmt.Errorf("cannot rotate %q (want authority, certificates or passwords)", kind)
		}
	}
	switch {
	case r.Authority && (r.Certificates || r.Passwords):
		return r, errors.New("--rotate authority goes alone (--rotate certificates is the step after it)")
	case finish && len(kinds) > 0:
		return r, errors.New("--finish goes without --rotate (it is the step after it)")
	case unfounded && !r.Passwords:
		return r, errors.New("--before-founding goes with --rotate passwords")
	case r.Passwords && !unfounded:
		return r, errors.New("cannot rotate passwords of a running cluster yet: PostgreSQL keeps the old ones, and a machine that boots with others cannot join (if no machine has booted with the old ones: add --before-founding)")
	}
	return r, nil
}

func (a *app) generateSecrets(file, dir string, rotate secrets.Rotation) error {
	c, err := a.read(file)
	if err != nil {
		return err
	}
	target := filepath.Join(dir, c.Name)
	if err := refuseRendered(dir, target); err != nil {
		return err
	}
	if err := a.refuseTracked(dir, target); err != nil {
		return err
	}
	w, err := secrets.Generate(target, c, rotate, secrets.World{UID: os.Geteuid(), Now: time.Now(), Random: rand.Reader})
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
	case w.Stage == secrets.Introduced && len(w.Files) > 0:
		fmt.Fprintf(a.err, "pgha-gen: wrote %s (%s; keep ca.key and ca-next.key off-line)\n", target, strings.Join(w.Files, ", "))
	case len(w.Files) > 0:
		fmt.Fprintf(a.err, "pgha-gen: wrote %s (%s)\n", target, strings.Join(w.Files, ", "))
	default:
		fmt.Fprintf(a.err, "pgha-gen: %s has everything already, nothing was written\n", target)
	}
	if err := a.sayPush(c, target, w.Push); err != nil {
		return err
	}
	if err := a.sayCA(c, file, w.CA); err != nil {
		return err
	}
	return a.sayStage(file, dir, w.Stage, rotate.Finish)
}

// sayCA says what the spec must have as secrets.ca, if it has something else.
func (a *app) sayCA(c *role.Cluster, file, ca string) error {
	who := c.WithoutSecrets()
	if role.SameCA(string(c.Secrets.CA), ca) || len(who) == 0 && c.Secrets.CA == "" {
		return nil
	}
	block, err := emit.YAML(emit.Map{{Key: "secrets", Value: emit.Map{{Key: "ca", Value: ca}}}})
	if err != nil {
		return err
	}
	why := ""
	if len(who) > 0 {
		why = " (by it " + strings.Join(who, " and ") + " verifies the nodes)"
	}
	_, err = fmt.Fprintf(a.err, "pgha-gen: next, set this in %s and render again%s:\n%s", name(file), why, block)
	return err
}

// sayStage says how the replacement of an authority goes on.
func (a *app) sayStage(file, dir string, stage secrets.Stage, finished bool) error {
	words := []string{"pgha-gen", "secrets", "generate"}
	if file != defaultSpec {
		words = append(words, "-f", file)
	}
	if dir != defaultSecrets {
		words = append(words, "-o", dir)
	}
	said := ""
	switch {
	case stage == secrets.Introduced:
		said = "the authority is being replaced, 1 of 3: both are trusted, and the old one still signs; once every machine has booted with both and every client has this ca.crt:"
		words = append(words, "--rotate", "certificates")
	case stage == secrets.Switched:
		said = "the authority is being replaced, 2 of 3: the new one signed all, and ca.key is its key; once every machine has booted with its new certificate:"
		words = append(words, "--finish")
	case finished:
		fmt.Fprintln(a.err, "pgha-gen: the authority is replaced, 3 of 3: once every machine has booted with this, the old one opens nothing, and copies of its key can go")
		return nil
	default:
		return nil
	}
	command, err := emit.Shell(words...)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.err, "pgha-gen: %s\n  %s\n", said, command)
	return nil
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
// commit: such a folder, and one that render has such folders in.
func refuseRendered(dir, target string) error {
	rendered := func(at string) bool {
		return there(filepath.Join(at, tree.SumsName)) && there(filepath.Join(at, "cluster.yaml"))
	}
	at, err := resolve(target)
	if err != nil {
		return err
	}
	for ; ; at = filepath.Dir(at) {
		if rendered(at) {
			return fmt.Errorf("%q is in what render wrote to %q, which has no secrets and is replaced (-o names another folder)", target, at)
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	beside, err := os.ReadDir(dir)
	if err != nil {
		return nil // not there, or whoever opens it says so
	}
	for _, e := range beside {
		if rendered(filepath.Join(dir, e.Name())) {
			return fmt.Errorf("%q is beside what render wrote to %q, which people commit (-o names another folder)", target, filepath.Join(dir, e.Name()))
		}
	}
	return nil
}

// resolve gives the absolute path of what may not be there yet, without the
// links that lead to it.
func resolve(name string) (string, error) {
	at, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	for rest := ""; ; at, rest = filepath.Dir(at), filepath.Join(filepath.Base(at), rest) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest), nil
		}
		if at == filepath.Dir(at) {
			return filepath.Join(at, rest), nil
		}
	}
}

// refuseTracked keeps secrets out of git. A folder that is not there yet is made
// with a .gitignore of its own.
func (a *app) refuseTracked(dir, target string) error {
	if !there(dir) {
		return nil
	}
	at, err := resolve(target)
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
