package secrets_test

import (
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/deploy/secrets"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

// The operator's certificate is a client's and no server's, and no other
// certificate has its name.
func TestOperator(t *testing.T) {
	all := files(t, made(t))
	pair, err := tls.X509KeyPair([]byte(all["operator/operator.crt"]), []byte(all["operator/operator.key"]))
	if err != nil {
		t.Fatal(err)
	}
	if got := pair.Leaf; got.Subject.CommonName != "pgha_admin" || len(got.DNSNames)+len(got.IPAddresses) > 0 || got.IsCA {
		t.Errorf("common name %q, names %q, addresses %v, authority %v: want pgha_admin alone", got.Subject.CommonName, got.DNSNames, got.IPAddresses, got.IsCA)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(all["operator/ca.crt"]))
	for usage, good := range map[x509.ExtKeyUsage]bool{x509.ExtKeyUsageClientAuth: true, x509.ExtKeyUsageServerAuth: false} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}); (err == nil) != good {
			t.Errorf("usage %v: %v, want good %v", usage, err, good)
		}
	}
	certificates, _ := nodes(t, all)
	for name, text := range certificates {
		if name != "0 operator" && leaf(t, text).Subject.CommonName == "pgha_admin" {
			t.Errorf("%s has the operator's name", name)
		}
	}
	if !strings.Contains(all["patroni.json"], "PATRONI_RESTAPI_PASSWORD="+all["operator/restapi.password"]+`\n`) {
		t.Error("the password is not the one that Patroni has")
	}
	for _, name := range []string{"etcd.json", "patroni.json"} {
		if strings.Contains(all[name], strings.Split(all["operator/operator.key"], "\n")[1]) || strings.Contains(all[name], "operator") {
			t.Errorf("the operator's key is in %s, which Lockbox gets", name)
		}
	}
}

// What the operator has follows the authority and Patroni, and what is damaged
// is made anew: no machine has it.
func TestOperatorAgain(t *testing.T) {
	foreign := files(t, made(t))
	const crt, key, password = "operator/operator.crt", "operator/operator.key", "operator/restapi.password"
	both := []string{crt, key}
	for _, test := range []struct {
		name, reason string
		damage       func(t *testing.T, dir string)
		rotate       secrets.Rotation
		later        time.Duration
		written      []string // of the operator's
		want         []string
	}{
		{"as it is", "it stays", nil, secrets.Rotation{}, 0, nil, nil},
		{"from before there were operators", "all is made", func(t *testing.T, dir string) {
			testkit.OK(t, os.RemoveAll(filepath.Join(dir, "operator")))
		}, secrets.Rotation{}, 0, []string{"operator/ca.crt", crt, key, password}, []string{"operator: made operator.crt", "operator: made restapi.password"}},
		{"31 days before the end", "not yet", nil, secrets.Rotation{}, (2*365 - 31) * day, nil, nil},
		{"29 days before the end", "as the machines'", nil, secrets.Rotation{}, (2*365 - 29) * day, both, []string{"operator: renewed operator.crt (it ends on 2032-01-02)"}},
		{"no key", "an interrupted run", remove(key), secrets.Rotation{}, 0, both, []string{"operator: renewed operator.crt (it was damaged, or of another authority)"}},
		{"the key of another", "an interrupted run", put(key, foreign[key]), secrets.Rotation{}, 0, both, []string{"operator: renewed operator.crt (it was damaged, or of another authority)"}},
		{"of another authority", "nobody trusts it", func(t *testing.T, dir string) {
			put(crt, foreign[crt])(t, dir)
			put(key, foreign[key])(t, dir)
		}, secrets.Rotation{}, 0, both, []string{"operator: renewed operator.crt (it was damaged, or of another authority)"}},
		{"another authority", "it would trust nobody", put("operator/ca.crt", foreign["ca.crt"]), secrets.Rotation{}, 0, []string{"operator/ca.crt"}, nil},
		{"another password", "Patroni's counts", put(password, "x"), secrets.Rotation{}, 0, []string{password}, []string{"operator: renewed restapi.password (it is the one of patroni)"}},
		{"certificates rotated", "it, too", nil, secrets.Rotation{Certificates: true}, 0, both, []string{"operator: renewed operator.crt (to be rotated)"}},
		{"passwords rotated", "the copy follows", nil, secrets.Rotation{Passwords: true}, 0, []string{password}, []string{"operator: renewed restapi.password (it is the one of patroni)"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := made(t)
			if test.damage != nil {
				test.damage(t, dir)
			}
			w, err := secrets.Generate(dir, demo.Cluster(t), test.rotate, on(now.Add(test.later)))
			if err != nil {
				t.Fatal(err)
			}
			var written, got []string
			for _, name := range w.Files {
				if strings.HasPrefix(name, "operator/") {
					written = append(written, name)
				}
			}
			for _, c := range w.Changes {
				if c.Role == "operator" {
					got = append(got, c.String())
				}
			}
			if diff := cmp.Diff(test.written, written); diff != "" {
				t.Errorf("%s: files (-want +got):\n%s", test.reason, diff)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s: changes (-want +got):\n%s", test.reason, diff)
			}
			if w, err := secrets.Generate(dir, demo.Cluster(t), secrets.Rotation{}, on(now.Add(test.later))); err != nil || len(w.Files) > 0 {
				t.Errorf("%s: again: %v, %+v, want nothing to do", test.reason, err, w)
			}
		})
	}
}

func TestOperatorRefused(t *testing.T) {
	for _, test := range []struct {
		name, reason string
		damage       func(t *testing.T, dir string)
		want         string
	}{
		{"folder open to others", "they could read it", mode("operator", 0o755), `operator" is open to others, mode 0755`},
		{"key open to others", "they may have read it", mode("operator/operator.key", 0o644), `operator.key" is open to others, mode 0644`},
		{"a link", "who made it chose what it leads to", func(t *testing.T, dir string) {
			testkit.OK(t, os.Rename(filepath.Join(dir, "operator"), filepath.Join(dir, "elsewhere")))
			testkit.OK(t, os.Symlink("elsewhere", filepath.Join(dir, "operator")))
		}, `operator" is a link`},
		{"Patroni's password is gone", "there is nothing to copy", put("patroni.json", "[]"), ""},
		{"nothing else is left", "the authority cannot be made again", func(t *testing.T, dir string) {
			for name := range files(t, dir) {
				if filepath.Dir(name) == "." {
					remove(name)(t, dir)
				}
			}
		}, `there are payloads or keys, but no ca.crt`},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := made(t)
			test.damage(t, dir)
			_, err := secrets.Generate(dir, demo.Cluster(t), secrets.Rotation{}, on(now))
			switch {
			case test.want == "" && err != nil:
				t.Errorf("%s: %v, want that it is made anew", test.reason, err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("%s: got %v, want %q", test.reason, err, test.want)
			}
			err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
				if err == nil && strings.HasPrefix(d.Name(), ".pgha-gen-") {
					t.Errorf("%s was left", name)
				}
				return err
			})
			testkit.OK(t, err)
		})
	}
}
