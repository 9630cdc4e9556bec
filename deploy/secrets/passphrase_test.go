package secrets_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgha-gen/deploy/secrets"
	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

const (
	withBucket = `  bucket: "" # =>  bucket: demo-backup # `
	fromShop   = `  from: "" # =>  from: shop # `
)

// The pass phrase of backups is made once. Whatever is rotated, and also if there
// are no backups any more, it stays: without it, what is there cannot be read.
func TestPassphrase(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secrets", "demo")
	none, backs := demo.Cluster(t), demo.Cluster(t, withBucket)
	read := func(c *role.Cluster) string {
		t.Helper()
		kept, err := secrets.Load(dir, c, on(now))
		testkit.OK(t, err)
		return kept.Payloads["patroni"]["backup.passphrase"]
	}
	generate := func(c *role.Cluster, r secrets.Rotation) *secrets.Written {
		t.Helper()
		w, err := secrets.Generate(dir, c, r, on(now))
		testkit.OK(t, err)
		return w
	}
	generate(none, secrets.Rotation{})
	if got := read(none); got != "" {
		t.Error("a pass phrase without backups")
	}
	w := generate(backs, secrets.Rotation{})
	first := read(backs)
	if len(first) != 32 || len(w.Changes) != 1 || w.Changes[0].String() != "patroni: made backup.passphrase" {
		t.Errorf("%d characters, changes %v", len(first), w.Changes)
	}
	generate(backs, secrets.Rotation{Passwords: true})
	w = generate(none, secrets.Rotation{})
	if read(none) != first {
		t.Error("it is not the first one any more")
	}
	if len(w.Files) != 0 || len(w.Push) != 0 {
		t.Errorf("without backups: wrote %v, pushes %v; want nothing", w.Files, w.Push)
	}
}

// A cluster that is founded from backups of another one has that one's pass
// phrase, from the folder beside its own.
func TestPassphraseOfAnother(t *testing.T) {
	above := filepath.Join(t.TempDir(), "secrets")
	shop := demo.Cluster(t, withBucket, "name: demo # required=>name: shop # required")
	demo := demo.Cluster(t, withBucket, fromShop)
	generate := func(c *role.Cluster) error {
		_, err := secrets.Generate(filepath.Join(above, c.Name), c, secrets.Rotation{}, on(now))
		return err
	}
	refused := func(want string) {
		t.Helper()
		if err := generate(demo); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	refused(`entry restore.passphrase is missing: it is backup.passphrase of cluster "shop" (keep the folder of that cluster's secrets beside this one's)`)
	testkit.OK(t, generate(shop))
	file := filepath.Join(above, "shop", "patroni.json")
	good, err := os.ReadFile(file)
	testkit.OK(t, err)
	testkit.OK(t, os.WriteFile(file, []byte(strings.Replace(string(good), "backup.passphrase", "other.passphrase", 1)), 0o600))
	refused(`patroni.json" has no entry backup.passphrase, by which the backups of cluster "shop" are encrypted`)
	testkit.OK(t, os.WriteFile(file, []byte("{"), 0o600))
	refused(`patroni.json": not a payload`)
	testkit.OK(t, os.WriteFile(file, good, 0o644))
	testkit.OK(t, os.Chmod(file, 0o644))
	refused(`patroni.json" is open to others, mode 0644`)
	testkit.OK(t, os.Chmod(file, 0o600))
	testkit.OK(t, generate(demo))

	kept, err := secrets.Load(filepath.Join(above, "demo"), demo, on(now))
	testkit.OK(t, err)
	of, err := secrets.Load(filepath.Join(above, "shop"), shop, on(now))
	testkit.OK(t, err)
	if got, want := kept.Payloads["patroni"]["restore.passphrase"], of.Payloads["patroni"]["backup.passphrase"]; got != want || got == "" {
		t.Error("it is not the other cluster's")
	}
	if kept.Payloads["patroni"]["backup.passphrase"] == of.Payloads["patroni"]["backup.passphrase"] {
		t.Error("its own backups are encrypted by the other cluster's")
	}
	testkit.OK(t, os.RemoveAll(filepath.Join(above, "shop")))
	testkit.OK(t, generate(demo)) // it has it now
}
