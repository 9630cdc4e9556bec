package secrets_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/deploy/secrets"
	"pgha-gen/generator/role"
)

// on is a run by the user of this test.
func on(now time.Time) secrets.World {
	return secrets.World{UID: os.Getuid(), Now: now, Random: rand.Reader}
}

// made is a folder with the example's secrets.
func made(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "secrets", "demo")
	if _, err := secrets.Generate(dir, example(t), secrets.Rotation{}, on(now)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	there, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range there {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(data)
	}
	return all
}

func TestFresh(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secrets", "demo")
	w, err := secrets.Generate(dir, example(t), secrets.Rotation{}, on(now))
	if err != nil {
		t.Fatal(err)
	}
	want := &secrets.Written{
		Fresh: true,
		Files: []string{"ca.key", "ca.crt", "etcd.json", "patroni.json"},
		Push:  []secrets.Push{{Role: "etcd", File: "etcd.json"}, {Role: "patroni", File: "patroni.json"}},
	}
	w.Changes = nil
	want.Dir, want.CA = dir, files(t, dir)["ca.crt"]
	if diff := cmp.Diff(want, w); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, mode := range map[string]fs.FileMode{
		"..": 0o700, ".": 0o700, "ca.key": 0o600, "ca.crt": 0o600, "etcd.json": 0o600, "patroni.json": 0o600} {
		at, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := at.Mode().Perm(); got != mode {
			t.Errorf("%s has mode %04o, want %04o", name, got, mode)
		}
	}
	all := files(t, dir)
	if len(all) != 4 {
		t.Errorf("%d files, want 4", len(all))
	}
	// In the form of yc's --payload, and the authority's key in none of it.
	key := strings.Split(all["ca.key"], "\n")[1]
	for _, name := range []string{"etcd.json", "patroni.json"} {
		var entries []map[string]string
		if err := json.Unmarshal([]byte(all[name]), &entries); err != nil || len(entries) == 0 {
			t.Errorf("%s: %v, %d entries", name, err, len(entries))
		}
		for _, e := range entries {
			if len(e) != 2 || e["key"] == "" || e["text_value"] == "" {
				t.Errorf("%s: entry %q does not have key and text_value alone", name, e["key"])
			}
			if strings.Contains(e["text_value"], key) {
				t.Errorf("%s: entry %q is the authority's key", name, e["key"])
			}
		}
	}
}

func TestAgain(t *testing.T) {
	for _, test := range []struct {
		name, reason string
		before       func(t *testing.T, dir string)
		edits        []string
		want         *secrets.Written // but Changes
		gone         string
	}{
		{"nothing new", "byte for byte", nil, nil, &secrets.Written{}, ""},
		{"without the key", "nothing is to be signed", remove("ca.key"), nil, &secrets.Written{}, ""},
		{"half a run was left", "its files hold secrets", put(".pgha-gen-123", "x"), nil, &secrets.Written{}, ""},
		{"a node more", "a payload alone", nil, []string{pg3, pg3 + "\n      " + pg4}, &secrets.Written{
			Files: []string{"patroni.json"}, Push: []secrets.Push{{Role: "patroni", File: "patroni.json"}}}, ""},
		{"a node less", "Lockbox keeps what it is not told to forget", nil, []string{pg3, ""}, &secrets.Written{
			Files: []string{"patroni.gone.json", "patroni.json"}, Push: []secrets.Push{{Role: "patroni", File: "patroni.gone.json", Once: true}, {Role: "patroni", File: "patroni.json"}}},
			`[{"key":"demo-pg-3.node.crt"},{"key":"demo-pg-3.node.key"}]`},
		{"gone and not pushed yet", "it is said until the file is away", put("patroni.gone.json", `[{"key":"old.crt"}]`), []string{reader, writer}, &secrets.Written{
			Files: []string{"patroni.gone.json", "patroni.json"}, Push: []secrets.Push{{Role: "patroni", File: "patroni.gone.json", Once: true}, {Role: "patroni", File: "patroni.json"}}},
			`[{"key":"old.crt"},{"key":"password.app_reader"}]`},
		{"gone and back", "it must not be removed", put("patroni.gone.json", `[{"key":"password.app"}]`), nil, &secrets.Written{
			Files: []string{"patroni.gone.json"}}, ""},
		{"another role's", "nobody knows what it is", put("mysql.json", `[]`), nil, &secrets.Written{
			Warnings: []string{`"DIR/mysql.json" is read by no role of the spec (left alone)`}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := made(t)
			if test.before != nil {
				test.before(t, dir)
			}
			was := files(t, dir)
			w, err := secrets.Generate(dir, edited(t, test.edits...), secrets.Rotation{}, on(now.Add(day)))
			if err != nil {
				t.Fatal(err)
			}
			w.Changes = nil
			test.want.Dir, test.want.CA = dir, was["ca.crt"]
			for i := range w.Warnings {
				w.Warnings[i] = strings.ReplaceAll(w.Warnings[i], dir, "DIR")
			}
			if diff := cmp.Diff(test.want, w); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
			got := files(t, dir)
			for name, text := range was {
				written := slices.Contains(w.Files, name) || strings.HasPrefix(name, ".")
				if same := got[name] == text; same == written {
					t.Errorf("%s: same %v, written %v", name, same, written)
				}
			}
			if diff := cmp.Diff(test.gone, strings.Join(strings.Fields(got["patroni.gone.json"]), "")); diff != "" {
				t.Errorf("gone: %s (-want +got):\n%s", test.reason, diff)
			}
			if _, left := got[".pgha-gen-123"]; left {
				t.Error("what half a run left is still there")
			}
		})
	}
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func put(name, text string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func mode(name string, mode fs.FileMode) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
}

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
			if err := os.Symlink("etcd.json", filepath.Join(dir, "etcd.json")); err != nil {
				t.Fatal(err)
			}
		}, secrets.Rotation{}, 0, `etcd.json" is a link (move the file itself there)`},
		{"a damaged key and nothing else", "not of an interrupted run", func(t *testing.T, dir string) {
			for name := range files(t, dir) {
				remove(name)(t, dir)
			}
			put("ca.key", "hunter2")(t, dir)
		}, secrets.Rotation{}, 0, `ca.key: not one unencrypted PKCS #8 key`},
		{"a folder as a file", "not ours", func(t *testing.T, dir string) {
			remove("etcd.json")(t, dir)
			if err := os.Mkdir(filepath.Join(dir, "etcd.json"), 0o700); err != nil {
				t.Fatal(err)
			}
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
			_, err := secrets.Generate(dir, example(t), test.rotate, on(now.Add(test.later)))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q: %s", err, test.want, test.reason)
			} else if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "4242") {
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
	w, err := secrets.Generate(made(t), example(t), secrets.Rotation{}, on(now.Add(9*365*day)))
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
	_, err := secrets.Generate(dir, example(t), secrets.Rotation{Passwords: true}, on(now))
	if err == nil || !strings.Contains(err.Error(), "nothing to rotate is there") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the folder was made")
	}
}

func TestNoFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{file: "is not a folder", filepath.Join(file, "demo"): "not a directory"} {
		if _, err := secrets.Generate(dir, example(t), secrets.Rotation{}, on(now)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := secrets.Generate(filepath.Join(t.TempDir(), "demo"), example(t), secrets.Rotation{}, secrets.World{UID: os.Getuid(), Now: now, Random: broken{}}); err == nil {
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
	c, failed := example(t), 0
	for n := 0; n < 2000; n += 7 {
		if _, err := secrets.Generate(dir, c, secrets.Rotation{}, secrets.World{UID: os.Getuid(), Now: now, Random: &fewBytes{n}}); err == nil {
			break
		}
		failed++
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%d bytes of randomness: something was written", n)
		}
	}
	if failed < 10 || len(files(t, dir)) != 4 {
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
	w, err := secrets.Generate(dir, example(t), secrets.Rotation{}, on(now))
	if err != nil {
		t.Fatal(err)
	}
	want := []secrets.Change{{Role: "patroni", Entry: "demo-pg-1.node.crt", What: "renewed", Why: "it is not for a server and a client"}}
	if diff := cmp.Diff(want, w.Changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// A run that is cut off at any file leaves nothing staged, and the next run
// completes it: with the same authority, and forgetting nothing that is gone.
func TestInterrupted(t *testing.T) {
	for _, test := range []struct {
		name   string
		before bool
		c      *role.Cluster
		rotate secrets.Rotation
		steps  int
		gone   []string
	}{
		{"first run", false, example(t), secrets.Rotation{}, 4, nil},
		{"a node is replaced and all rotated", true, edited(t, pg3, pg4), secrets.Rotation{Certificates: true, Passwords: true}, 3, []string{"demo-pg-3.node.crt", "demo-pg-3.node.key"}},
	} {
		for cut := range test.steps {
			dir := filepath.Join(t.TempDir(), "demo")
			if test.before {
				dir = made(t)
			}
			n := 0
			_, err := secrets.GenerateBy(dir, test.c, test.rotate, on(now), func(staged, target string, replace bool) error {
				if n++; n > cut {
					return errors.New("power was lost")
				}
				return secrets.Place(staged, target, replace)
			})
			if err == nil || !strings.Contains(err.Error(), "power was lost (run this again)") {
				t.Fatalf("%s, cut %d: %v", test.name, cut, err)
			}
			half := files(t, dir)
			if !test.before && len(half) != cut {
				t.Errorf("%s, cut %d: %d files", test.name, cut, len(half))
			}
			for name := range half {
				if strings.HasPrefix(name, ".") {
					t.Errorf("%s, cut %d: %s was left", test.name, cut, name)
				}
			}
			if _, err := secrets.Generate(dir, test.c, secrets.Rotation{}, on(now)); err != nil {
				t.Fatalf("%s, cut %d, again: %v", test.name, cut, err)
			}
			whole := files(t, dir)
			for _, name := range []string{"ca.key", "ca.crt"} {
				if text, ok := half[name]; ok && whole[name] != text {
					t.Errorf("%s, cut %d: %s is another", test.name, cut, name)
				}
			}
			for _, key := range test.gone {
				if !strings.Contains(whole["patroni.gone.json"], key) {
					t.Errorf("%s, cut %d: Lockbox would keep %s", test.name, cut, key)
				}
			}
			if w, err := secrets.Generate(dir, test.c, secrets.Rotation{}, on(now)); err != nil || len(w.Files) > 0 {
				t.Errorf("%s, cut %d: not whole after it was run again: %v", test.name, cut, err)
			}
		}
	}
}

// Two first runs at once: one wins, the other says so and mixes nothing in.
func TestMeanwhile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	_, err := secrets.GenerateBy(dir, example(t), secrets.Rotation{}, on(now), func(staged, target string, replace bool) error {
		if err := os.WriteFile(target, []byte("of the other run"), 0o600); err != nil {
			return err
		}
		return secrets.Place(staged, target, replace)
	})
	if err == nil || !strings.Contains(err.Error(), `ca.key" has come into being meanwhile (run this again)`) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(map[string]string{"ca.key": "of the other run"}, files(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// openssl, which the machines ask, judges what is in the folder.
func TestOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no openssl")
		}
		t.Skip("no openssl: certificates are not judged by it")
	}
	dir := filepath.Join(t.TempDir(), "demo")
	if _, err := secrets.Generate(dir, example(t), secrets.Rotation{}, on(time.Now())); err != nil {
		t.Fatal(err)
	}
	scratch := t.TempDir()
	unpacked := func(name string) secrets.Payload {
		p, err := secrets.Decode([]byte(files(t, dir)[name]))
		if err != nil {
			t.Fatal(err)
		}
		for entry, text := range p {
			put(entry, text)(t, scratch)
		}
		return p
	}
	unpacked("etcd.json")
	unpacked("patroni.json")
	openssl := func(args ...string) (string, error) {
		cmd := exec.Command("openssl", args...)
		cmd.Dir = scratch
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := openssl("pkey", "-in", filepath.Join(dir, "ca.key"), "-check", "-noout"); err != nil {
		t.Errorf("ca.key: %v: %s", err, out)
	}
	for _, test := range []struct {
		name, reason string
		certificate  string
		args         []string
		good         bool
	}{
		{"server", "clients connect by address", "demo-etcd-2.server", []string{"-purpose", "sslserver", "-verify_ip", "10.128.0.11"}, true},
		{"server as client", "etcd's gateway dials with it", "demo-etcd-2.server", []string{"-purpose", "sslclient"}, true},
		{"peer by name", "without addresses", "demo-etcd-3.peer", []string{"-purpose", "sslserver", "-verify_hostname", "demo-etcd-3.ru-central1.internal"}, true},
		{"node by short name", "people type it", "demo-pg-1.node", []string{"-purpose", "sslserver", "-verify_hostname", "demo-pg-1"}, true},
		{"node on itself", "scripts on the node", "demo-pg-1.node", []string{"-purpose", "sslclient", "-verify_ip", "127.0.0.1"}, true},
		{"another's address", "a stolen key is no other node's", "demo-pg-1.node", []string{"-verify_ip", "10.128.0.22"}, false},
		{"another's name", "a stolen key is no other node's", "demo-pg-1.node", []string{"-verify_hostname", "demo-pg-2"}, false},
		{"as an authority", "it must not sign", "demo-pg-1.node", []string{"-purpose", "crlsign"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := append([]string{"verify", "-x509_strict", "-no-CApath", "-no-CAstore", "-CAfile", filepath.Join(dir, "ca.crt")}, test.args...)
			if out, err := openssl(append(args, test.certificate+".crt")...); (err == nil) != test.good {
				t.Errorf("verify: %v, want success %v: %s\n%s", err, test.good, test.reason, out)
			}
			of, err := openssl("x509", "-noout", "-pubkey", "-in", test.certificate+".crt")
			if err != nil {
				t.Fatal(of)
			}
			key, err := openssl("pkey", "-pubout", "-in", test.certificate+".key")
			if err != nil || key != of {
				t.Errorf("key: %v, want the certificate's", err)
			}
			text, err := openssl("x509", "-noout", "-ext", "extendedKeyUsage,keyUsage", "-in", test.certificate+".crt")
			if err != nil || !strings.Contains(text, "TLS Web Server Authentication, TLS Web Client Authentication") || !strings.Contains(text, "Digital Signature") {
				t.Errorf("usage: %v: %s", err, text)
			}
		})
	}
}
