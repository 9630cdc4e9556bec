package secrets

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"pgha-gen/generator/role"
)

// Rotation is what is made anew although it is good. An authority is replaced
// in three runs: CA adds the new one, Certificates has it sign them all, Finish
// removes the old one.
type Rotation struct{ Certificates, Passwords, CA, Finish bool }

// ParseRotation reads what a command line asks for: the kinds of --rotate, and
// --finish. Refused is what does not go together.
func ParseRotation(kinds []string, finish bool) (Rotation, error) {
	r := Rotation{Finish: finish}
	for _, kind := range kinds {
		switch kind {
		case "certificates":
			r.Certificates = true
		case "passwords":
			r.Passwords = true
		case "authority":
			r.CA = true
		default:
			return r, fmt.Errorf("cannot rotate %q (want authority, certificates or passwords)", kind)
		}
	}
	switch {
	case r.CA && (r.Certificates || r.Passwords):
		return r, errors.New("--rotate authority goes alone (--rotate certificates is the step after it)")
	case finish && len(kinds) > 0:
		return r, errors.New("--finish goes without --rotate (it is the step after it)")
	}
	return r, nil
}

// Change is one thing that Update did, without its value.
type Change struct {
	Role, Entry string
	What        string // made, renewed, copied, dropped
	Why         string // empty for what was made because it was not there
}

// String is the change as a line for people.
func (c Change) String() string {
	s := fmt.Sprintf("%s: %s %s", c.Role, c.What, c.Entry)
	if c.Why != "" {
		s += " (" + c.Why + ")"
	}
	return s
}

// Update gives the secrets of the cluster's machines, role to payload: from old
// what is there and good, the rest made, and nothing that no machine reads, but for
// pass phrases: what they encrypted may still be there.
//
// A certificate is renewed, and its key with it, if it ends within 30 days or
// is not for the names and addresses of its node. Damaged entries are refused:
// a key without its certificate, a certificate of another authority. They are
// not looked at if they are to be rotated.
func (a *CA) Update(c *role.Cluster, old map[string]Payload, rotate Rotation, now time.Time) (map[string]Payload, []Change, error) {
	all := map[string]Payload{}
	var changes []Change
	for _, part := range c.WithSecrets() {
		u := &update{a, c, rotate, now, part.Name, old[part.Name], Payload{}, nil}
		for _, s := range part.Plan.Secrets {
			if err := u.add(s, part.Nodes()); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", part.Name, err)
			}
		}
		if err := u.fresh.check(); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", part.Name, err)
		}
		for _, key := range slices.Sorted(maps.Keys(u.old)) {
			if _, kept := u.fresh[key]; kept {
				continue
			}
			if strings.HasSuffix(key, role.PassphraseSuffix) {
				u.fresh[key] = u.old[key] // without it, what it encrypted is lost
				continue
			}
			u.changed(key, "dropped", "no machine of the spec reads it")
		}
		all[part.Name] = u.fresh
		changes = append(changes, u.changes...)
	}
	return all, changes, nil
}

// update is the work on one role.
type update struct {
	ca      *CA
	cluster *role.Cluster
	rotate  Rotation
	now     time.Time
	role    string
	old     Payload
	fresh   Payload
	changes []Change
}

func (u *update) changed(entry, what, why string) {
	u.changes = append(u.changes, Change{u.role, entry, what, why})
}

func (u *update) add(s role.Secret, nodes []role.Node) error {
	switch s.Kind {
	case role.CA:
		was, ok := u.old[s.File]
		if ok && !u.ca.knows(was) {
			return fmt.Errorf("entry %s is not the authority that is in the folder (bring back the %s and %s that were there)", s.File, certificateFile, keyFile)
		}
		u.fresh[s.File] = u.ca.Certificate()
		if ok && was != u.fresh[s.File] {
			u.changed(s.File, "renewed", "its authorities are those of the folder now")
		}
	case role.Certificate:
		for _, n := range nodes {
			if err := u.pair(s, n); err != nil {
				return err
			}
		}
	case role.Key: // comes with its certificate
	case role.Password:
		password, err := u.password(s.File, u.old[s.File])
		if err != nil {
			return err
		}
		u.fresh[s.File] = password
	case role.Environment:
		return u.environment(s)
	case role.Passphrase:
		return u.passphrase(s)
	default:
		return fmt.Errorf("secret %s: internal error: unknown kind %d", s.File, s.Kind)
	}
	return nil
}

// knows says whether an authority of the text is one that is trusted.
func (a *CA) knows(text string) bool {
	all, err := role.ParseCA(text)
	return err == nil && slices.ContainsFunc(all, func(c *x509.Certificate) bool { return contains(a.trusted, c) })
}

func contains(all []*x509.Certificate, one *x509.Certificate) bool {
	return slices.ContainsFunc(all, one.Equal)
}

