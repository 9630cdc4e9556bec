package secrets

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"time"
)

// The authority's files in the folder.
const (
	certificateFile = "ca.crt"
	keyFile         = "ca.key"
)

// parseAuthority reads an authority that was made before. Without a key, which
// may be kept elsewhere, it can sign nothing.
func parseAuthority(certificate, key []byte, now time.Time, random io.Reader) (*Authority, error) {
	a := &Authority{random: random}
	der, err := onePEM(certificate, "CERTIFICATE")
	if err == nil {
		a.certificate, err = x509.ParseCertificate(der)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: not one certificate in PEM (bring back the file as it was)", certificateFile)
	}
	switch {
	case !a.certificate.IsCA || a.certificate.CheckSignatureFrom(a.certificate) != nil:
		return nil, fmt.Errorf("%s: not the certificate of an authority that signed itself (bring back the file as it was)", certificateFile)
	case now.After(a.certificate.NotAfter):
		return nil, fmt.Errorf("%s: the authority ended on %s and is never renewed (make another in another folder: -o)", certificateFile, a.certificate.NotAfter.UTC().Format(time.DateOnly))
	}
	if key == nil {
		return a, nil
	}
	if a.key, err = parseKey(key); err != nil {
		return nil, err
	}
	public, ok := a.key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(a.certificate.PublicKey) {
		return nil, fmt.Errorf("%s: not the key of %s (bring back the two that belong together)", keyFile, certificateFile)
	}
	return a, nil
}

func parseKey(text []byte) (crypto.Signer, error) {
	der, err := onePEM(text, "PRIVATE KEY")
	if err == nil {
		var key any
		if key, err = x509.ParsePKCS8PrivateKey(der); err == nil {
			if signer, ok := key.(crypto.Signer); ok {
				return signer, nil
			}
		}
	}
	// Nothing of err: it may quote the key.
	return nil, fmt.Errorf("%s: not one unencrypted PKCS #8 key in PEM (bring back the file as it was)", keyFile)
}

func onePEM(text []byte, kind string) ([]byte, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != kind || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("want one block of %s", kind)
	}
	return block.Bytes, nil
}

// warning says that the authority ends before certificates would, or nothing.
func (a *Authority) warning(now time.Time) string {
	end := a.certificate.NotAfter
	if end.After(now.Add(nodeLife)) {
		return ""
	}
	return fmt.Sprintf("the authority in %s ends on %s and is never renewed: no certificate outlives it (before then, make another in another folder)", certificateFile, end.UTC().Format(time.DateOnly))
}
