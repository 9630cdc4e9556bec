package secrets_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgha-gen/deploy/secrets"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

// render makes a folder as render writes one.
func render(t *testing.T, dir string) {
	t.Helper()
	testkit.OK(t, os.MkdirAll(dir, 0o755))
	put("SHA256SUMS", "")(t, dir)
	put("cluster.yaml", "")(t, dir)
}

// repository makes a git repository, with one more folder in it.
func repository(t *testing.T, root, folder, ignored string) {
	t.Helper()
	testkit.Need(t, "git")
	testkit.OK(t, os.MkdirAll(filepath.Join(root, folder), 0o755))
	if out, err := exec.Command("git", "init", "-q", root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	put(".gitignore", ignored)(t, root)
}

func TestPlace(t *testing.T) {
	tests := []struct {
		name, reason string
		before       func(t *testing.T, root string)
		dir          string
		refused      string
		warned       string
	}{
		{"nothing there", "it is made with a .gitignore", func(*testing.T, string) {}, "secrets/demo", "", ""},
		{"rendered", "it is replaced", func(t *testing.T, root string) { render(t, root+"/out/demo") }, "out/demo", `"ROOT/out/demo" is in what render wrote to "ROOT/out/demo", which has no secrets and is replaced (-o names another folder)`, ""},
		{"in what is rendered", "it is replaced", func(t *testing.T, root string) { render(t, root+"/out/demo") }, "out/demo/deploy/demo", `is in what render wrote to "ROOT/out/demo"`, ""},
		{"through a link", "it is there all the same", func(t *testing.T, root string) {
			render(t, root+"/out/demo")
			testkit.OK(t, os.Symlink("out/demo", root+"/link"))
		}, "link/new/demo", `is in what render wrote to "ROOT/out/demo"`, ""},
		{"beside what is rendered", "people commit it", func(t *testing.T, root string) { render(t, root+"/out/other") }, "out/demo", `"ROOT/out/demo" is beside what render wrote to "ROOT/out/other", which people commit (-o names another folder)`, ""},
		{"another's SHA256SUMS", "not of render", func(t *testing.T, root string) { put("SHA256SUMS", "")(t, root) }, "secrets/demo", "", ""},
		{"in git", "it would be committed", func(t *testing.T, root string) { repository(t, root, "secrets", "") }, "secrets/demo", `"ROOT/secrets/demo" would be committed with the git repository "ROOT" (add /secrets/demo/ to its .gitignore, or -o names a folder elsewhere)`, ""},
		{"ignored by git", "it is not committed", func(t *testing.T, root string) { repository(t, root, "secrets", "/secrets/\n") }, "secrets/demo", "", ""},
		{"in git, not there", "it is made with a .gitignore", func(t *testing.T, root string) { repository(t, root, "x", "") }, "secrets/demo", "", ""},
		{"in what is no repository", "git does not say", func(t *testing.T, root string) {
			repository(t, root, "secrets", "")
			testkit.OK(t, os.RemoveAll(root+"/.git/objects"))
		}, "secrets/demo", "", `"ROOT/secrets/demo" is in the git repository "ROOT", and git does not say whether it is ignored: do not commit it`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			test.before(t, root)
			dir := filepath.Join(root, test.dir)
			w, err := secrets.Generate(dir, demo.Cluster(t), secrets.Rotation{}, on(now))
			if test.refused != "" {
				if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), root, "ROOT"), test.refused) {
					t.Errorf("%s: got %v, want %s", test.reason, err, test.refused)
				}
				if _, err := os.Stat(filepath.Join(dir, "ca.key")); err == nil {
					t.Error("the secrets are made")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.ReplaceAll(strings.Join(w.Warnings, "\n"), root, "ROOT"); got != test.warned {
				t.Errorf("%s: warned %q, want %q", test.reason, got, test.warned)
			}
		})
	}
}
