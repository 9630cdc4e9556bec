// Package secrets makes the certificates and passwords of a cluster, and the
// authority that signs them, and keeps them in a folder.
package secrets

import (
	"crypto"
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

// Life is how long a certificate that a CA signs is good for.
const Life = 2 * 365 * 24 * time.Hour

// How long the CA's own is good for, and how long before its end it is said of a
// certificate, and it is made anew.
const (
	caLife = 10 * 365 * 24 * time.Hour
	early  = 60 * 24 * time.Hour
	soon   = 30 * 24 * time.Hour
)

// CA is the certificate authority of one cluster.
type CA struct {
	certificate *x509.Certificate
	key         crypto.Signer       // nil: it is kept elsewhere, and nothing can be signed
	trusted     []*x509.Certificate // itself and, while one replaces the other, that one
	random      io.Reader
}

// NewCA makes the CA of a cluster, good for ten years from now.
func NewCA(cluster string, now time.Time, random io.Reader) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, err
	}
	return newCA(cluster+" authority", key, now, random)
}

func newCA(name string, key crypto.Signer, now time.Time, random io.Reader) (*CA, error) {
	serial, err := serialNumber(random)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-time.Hour), // a node's clock may be behind at first boot
		NotAfter:              now.Add(caLife),
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
	return &CA{certificate, key, []*x509.Certificate{certificate}, random}, nil
}

// Certificate is the authority's own, in PEM, and while it is replaced the
// other one's, too: what everybody trusts.
func (a *CA) Certificate() string { return certificatesPEM(a.trusted...) }

// Payloads makes every secret of the cluster's machines: role to payload.
// Certificates are good for two years from now, for the node's names and
// addresses, as a server and as a client.
func (a *CA) Payloads(c *role.Cluster, now time.Time) (map[string]Payload, error) {
	all, _, err := a.Update(c, nil, Rotation{}, now)
	return all, err
}

// template is the certificate that a node should have: for itself, and for the
// machines that its clients connect through.
func (a *CA) template(c *role.Cluster, n role.Node, s role.Secret, now time.Time) *x509.Certificate {
	addresses, names := []net.IP{net.IPv4(127, 0, 0, 1)}, []string{}
	for _, host := range append([]role.Node{n}, s.ProxiedBy...) {
		if host.Address.IsValid() {
			addresses = append(addresses, host.Address.AsSlice())
		}
		names = append(names, c.FQDN(host.Name), host.Name)
	}
	names = append(names, s.Names...)
	want := a.client(c, s.CommonName, now)
	// Both, since a service shows the same certificate to the nodes that it
	// dials and to those that dial it.
	want.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	want.DNSNames, want.IPAddresses = append(names, "localhost"), addresses
	return want
}

// client is a certificate that is good for a client alone.
func (a *CA) client(c *role.Cluster, commonName string, now time.Time) *x509.Certificate {
	end := now.Add(Life)
	if end.After(a.certificate.NotAfter) {
		end = a.certificate.NotAfter // longer it would not verify
	}
	return &x509.Certificate{
		Subject:     pkix.Name{CommonName: commonName, Organization: []string{c.Name}},
		NotBefore:   now.Add(-time.Hour),
		NotAfter:    end,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

func (a *CA) issue(template *x509.Certificate) (certificate, key string, err error) {
	if a.key == nil {
		return "", "", fmt.Errorf("%s is not there, and this has to be signed with it (bring it back for this run)", keyFile)
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), a.random)
	if err != nil {
		return "", "", err
	}
	if template.SerialNumber, err = serialNumber(a.random); err != nil {
		return "", "", err
	}
	der, err := x509.CreateCertificate(a.random, template, a.certificate, private.Public(), a.key)
	if err != nil {
		return "", "", err
	}
	key, err = keyPEM(private)
	if err != nil {
		return "", "", err
	}
	return certificatePEM(der), key, nil
}

func keyPEM(key crypto.Signer) (string, error) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})), nil
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
