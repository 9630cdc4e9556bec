package secrets

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pgha-gen/generator/role"
)

// The authority's files in the folder.
const (
	certificateFile = "ca.crt"      // whom all trust: one, or the old one and the new one
	keyFile         = "ca.key"      // of the one that signs
	nextKeyFile     = "ca-next.key" // of the new one, as long as the old one signs
)

// Stage is how far the replacement of the authority is. Machines take secrets
// over one after the other; so those of a stage and of the one before it trust
// each other, in both directions.
type Stage int

// The stages. From the last one it goes on to the first.
const (
	Settled    Stage = iota // one authority
	Introduced              // all trust both; the old one still signs
	Switched                // all trust both; the new one signed every certificate
)

// signing is who signs in a run, who is trusted after it, and what becomes of
// the authority's files.
type signing struct {
	ca            *CA
	stage         Stage
	before, after []file // written before and after the payloads
}

// signing finds out from the folder alone how far a replacement is.
func (was *content) signing(c *role.Cluster, rotate Rotation, w World) (*signing, error) {
	key, err := parseKey(keyFile, was.files[keyFile])
	if err != nil {
		return nil, err
	}
	next, err := parseKey(nextKeyFile, was.files[nextKeyFile])
	if err != nil {
		return nil, err
	}
	if was.files[certificateFile] == nil {
		return was.first(c, key, w)
	}
	trusted, err := parseBundle(was.files[certificateFile])
	if err != nil {
		return nil, err
	}
	var s *signing
	if len(trusted) == 1 {
		s, err = was.one(c, trusted[0], key, next, rotate, w)
	} else {
		s, err = was.two(c, trusted[0], trusted[1], key, next, rotate, w)
	}
	if err != nil {
		return nil, err
	}
	if end := s.ca.certificate.NotAfter; w.Now.After(end) {
		remedy := "nobody trusts it any more; make another in another folder: -o"
		if s.stage == Introduced {
			remedy = "the new one signs after --rotate certificates"
		}
		return nil, fmt.Errorf("%s: the authority ended on %s (%s)", certificateFile, end.UTC().Format(time.DateOnly), remedy)
	}
	return s, nil
}

// first makes the authority, from the key alone if a first run was interrupted.
func (was *content) first(c *role.Cluster, key crypto.Signer, w World) (*signing, error) {
	if len(was.payloads) > 0 || len(was.operator) > 0 || len(was.unknown) > 0 || was.files[nextKeyFile] != nil {
		return nil, fmt.Errorf("there are payloads or keys, but no %s (bring it back, and %s for what has to be signed; or -o names another folder)", certificateFile, keyFile)
	}
	s := &signing{}
	var err error
	if key, err = s.key(keyFile, key, w); err != nil {
		return nil, err
	}
	if s.ca, err = newCA(c.Name+" authority", key, w.Now, w.Random); err != nil {
		return nil, err
	}
	s.before = append(s.before, file{certificateFile, []byte(s.ca.Certificate())})
	return s, nil
}

// key is the one that is there, or a new one with its file.
func (s *signing) key(name string, have crypto.Signer, w World) (crypto.Signer, error) {
	if have != nil {
		return have, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), w.Random)
	if err != nil {
		return nil, err
	}
	text, err := keyPEM(key)
	if err != nil {
		return nil, err
	}
	s.before = append(s.before, file{name, []byte(text)})
	return key, nil
}

// one is a folder with one authority. A key of a next one is of a --rotate
// authority that was interrupted, and is gone on with.
func (was *content) one(c *role.Cluster, old *x509.Certificate, key, next crypto.Signer, rotate Rotation, w World) (*signing, error) {
	switch {
	case key != nil && !belongs(key, old):
		return nil, fmt.Errorf("%s: not the key of %s (bring back the two that belong together)", keyFile, certificateFile)
	case next != nil && belongs(next, old):
		return nil, fmt.Errorf("%s: the key of the authority that %s has already (its name is %s)", nextKeyFile, certificateFile, keyFile)
	case next != nil && (rotate.Certificates || rotate.Finish):
		return nil, errors.New("--rotate authority was interrupted (run that again first)")
	case rotate.Finish && was.hold(c, certificatesPEM(old)):
		return nil, errors.New("no authority is being replaced (--rotate authority begins it)")
	}
	s := &signing{ca: &CA{old, key, []*x509.Certificate{old}, w.Random}}
	if next == nil && !rotate.CA {
		return s, nil
	}
	next, err := s.key(nextKeyFile, next, w)
	if err != nil {
		return nil, err
	}
	// Another name than the old one's: people tell them apart by it.
	fresh, err := newCA(c.Name+" authority "+w.Now.UTC().Format(time.DateOnly), next, w.Now, w.Random)
	if err != nil {
		return nil, err
	}
	s.stage = Introduced
	s.ca.trusted = append(s.ca.trusted, fresh.certificate)
	s.before = append(s.before, file{certificateFile, []byte(s.ca.Certificate())})
	return s, nil
}

