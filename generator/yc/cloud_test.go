package yc_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/cloud"
	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

// fakeCloud is a rendered cluster with a yc that only remembers. What the spec has
// ids of is there, and an image for each role.
type fakeCloud struct {
	t                *testing.T
	folder, dir, bin string
}

func newCloud(t *testing.T, c *role.Cluster) *fakeCloud {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "out", "a b")
	testkit.OK(t, demo.Files(t, c).Write(t.Context(), folder))
	f := &fakeCloud{t, folder, t.TempDir(), t.TempDir()}
	self, err := os.Executable()
	testkit.OK(t, err)
	testkit.OK(t, os.Symlink(self, filepath.Join(f.bin, "yc")))
	testkit.OK(t, os.Mkdir(filepath.Join(f.dir, "deploy"), 0o755))
	f.edit(func(s *state) {
		for _, g := range c.Groups {
			s.Images = append(s.Images, c.ImageFamily(g.Name))
		}
		if len(cloud.New(c).Given) > 0 {
			s.Things["vpc route-table"] = []thing{{"id": "enprexample", "name": "given-route", "static_routes": []any{map[string]any{"destination_prefix": "0.0.0.0/0"}}}}
		}
		for _, given := range cloud.New(c).Given {
			one := thing{"id": given.ID, "name": "given-" + strings.ToLower(given.ID)}
			var kind string
			switch given.Kind {
			case cloud.KindNetwork:
				kind = "vpc network"
			case cloud.KindSubnet:
				kind = "vpc subnet"
				one["network_id"], one["zone_id"], one["route_table_id"] = "enpexample", given.Zone, "enprexample"
				one["v4_cidr_blocks"] = []any{fmt.Sprintf("10.%d.0.0/24", 128+given.Zone[len(given.Zone)-1]-'a')}
			case cloud.KindSecurityGroup:
				kind = "vpc security-group"
				one["network_id"] = "enpexample"
			case cloud.KindAccount:
				kind = "iam service-account"
			case cloud.KindZone:
				kind = "dns zone"
			case cloud.KindSecret:
				kind = "lockbox secret"
			case cloud.KindBucket:
				kind, one["name"] = "storage bucket", given.ID
			}
			s.Things[kind] = append(s.Things[kind], one)
		}
	})
	return f
}

// edit changes what is in the cloud.
func (c *fakeCloud) edit(change func(*state)) {
	c.t.Helper()
	s := c.state()
	change(s)
	testkit.OK(c.t, s.save(c.dir))
}

func (c *fakeCloud) state() *state {
	c.t.Helper()
	s, err := loadState(c.dir)
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// remove deletes things of compute by their names.
func (c *fakeCloud) remove(kind string, names ...string) {
	c.t.Helper()
	c.edit(func(s *state) {
		kind := "compute " + kind
		for _, name := range names {
			one := s.find(kind, "name", name)
			if one == nil {
				c.t.Fatalf("there is no %s %s", kind, name)
			}
			testkit.OK(c.t, (&call{state: s, kind: kind}).delete(one))
		}
	})
}

// has is the value of an attribute of a machine's metadata.
func (c *fakeCloud) metadata(name, key string) string {
	c.t.Helper()
	one := c.state().find("compute instance", "name", name)
	if one == nil {
		return ""
	}
	all, _ := one["metadata"].(map[string]any)
	value, _ := all[key].(string)
	return value
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
	testkit.OK(c.t, os.RemoveAll(filepath.Join(c.dir, "calls")))
	cmd := exec.Command("sh", append([]string{"deploy/" + name}, args...)...)
	cmd.Dir = c.folder
	// A search path for cd must not lead to another folder deploy.
	cmd.Env = []string{"PATH=" + c.bin + ":/usr/bin:/bin", "YC_STATE=" + c.dir, "CDPATH=" + c.dir}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	recorded, err := os.ReadFile(filepath.Join(c.dir, "calls"))
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
		switch call[2] {
		case "list", "get", "list-access-bindings", "get-latest-from-family":
			continue
		}
		entry := call[2] + " " + call[1] + " " + option(call, "--name")
		if strings.HasSuffix(option(call, "--metadata"), "pgha-bootstrap=demo-a6125ab9") {
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
