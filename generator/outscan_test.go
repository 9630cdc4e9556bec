package generator_test

import (
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/tree"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

// A harmless finding: what looks like a secret and is none.
type harmless struct {
	file   string // as path.Match has it
	line   string // what else is on its line
	word   *regexp.Regexp
	reason string
}

func harmlessOnes() []harmless {
	return []harmless{
		{"packer/etcd/image.auto.pkrvars.json", `"ETCD_SHA256": "`, regexp.MustCompile(`^[0-9a-f]{64}$`), "the published checksum of etcd's archive"},
		{"packer/patroni/bake.sh", "fingerprint=", regexp.MustCompile(`^[0-9a-f]{40}$`), "the fingerprint of a public key, that of PostgreSQL's packages"},
	}
}

// leaks are the words of a file that look like secrets, with what they look like.
func leaks(file string, data []byte) (found []string) {
	return leaksIn(file, withoutCertificates(string(data)), 0)
}

var (
	certificateForm = regexp.MustCompile(`(?m)^ *-----BEGIN CERTIFICATE-----\n(?: *[A-Za-z0-9+/]+={0,2}\n)+ *-----END CERTIFICATE-----$`)
	indentForm      = regexp.MustCompile(`(?m)^ +`)
)

// withoutCertificates leaves out each certificate, which is public. One is what
// can be read as exactly that, with nothing before, between or behind.
func withoutCertificates(text string) string {
	return certificateForm.ReplaceAllStringFunc(text, func(found string) string {
		plain := indentForm.ReplaceAllString(found, "") + "\n"
		block, rest := pem.Decode([]byte(plain))
		if block == nil || len(rest) > 0 || string(pem.EncodeToMemory(block)) != plain {
			return found
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return found
		}
		return ""
	})
}

// tokenForms are the official patterns of Yandex Cloud's credentials (its
// security standard, 1.6), and what holds a secret whatever it looks like.
var tokenForms = []struct {
	kind string
	re   *regexp.Regexp
}{
	{"PEM", regexp.MustCompile(`-----BEGIN [A-Z0-9 ]+-----`)},
	{"cookie", regexp.MustCompile(`c1\.[A-Z0-9a-z_-]+[=]{0,2}\.[A-Z0-9a-z_-]{86}[=]{0,2}`)},
	{"IAM token", regexp.MustCompile(`t1\.[A-Z0-9a-z_-]+[=]{0,2}\.[A-Z0-9a-z_-]{86}[=]{0,2}`)},
	{"API key", regexp.MustCompile(`AQVN[A-Za-z0-9_\-]{35,38}`)},
	{"OAuth token", regexp.MustCompile(`y[0-6]_[-_A-Za-z0-9]{55}`)},
	{"static key", regexp.MustCompile(`YC[a-zA-Z0-9_\-]{38}`)},
	{"password in a URL", regexp.MustCompile(`://[^/\s:@]+:[^/\s:@]+@`)},
}

var (
	encodedForm = regexp.MustCompile(`[A-Za-z0-9+/]{24,}={0,2}`)
	wordForm    = regexp.MustCompile(`[A-Za-z0-9]{20,}`)
	longForm    = regexp.MustCompile(`[A-Za-z0-9+/_-]{40,}={0,2}`)
)

func leaksIn(file, text string, depth int) (found []string) {
	for _, f := range tokenForms {
		if f.re.MatchString(text) {
			found = append(found, fmt.Sprintf("%s: %s", file, f.kind))
		}
	}
	for line := range strings.Lines(text) {
		// What is readable after decoding is looked at then, and not as it is.
		line = encodedForm.ReplaceAllStringFunc(line, func(word string) string {
			plain, ok := decode(word)
			if !ok || depth > 3 {
				return word
			}
			found = append(found, leaksIn(file+" (decoded)", plain, depth+1)...)
			return ""
		})
		words := wordForm.FindAllString(line, -1)
		for _, word := range longForm.FindAllString(line, -1) {
			if entropy(word) >= 4.7 && strings.ContainsAny(word, "0123456789") {
				words = append(words, word)
			}
		}
		for _, word := range words {
			digits := strings.ContainsAny(word, "0123456789") && strings.ContainsFunc(word, unicode.IsLetter)
			if e := entropy(word); (digits && e >= 3.2 || e >= 4.3) && !known(file, line, word) {
				found = append(found, fmt.Sprintf("%s: random word (%.1f bits a character) %.6s…", file, e, word))
			}
		}
	}
	return found
}

func known(file, line, word string) bool {
	return slices.ContainsFunc(harmlessOnes(), func(h harmless) bool {
		return h.match(file, line, word)
	})
}

func (h harmless) match(file, line, word string) bool {
	fits, err := path.Match(h.file, file)
	return err == nil && fits && strings.Contains(line, h.line) && h.word.MatchString(word)
}

// decode gives the text that base64 stands for, compressed or not.
func decode(word string) (string, bool) {
	data, err := base64.StdEncoding.DecodeString(word)
	if err != nil {
		return "", false
	}
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		r, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return "", false
		}
		if data, err = io.ReadAll(io.LimitReader(r, 1<<20)); err != nil {
			return "", false
		}
	}
	plain := utf8.Valid(data) && bytes.IndexFunc(data, func(r rune) bool {
		return !unicode.IsPrint(r) && r != '\n' && r != '\t'
	}) < 0
	return string(data), plain
}