// two is a folder in which an authority is being replaced.
func (was *content) two(c *role.Cluster, old, fresh *x509.Certificate, key, next crypto.Signer, rotate Rotation, w World) (*signing, error) {
	switch {
	case key != nil && !belongs(key, old) && !belongs(key, fresh):
		return nil, fmt.Errorf("%s: not the key of an authority in %s (bring back those that belong together)", keyFile, certificateFile)
	case next != nil && !belongs(next, fresh):
		return nil, fmt.Errorf("%s: not the key of the new authority in %s (bring back those that belong together)", nextKeyFile, certificateFile)
	}
	count, others := was.signedBy(fresh)
	s := &signing{stage: Introduced}
	if key != nil && belongs(key, fresh) || count > 0 && others == "" {
		s.stage = Switched
	}
	whole := was.hold(c, certificatesPEM(old, fresh))
	switch {
	case rotate.CA && whole && s.stage == Introduced:
		return nil, errors.New("the authority is being replaced already (next, once every machine has taken both over: --rotate certificates)")
	case rotate.CA && whole:
		return nil, errors.New("the authority is being replaced already (next, once every machine has taken its new certificate over: --finish)")
	case rotate.Finish && count == 0 && others == "":
		return nil, errors.New("there is no certificate of the new authority (first, once every machine has taken both over: --rotate certificates)")
	case rotate.Finish && others != "":
		return nil, fmt.Errorf("%s is still signed by the old authority (first, once every machine has taken both over: --rotate certificates)", others)
	}
	trusted := []*x509.Certificate{old, fresh}
	switch {
	case s.stage == Introduced && rotate.Certificates:
		switch {
		case !whole:
			return nil, errors.New("there is a payload without the new authority (run this without --rotate, and what it says next, first)")
		case !specHas(c, fresh):
			return nil, fmt.Errorf("secrets.ca of the spec does not have the new authority (put the text of %s there, render, and let those machines take it over first)", certificateFile)
		case next == nil:
			return nil, fmt.Errorf("%s is not there, and the new certificates have to be signed with it (bring it back for this run)", nextKeyFile)
		}
		s.stage = Switched
		s.ca = &CA{fresh, next, trusted, w.Random}
		// Only then: until all payloads are the new one's, the old one signs.
		s.after = []file{{keyFile, was.files[nextKeyFile]}, {nextKeyFile, nil}}
	case s.stage == Introduced:
		s.ca = &CA{old, key, trusted, w.Random}
	case key != nil && belongs(key, fresh):
		s.ca = &CA{fresh, key, trusted, w.Random}
		s.before = []file{{nextKeyFile, nil}}
	case next != nil: // all is signed by it, and the run was interrupted then
		s.ca = &CA{fresh, next, trusted, w.Random}
		s.before = []file{{keyFile, was.files[nextKeyFile]}, {nextKeyFile, nil}}
	case key != nil:
		return nil, fmt.Errorf("%s: the key of the old authority, and the new one signs (bring back the new one's)", keyFile)
	default:
		s.ca = &CA{fresh, nil, trusted, w.Random}
	}
	if rotate.Finish {
		s.stage = Settled
		s.ca.trusted = []*x509.Certificate{fresh}
		s.before = append(s.before, file{certificateFile, []byte(s.ca.Certificate())})
	}
	return s, nil
}

// hold says whether all payloads have exactly these authorities.
func (was *content) hold(c *role.Cluster, authorities string) bool {
	for _, part := range c.Groups {
		for _, s := range part.Plan.Secrets {
			p, there := was.payloads[part.Name]
			if there && s.Kind == role.CA && p[s.File] != authorities {
				return false
			}
		}
	}
	has, there := was.operator[certificateFile]
	return !there || has == authorities
}

