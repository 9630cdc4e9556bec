package secrets_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/deploy/secrets"
	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

// on is a run by the user of this test.
func on(now time.Time) secrets.World {
	return secrets.World{UID: os.Getuid(), Now: now, Random: rand.Reader}
}

// made is a folder with the example's secrets.
func made(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "secrets", "demo")
	if _, err := secrets.Generate(dir, demo.Cluster(t), secrets.Rotation{}, on(now)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// files are those of a folder, and of the operator's in it.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, below := range []string{"", "operator"} {
		there, err := os.ReadDir(filepath.Join(dir, below))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range there {
			if name := path.Join(below, e.Name()); name != "operator" {
				all[name] = testkit.Text(t, filepath.Join(dir, name))
			}
		}
	}
	return all
}

func TestFresh(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secrets", "demo")
	w, err := secrets.Generate(dir, demo.Cluster(t), secrets.Rotation{}, on(now))
	if err != nil {
		t.Fatal(err)
	}
	want := &secrets.Written{
		Fresh: true,
		Files: []string{"ca.key", "ca.crt", "etcd.json", "patroni.json",
			"operator/ca.crt", "operator/operator.crt", "operator/operator.key", "operator/restapi.password"},
		Push: []secrets.Push{{Role: "etcd", File: "etcd.json"}, {Role: "patroni", File: "patroni.json"}},
	}
	w.Changes = nil
	want.Dir, want.CA = dir, files(t, dir)["ca.crt"]
	if diff := cmp.Diff(want, w); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, mode := range map[string]fs.FileMode{
		"..": 0o700, ".": 0o700, "ca.key": 0o600, "ca.crt": 0o600, "etcd.json": 0o600, "patroni.json": 0o600,
		"operator": 0o700, "operator/ca.crt": 0o600, "operator/operator.crt": 0o600, "operator/operator.key": 0o600, "operator/restapi.password": 0o600} {
		at, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := at.Mode().Perm(); got != mode {
			t.Errorf("%s has mode %04o, want %04o", name, got, mode)
		}
	}
	all := files(t, dir)
	if len(all) != 8 {
		t.Errorf("%d files, want 8", len(all))
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
		{"a node more", "a payload alone", nil, []string{more}, &secrets.Written{
			Files: []string{"patroni.json"}, Push: []secrets.Push{{Role: "patroni", File: "patroni.json"}}}, ""},
		{"a node less", "Lockbox keeps what it is not told to forget", nil, []string{less}, &secrets.Written{
			Files: []string{"patroni.gone.json", "patroni.json"}, Push: []secrets.Push{{Role: "patroni", File: "patroni.gone.json", Once: true}, {Role: "patroni", File: "patroni.json"}}},
			`[{"key":"demo-pg-3.node.crt"},{"key":"demo-pg-3.node.key"}]`},
		{"gone and not pushed yet", "it is said until the file is away", put("patroni.gone.json", `[{"key":"old.crt"}]`), []string{writer}, &secrets.Written{
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
			w, err := secrets.Generate(dir, demo.Cluster(t, test.edits...), secrets.Rotation{}, on(now.Add(day)))
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
		testkit.OK(t, os.Remove(filepath.Join(dir, name)))
	}
}

func put(name, text string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		testkit.OK(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
}

func mode(name string, mode fs.FileMode) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		testkit.OK(t, os.Chmod(filepath.Join(dir, name), mode))
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
		{"first run", false, demo.Cluster(t), secrets.Rotation{}, 8, nil},
		{"a node is replaced and all rotated", true, demo.Cluster(t, replaced), secrets.Rotation{Certificates: true, Passwords: true}, 6, []string{"demo-pg-3.node.crt", "demo-pg-3.node.key"}},
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
	_, err := secrets.GenerateBy(dir, demo.Cluster(t), secrets.Rotation{}, on(now), func(staged, target string, replace bool) error {
		if err := os.WriteFile(target, []byte("of the other run"), 0o600); err != nil {
			return err
		}
		return secrets.Place(staged, target, replace)
	})
	if err == nil || !strings.Contains(err.Error(), `ca.key" was made by another run meanwhile (run this again)`) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(map[string]string{"ca.key": "of the other run"}, files(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// openssl, which the machines ask, judges what is in the folder.
func TestOpenSSL(t *testing.T) {
	testkit.Need(t, "openssl")
	dir := filepath.Join(t.TempDir(), "demo")
	if _, err := secrets.Generate(dir, demo.Cluster(t), secrets.Rotation{}, on(time.Now())); err != nil {
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

func TestLoad(t *testing.T) {
	c, dir := demo.Cluster(t), made(t)
	kept, err := secrets.Load(dir, c, on(now))
	if err != nil {
		t.Fatal(err)
	}
	if got := kept.CA.Certificate(); got != files(t, dir)["ca.crt"] {
		t.Errorf("the authority is %q", got)
	}
	all, changes, err := kept.CA.Update(c, kept.Payloads, secrets.Rotation{}, now)
	if err != nil || len(changes) > 0 {
		t.Errorf("an update of what was just made: %v, %v, want nothing to do", changes, err)
	}
	if diff := cmp.Diff(kept.Payloads, all); diff != "" {
		t.Error(diff)
	}
	if kept.Operator["operator.crt"] != files(t, dir)["operator/operator.crt"] {
		t.Error("the operator's certificate is another one")
	}
	testkit.OK(t, os.WriteFile(filepath.Join(dir, "etcd.gone.json"), []byte(`[{"key": "old.crt"}]`), 0o600))
	kept, err = secrets.Load(dir, c, on(now))
	testkit.OK(t, err)
	if diff := cmp.Diff(map[string][]string{"etcd": {"old.crt"}}, kept.Gone); diff != "" {
		t.Error(diff)
	}
	for range 2 { // as often as one likes
		testkit.OK(t, secrets.Forgotten(dir, "etcd"))
	}
	kept, err = secrets.Load(dir, c, on(now))
	testkit.OK(t, err)
	if len(kept.Gone) > 0 {
		t.Errorf("still to be forgotten: %v", kept.Gone)
	}
	if _, err := secrets.Load(t.TempDir(), c, on(now)); err == nil {
		t.Error("a folder without an authority is taken")
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.Load(dir, c, on(now)); err == nil {
		t.Error("a folder that all can read is taken")
	}
}
