package role_test

import (
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"pgha-gen/generator/role"
	"pgha-gen/packer/packertest"
)

func TestSameCA(t *testing.T) {
	a, b := packertest.NewCA(t).PEM, packertest.NewCA(t).PEM
	for _, test := range []struct {
		name, reason string
		one, other   string
		want         bool
	}{
		{"the same", "nothing to say", a + b, a + b, true},
		{"another order", "all are trusted", a + b, b + a, true},
		{"another form", "people indent and add lines", a + b, "\n" + a + "\n\n" + strings.TrimSpace(b), true},
		{"twice", "trusted once or twice is the same", a, a + a, true},
		{"one less", "somebody is not trusted", a + b, a, false},
		{"one more", "somebody is still trusted", a, a + b, false},
		{"another", "a stranger", a, b, false},
		{"none", "not made yet", "", a, false},
		{"damaged", "it is not what it was", a, a[:100], false},
	} {
		if got := role.SameCA(test.one, test.other); got != test.want {
			t.Errorf("%s: %v, want %v: %s", test.name, got, test.want, test.reason)
		}
	}
}

func TestParseCA(t *testing.T) {
	ca := packertest.NewCA(t)
	server, key := ca.Issue(time.Now().Add(time.Hour))
	block := func(kind, bytes string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(bytes)}))
	}
	const noPEM = "is not certificates in PEM (want the text of ca.crt, from -----BEGIN CERTIFICATE----- on)"
	const private = "holds a private key (a spec holds no secrets: want ca.crt; consider that key as known to others)"
	for _, test := range []struct {
		name, reason, text string
		many               int
		want               string
	}{
		{"one", "the usual one", ca.PEM, 1, ""},
		{"two", "while one is replaced", ca.PEM + "\n" + packertest.NewCA(t).PEM, 2, ""},
		{"none", "no authority trusts nobody", "", 0, "holds no certificate (want the text of ca.crt)"},
		{"blanks", "nor do blank lines", " \n\n", 0, "holds no certificate (want the text of ca.crt)"},
		{"text", "a path is no certificate", "ca.crt", 0, noPEM},
		{"before", "something before it was pasted, too", "subject=demo\n" + ca.PEM, 0, noPEM},
		{"behind", "something behind it", ca.PEM + "hello", 0, noPEM},
		{"half", "the end was not copied", ca.PEM[:200], 0, "is not certificates in PEM (want the text of ca.crt, whole)"},
		{"key", "the wrong file of the two", key, 0, private},
		{"with its key", "both were pasted", ca.PEM + key, 0, private},
		{"older key", "another type of the same", block("EC PRIVATE KEY", "x"), 0, private},
		{"request", "another file of openssl's", block("CERTIFICATE REQUEST", "x"), 0, "holds a certificate request (want certificates)"},
		{"damaged", "a letter is missing", block("CERTIFICATE", "x"), 0, "holds a certificate that cannot be read (want the text of ca.crt)"},
		{"server", "a node's certificate signs nobody", server, 0, "is not an authority's (want the text of ca.crt)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := role.ParseCA(test.text)
			if len(got) != test.many {
				t.Errorf("%s: got %d certificates, want %d", test.reason, len(got), test.many)
			}
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.HasSuffix(err.Error(), test.want)) {
				t.Errorf("%s: got %v, want %q", test.reason, err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), strings.Split(key, "\n")[1]) {
				t.Error("the error shows the key")
			}
		})
	}
}
