package secrets_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/deploy/secrets"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

var now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func payloads(t *testing.T) (*secrets.CA, map[string]secrets.Payload) {
	t.Helper()
	authority, err := secrets.NewCA("demo", now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	all, err := authority.Payloads(demo.Cluster(t), now)
	if err != nil {
		t.Fatal(err)
	}
	return authority, all
}

// What a machine asks Lockbox for (packer/rootfs, secrets.sh) is there, and
// nothing else is.
func TestEntries(t *testing.T) {
	_, all := payloads(t)
	for _, test := range []struct {
		role string
		want []string
	}{
		{"etcd", []string{"ca.crt",
			"demo-etcd-1.peer.crt", "demo-etcd-1.peer.key", "demo-etcd-1.server.crt", "demo-etcd-1.server.key",
			"demo-etcd-2.peer.crt", "demo-etcd-2.peer.key", "demo-etcd-2.server.crt", "demo-etcd-2.server.key",
			"demo-etcd-3.peer.crt", "demo-etcd-3.peer.key", "demo-etcd-3.server.crt", "demo-etcd-3.server.key"}},
		{"patroni", []string{"ca.crt",
			"demo-pg-1.node.crt", "demo-pg-1.node.key", "demo-pg-2.node.crt", "demo-pg-2.node.key",
			"demo-pg-3.node.crt", "demo-pg-3.node.key", "password.app", "password.app_reader", "patroni.env"}},
		{"haproxy", nil},
	} {
		if diff := cmp.Diff(test.want, slices.Sorted(maps.Keys(all[test.role]))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.role, diff)
		}
	}
}

func TestCertificates(t *testing.T) {
	authority, all := payloads(t)
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(authority.Certificate())) {
		t.Fatal("the authority's certificate cannot be read")
	}
	for _, test := range []struct {
		name, reason   string
		role, pair     string
		host, common   string
		at             time.Time
		usage          x509.ExtKeyUsage
		wantVerifyFail bool
	}{
		{"server by address", "members know each other by address", "etcd", "demo-etcd-1.server", "10.128.0.26", "", now, x509.ExtKeyUsageServerAuth, false},
		{"server by name", "without addresses, by name", "etcd", "demo-etcd-1.server", "demo-etcd-1.ru-central1.internal", "", now, x509.ExtKeyUsageServerAuth, false},
		{"server as client", "etcd's gateway dials with it", "etcd", "demo-etcd-1.server", "10.128.0.26", "", now, x509.ExtKeyUsageClientAuth, false},
		{"peer", "etcd lets only this common name in", "etcd", "demo-etcd-2.peer", "10.128.0.11", "demo-etcd-peer", now, x509.ExtKeyUsageClientAuth, false},
		{"node", "no common name: etcd's gateway refuses clients with one once authentication is on", "patroni", "demo-pg-3.node", "127.0.0.1", "", now, x509.ExtKeyUsageServerAuth, false},
		{"through HAProxy", "clients verify the name that they connected to", "patroni", "demo-pg-3.node", "10.128.0.40", "", now, x509.ExtKeyUsageServerAuth, false},
		{"another node's address", "a stolen key is no other node's", "patroni", "demo-pg-3.node", "10.128.0.21", "", now, x509.ExtKeyUsageServerAuth, true},
		{"a clock that is behind", "first boot, before time is set", "patroni", "demo-pg-3.node", "10.128.0.23", "", now.Add(-30 * time.Minute), x509.ExtKeyUsageServerAuth, false},
		{"expired", "after two years", "patroni", "demo-pg-3.node", "10.128.0.23", "", now.Add(3 * 365 * 24 * time.Hour), x509.ExtKeyUsageServerAuth, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			pair, err := tls.X509KeyPair([]byte(all[test.role][test.pair+".crt"]), []byte(all[test.role][test.pair+".key"]))
			if err != nil {
				t.Fatalf("%v: %s", err, test.reason)
			}
			if got := pair.Leaf.Subject.CommonName; got != test.common {
				t.Errorf("common name %q, want %q: %s", got, test.common, test.reason)
			}
			_, err = pair.Leaf.Verify(x509.VerifyOptions{
				Roots: pool, DNSName: test.host, CurrentTime: test.at, KeyUsages: []x509.ExtKeyUsage{test.usage}})
			if (err != nil) != test.wantVerifyFail {
				t.Errorf("verify: %v, want failure %v: %s", err, test.wantVerifyFail, test.reason)
			}
		})
	}
}

func TestPasswordsDiffer(t *testing.T) {
	_, all := payloads(t)
	form := regexp.MustCompile(`^[A-Za-z0-9]{32}$`)
	passwords := []string{all["patroni"]["password.app"], all["patroni"]["password.app_reader"]}
	for _, line := range strings.Split(strings.TrimSpace(all["patroni"]["patroni.env"]), "\n") {
		_, value, _ := strings.Cut(line, "=")
		passwords = append(passwords, value)
	}
	if len(passwords) != 6 {
		t.Fatalf("%d passwords, want 6: four of Patroni's, two of applications", len(passwords))
	}
	seen := map[string]bool{}
	for _, p := range passwords {
		if !form.MatchString(p) {
			t.Errorf("a password has %d characters or needs quotes", len(p))
		}
		if seen[p] {
			t.Error("two users have the same password")
		}
		seen[p] = true
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("no randomness") }

func TestNoRandomness(t *testing.T) {
	// Keys are made from the system's own randomness whatever the reader
	// (crypto/ecdsa since Go 1.26); the serial number is not.
	if _, err := secrets.NewCA("demo", now, broken{}); err == nil {
		t.Error("an authority without randomness")
	}
}

// TestEntryPoint: clients verify the name that they connect to, which may be a
// load balancer's. Nobody else's certificate is good for it.
func TestEntryPoint(t *testing.T) {
	authority, err := secrets.NewCA("demo", now, rand.Reader)
	testkit.OK(t, err)
	c := demo.Cluster(t, "cloud:\n  entry_point: db.example.net\n")
	all, err := authority.Payloads(c, now)
	testkit.OK(t, err)
	for entry, want := range map[string]bool{"demo-pg-1.node.crt": true, "demo-etcd-1.server.crt": false, "demo-etcd-1.peer.crt": false} {
		payload := all["etcd"]
		if want {
			payload = all["patroni"]
		}
		block, _ := pem.Decode([]byte(payload[entry]))
		certificate, err := x509.ParseCertificate(block.Bytes)
		testkit.OK(t, err)
		if err := certificate.VerifyHostname("db.example.net"); (err == nil) != want {
			t.Errorf("%s is good for the entry point: %v, want %v", entry, err == nil, want)
		}
	}
}
