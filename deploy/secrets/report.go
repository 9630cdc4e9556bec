package secrets

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
)

// Report says what was done and what comes next, a sentence each; some have
// lines to copy below them. file is the name of the spec, and again the command
// that ran, without --rotate and --finish.
func (w *Written) Report(c *role.Cluster, file string, again []string) ([]string, error) {
	var said []string
	for _, warning := range w.Warnings {
		said = append(said, "warning: "+warning)
	}
	if !w.Fresh {
		for _, change := range w.Changes {
			said = append(said, change.String())
		}
	}
	said = append(said, w.summary())
	push, err := w.nextPush(c)
	ca, errCA := w.nextCA(c, file)
	step, errStep := w.nextStep(again)
	for _, next := range []string{push, ca, w.nextPasswords(c), step} {
		if next != "" {
			said = append(said, next)
		}
	}
	return said, errors.Join(err, errCA, errStep)
}

func (w *Written) summary() string {
	if len(w.Files) == 0 {
		return w.Dir + " has everything already, nothing was written"
	}
	keep := ""
	switch {
	case w.Fresh:
		keep = "; keep " + keyFile + " off-line"
	case w.Stage == Introduced:
		keep = "; keep " + keyFile + " and " + nextKeyFile + " off-line"
	}
	var names []string
	for _, name := range w.Files {
		if path.Dir(name) == operatorFolder {
			name = operatorFolder + "/"
		}
		names = append(names, name)
	}
	return fmt.Sprintf("wrote %s (%s%s)", w.Dir, strings.Join(slices.Compact(names), ", "), keep)
}

// nextPush has the commands that bring the files to Lockbox.
func (w *Written) nextPush(c *role.Cluster) (string, error) {
	if len(w.Push) == 0 {
		return "", nil
	}
	said := "next, put them into Lockbox; machines take them over within 6 minutes:"
	for _, p := range w.Push {
		command, err := emit.Shell(slices.Concat([]string{"yc", "lockbox", "secret", "add-version"}, c.SecretWords(p.Role), []string{"--payload", "-"})...)
		if err != nil {
			return "", err
		}
		name, err := emit.Shell(filepath.Join(w.Dir, p.File))
		if err != nil {
			return "", err
		}
		said += "\n  " + command + " <" + name
		if p.Once {
			said += " && rm " + name
		}
	}
	return said, nil
}

// nextCA is what the spec must have as secrets.ca, if it has something else.
func (w *Written) nextCA(c *role.Cluster, file string) (string, error) {
	who := c.WithoutSecrets()
	if role.SameCA(string(c.Secrets.CA), w.CA) || len(who) == 0 && c.Secrets.CA == "" {
		return "", nil
	}
	block, err := emit.YAML(emit.Map{{Key: "secrets", Value: emit.Map{{Key: "ca", Value: w.CA}}}})
	if err != nil {
		return "", err
	}
	why := ""
	if len(who) > 0 {
		why = " (the machines of " + strings.Join(who, " and ") + " verify the nodes with it)"
	}
	return fmt.Sprintf("next, set this in %s and render again%s:\n%s", file, why, strings.TrimSuffix(string(block), "\n")), nil
}

// nextPasswords is what clients have to do, if users have new passwords.
func (w *Written) nextPasswords(c *role.Cluster) string {
	if w.Fresh {
		return ""
	}
	var entries []string
	for _, part := range c.WithSecrets() {
		for _, s := range part.Plan.Secrets {
			if s.Kind == role.Password && slices.ContainsFunc(w.Changes, func(ch Change) bool {
				return ch.Role == part.Name && ch.Entry == s.File && ch.What == "renewed"
			}) {
				entries = append(entries, s.File)
			}
		}
	}
	if len(entries) == 0 {
		return ""
	}
	return fmt.Sprintf("next, give clients their new passwords (%s): open sessions live on, and new ones need them some seconds after the node that leads took them over", strings.Join(entries, ", "))
}

// nextStep is how the replacement of the authority goes on.
func (w *Written) nextStep(again []string) (string, error) {
	said := ""
	switch {
	case w.Stage == Introduced:
		said = "the authority is being replaced, 1 of 3: both are trusted, and the old one still signs; once every machine has taken both over and every client has this ca.crt:"
		again = append(again, "--rotate", "certificates")
	case w.Stage == Switched:
		said = "the authority is being replaced, 2 of 3: the new one signed all, and ca.key is its key; once every machine has taken its new certificate over:"
		again = append(again, "--finish")
	case w.Finished:
		return "the authority is replaced, 3 of 3: once every machine has taken this over, nobody trusts the old one, and copies of its key can be deleted", nil
	default:
		return "", nil
	}
	command, err := emit.Shell(again...)
	return said + "\n  " + command, err
}
