package yc_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"pgha-gen/generator/cloud"
	"pgha-gen/generator/yc"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

func TestRefreshScript(t *testing.T) {
	got, err := yc.Refresh(cloud.New(demo.Cluster(t)))
	if err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, "refresh.sh", got)
	judge(t, got, "shellcheck", "--shell=sh", "-")
	judge(t, got, "dash", "-n")

	c := demo.Cluster(t)
	c.Cloud.FolderID = "b1g\nreboot"
	if got, err := yc.Refresh(cloud.New(c)); err == nil || got != nil {
		t.Errorf("got %d bytes and error %v, want an error alone: a line break ends a command", len(got), err)
	}
}

// refreshed are the calls that give machines user-data, as "role node".
func refreshed(t *testing.T, calls [][]string) (list []string) {
	t.Helper()
	for _, call := range calls {
		switch call[2] {
		case "list":
		case "add-metadata":
			role := strings.TrimSuffix(strings.TrimPrefix(option(call, "--metadata-from-file"), "user-data=../user-data/"), ".yaml")
			list = append(list, role+" "+option(call, "--name"))
		default:
			t.Errorf("refresh.sh calls yc %q", call)
		}
	}
	return list
}

func TestRefresh(t *testing.T) {
	all := []string{
		"etcd demo-etcd-1", "etcd demo-etcd-2", "etcd demo-etcd-3",
		"patroni demo-pg-1", "patroni demo-pg-2", "patroni demo-pg-3",
		"haproxy demo-haproxy-1",
	}
	tests := []struct {
		name, reason string
		lost         []string
		args, want   []string
	}{
		{"all", "those that are connected to come first", nil, nil, all},
		{"role", "those of a role", nil, []string{"patroni"}, all[3:6]},
		{"node", "one machine", nil, []string{"demo-pg-2"}, all[4:5]},
		{"a lost one", "create.sh gives it the user-data", []string{"demo-etcd-1", "demo-pg-2"}, nil, slices.Concat(all[1:4], all[5:])},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCloud(t, demo.Cluster(t))
			c.succeed()
			c.remove("instance", test.lost...)
			for range 2 { // it is safe to run it again
				status, stdout, stderr, calls := c.runScript("refresh.sh", test.args...)
				if status != 0 || stderr != "" {
					t.Fatalf("status %d\n%s", status, stderr)
				}
				same(t, test.reason, test.want, refreshed(t, calls))
				for _, name := range test.lost {
					if line := "machine " + name + ": not there\n"; !strings.Contains(stdout, line) {
						t.Errorf("it says %q, want %q in it", stdout, line)
					}
				}
			}
			for _, entry := range test.want {
				role, node, _ := strings.Cut(entry, " ")
				want := testkit.Text(t, c.folder+"/user-data/"+role+".yaml")
				if got := c.metadata(node, "user-data"); got != want {
					t.Errorf("%s has not the user-data of %s", node, role)
				}
			}
		})
	}
}

func TestRefreshRefuses(t *testing.T) {
	tests := []struct {
		name, reason string
		args         []string
		before       func(c *fakeCloud)
		status       int
		want         string
	}{
		{"two arguments", "one role or one machine", []string{"etcd", "patroni"}, func(*fakeCloud) {}, 2, "refresh.sh: want no argument, for all machines, or a role or a machine\n"},
		{"an empty one", "a forgotten variable does not mean all", []string{""}, func(*fakeCloud) {}, 2, "refresh.sh: want no argument, for all machines, or a role or a machine\n"},
		{"unknown", "a misspelt name is no success", []string{"demo-pg-9"}, func(*fakeCloud) {}, 2, "refresh.sh: the cluster has no role and no machine demo-pg-9\n"},
		{"nothing there", "nothing was refreshed", []string{"haproxy"}, func(c *fakeCloud) { c.remove("instance", "demo-haproxy-1") }, 1,
			"refresh.sh: folder b1gexample has none of these machines (create them: sh create.sh)\n"},
		{"the cloud is away", "nobody knows what is there", nil, func(c *fakeCloud) { c.edit(func(s *state) { s.Away = true }) }, 1,
			"ERROR: rpc error: code = Unavailable\nrefresh.sh: cannot list what is there: see what yc says above\n"},
		{"no list", "nor here", nil, func(c *fakeCloud) { c.edit(func(s *state) { s.Garble = true }) }, 1, "refresh.sh: yc compute instance list --format json gave no list\n"},
		{"no user-data", "yc says what it lacks", []string{"etcd"}, func(c *fakeCloud) {
			testkit.OK(c.t, os.Remove(c.folder+"/user-data/etcd.yaml"))
		}, 1, "ERROR: cannot read ../user-data/etcd.yaml\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCloud(t, demo.Cluster(t))
			c.succeed()
			test.before(c)
			status, _, stderr, calls := c.runScript("refresh.sh", test.args...)
			if status != test.status || stderr != test.want {
				t.Errorf("%s: status %d, stderr %q; want %d, %q", test.reason, status, stderr, test.status, test.want)
			}
			if names := changes(calls); len(names) > 1 || len(names) == 1 && test.name != "no user-data" {
				t.Errorf("%s: metadata was changed by %q", test.reason, names)
			}
		})
	}
}
