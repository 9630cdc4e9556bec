package secrets_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
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

func TestRefused(t *testing.T) {
	other := files(t, made(t))
	leaf := func(t *testing.T, dir string) {
		p, err := secrets.Decode([]byte(files(t, dir)["patroni.json"]))
		if err != nil {
			t.Fatal(err)
		}
		put("ca.crt", p["demo-pg-1.node.crt"])(t, dir)
	}
	// Of an authority of the same name, signed by another.
	crossSigned := func(t *testing.T, dir string) {
		pair, err := tls.X509KeyPair([]byte(other["ca.crt"]), []byte(other["ca.key"]))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode([]byte(files(t, dir)["ca.crt"]))
		own, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificate(rand.Reader, own, pair.Leaf, own.PublicKey, pair.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		put("ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))(t, dir)
	}
	tests := []struct {
		name, reason string
		damage       func(t *testing.T, dir string)
		rotate       secrets.Rotation
		later        time.Duration
		want         string
	}{
		{"folder open to others", "they could read it", mode(".", 0o750), secrets.Rotation{}, 0, `is open to others, mode 0750 (if only secrets are in it, chmod 700`},
		{"key open to others", "they may have read it", mode("ca.key", 0o640), secrets.Rotation{}, 0, `ca.key" is open to others, mode 0640 (chmod 600`},
		{"payload open to others", "they may have read it", mode("etcd.json", 0o604), secrets.Rotation{}, 0, `etcd.json" is open to others, mode 0604`},
		{"payload cut off", "damaged", put("patroni.json", "[\n{\"key\": \"password.app\", \"text_value\": \"hunter2"), secrets.Rotation{}, 0, `patroni.json": not a payload (want a JSON array`},
		{"payload mistyped", "the line is said, not what is in it", put("patroni.json", "[\n{\"key\": \"password.app\", \"text_value\": hunter2}]"), secrets.Rotation{}, 0, `patroni.json": not a payload in line 2 (`},
		{"number", "not text", put("patroni.json", `[{"key": "password.app", "text_value": 4242424242}]`), secrets.Rotation{}, 0, `patroni.json": not a payload in line 1 (`},
		{"no such key", "yc would not know it", put("patroni.json", `[{"key": "password.app", "hunter2": "x"}]`), secrets.Rotation{}, 0, `patroni.json": not a payload (`},
		{"two arrays", "one would be lost", put("patroni.json", `[] []`), secrets.Rotation{}, 0, `patroni.json": not a payload (`},
		{"null", "no array", put("patroni.json", `null`), secrets.Rotation{}, 0, `patroni.json": not a payload (`},
		{"no key", "no entry", put("patroni.json", `[{"text_value": "hunter2"}]`), secrets.Rotation{}, 0, `patroni.json": not a payload (`},
		{"not UTF-8", "it would be another password", put("patroni.json", "[{\"key\": \"password.app\", \"text_value\": \"\xff\"}]"), secrets.Rotation{}, 0, `patroni.json": not a payload (`},
		{"empty", "damaged", put("patroni.json", ""), secrets.Rotation{}, 0, `patroni.json": not a payload (`},
		{"an entry twice", "which one?", put("patroni.json", `[{"key": "password.app", "text_value": "hunter2"}, {"key": "password.app", "text_value": "hunter2"}]`), secrets.Rotation{}, 0, `patroni.json": entry "password.app" is there twice`},
		{"no text", "no password", put("patroni.json", `[{"key": "password.app", "text_value": ""}]`), secrets.Rotation{}, 0, `patroni.json": entry "password.app" has no text_value (remove`},
		{"gone with a text", "it would be put there", put("etcd.gone.json", `[{"key": "a", "text_value": "hunter2"}]`), secrets.Rotation{}, 0, `etcd.gone.json": entry "a" has a text_value`},
		{"gone damaged", "damaged", put("etcd.gone.json", `[`), secrets.Rotation{}, 0, `etcd.gone.json": not a payload`},
		{"no certificate", "the authority cannot be made again", remove("ca.crt"), secrets.Rotation{}, 0, `there are payloads or keys, but no ca.crt (bring it back`},
		{"a certificate that is none", "damaged", put("ca.crt", "hello"), secrets.Rotation{}, 0, `ca.crt: not the certificates of authorities in PEM (bring`},
		{"a certificate twice", "there is no new one", put("ca.crt", other["ca.crt"]+other["ca.crt"]), secrets.Rotation{}, 0, `ca.crt: 2 certificates (want one, or the old and the new authority's in this order; bring`},
		{"three certificates", "which one signs?", put("ca.crt", other["ca.crt"]+other["ca.crt"]+other["ca.crt"]), secrets.Rotation{}, 0, `ca.crt: 3 certificates (want one`},
		{"not signed by itself", "somebody else could replace it", crossSigned, secrets.Rotation{}, 0, `ca.crt: not the certificate of an authority that signed itself`},
		{"a node's certificate", "no authority", leaf, secrets.Rotation{}, 0, `ca.crt: not the certificates of authorities in PEM (bring`},
		{"the key of another", "nobody trusts it", put("ca.key", other["ca.key"]), secrets.Rotation{}, 0, `ca.key: not the key of ca.crt`},
		{"a key that is none", "damaged", put("ca.key", "hunter2"), secrets.Rotation{}, 0, `ca.key: not one unencrypted PKCS #8 key`},
		{"no key of that form", "damaged", put("ca.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("hello")}))), secrets.Rotation{}, 0, `ca.key: not one unencrypted PKCS #8 key`},
		{"ended", "nobody trusts it", nil, secrets.Rotation{}, 10*365*day + time.Hour, `ca.crt: the authority ended on 2039-12-31 (nobody trusts it any more; make another in another folder: -o)`},
		{"no key to sign with", "it is kept off-line", remove("ca.key"), secrets.Rotation{Certificates: true}, 0, `etcd: entry demo-etcd-1.server.crt: ca.key is not there`},
		{"damaged entry", "as Update has it", put("patroni.json", `[{"key": "ca.crt", "text_value": "hunter2"}]`), secrets.Rotation{}, 0, `patroni: entry ca.crt is not the authority`},
		{"a link", "who made it chose what it leads to", func(t *testing.T, dir string) {
			remove("etcd.json")(t, dir)
			testkit.OK(t, os.Symlink("etcd.json", filepath.Join(dir, "etcd.json")))
		}, secrets.Rotation{}, 0, `etcd.json" is a link (move the file itself there)`},
		{"a damaged key and nothing else", "not of an interrupted run", func(t *testing.T, dir string) {
			for name := range files(t, dir) {
				remove(name)(t, dir)
			}
			put("ca.key", "hunter2")(t, dir)
		}, secrets.Rotation{}, 0, `ca.key: not one unencrypted PKCS #8 key`},
		{"a folder as a file", "not ours", func(t *testing.T, dir string) {
			remove("etcd.json")(t, dir)
			testkit.OK(t, os.Mkdir(filepath.Join(dir, "etcd.json"), 0o700))
			put("etcd.json/x", "x")(t, dir)
		}, secrets.Rotation{}, 0, `etcd.json" is not a file`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := made(t)
			if test.damage != nil {
				test.damage(t, dir)
			}
			was := snapshot(t, dir)
			_, err := secrets.Generate(dir, demo.Cluster(t), test.rotate, on(now.Add(test.later)))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q: %s", err, test.want, test.reason)
			} else if said := strings.ReplaceAll(err.Error(), dir, ""); strings.Contains(said, "hunter2") || strings.Contains(said, "4242") {
				t.Errorf("a secret is in %q", err)
			}
			if diff := cmp.Diff(was, snapshot(t, dir)); diff != "" {
				t.Errorf("the folder changed (-want +got):\n%s", diff)
			}
		})
	}
}

// snapshot is all that is in a folder, by path, with its mode.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		all[name] = info.Mode().String() + info.ModTime().String()
		if d.Type().IsRegular() {
			data, err := os.ReadFile(name)
			all[name] += string(data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAuthorityEndsSoon(t *testing.T) {
	w, err := secrets.Generate(made(t), demo.Cluster(t), secrets.Rotation{}, on(now.Add(9*365*day)))
	if err != nil {
		t.Fatal(err)
	}
	if len(w.Warnings) != 1 || !strings.Contains(w.Warnings[0], "the authority in ca.crt ends on 2039-12-31, and no certificate outlives it (replace it before: --rotate authority)") {
		t.Errorf("got %q, want a warning about the authority", w.Warnings)
	}
	if got := w.Changes[0].String(); got != "etcd: renewed demo-etcd-1.server.crt (it ended on 2032-01-02)" {
		t.Errorf("first change %q, want the renewal of what ended", got)
	}
}

func TestNothingToRotate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	_, err := secrets.Generate(dir, demo.Cluster(t), secrets.Rotation{Passwords: true}, on(now))
	if err == nil || !strings.Contains(err.Error(), "there is nothing to rotate") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the folder was made")
	}
}

func TestNoFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	testkit.OK(t, os.WriteFile(file, nil, 0o600))
	for dir, want := range map[string]string{file: "is not a folder", filepath.Join(file, "demo"): "not a directory"} {
		if _, err := secrets.Generate(dir, demo.Cluster(t), secrets.Rotation{}, on(now)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := secrets.Generate(filepath.Join(t.TempDir(), "demo"), demo.Cluster(t), secrets.Rotation{}, secrets.World{UID: os.Getuid(), Now: now, Random: broken{}}); err == nil {
		t.Error("secrets without randomness")
	}
}

// fewBytes gives so many bytes and no more.
type fewBytes struct{ left int }

func (r *fewBytes) Read(p []byte) (int, error) {
	if r.left < len(p) {
		return 0, errors.New("no randomness")
	}
	r.left -= len(p)
	return rand.Read(p)
}

// Wherever the randomness ends, nothing is written.
func TestRandomnessEnds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	c, failed := demo.Cluster(t), 0
	for n := 0; n < 2000; n += 7 {
		if _, err := secrets.Generate(dir, c, secrets.Rotation{}, secrets.World{UID: os.Getuid(), Now: now, Random: &fewBytes{n}}); err == nil {
			break
		}
		failed++
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%d bytes of randomness: something was written", n)
		}
	}
	if failed < 10 || len(files(t, dir)) != 8 {
		t.Errorf("failed %d times, then wrote %d files", failed, len(files(t, dir)))
	}
}

// A certificate as an earlier authority's owner may have made it by hand.
func TestOtherUsage(t *testing.T) {
	dir := made(t)
	all := files(t, dir)
	pair, err := tls.X509KeyPair([]byte(all["ca.crt"]), []byte(all["ca.key"]))
	if err != nil {
		t.Fatal(err)
	}
	p, err := secrets.Decode([]byte(all["patroni.json"]))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(p["demo-pg-1.node.crt"]))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	leaf.ExtKeyUsage = leaf.ExtKeyUsage[:1]
	der, err := x509.CreateCertificate(rand.Reader, leaf, pair.Leaf, leaf.PublicKey, pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	p["demo-pg-1.node.crt"] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	text, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	put("patroni.json", string(text))(t, dir)
	w, err := secrets.Generate(dir, demo.Cluster(t), secrets.Rotation{}, on(now))
	if err != nil {
		t.Fatal(err)
	}
	want := []secrets.Change{{Role: "patroni", Entry: "demo-pg-1.node.crt", What: "renewed", Why: "its key usages are not those that it needs"}}
	if diff := cmp.Diff(want, w.Changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}
