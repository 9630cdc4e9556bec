package cloud_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloud"
)

// backrest is pgBackRest with a repository in the bucket backup, encrypted, by
// an ephemeral key.
type backrest struct {
	t          *testing.T
	config     string
	passphrase string
}

func (b backrest) run(stdin []byte, arguments ...string) (string, error) {
	b.t.Helper()
	command := exec.CommandContext(b.t.Context(), "pgbackrest", append([]string{"--config=" + b.config}, arguments...)...)
	command.Env = append(os.Environ(), "PGBACKREST_REPO1_CIPHER_PASS="+b.passphrase)
	command.Stdin = bytes.NewReader(stdin)
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	if err := command.Run(); err != nil {
		return out.String(), fmt.Errorf("%w: %s%s", err, out.String(), problems.String())
	}
	return out.String(), nil
}

func (b backrest) must(stdin []byte, arguments ...string) string {
	b.t.Helper()
	out, err := b.run(stdin, arguments...)
	if err != nil {
		b.t.Fatalf("pgbackrest %s: %v", strings.Join(arguments, " "), err)
	}
	return out
}

func newBackrest(t *testing.T, c *cloud.Cloud, k key) backrest {
	t.Helper()
	testkit.Need(t, "pgbackrest")
	server := httptest.NewTLSServer(c.Storage())
	t.Cleanup(server.Close)
	dir := t.TempDir()
	config := filepath.Join(dir, "pgbackrest.conf")
	testkit.OK(t, os.WriteFile(config, fmt.Appendf(nil, `# 2.45 finds no address in a certificate.
[global]
repo1-type=s3
repo1-path=/demo
repo1-s3-bucket=backup
repo1-s3-endpoint=%s
repo1-s3-region=ru-central1
repo1-s3-uri-style=path
repo1-s3-key=%s
repo1-s3-key-secret=%s
repo1-s3-token=%s
repo1-cipher-type=aes-256-cbc
repo1-storage-verify-tls=n
io-timeout=10
log-level-console=error
log-level-file=off
lock-path=%s
`, strings.TrimPrefix(server.URL, "https://"), k.ID, k.Secret, k.Session, dir), 0o600))
	return backrest{t, config, "a pass phrase"}
}