// pair is a node's certificate and its key.
func (u *update) pair(s role.Secret, n role.Node) error {
	name := n.Name + "." + s.File
	keyName := strings.TrimSuffix(name, ".crt") + ".key"
	certificate, key := u.old[name], u.old[keyName]
	want := u.ca.template(u.cluster, n, s, u.now)
	what, why := "renewed", ""
	switch {
	case certificate == "" && key == "":
		what = "made"
	case u.rotate.Certificates:
		why = "to be rotated"
	default:
		leaf, err := u.examine(name, keyName)
		if err != nil {
			return err
		}
		if why = u.stale(leaf, want); why == "" {
			u.fresh[name], u.fresh[keyName] = certificate, key
			return nil
		}
	}
	return u.issue(name, keyName, want, what, why)
}

func (u *update) issue(name, keyName string, want *x509.Certificate, what, why string) error {
	certificate, key, err := u.ca.issue(want)
	if err != nil {
		return fmt.Errorf("entry %s: %w", name, err)
	}
	u.fresh[name], u.fresh[keyName] = certificate, key
	u.changed(name, what, why)
	return nil
}

// examine gives the certificate of a pair that is whole and of an authority that
// is trusted.
func (u *update) examine(name, keyName string) (*x509.Certificate, error) {
	const remedy = "(--rotate certificates makes all of them anew)"
	for _, pair := range [][2]string{{name, keyName}, {keyName, name}} {
		if u.old[pair[0]] == "" {
			return nil, fmt.Errorf("entry %s is missing, but %s is there %s", pair[0], pair[1], remedy)
		}
	}
	pair, err := tls.X509KeyPair([]byte(u.old[name]), []byte(u.old[keyName]))
	if err != nil {
		return nil, fmt.Errorf("entries %s and %s are not a certificate and its key %s", name, keyName, remedy)
	}
	if !slices.ContainsFunc(u.ca.trusted, func(a *x509.Certificate) bool { return pair.Leaf.CheckSignatureFrom(a) == nil }) {
		return nil, fmt.Errorf("entry %s is not signed by the authority in the folder %s", name, remedy)
	}
	return pair.Leaf, nil
}

// stale says why a certificate is not good any more, or nothing. That it ends
// soon is no reason if its authority ends then, too: a new one ends no later.
func (u *update) stale(have, want *x509.Certificate) string {
	switch {
	case have.Subject.CommonName != want.Subject.CommonName,
		!slices.Equal(have.Subject.Organization, want.Subject.Organization),
		!slices.Equal(have.DNSNames, want.DNSNames),
		!slices.EqualFunc(have.IPAddresses, want.IPAddresses, net.IP.Equal):
		return "its names and addresses are not those of the spec"
	case have.KeyUsage != want.KeyUsage, !slices.Equal(have.ExtKeyUsage, want.ExtKeyUsage):
		return "its key usages are not those that it needs"
	case have.NotAfter.Before(u.now):
		return "it ended on " + have.NotAfter.UTC().Format(time.DateOnly)
	case have.NotAfter.Before(u.now.Add(soon)) && have.NotAfter.Before(u.ca.certificate.NotAfter):
		return "it ends on " + have.NotAfter.UTC().Format(time.DateOnly)
	}
	return ""
}

// password is the old one, or else a new one.
func (u *update) password(name, old string) (string, error) {
	what, why := "made", ""
	if old != "" {
		if !u.rotate.Passwords {
			return old, nil
		}
		what, why = "renewed", "to be rotated"
	}
	fresh, err := password(u.ca.random)
	if err != nil {
		return "", fmt.Errorf("entry %s: %w", name, err)
	}
	u.changed(name, what, why)
	return fresh, nil
}

// passphrase is the old one, whatever is rotated: what it encrypted cannot be read
// by another.
func (u *update) passphrase(s role.Secret) error {
	old := u.old[s.File]
	switch {
	case old != "":
		u.fresh[s.File] = old
		return nil
	case s.CopyOf != nil:
		return fmt.Errorf("entry %s is missing: it is %s of cluster %q (keep the folder of that cluster's secrets beside this one's)", s.File, s.CopyOf.Entry, s.CopyOf.Cluster)
	}
	fresh, err := password(u.ca.random)
	if err != nil {
		return fmt.Errorf("entry %s: %w", s.File, err)
	}
	u.fresh[s.File] = fresh
	u.changed(s.File, "made", "")
	return nil
}

func (u *update) environment(s role.Secret) error {
	old, err := variables(u.old[s.File])
	if err != nil {
		return fmt.Errorf("entry %s: %w", s.File, err)
	}
	var lines strings.Builder
	for _, name := range s.Variables {
		password, err := u.password(s.File+" "+name, old[name])
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%s=%s\n", name, password) // letters and digits need no quotes
		delete(old, name)
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		u.changed(s.File+" "+name, "dropped", "no machine of the spec reads it")
	}
	u.fresh[s.File] = lines.String()
	return nil
}

func variables(text string) (map[string]string, error) {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if _, twice := all[name]; !ok || value == "" || twice || !strings.HasSuffix(line, "\n") || !isVariable(name) {
			return nil, errors.New("want lines NAME=PASSWORD, each name once (remove the entry, and it is made anew)")
		}
		all[name] = value
	}
	return all, nil
}

// isVariable keeps what is no name, and may be a password, out of messages.
func isVariable(name string) bool {
	return name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == ""
}
