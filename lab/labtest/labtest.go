//go:build linux

// Package labtest says what the lab's tests need of the host, and gives them
// a folder to work in.
package labtest

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"pgha-gen/internal/testkit"
	"pgha-gen/lab/private"
)

// Dir is where tests keep machines' state while they run, and Cache below it
// where they keep roots between runs: large, and not on tmpfs.
const (
	Dir   = "/var/tmp/pgha-lab"
	Cache = Dir + "/cache"
)

// Need skips the test, or ends it when CI is true, unless it runs as root and
// finds these tools.
func Need(t testing.TB, tools ...string) {
	t.Helper()
	var missing []string
	if os.Getuid() != 0 {
		missing = append(missing, "root")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, tool)
		}
	}
	if len(missing) > 0 {
		testkit.Missing(t, "this test runs machines on this host and needs %s", strings.Join(missing, ", "))
	}
}

// State gives a folder for this test, removed when it has ended.
func State(t testing.TB) string {
	t.Helper()
	if err := private.Make(Dir); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(Dir, "test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
