package secrets

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"time"

	"pgha-gen/generator/role"
)

// The folder of who administers the cluster, and its files beside
// certificateFile. None of them is ever in Lockbox.
const (
	operatorFolder      = "operator"
	operatorCertificate = "operator.crt"
	operatorKey         = "operator.key"
)

// Operator gives the files that a person needs who administers the cluster, by
// their names: the authority's certificate, a certificate for a client alone
// with its key, and copies of passwords that all, the payloads of the machines,
// have. It is nil where no role has operators.
//
// Of old, the certificate stays if it is good, as in Update. Nothing of old is
// refused: no machine has it, so what is damaged is made anew.
func (a *CA) Operator(c *role.Cluster, all map[string]Payload, old Payload, rotate Rotation, now time.Time) (Payload, []Change, error) {
	of := c.Operator()
	if of == nil {
		return nil, nil, nil
	}
	u := &update{a, c, rotate, now, operatorFolder, old, Payload{certificateFile: a.Certificate()}, nil}
	if err := u.client(of.Plan.Operator.User); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", operatorFolder, err)
	}
	for _, p := range of.Plan.Operator.Passwords {
		values, err := variables(all[of.Name][p.Secret])
		if err == nil && values[p.Variable] == "" {
			err = fmt.Errorf("internal error: there is no %s", p.Variable)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: entry %s: %w", of.Name, p.Secret, err)
		}
		u.fresh[p.File] = values[p.Variable]
		if was := old[p.File]; was == "" {
			u.changed(p.File, "made", "")
		} else if was != u.fresh[p.File] {
			u.changed(p.File, "renewed", "it is the one of "+of.Name)
		}
	}
	return u.fresh, u.changes, nil
}

// client is the operator's certificate and its key.
func (u *update) client(commonName string) error {
	want := u.ca.client(u.cluster, commonName, u.now)
	what, why := "renewed", ""
	switch {
	case u.old[operatorCertificate] == "" && u.old[operatorKey] == "":
		what = "made"
	case u.rotate.Certificates:
		why = "to be rotated"
	default:
		have, err := u.examine(operatorCertificate, operatorKey)
		if err != nil {
			why = "it was damaged, or of another authority"
		} else if why = u.stale(have, want); why == "" {
			u.fresh[operatorCertificate], u.fresh[operatorKey] = u.old[operatorCertificate], u.old[operatorKey]
			return nil
		}
	}
	return u.issue(operatorCertificate, operatorKey, want, what, why)
}

// withOperator is the operator's files among the payloads, for what is to be
// known of all certificates.
func withOperator(payloads map[string]Payload, operator Payload) map[string]Payload {
	all := maps.Clone(payloads)
	if len(operator) > 0 {
		all[operatorFolder] = operator
	}
	return all
}

// readOperator reads the operator's files that are there.
func (was *content) readOperator(dir string, c *role.Cluster, uid int) error {
	of := c.Operator()
	if of == nil {
		return nil
	}
	if there, err := examineFolder(filepath.Join(dir, operatorFolder), uid); !there {
		return err
	}
	names := []string{certificateFile, operatorCertificate, operatorKey}
	for _, p := range of.Plan.Operator.Passwords {
		names = append(names, p.File)
	}
	for _, name := range names {
		in := path.Join(operatorFolder, name)
		data, err := readFile(filepath.Join(dir, in), uid, name != certificateFile)
		if err != nil {
			return err
		}
		if data != nil {
			was.files[in], was.operator[name] = data, string(data)
		}
	}
	return nil
}
