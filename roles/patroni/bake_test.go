package patroni_test

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
)

// function is one of bake.sh.
func function(t *testing.T, name string) string {
	t.Helper()
	script := testkit.Text(t, "bake.sh")
	_, body, ok := strings.Cut(script, "\n"+name+"() {\n")
	body, _, end := strings.Cut(body, "\n}\n")
	if !ok || !end {
		t.Fatalf("bake.sh has no function %s: this test needs it", name)
	}
	return name + "() {\n" + body + "\n}\n"
}

// armored is a key file with these packets, as gpg writes it.
func armored(packets []byte) string {
	text := base64.StdEncoding.EncodeToString(packets)
	var lines []string
	for len(text) > 64 {
		lines, text = append(lines, text[:64]), text[64:]
	}
	return "-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: a test's\n\n" + strings.Join(append(lines, text), "\n") +
		"\n=AbCd\n-----END PGP PUBLIC KEY BLOCK-----\n"
}

func TestUsePGDG(t *testing.T) {
	testkit.Need(t, "sh", "awk", "base64", "sha1sum", "od")
	// A public key packet of 271 bytes, and the packets that follow it in a file.
	packet := append([]byte{0x99, 0x01, 0x0f, 4}, make([]byte, 270)...)
	for i := range packet[4:] {
		packet[4+i] = byte(i * 7)
	}
	sum := sha1.Sum(packet)
	good := hex.EncodeToString(sum[:])
	key := armored(append(packet, 0xb4, 3, 'p', 'g', 'd'))
	stranger := armored(append([]byte{0x99, 0, 2, 4, 5}, packet...))
	strangers := sha1.Sum([]byte{0x99, 0, 2, 4, 5})

	source := func(uri string) string {
		return "Types: deb\nURIs: " + uri + "\nSuites: noble-pgdg\nComponents: main\nSigned-By: KEY\n"
	}
	tests := []struct {
		name, reason, key string
		env               []string
		status            int
		said, source      string
	}{
		{"own place", "the project's own repository", key, []string{"APT_MIRROR="}, 0,
			"refresh SOURCES\n", source("https://apt.postgresql.org/pub/repos/apt")},
		{"mirror", "the key is the same wherever it comes from", key, []string{"APT_MIRROR=http://mirror.example/pgdg"}, 0,
			"refresh SOURCES\n", source("http://mirror.example/pgdg")},
		{"stranger", "the first key of the file counts, not any", stranger, nil, 1,
			"bake: the key in KEY has fingerprint " + hex.EncodeToString(strangers[:]) + ", but " + good + " is expected\n", ""},
		{"no key", "a file of another kind", "hello\n\nd29ybGQ=\n", nil, 1,
			"bake: the key in KEY has fingerprint none that can be read, but " + good + " is expected\n", ""},
		{"no file", "an old postgresql-common", "", nil, 1,
			"bake: the distribution's postgresql-common has no KEY: use apt_repository distribution\n", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			keyFile, sources := filepath.Join(dir, "key.asc"), filepath.Join(dir, "pgdg.sources")
			if test.key != "" {
				testkit.OK(t, os.WriteFile(keyFile, []byte(test.key), 0o600))
			}
			cmd := exec.Command("sh", "-euc", ". ../../packer/base.sh\n"+function(t, "key_fingerprint")+function(t, "use_pgdg")+
				`refresh() { echo "refresh $1"; }; VERSION_CODENAME=noble; work=$1 key=$2 sources=$3 fingerprint=$4
				use_pgdg; [ "$owned" = "$sources
" ] || echo "the image does not own $sources"`, "sh", dir, keyFile, sources, good)
			cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, test.env...)
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState == nil {
				t.Fatal(err)
			}
			names := strings.NewReplacer(keyFile, "KEY", sources, "SOURCES")
			if diff := cmp.Diff(test.said, names.Replace(string(out))); diff != "" || cmd.ProcessState.ExitCode() != test.status {
				t.Errorf("%s: status %d, want %d (-want +got):\n%s", test.reason, cmd.ProcessState.ExitCode(), test.status, diff)
			}
			written, err := os.ReadFile(sources)
			if err != nil && test.source != "" {
				t.Error(err)
			}
			if diff := cmp.Diff(test.source, names.Replace(string(written))); diff != "" {
				t.Errorf("%s: pgdg.sources (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}