// entropy is Shannon's, in bits a character.
func entropy(s string) (bits float64) {
	count := map[rune]float64{}
	for _, r := range s {
		count[r]++
	}
	n := float64(utf8.RuneCountInString(s))
	for _, c := range count {
		bits -= c / n * math.Log2(c/n)
	}
	return bits
}

func scannedTrees(t *testing.T) map[role.Builder]tree.Tree {
	t.Helper()
	trees := map[role.Builder]tree.Tree{}
	for _, b := range []role.Builder{role.Yandex, role.QEMU, role.SSH} {
		c := demo.Read(t, reference())
		c.Images.Builder = b
		trees[b] = demo.Files(t, c)
	}
	return trees
}

func TestNoSecretIsWritten(t *testing.T) {
	unused := map[string]bool{}
	for _, h := range harmlessOnes() {
		unused[h.reason] = true
	}
	for b, files := range scannedTrees(t) {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			for _, leak := range leaks(name, files[name].Data) {
				t.Errorf("builder %s: %s", b, leak)
			}
			for line := range strings.Lines(string(files[name].Data)) {
				for _, word := range wordForm.FindAllString(line, -1) {
					for _, h := range harmlessOnes() {
						if h.match(name, line, word) {
							delete(unused, h.reason)
						}
					}
				}
			}
		}
		// The tree adds it when it is written: sums of everything above.
		sum := regexp.MustCompile(`^[0-9a-f]{64}  [^ ].*\n$`)
		for line := range strings.Lines(string(files.Sums())) {
			if !sum.MatchString(line) {
				t.Errorf("builder %s: SHA256SUMS has more than sums: %q", b, line)
			}
		}
	}
	for reason := range unused {
		t.Errorf("nothing is there any more that is harmless as %s", reason)
	}
}