// The program that will archive and back up signs otherwise than curl, writes
// large objects in parts, and deletes many at once.
func TestPgBackRest(t *testing.T) {
	c, faults, client := newStorage(t, hostClock().Now)
	b := newBackrest(t, c, client.key)

	large := make([]byte, 12<<20) // three parts
	r := rand.NewChaCha8([32]byte{})
	r.Read(large)
	b.must(large, "repo-put", "backup/demo/backup.info")
	for i := range 5 {
		b.must([]byte("WAL"), "repo-put", fmt.Sprintf("archive/demo-1/18-1/%024d", i))
	}
	if got := b.must(nil, "repo-get", "backup/demo/backup.info"); got != string(large) {
		t.Errorf("of %d bytes came back %d, or others", len(large), len(got))
	}
	if got := b.must(nil, "repo-ls", "archive/demo-1/18-1"); strings.Count(got, "\n") != 5 {
		t.Errorf("list %q, want five files", got)
	}
	if a := client.get("/backup/demo/backup/demo/backup.info"); a.Status != 200 || strings.Contains(a.Body, string(large[:64])) {
		t.Errorf("in the bucket: status %d, or it is not encrypted", a.Status)
	}

	other := b
	other.passphrase = "another"
	if got, err := other.run(nil, "repo-get", "backup/demo/backup.info"); err == nil && got == string(large) {
		t.Error("another pass phrase reads it, too")
	}
	if err := c.CorruptObject("backup", "demo/backup/demo/backup.info"); err != nil {
		t.Fatal(err)
	}
	if got, err := b.run(nil, "repo-get", "backup/demo/backup.info"); err == nil && got == string(large) {
		t.Error("a corrupt object reads as it was")
	}
	if err := faults.Set(cloud.StorageService, cloud.Fault{Status: 403}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.run(nil, "repo-ls", "archive"); err == nil || !strings.Contains(err.Error(), "403 (Forbidden)") {
		t.Errorf("forbidden: error %v, want 403", err)
	}
	if err := faults.Set(cloud.StorageService, cloud.Fault{}); err != nil {
		t.Fatal(err)
	}
	b.must(nil, "repo-rm", "--recurse", "archive")
	if left, err := c.Objects("backup"); err != nil || len(left) != 1 {
		t.Errorf("left are %q, error %v, want the one outside of archive", left, err)
	}
}

// What is wrong with a bucket, as the real pgBackRest says it, is one sentence by the
// program that the Patroni machines have for that.
func TestPgBackRestComplains(t *testing.T) {
	const complaint = "../../roles/patroni/rootfs/usr/lib/pgha/complaint.py"
	c, faults, client := newStorage(t, hostClock().Now)
	good := newBackrest(t, c, client.key)
	edited := func(old, fresh string) func(*backrest) {
		return func(b *backrest) {
			text := testkit.Text(t, b.config)
			b.config = filepath.Join(t.TempDir(), "pgbackrest.conf")
			testkit.OK(t, os.WriteFile(b.config, []byte(strings.Replace(text, old, fresh, 1)), 0o600))
		}
	}
	fault := func(s cloud.Service, status int) func(*backrest) {
		return func(*backrest) { testkit.OK(t, faults.Set(s, cloud.Fault{Status: status})) }
	}
	restore := func() []string { return []string{"--pg1-path=" + t.TempDir(), "--log-level-console=warn", "restore"} }
	good.must([]byte("anything"), "repo-put", "backup/main/backup.info")
	for _, tt := range []struct {
		name      string
		spoil     func(*backrest)
		arguments []string
		want      string
	}{
		{"no right to the bucket", edited("bucket=backup", "bucket=other"), []string{"info"},
			"object storage refuses this machine: give its service account the role storage.editor on the bucket"},
		{"wrong credentials", edited("s3-key=", "s3-key=x"), []string{"info"},
			"object storage does not take this machine's key, InvalidAccessKeyId: the step storage-key says more"},
		{"no bucket", edited("bucket=backup", "bucket=none"), []string{"info"}, "the bucket is not there: create it, or correct backup.bucket"},
		{"another pass phrase", func(b *backrest) { b.passphrase = "another" }, []string{"info"},
			"what is in the bucket is encrypted with another pass phrase: take the folder of secrets with which it was made, or give backup.prefix a new folder"},
		{"a restore with another pass phrase", func(b *backrest) { b.passphrase = "another" }, restore(),
			"what is in the bucket is encrypted with another pass phrase: take the folder of secrets with which it was made, or give backup.prefix a new folder"},
		{"a restore from a folder without backups", edited("repo1-path=/demo", "repo1-path=/shop"), restore(),
			"the bucket has no backup.info in this cluster's folder: it is another one, or it was emptied"},
		{"a restore without a right", edited("bucket=backup", "bucket=other"), restore(),
			"object storage refuses this machine: give its service account the role storage.editor on the bucket"},
		{"away", fault(cloud.StorageService, 503), []string{"info"}, "object storage answers 503, and may come back by itself"},
		{"full", fault(cloud.StorageWrites, 507), []string{"repo-put", "x"}, "the bucket is full: raise its limit, or lower backup.retention"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := good
			tt.spoil(&b)
			out, err := b.run(nil, append([]string{"--stanza=main", "--io-timeout=1"}, tt.arguments...)...)
			if err != nil {
				out += err.Error()
			}
			testkit.OK(t, faults.Set(cloud.StorageService, cloud.Fault{}))
			testkit.OK(t, faults.Set(cloud.StorageWrites, cloud.Fault{}))
			said := exec.Command("python3", complaint)
			said.Stdin = strings.NewReader(out)
			got, err := said.Output()
			if err != nil || string(got) != tt.want+"\n" {
				t.Errorf("%q, %v, want %q of\n%s", got, err, tt.want, out)
			}
		})
	}
}
