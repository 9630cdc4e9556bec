package catalogue_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgha-gen/internal/testkit"
	"pgha-gen/roles/patroni/catalogue"
	"pgha-gen/roles/patroni/catalogue/cataloguetest"
)

// TestServer lets each server that this host has installed judge the catalogue
// of its version, with a seventh of the values. The lab asks the image's, always,
// about all.
func TestServer(t *testing.T) {
	for _, major := range []int{15, 17, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			postgres := fmt.Sprintf("/usr/lib/postgresql/%d/bin/postgres", major)
			if _, err := os.Stat(postgres); err != nil {
				t.Skipf("no %s: no server of this version judges its catalogue here", postgres)
			}
			c := catalogue.Read(major)
			run := func(name string, args ...string) string {
				t.Helper()
				out, err := exec.Command(name, args...).Output()
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				return string(out)
			}
			if wrong := cataloguetest.Described(c, run(postgres, "--describe-config")); len(wrong) > 0 {
				t.Errorf("another server than the catalogue's (make catalogue):\n%s", strings.Join(wrong, "\n"))
			}
			var some strings.Builder // all of them take a minute
			for i, line := range slices.Collect(strings.Lines(cataloguetest.Pairs(c))) {
				if i%7 == 0 {
					some.WriteString(line)
				}
			}
			pairs := filepath.Join(t.TempDir(), "pairs")
			testkit.OK(t, os.WriteFile(pairs, []byte(some.String()), 0o644))
			if wrong := cataloguetest.Tried(c, run("sh", "cataloguetest/try.sh", postgres, pairs)); len(wrong) > 0 {
				t.Errorf("the server judges values otherwise:\n%s", strings.Join(wrong, "\n"))
			}
		})
	}
}
