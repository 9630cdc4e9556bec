package operate

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The files of an operator's folder, as secrets generate writes them.
const (
	caFile          = "ca.crt"
	certificateFile = "operator.crt"
	keyFile         = "operator.key"
	passwordFile    = "restapi.password"
)

// Open reads an operator's folder. Refused are one that lacks a file, a key or
// password that others can read, and a certificate that does not count now.
func Open(dir string, now time.Time) (*Operator, error) {
	files := map[string][]byte{}
	for _, name := range []string{caFile, certificateFile, keyFile, passwordFile} {
		data, err := readFile(filepath.Join(dir, name), name == keyFile || name == passwordFile)
		if err != nil {
			return nil, err
		}
		files[name] = data
	}
	o := &Operator{Dir: dir, authorities: x509.NewCertPool(), password: strings.TrimSpace(string(files[passwordFile]))}
	if !o.authorities.AppendCertsFromPEM(files[caFile]) {
		return nil, fmt.Errorf("%q is not a certificate in PEM (pgha-gen secrets generate makes it)", filepath.Join(dir, caFile))
	}
	var err error
	if o.certificate, err = tls.X509KeyPair(files[certificateFile], files[keyFile]); err != nil {
		return nil, fmt.Errorf("%q and %s are no certificate and its key: %w (pgha-gen secrets generate makes them)", filepath.Join(dir, certificateFile), keyFile, err)
	}
	leaf := o.certificate.Leaf
	o.End = leaf.NotAfter
	_, err = leaf.Verify(x509.VerifyOptions{Roots: o.authorities, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	switch {
	case now.After(leaf.NotAfter):
		return nil, fmt.Errorf("%q ended on %s (pgha-gen secrets generate renews it)", filepath.Join(dir, certificateFile), leaf.NotAfter.Format(time.DateOnly))
	case err != nil:
		return nil, fmt.Errorf("%q does not count for %s beside it: %w (pgha-gen secrets generate makes both)", filepath.Join(dir, certificateFile), caFile, err)
	case o.password == "":
		return nil, fmt.Errorf("%q is empty (pgha-gen secrets generate makes it)", filepath.Join(dir, passwordFile))
	}
	return o, nil
}

func readFile(name string, private bool) ([]byte, error) {
	info, err := os.Stat(name)
	if err == nil && private && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%q is open to others, mode %04o (chmod 600, and consider what is in it as known)", name, info.Mode().Perm())
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(name)
	}
	var at *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no file %q (pgha-gen secrets generate writes the operator's folder; --operator names another)", name)
	case errors.As(err, &at):
		return nil, fmt.Errorf("cannot read %q: %w", name, at.Err)
	}
	return data, err
}

// Environment is what psql, and any other program that uses libpq, needs to
// connect as the administrator to that one of these hosts which leads or, if
// there is just one, to that. It has no password: the certificate is the proof.
func (o *Operator) Environment(hosts []Host, port int, database string) []string {
	var names, addresses []string
	for _, h := range hosts {
		names = append(names, h.Name)
		addresses = append(addresses, h.Address)
	}
	env := []string{
		"PGHOST=" + strings.Join(names, ","),
		"PGPORT=" + fmt.Sprint(port),
		"PGDATABASE=" + database,
		"PGUSER=" + o.certificate.Leaf.Subject.CommonName,
		"PGSSLMODE=verify-full",
		"PGSSLROOTCERT=" + filepath.Join(o.Dir, caFile),
		"PGSSLCERT=" + filepath.Join(o.Dir, certificateFile),
		"PGSSLKEY=" + filepath.Join(o.Dir, keyFile),
		"PGCONNECT_TIMEOUT=3",
	}
	if strings.Join(addresses, "") != "" {
		env = append(env, "PGHOSTADDR="+strings.Join(addresses, ","))
	}
	if len(hosts) > 1 {
		env = append(env, "PGTARGETSESSIONATTRS=read-write")
	}
	return env
}

// Host is a machine: what its certificate says, and its address, empty if it is
// found by its name.
type Host struct{ Name, Address string }
