// Package secrets makes what a cluster's machines must not get from anywhere
// but Lockbox: an authority of its own, certificates and passwords.
package secrets

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"time"

	"pgha-gen/generator/role"
)

// How long certificates are good for.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	nodeLife      = 2 * 365 * 24 * time.Hour
)

// Payload is what one Lockbox secret holds: entry to text.
type Payload map[string]string

// Authority signs the certificates of one cluster.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	random      io.Reader
}

// NewAuthority makes the authority of a cluster, good for ten years from now.
func NewAuthority(cluster string, now time.Time, random io.Reader) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, err
	}
	serial, err := serialNumber(random)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: cluster + " authority"},
		NotBefore:             now.Add(-time.Hour), // a node's clock may be behind at first boot
		NotAfter:              now.Add(authorityLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(random, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{certificate, key, random}, nil
}

// Certificate is the authority's own, in PEM: what everybody trusts.
func (a *Authority) Certificate() string { return certificatePEM(a.certificate.Raw) }

// Payloads makes every secret of the cluster's machines: role to payload.
// Certificates are good for two years from now, for the node's names and
// addresses, as a server and as a client.
func (a *Authority) Payloads(c *role.Cluster, now time.Time) (map[string]Payload, error) {
	all := map[string]Payload{}
	for _, part := range c.Parts {
		p := Payload{}
		all[part.Name] = p
		for _, s := range part.Settings.Service(c).Secrets {
			if err := a.add(p, s, c, part.Settings.Nodes(), now); err != nil {
				return nil, fmt.Errorf("secret %s of %s: %w", s.File, part.Name, err)
			}
		}
	}
	return all, nil
}

func (a *Authority) add(p Payload, s role.Secret, c *role.Cluster, nodes []role.Node, now time.Time) error {
	switch s.Kind {
	case role.Authority:
		p[s.File] = a.Certificate()
	case role.Certificate:
		for _, n := range nodes {
			certificate, key, err := a.issue(c, n, s.CommonName, now)
			if err != nil {
				return err
			}
			p[n.Name+"."+s.File] = certificate
			p[n.Name+"."+strings.TrimSuffix(s.File, ".crt")+".key"] = key
		}
	case role.Key: // made with its certificate
	case role.Password:
		password, err := password(a.random)
		if err != nil {
			return err
		}
		p[s.File] = password
	case role.Environment:
		var lines strings.Builder
		for _, name := range s.Variables {
			password, err := password(a.random)
			if err != nil {
				return err
			}
			fmt.Fprintf(&lines, "%s=%s\n", name, password) // letters and digits need no quotes
		}
		p[s.File] = lines.String()
	default:
		return fmt.Errorf("internal error: unknown kind %d", s.Kind)
	}
	return nil
}

func (a *Authority) issue(c *role.Cluster, n role.Node, commonName string, now time.Time) (certificate, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), a.random)
	if err != nil {
		return "", "", err
	}
	serial, err := serialNumber(a.random)
	if err != nil {
		return "", "", err
	}
	addresses := []net.IP{net.IPv4(127, 0, 0, 1)}
	if n.Address.IsValid() {
		addresses = append(addresses, n.Address.AsSlice())
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: commonName, Organization: []string{c.Name}},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(nodeLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		// Both: etcd's gateway dials etcd with the server's certificate, and
		// Patroni's is PostgreSQL's server and etcd's client.
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{c.FQDN(n.Name), n.Name, "localhost"},
		IPAddresses: addresses,
	}
	der, err := x509.CreateCertificate(a.random, template, a.certificate, private.Public(), a.key)
	if err != nil {
		return "", "", err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	return certificatePEM(der), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})), nil
}

func certificatePEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// serialNumber has 127 random bits: RFC 5280 allows 20 bytes and no sign.
func serialNumber(random io.Reader) (*big.Int, error) {
	return rand.Int(random, new(big.Int).Lsh(big.NewInt(1), 127))
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// password has 32 letters and digits, 190 bits, and needs no quotes anywhere.
func password(random io.Reader) (string, error) {
	var b strings.Builder
	for range 32 {
		i, err := rand.Int(random, big.NewInt(int64(len(alphabet))))
		if err != nil {
			return "", err
		}
		b.WriteByte(alphabet[i.Int64()])
	}
	return b.String(), nil
}