// TestLeaks plants secrets, and what only looks like them.
func TestLeaks(t *testing.T) {
	const random = "k3Jx9QmZ2vT7wLpR8sBnYd4H"
	key := notAKey()
	iam := "t1.9euelZqLnZ." + strings.Repeat("aZ09_-", 14) + "aZ"
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write([]byte("key: " + iam)); err != nil {
		t.Fatal(err)
	}
	testkit.OK(t, w.Close())
	// A file with a '$' is written as base64.
	files := []cloudinit.File{{Path: "/etc/x", Data: []byte("$\n" + key)}}
	userData, err := cloudinit.UserData(files)
	if err != nil || bytes.Contains(userData, []byte("BEGIN")) {
		t.Fatalf("not what this test is about: %s (%v)", userData, err)
	}
	certificate := string(demo.Cluster(t).Secrets.CA)
	indented := "x: |\n  " + strings.ReplaceAll(certificate, "\n", "\n  ")
	sum := "3f6b48d8c2844699f2b19c1880508ecf63e1489769ed37ebb97495d5cd848a89"
	tests := []struct{ name, file, text, want string }{
		{"private key", "a", "x: |\n  " + key, "a: PEM"},
		{"start of a certificate", "a", "-----BEGIN CERTIFICATE-----\n", "a: PEM"},
		{"key that says it is a certificate", "a", strings.ReplaceAll(key, "EC PRIVATE KEY", "CERTIFICATE"), "a: PEM"},
		{"key behind a certificate", "a", indented + key, "a: PEM"},
		{"key before a certificate", "a", key + certificate, "a: PEM"},
		{"word behind a certificate", "a", indented + "\npassword: " + random, "a: random word (4.6 bits a character) k3Jx9Q…"},
		{"word in a certificate", "a", strings.Replace(certificate, "\n", "\n"+random+"\n", 1), "a: PEM"},
		{"certificate without its end", "a", certificate[:len(certificate)-20], "a: PEM"},
		{"IAM token", "a", "token=" + iam, "a: IAM token"},
		{"cookie", "a", "c1" + iam[2:], "a: cookie"},
		{"API key", "a", "AQVN" + strings.Repeat("abc-", 9), "a: API key"},
		{"OAuth token", "a", "y0_" + strings.Repeat("Ab_-c", 11), "a: OAuth token"},
		{"static key", "a", "YC" + strings.Repeat("ab", 19), "a: static key"},
		{"password in a URL", "a", "dsn: postgres://app:hunter2@db/app", "a: password in a URL"},
		{"random word", "a", "password: " + random, "a: random word (4.6 bits a character) k3Jx9Q…"},
		{"base32", "a", "PGPASSWORD='OXQ3H7V2KZ4MTC5RWLNE6YJABD'", "a: random word (4.7 bits a character) OXQ3H7…"},
		{"base64 for URLs", "a", "token: k3Jx9QmZ2vT7-wLpR8sBnYd4H_aC6eFgUiXoM1b-NzK5qSyWtV0",
			"a: random word (5.6 bits a character) k3Jx9Q…"},
		{"checksum that nobody knows", "a", sum, "a: random word (3.8 bits a character) 3f6b48…"},
		{"checksum in another file", "packer/etcd/bake.sh", `"ETCD_SHA256": "` + sum + `"`, "packer/etcd/bake.sh: random word (3.8 bits a character) 3f6b48…"},
		{"another value in the checksum's file", "packer/etcd/image.auto.pkrvars.json", `"ETCD_TOKEN": "` + sum + `"`,
			"packer/etcd/image.auto.pkrvars.json: random word (3.8 bits a character) 3f6b48…"},
		{"in user-data", "user-data/etcd.yaml", string(userData), "user-data/etcd.yaml (decoded): PEM"},
		{"encoded twice", "a", base64.StdEncoding.EncodeToString([]byte("x " + base64.StdEncoding.EncodeToString([]byte("password: "+random)))),
			"a (decoded) (decoded): random word (4.6 bits a character) k3Jx9Q…"},
		{"compressed and encoded", "a", base64.StdEncoding.EncodeToString(zipped.Bytes()), "a (decoded): IAM token"},

		{"known checksum", "packer/etcd/image.auto.pkrvars.json", `"ETCD_SHA256": "` + sum + `"`, ""},
		{"certificate", "a", certificate, ""},
		{"certificates, indented", "a", indented + "\n" + indented, ""},
		{"directive of systemd", "a", "SystemCallArchitectures=native RestrictAddressFamilies=AF_INET", ""},
		{"long path", "a", "/usr/lib/systemd/system/etcd.service.d/pgha-boot-2.conf", ""},
		{"encoded text", "a", base64.StdEncoding.EncodeToString([]byte("a pg_hba line with $user in it")), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := leaks(test.file, []byte(test.text))
			if test.want == "" {
				if diff := cmp.Diff([]string(nil), got); diff != "" {
					t.Errorf("found where nothing is (-want +got):\n%s", diff)
				}
				return
			}
			if !slices.Contains(got, test.want) {
				t.Errorf("got %q, want %q among them", got, test.want)
			}
		})
	}
}