// signedBy counts the certificates that an authority signed, and names one
// that it did not.
func (was *content) signedBy(authority *x509.Certificate) (count int, other string) {
	all := withOperator(was.payloads, was.operator)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, entry := range slices.Sorted(maps.Keys(all[name])) {
			leaf := parseLeaf(all[name][entry])
			switch {
			case leaf == nil:
			case leaf.CheckSignatureFrom(authority) == nil:
				count++
			case other == "":
				other = name + ": " + entry
			}
		}
	}
	return count, other
}

// specHas says whether machines that read no secrets trust an authority, too.
func specHas(c *role.Cluster, authority *x509.Certificate) bool {
	if len(c.WithoutSecrets()) == 0 {
		return true
	}
	all, err := role.ParseCA(string(c.Secrets.CA))
	return err == nil && contains(all, authority)
}

// parseBundle reads one authority, or the old one and the new one.
func parseBundle(text []byte) ([]*x509.Certificate, error) {
	all, err := role.ParseCA(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: not the certificates of authorities in PEM (bring back the file as it was)", certificateFile)
	}
	for _, certificate := range all {
		if certificate.CheckSignatureFrom(certificate) != nil {
			return nil, fmt.Errorf("%s: not the certificate of an authority that signed itself (bring back the file as it was)", certificateFile)
		}
	}
	if len(all) > 2 || len(all) == 2 && all[0].Equal(all[1]) {
		return nil, fmt.Errorf("%s: %d certificates (want one, or the old and the new authority's in this order; bring back the file as it was)", certificateFile, len(all))
	}
	return all, nil
}

// parseKey gives nil for a key that is not there.
func parseKey(name string, text []byte) (crypto.Signer, error) {
	if text == nil {
		return nil, nil
	}
	block, rest := pem.Decode(text)
	if block != nil && block.Type == "PRIVATE KEY" && len(bytes.TrimSpace(rest)) == 0 {
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if signer, ok := key.(crypto.Signer); ok {
				return signer, nil
			}
		}
	}
	// Nothing of what went wrong: it may quote the key.
	return nil, fmt.Errorf("%s: not one unencrypted PKCS #8 key in PEM (bring back the file as it was)", name)
}

// parseLeaf gives the certificate of an entry, or nil: what is no certificate,
// or an authority's.
func parseLeaf(text string) *x509.Certificate {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil || leaf.IsCA {
		return nil
	}
	return leaf
}

func belongs(key crypto.Signer, certificate *x509.Certificate) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(certificate.PublicKey)
}

// warnings are of what ends: the authority, and certificates of the payloads.
func (s *signing) warnings(all map[string]Payload, now time.Time) []string {
	var said []string
	authority := s.ca.certificate.NotAfter
	switch {
	case s.stage == Introduced && authority.Before(now.Add(early)):
		said = append(said, fmt.Sprintf("the old authority ends on %s: finish its replacement before then", authority.UTC().Format(time.DateOnly)))
	case s.stage != Introduced && authority.Before(now.Add(Life)):
		said = append(said, fmt.Sprintf("the authority in %s ends on %s, and no certificate outlives it (replace it before: --rotate authority)", certificateFile, authority.UTC().Format(time.DateOnly)))
	}
	var first time.Time
	var count int
	for _, p := range all {
		for _, text := range p {
			leaf := parseLeaf(text)
			if leaf == nil || !leaf.NotAfter.Before(now.Add(early)) {
				continue
			}
			count++
			if first.IsZero() || leaf.NotAfter.Before(first) {
				first = leaf.NotAfter
			}
		}
	}
	// Those that end with their authority cannot be renewed; a warning of it is enough.
	if count > 0 && first.Before(authority) {
		said = append(said, fmt.Sprintf("%d certificates end within %d days, the first on %s (run this again from %s on: that renews it)",
			count, early/(24*time.Hour), first.UTC().Format(time.DateOnly), first.Add(-soon).UTC().Format(time.DateOnly)))
	}
	return said
}

func certificatesPEM(all ...*x509.Certificate) string {
	var b strings.Builder
	for _, certificate := range all {
		b.WriteString(certificatePEM(certificate.Raw))
	}
	return b.String()
}
