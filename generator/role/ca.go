package role

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// SameCA says whether two texts hold the same certificates of authorities, in
// whatever order and form.
func SameCA(one, other string) bool {
	a, errA := ParseCA(one)
	b, errB := ParseCA(other)
	within := func(all, others []*x509.Certificate) bool {
		return !slices.ContainsFunc(all, func(c *x509.Certificate) bool { return !slices.ContainsFunc(others, c.Equal) })
	}
	return errA == nil && errB == nil && within(a, b) && within(b, a)
}

// ParseCA reads the certificates of authorities, one or more in PEM. Refused
// is anything else before, between or behind them, above all a private key.
func ParseCA(text string) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	rest := []byte(text)
	for len(strings.TrimSpace(string(rest))) > 0 {
		if !strings.HasPrefix(strings.TrimSpace(string(rest)), "-----BEGIN ") {
			return nil, errors.New("is not certificates in PEM (want the text of ca.crt, from -----BEGIN CERTIFICATE----- on)")
		}
		block, after := pem.Decode(rest)
		switch {
		case block == nil:
			return nil, errors.New("is not certificates in PEM (want the text of ca.crt, whole)")
		case strings.Contains(block.Type, "PRIVATE KEY"):
			return nil, errors.New("holds a private key (a spec holds no secrets: want ca.crt; consider that key as known to others)")
		case block.Type != "CERTIFICATE":
			return nil, fmt.Errorf("holds a %s (want certificates)", strings.ToLower(block.Type))
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("holds a certificate that cannot be read (want the text of ca.crt)")
		}
		if !certificate.IsCA || !certificate.BasicConstraintsValid {
			return nil, fmt.Errorf("certificate of %q is not an authority's (want the text of ca.crt)", certificate.Subject.CommonName)
		}
		all, rest = append(all, certificate), after
	}
	if len(all) == 0 {
		return nil, errors.New("holds no certificate (want the text of ca.crt)")
	}
	return all, nil
}
