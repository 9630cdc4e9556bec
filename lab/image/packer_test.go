//go:build linux

package image

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"pgha-gen/internal/testkit"
	"pgha-gen/lab/labtest"
)

func TestSentence(t *testing.T) {
	const refused = "==> pgha.null.image: bake: the disk is full\n"
	for _, tt := range []struct {
		name, reason string
		said         []string
		want         string
	}{
		{"nothing", "Packer itself may have ended", nil, ""},
		{"steps", "they are no reasons", []string{"    pgha.null.image: bake: seal the image\n"}, ""},
		{"refusal", "that is the one", []string{refused, "==> Some builds didn't complete\n"}, "bake: the disk is full"},
		{"in pieces", "a pipe gives what it has", []string{refused[:10], refused[10:30], refused[30:]}, "bake: the disk is full"},
		{"not ended", "it may go on", []string{strings.TrimSuffix(refused, "\n")}, ""},
		{"two", "the last ended it", []string{"==> pgha.null.image: bake: one\n" + refused}, "bake: the disk is full"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			s := &sentence{log: &log}
			for _, said := range tt.said {
				if _, err := s.Write([]byte(said)); err != nil {
					t.Fatal(err)
				}
			}
			if s.last != tt.want {
				t.Errorf("have %q, want %q: %s", s.last, tt.want, tt.reason)
			}
			if all := strings.Join(tt.said, ""); log.String() != all {
				t.Errorf("the log has %q, want all: %q", log.String(), all)
			}
		})
	}
}

func TestWriteKey(t *testing.T) {
	dir := t.TempDir()
	var public []string
	for _, name := range []string{"login", "host"} {
		if err := writeKey(dir, name); err != nil {
			t.Fatal(err)
		}
		text := testkit.Text(t, filepath.Join(dir, name+".pub"))
		public = append(public, text)
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("key %s: %v %v, want it to be its owner's alone", name, info, err)
		}
		private, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.ParsePrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(text, string(ssh.MarshalAuthorizedKey(signer.PublicKey()))); diff != "" {
			t.Errorf("the public key of %s, and that of its private one (-want +got):\n%s", name, diff)
		}
	}
	if public[0] == public[1] {
		t.Error("both keys are the same")
	}
	if err := writeKey(filepath.Join(dir, "nowhere"), "login"); err == nil {
		t.Error("a key in a folder that is not there is written")
	}
}

func TestPackerWithoutMachine(t *testing.T) {
	labtest.Need(t, "systemd-nspawn")
	dir := labtest.State(t)
	base, recipe := filepath.Join(dir, "base"), filepath.Join(dir, "recipe")
	write(t, filepath.Join(base, "etc/os-release"), "ID=debian\n", 0o644)
	write(t, filepath.Join(recipe, "bake.sh"), "true\n", 0o644)
	write(t, filepath.Join(dir, "common/base.sh"), "true\n", 0o644)
	c := Cache{Dir: filepath.Join(dir, "cache")}
	_, err := c.Packer(t.Context(), base, recipe, t.Output())
	if err == nil || !strings.Contains(err.Error(), "cannot start the machine to bake in: it ended at once: ") {
		t.Errorf("a base without any program: have error %v, want what its machine says", err)
	}
	if diff := cmp.Diff([]string{"lock"}, names(t, c.Dir)); diff != "" {
		t.Errorf("in the cache (-want +got):\n%s", diff)
	}
	if _, err := c.Packer(t.Context(), base, filepath.Join(dir, "nowhere"), t.Output()); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a recipe that is not there: have error %v", err)
	}
}
