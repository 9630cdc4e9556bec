package packertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"

	"pgha-gen/internal/testkit"
)

// CA signs certificates that are good for 127.0.0.1.
type CA struct {
	// PEM is its certificate.
	PEM string

	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA makes one.
func NewCA(t *testing.T) *CA {
	t.Helper()
	key := newKey(t)
	// Two authorities of one name fail in another way than strangers do.
	name := "test CA " + rand.Text()
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	testkit.OK(t, err)
	return &CA{PEM: encode("CERTIFICATE", der), t: t, cert: cert, key: key}
}

// Issue gives a certificate that ends at that time, and its key.
func (c *CA) Issue(end time.Time) (cert, key string) {
	c.t.Helper()
	k := newKey(c.t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: end,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, c.cert, k.Public(), c.key)
	testkit.OK(c.t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	testkit.OK(c.t, err)
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", keyDER)
}

// ServerConfig is for a server that wants its clients to have a certificate
// of the same CA.
func (c *CA) ServerConfig() *tls.Config {
	c.t.Helper()
	cert, key := c.Issue(time.Now().Add(time.Hour))
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	testkit.OK(c.t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(c.PEM))
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testkit.OK(t, err)
	return key
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
