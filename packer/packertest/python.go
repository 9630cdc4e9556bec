package packertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgha-gen/internal/testkit"
)

// Python runs the unit tests of a folder, test_*.py, against the programs of
// others, and leaves no compiled file beside either.
func Python(t *testing.T, tests string, programs ...string) {
	t.Helper()
	testkit.Need(t, "python3", "openssl")
	found, err := filepath.Glob(filepath.Join(tests, "test_*.py"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no tests in %s (%v)", tests, err)
	}
	for _, file := range found {
		t.Run(filepath.Base(file), func(t *testing.T) {
			cmd := exec.Command("python3", "-W", "error", file, "-v")
			cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH="+strings.Join(programs, ":"))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			} else {
				t.Logf("%s", out)
			}
		})
	}
}
