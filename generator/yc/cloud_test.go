package yc_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

// fakeCloud is a rendered cluster with a yc that only remembers.
type fakeCloud struct {
	t             *testing.T
	folder, state string
}

func newCloud(t *testing.T, c *role.Cluster) *fakeCloud {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "out", "a b")
	testkit.OK(t, demo.Files(t, c).Write(t.Context(), folder))
	state := t.TempDir()
	for _, kind := range []string{"disk", "instance", "deploy"} {
		testkit.OK(t, os.Mkdir(filepath.Join(state, kind), 0o755))
	}
	return &fakeCloud{t, folder, state}
}

func (c *fakeCloud) path(words ...string) string {
	return filepath.Join(append([]string{c.state}, words...)...)
}

func (c *fakeCloud) write(text string, words ...string) {
	c.t.Helper()
	testkit.OK(c.t, os.WriteFile(c.path(words...), []byte(text), 0o644))
}

func (c *fakeCloud) remove(words ...string) {
	c.t.Helper()
	testkit.OK(c.t, os.Remove(c.path(words...)))
}

// run is runScript of create.sh.
func (c *fakeCloud) run(args ...string) (status int, stdout, stderr string, calls [][]string) {
	c.t.Helper()
	return c.runScript("create.sh", args...)
}

// runScript runs a script as a person does who stands in the cluster's folder,
// and gives its status, what it said, and the calls of yc that it made.
func (c *fakeCloud) runScript(name string, args ...string) (status int, stdout, stderr string, calls [][]string) {
	c.t.Helper()
	testkit.OK(c.t, os.RemoveAll(c.path("calls")))
	fake, err := filepath.Abs("testdata/bin")
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command("sh", append([]string{"deploy/" + name}, args...)...)
	cmd.Dir = c.folder
	// A search path for cd must not lead to another folder deploy.
	cmd.Env = []string{"PATH=" + fake + ":/usr/bin:/bin", "YC_STATE=" + c.state, "CDPATH=" + c.state}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	recorded, err := os.ReadFile(c.path("calls"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		c.t.Fatal(err)
	}
	for call := range strings.SplitSeq(string(recorded), "yc\n") {
		if call != "" {
			calls = append(calls, strings.Split(strings.TrimSuffix(call, "\n"), "\n"))
		}
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String(), calls
}

func (c *fakeCloud) succeed(args ...string) (stdout string, calls [][]string) {
	c.t.Helper()
	status, stdout, stderr, calls := c.run(args...)
	if status != 0 || stderr != "" {
		c.t.Fatalf("create.sh %q: status %d\n%s", args, status, stderr)
	}
	return stdout, calls
}

// changes are the calls that change something, as "verb kind name", those that
// found the cluster marked.
func changes(calls [][]string) (list []string) {
	for _, call := range calls {
		if call[2] == "list" {
			continue
		}
		entry := call[2] + " " + call[1] + " " + option(call, "--name")
		if option(call, "--metadata") == "pgha-bootstrap=demo-a6125ab9" {
			entry += " bootstraps"
		}
		list = append(list, entry)
	}
	return list
}

func option(call []string, name string) string {
	if i := slices.Index(call, name); i >= 0 && i+1 < len(call) {
		return call[i+1]
	}
	return ""
}

func everything() []string {
	return []string{
		"create disk demo-etcd-1-data", "create instance demo-etcd-1 bootstraps",
		"create disk demo-etcd-2-data", "create instance demo-etcd-2 bootstraps",
		"create disk demo-etcd-3-data", "create instance demo-etcd-3 bootstraps",
		"create disk demo-pg-1-data", "create instance demo-pg-1 bootstraps",
		"create disk demo-pg-2-data", "create instance demo-pg-2 bootstraps",
		"create disk demo-pg-3-data", "create instance demo-pg-3 bootstraps",
		"create instance demo-haproxy-1",
	}
}

func same(t *testing.T, reason string, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", reason, diff)
	}
}
