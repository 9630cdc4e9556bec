// Package testkit has what tests of any package need: the text of a file, a
// comparison with a golden file, and a rule for judges that are not installed.
package testkit

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Update says whether golden files are written anew.
func Update() bool { return *update }

// OK ends the test where something that it needs did not work.
func OK(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Text is what a file holds.
func Text(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	OK(t, err)
	return string(data)
}

// Golden compares got with the file testdata/name, or with -update writes it there.
func Golden[T string | []byte](t testing.TB, name string, got T) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		OK(t, os.WriteFile(path, []byte(got), 0o644))
	}
	if diff := cmp.Diff(Text(t, path), string(got)); diff != "" {
		t.Errorf("%s (-want +got; go test -update writes it anew):\n%s", path, diff)
	}
}

// Missing skips a test that lacks something here, or ends it where CI must run
// all of them.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format+": CI must not skip this test", args...)
	}
	t.Skipf(format, args...)
}

// Root is for tests that only root can do.
func Root(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		Missing(t, "only root can do this")
	}
}

// Need is for tests that need programs.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			Missing(t, "%s is not installed", p)
		}
	}
}
