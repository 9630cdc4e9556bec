package secrets_test

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
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
	"pgha-gen/generator/specfile"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

var (
	introduce = secrets.Rotation{CA: true}
	switchAll = secrets.Rotation{Certificates: true}
	finish    = secrets.Rotation{Finish: true}
)

// run is Generate with a spec that has the authorities of the folder, and as
// many files written as are allowed.
func run(t *testing.T, dir string, c *role.Cluster, rotate secrets.Rotation, at time.Time, allowed int) (*secrets.Written, error) {
	t.Helper()
	c.Secrets.CA = specfile.Text(files(t, dir)["ca.crt"])
	return secrets.GenerateBy(dir, c, rotate, on(at), func(staged, target string, replace bool) error {
		if allowed--; allowed < 0 {
			return errors.New("power was lost")
		}
		return secrets.Place(staged, target, replace)
	})
}

const all = 1000

// at is a folder with the example's secrets after these steps.
func at(t *testing.T, steps ...secrets.Rotation) string {
	t.Helper()
	dir := made(t)
	for _, rotate := range steps {
		if _, err := run(t, dir, demo.Cluster(t), rotate, now, all); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// nodes are the certificates and the authorities of machines that have taken over
// one of these contents of a folder, and those of its operator.
func nodes(t *testing.T, contents ...map[string]string) (certificates, bundles map[string]string) {
	t.Helper()
	certificates, bundles = map[string]string{}, map[string]string{}
	for i, content := range contents {
		bundles[fmt.Sprint(i, " spec")] = content["ca.crt"] // machines without secrets
		for name, text := range content {
			switch {
			case name == "operator/ca.crt":
				bundles[fmt.Sprint(i, " operator")] = text
			case name == "operator/operator.crt":
				certificates[fmt.Sprint(i, " operator")] = text
			}
			if !strings.HasSuffix(name, ".json") || strings.HasSuffix(name, ".gone.json") {
				continue
			}
			p, err := secrets.Decode([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			for entry, text := range p {
				switch {
				case entry == "ca.crt":
					bundles[fmt.Sprint(i, " ", name)] = text
				case strings.HasSuffix(entry, ".crt"):
					certificates[fmt.Sprint(i, " ", name, " ", entry)] = text
				}
			}
		}
	}
	return certificates, bundles
}

// trust fails unless all machines trust each other, whichever of these contents
// they have taken over.
func trust(t *testing.T, what string, contents ...map[string]string) {
	t.Helper()
	certificates, bundles := nodes(t, contents...)
	if len(certificates) < 9*len(contents) || len(bundles) < 3*len(contents) {
		t.Fatalf("%s: %d certificates and %d bundles: this test sees nothing", what, len(certificates), len(bundles))
	}
	for of, bundle := range bundles {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(bundle)) {
			t.Fatalf("%s: the authorities of %s cannot be read", what, of)
		}
		for name, text := range certificates {
			if _, err := leaf(t, text).Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now.Add(time.Hour), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
				t.Errorf("%s: %s is not trusted by %s: %v", what, name, of, err)
			}
		}
	}
}

func leaf(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("not PEM")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// Through all steps, each cut off at every file: machines that have taken over what
// was before it, and what is after it, trust each other, whichever part of it they got; and the same
// command again completes it.
func TestReplace(t *testing.T) {
	dir := made(t)
	first := files(t, dir)
	for _, step := range []struct {
		name   string
		rotate secrets.Rotation
		stage  secrets.Stage
		files  []string
	}{
		{"introduce", introduce, secrets.Introduced, []string{"ca-next.key", "ca.crt", "etcd.json", "patroni.json", "operator/ca.crt"}},
		{"switch", switchAll, secrets.Switched, []string{"etcd.json", "patroni.json", "operator/operator.crt", "operator/operator.key", "ca.key", "ca-next.key"}},
		{"finish", finish, secrets.Settled, []string{"ca.crt", "etcd.json", "patroni.json", "operator/ca.crt"}},
	} {
		was := files(t, dir)
		for cut := range 7 {
			for again, rotate := range map[string]secrets.Rotation{"the same": step.rotate, "without": {}} {
				what := fmt.Sprintf("%s, cut %d, then %s", step.name, cut, again)
				copied := filepath.Join(t.TempDir(), "demo")
				testkit.OK(t, os.CopyFS(copied, os.DirFS(dir)))
				closed(t, copied)
				if _, err := run(t, copied, demo.Cluster(t), step.rotate, now, cut); err == nil {
					continue // all was written
				} else if !strings.Contains(err.Error(), "power was lost (run this again)") {
					t.Fatalf("%s: %v", what, err)
				}
				half := files(t, copied)
				trust(t, what+": half", was, half)
				w, err := run(t, copied, demo.Cluster(t), rotate, now, all)
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				// Before anything of it was there, a run without it begins nothing.
				if again == "the same" && w.Stage != step.stage {
					t.Errorf("%s: stage %d, want %d", what, w.Stage, step.stage)
				}
				if rest := files(t, copied); again == "the same" {
					trust(t, what+": whole", was, half, rest)
				} else {
					trust(t, what+": whole", half, rest)
				}
				if w, err := run(t, copied, demo.Cluster(t), secrets.Rotation{}, now, all); err != nil || len(w.Files) > 0 {
					t.Errorf("%s: not whole after it was run again: %v", what, err)
				}
			}
		}
		w, err := run(t, dir, demo.Cluster(t), step.rotate, now, all)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if diff := cmp.Diff(step.files, w.Files); diff != "" {
			t.Errorf("%s: files (-want +got):\n%s", step.name, diff)
		}
		got := files(t, dir)
		if w.Stage != step.stage || w.CA != got["ca.crt"] {
			t.Errorf("%s: stage %d, want %d; says what is in ca.crt: %v", step.name, w.Stage, step.stage, w.CA == got["ca.crt"])
		}
		trust(t, step.name, was, got)
		t.Run(step.name+" to openssl", func(t *testing.T) { byOpenSSL(t, step.name, was, got) })
		if w, err := run(t, dir, demo.Cluster(t), secrets.Rotation{}, now.Add(day), all); err != nil || len(w.Files) > 0 || w.Stage != step.stage {
			t.Errorf("%s, the day after: %v, %+v, want nothing to do", step.name, err, w)
		}
	}
	// It really is another: who knows the old one's key gets in no more.
	last := files(t, dir)
	if last["ca.key"] == first["ca.key"] || strings.Contains(last["ca.crt"], first["ca.crt"]) || strings.Count(last["ca.crt"], "BEGIN") != 1 || len(last) != len(first) {
		t.Error("the old authority is still there")
	}
	old := x509.NewCertPool()
	old.AppendCertsFromPEM([]byte(first["ca.crt"]))
	certificates, _ := nodes(t, last)
	for name, text := range certificates {
		if _, err := leaf(t, text).Verify(x509.VerifyOptions{Roots: old, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil {
			t.Errorf("%s is still the old authority's", name)
		}
	}
}

// closed makes a copied folder as Generate makes it.
func closed(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(name, 0o700)
		}
		if err == nil {
			return os.Chmod(name, 0o600)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// byOpenSSL is trust as the machines ask for it (secrets.sh).
func byOpenSSL(t *testing.T, what string, contents ...map[string]string) {
	t.Helper()
	testkit.Need(t, "openssl")
	dir := t.TempDir()
	certificates, bundles := nodes(t, contents...)
	args := []string{}
	for i, name := range slices.Sorted(maps.Keys(certificates)) {
		file := fmt.Sprint(i, ".crt")
		put(file, certificates[name])(t, dir)
		args = append(args, file)
	}
	for of, bundle := range bundles {
		put("ca.pem", bundle)(t, dir)
		cmd := exec.Command("openssl", append([]string{"verify", "-attime", fmt.Sprint(now.Add(time.Hour).Unix()), "-x509_strict", "-no-CApath", "-no-CAstore", "-CAfile", "ca.pem"}, args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil || strings.Count(string(out), ": OK") != len(args) {
			t.Errorf("%s, by %s: %v: %s", what, of, err, out)
		}
	}
}

// Machines that have not taken the new authority over yet trust only the old
// one: until the switch it signs whatever has to be signed; then the new one.
func TestSignsWhileReplaced(t *testing.T) {
	for _, test := range []struct {
		name, reason string
		steps        []secrets.Rotation
		edits        []string
		later        time.Duration
		entry        string
		old          bool // the old one signed
	}{
		{"a new node, introduced", "the others may not know the new authority", []secrets.Rotation{introduce}, []string{more}, 0, "demo-pg-4.node.crt", true},
		{"renewed, introduced", "the others may not know the new authority", []secrets.Rotation{introduce}, nil, (2*365 - 29) * day, "demo-pg-1.node.crt", true},
		{"a new node, switched", "all know the new one, and the old one is to go", []secrets.Rotation{introduce, switchAll}, []string{more}, 0, "demo-pg-4.node.crt", false},
		{"renewed, switched", "all know the new one, and the old one is to go", []secrets.Rotation{introduce, switchAll}, nil, (2*365 - 29) * day, "demo-pg-1.node.crt", false},
		{"a new node, finished", "there is one", []secrets.Rotation{introduce, switchAll, finish}, []string{more}, 0, "demo-pg-4.node.crt", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := at(t, test.steps...)
			was := files(t, dir)
			w, err := run(t, dir, demo.Cluster(t, test.edits...), secrets.Rotation{}, now.Add(test.later), all)
			if err != nil {
				t.Fatal(err)
			}
			got := files(t, dir)
			for _, name := range []string{"ca.crt", "ca.key", "ca-next.key"} {
				if got[name] != was[name] {
					t.Errorf("%s is another", name)
				}
			}
			if !slices.ContainsFunc(w.Changes, func(c secrets.Change) bool { return c.Entry == test.entry }) {
				t.Fatalf("%s did not change", test.entry)
			}
			certificates, _ := nodes(t, got)
			of := leaf(t, certificates["0 patroni.json "+test.entry]).Issuer.CommonName
			if old := of == "demo authority"; old != test.old {
				t.Errorf("signed by %q: %s", of, test.reason)
			}
			if test.later == 0 {
				trust(t, test.name, was, got)
			}
		})
	}
}

// The keys of authorities are kept elsewhere, and brought for what needs them.
func TestReplaceWithKeysAway(t *testing.T) {
	dir := made(t)
	remove("ca.key")(t, dir)
	if _, err := run(t, dir, demo.Cluster(t), introduce, now, all); err != nil {
		t.Fatalf("introduce: %v: nothing is signed with the old key", err)
	}
	if _, err := run(t, dir, demo.Cluster(t), switchAll, now, all); err != nil {
		t.Fatalf("switch: %v: nothing is signed with the old key", err)
	}
	remove("ca.key")(t, dir)
	if w, err := run(t, dir, demo.Cluster(t), secrets.Rotation{}, now, all); err != nil || w.Stage != secrets.Switched {
		t.Errorf("without keys: %v, want that the certificates tell", err)
	}
	if _, err := run(t, dir, demo.Cluster(t), finish, now, all); err != nil {
		t.Fatalf("finish: %v: nothing is signed", err)
	}
	if got := files(t, dir); strings.Count(got["ca.crt"], "BEGIN") != 1 || len(got) != 7 {
		t.Errorf("%d files, want ca.crt with one certificate, two payloads and the operator's four", len(got))
	}
}
