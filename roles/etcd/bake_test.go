package etcd_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
)

// TestFetch runs the download of bake.sh alone, against a server that is bad at
// its work.
func TestFetch(t *testing.T) {
	testkit.Need(t, "sh", "curl", "sha256sum")
	script, err := os.ReadFile("bake.sh")
	if err != nil {
		t.Fatal(err)
	}
	_, fetch, ok := strings.Cut(string(script), "\nfetch() {\n")
	fetch, _, end := strings.Cut(fetch, "\n}\n")
	if !ok || !end {
		t.Fatal("bake.sh has no function fetch: this test needs it")
	}
	const archive = "the archive"
	sum := sha256.Sum256([]byte(archive))
	good := hex.EncodeToString(sum[:])
	other := sha256.Sum256([]byte("another"))

	tests := []struct {
		name, reason string
		answers      []string // one a request; the last stays
		room         bool
		status       int
		want         string
	}{
		{"good", "the first try", []string{archive}, true, 0, ""},
		{"cut, then good", "a connection that broke", []string{"cut", archive}, true, 0,
			"bake: download it again: URL cannot be downloaded (curl: (18) MESSAGE)\n"},
		{"wrong, then good", "a proxy's error page, once", []string{"another", archive}, true, 0,
			"bake: download it again: URL has sha256 " + hex.EncodeToString(other[:]) + ", but " + good + " is expected\n"},
		{"always wrong", "it is not what was asked for", []string{"another"}, true, 1, strings.Repeat(
			"bake: download it again: URL has sha256 "+hex.EncodeToString(other[:])+", but "+good+" is expected\n", 2) +
			"trouble: URL has sha256 " + hex.EncodeToString(other[:]) + ", but " + good + " is expected\n"},
		{"not there", "curl takes no error page for the archive", []string{"404"}, true, 1, strings.Repeat(
			"bake: download it again: URL cannot be downloaded (curl: (22) MESSAGE)\n", 2) +
			"trouble: URL cannot be downloaded (curl: (22) MESSAGE)\n"},
		{"full", "no second try helps", []string{"cut"}, false, 1,
			"bake: cannot download URL: the disk is full at WORK; give the build machine a larger one\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			requests := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				answer := test.answers[min(requests, len(test.answers)-1)]
				requests++
				switch answer {
				case "cut":
					w.Header().Set("Content-Length", "100000")
					fmt.Fprint(w, "the ar")
				case "404":
					http.NotFound(w, nil)
				default:
					fmt.Fprint(w, answer)
				}
			}))
			defer server.Close()
			work := t.TempDir()
			room := "has_room() { true; }; "
			if !test.room {
				room = "has_room() { false; }; "
			}
			cmd := exec.Command("sh", "-euc", ". ../../packer/base.sh; "+room+"sleep() { :; }; fetch() {\n"+fetch+"\n}\n"+
				`work=$1; archive=$1/etcd.tar.gz; fetch "$2" || { printf 'trouble: %s\n' "$trouble"; exit 1; }`,
				"sh", work, server.URL+"/etcd.tar.gz")
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "ETCD_SHA256=" + good}
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState == nil {
				t.Fatal(err)
			}
			said := strings.NewReplacer(server.URL+"/etcd.tar.gz", "URL", work, "WORK").Replace(string(out))
			// curl's own words differ from version to version.
			var lines strings.Builder
			for line := range strings.Lines(said) {
				if before, _, found := strings.Cut(line, "(curl: ("); found {
					code, _, _ := strings.Cut(line[len(before)+len("(curl: ("):], ")")
					line = before + "(curl: (" + code + ") MESSAGE)\n"
				}
				lines.WriteString(line)
			}
			if diff := cmp.Diff(test.want, lines.String()); diff != "" || cmd.ProcessState.ExitCode() != test.status {
				t.Errorf("%s: status %d, want %d (-want +got):\n%s", test.reason, cmd.ProcessState.ExitCode(), test.status, diff)
			}
			_, err = os.Stat(work + "/etcd.tar.gz")
			if there := err == nil; there != (test.status == 0) && test.room {
				t.Errorf("%s: the archive is there: %v", test.reason, there)
			}
		})
	}
}
