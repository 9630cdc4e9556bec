package yc_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/cloud"
	"pgha-gen/generator/role"
	"pgha-gen/generator/yc"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

func TestDestroyAndReplaceScripts(t *testing.T) {
	for _, test := range []struct {
		name  string
		write func(*cloud.Plan) ([]byte, error)
	}{{"destroy", yc.Destroy}, {"replace", yc.Replace}} {
		for which, cluster := range map[string]*role.Cluster{"example": demo.Cluster(t), "empty": empty(t)} {
			t.Run(test.name+" "+which, func(t *testing.T) {
				got, err := test.write(cloud.New(cluster))
				if err != nil {
					t.Fatal(err)
				}
				testkit.Golden(t, test.name+"-"+which+".sh", got)
				judge(t, got, "shellcheck", "--shell=sh", "-")
				judge(t, got, "dash", "-n")
			})
		}
		c := demo.Cluster(t)
		c.Cloud.FolderID = "b1g\nreboot"
		if got, err := test.write(cloud.New(c)); err == nil || got != nil {
			t.Errorf("%s: got %d bytes and error %v, want an error alone: a line break ends a command", test.name, len(got), err)
		}
	}
}

// TestDestroy deletes a cluster in steps: what it is not asked for stays.
func TestDestroy(t *testing.T) {
	c := newCloud(t, empty(t))
	c.succeed()
	c.edit(func(s *state) {
		s.Things["vpc security-group"][0]["labels"] = map[string]any{"pgha-cluster": "other"}
		s.Things["vpc security-group"][0]["rules"] = []any{}
		s.Things["compute disk"] = append(s.Things["compute disk"], thing{"id": "fhmd99", "name": "other"})
	})
	destroy := func(status int, args ...string) (calls [][]string) {
		t.Helper()
		got, _, stderr, calls := c.runScript("destroy.sh", args...)
		if got != status {
			t.Fatalf("%q: status %d, want %d\n%s", args, got, status, stderr)
		}
		return calls
	}
	left := func(reason string, want map[string][]string) {
		t.Helper()
		have := c.state().names()
		for kind, names := range have {
			if len(names) == 0 {
				delete(have, kind)
			}
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
	}
	disks := []string{"new-etcd-1-data", "new-etcd-2-data", "new-etcd-3-data", "new-pg-1-data", "new-pg-2-data", "new-pg-3-data", "other"}
	both := []string{"new-etcd", "new-patroni"}
	// The network of a group that is another cluster's stays with it, and is said.
	status, _, stderr, _ := c.runScript("destroy.sh", "new")
	if want := "destroy.sh: cannot delete network new: see what yc says above (then run this again: it goes on where it stopped)\n"; status != 1 || !strings.HasSuffix(stderr, want) {
		t.Errorf("status %d, %q, want 1 and %q", status, stderr, want)
	}
	left("what another cluster needs stays", map[string][]string{
		"compute disk": disks, "lockbox secret": both, "iam service-account": both, "vpc security-group": {"new-etcd"}, "vpc network": {"new"}})
	c.edit(func(s *state) { s.Things["vpc security-group"] = nil })
	destroy(0, "new")
	left("it goes on", map[string][]string{"compute disk": disks, "lockbox secret": both, "iam service-account": both})
	if calls := changes(destroy(0, "new")); calls != nil {
		t.Errorf("all is gone, and it calls %q", calls)
	}
	// The data is there for a new start.
	before := c.state().find("compute disk", "name", "new-pg-1-data").text("id")
	c.succeed()
	if s := c.state(); s.find("compute disk", "name", "new-pg-1-data").text("id") != before || len(s.Things["compute instance"]) != 8 {
		t.Error("the cluster does not come back on its disks")
	}
	destroy(0, "new", "disks")
	left("the secrets stay", map[string][]string{"compute disk": {"other"}, "lockbox secret": both, "iam service-account": both})
	destroy(0, "new", "secrets", "disks")
	left("all but another's", map[string][]string{"compute disk": {"other"}})
}

func TestDestroyKeepsWhatIsGiven(t *testing.T) {
	c := newCloud(t, demo.Cluster(t))
	before := c.state().names()
	c.succeed()
	if status, _, stderr, _ := c.runScript("destroy.sh", "demo", "disks", "secrets"); status != 0 {
		t.Fatal(stderr)
	}
	have := c.state().names()
	for kind, names := range have {
		if len(names) == 0 {
			delete(have, kind)
		}
	}
	if diff := cmp.Diff(before, have); diff != "" {
		t.Errorf("what the spec has ids of (-before +after):\n%s", diff)
	}
}

func TestDestroyRefuses(t *testing.T) {
	const name = "destroy.sh: want the cluster's name, demo, as a sign that it is meant; and any of disks, secrets and backups, to delete these, too\n"
	for _, test := range []struct {
		reason string
		args   []string
		want   string
	}{
		{"a slip", nil, name},
		{"another cluster is meant", []string{"shop"}, name},
		{"a variable that is empty", []string{""}, name},
		{"nothing is guessed", []string{"demo", "disk"}, "destroy.sh: unknown word \"disk\" (want any of disks, secrets and backups)\n"},
	} {
		c := newCloud(t, demo.Cluster(t))
		before := c.state()
		status, _, stderr, calls := c.runScript("destroy.sh", test.args...)
		if status != 2 || stderr != test.want || len(calls) > 0 {
			t.Errorf("%s: status %d, %q, %d calls, want 2, %q, none", test.reason, status, stderr, len(calls), test.want)
		}
		if diff := cmp.Diff(before, c.state()); diff != "" {
			t.Errorf("%s: something changed:\n%s", test.reason, diff)
		}
	}
}

func TestReplace(t *testing.T) {
	c := newCloud(t, demo.Cluster(t))
	c.succeed()
	id := func(kind, name string) string { return c.state().find(kind, "name", name).text("id") }
	replace := func(args ...string) []string {
		t.Helper()
		status, _, stderr, calls := c.runScript("replace.sh", args...)
		if status != 0 {
			t.Fatalf("%q: status %d\n%s", args, status, stderr)
		}
		return changes(calls)
	}
	machine, disk := id("compute instance", "demo-pg-2"), id("compute disk", "demo-pg-2-data")
	same(t, "beside the others it joins, and has its disk", []string{"delete instance ", "create instance demo-pg-2"}, replace("demo-pg-2"))
	if id("compute instance", "demo-pg-2") == machine || id("compute disk", "demo-pg-2-data") != disk {
		t.Error("want a new machine with the old disk")
	}
	same(t, "with an empty one", []string{"delete instance ", "delete disk ", "create disk demo-pg-2-data", "create instance demo-pg-2"}, replace("demo-pg-2", "disk"))
	if id("compute disk", "demo-pg-2-data") == disk {
		t.Error("want a new disk")
	}
	same(t, "a role that keeps no data", []string{"delete instance ", "create instance demo-haproxy-1"}, replace("demo-haproxy-1"))

	// Interrupted between the two, the next run makes the machine.
	none := 0
	c.edit(func(s *state) { s.Left = &none })
	if status, _, stderr, _ := c.runScript("replace.sh", "demo-etcd-3"); status != 1 || !strings.HasSuffix(stderr, "create.sh: cannot create machine demo-etcd-3: see what yc says above (then run this again: it goes on where it stopped)\n") {
		t.Errorf("status %d, %q", status, stderr)
	}
	c.edit(func(s *state) { s.Left = nil })
	same(t, "the old one is gone already", []string{"create instance demo-etcd-3"}, replace("demo-etcd-3"))
}

func TestReplaceRefuses(t *testing.T) {
	single := demo.Cluster(t, "roles:\n  -patroni:\n  -haproxy:\n  etcd:\n    nodes:\n      - {name: demo-etcd-1, zone: ru-central1-a}\n",
		"cloud:\n  service_accounts: {etcd: ajea}\nsecrets:\n  lockbox: {etcd: e6qa}\n")
	all := newCloud(t, demo.Cluster(t))
	all.succeed()
	created := all.state()
	for _, test := range []struct {
		name, reason string
		cluster      *role.Cluster
		before       func(*state)
		args         []string
		status       int
		want         string
	}{
		{"no machine", "nothing is guessed", nil, nil, nil, 2, "replace.sh: want a machine, and disk if it shall have an empty data disk\n"},
		{"another word", "nor here", nil, nil, []string{"demo-pg-1", "disks"}, 2, "replace.sh: want a machine, and disk if it shall have an empty data disk\n"},
		{"unknown", "a misspelt name", nil, nil, []string{"demo-pg-9"}, 2, "replace.sh: the cluster has no machine demo-pg-9\n"},
		{"a second one away", "a majority, and a copy, have to stay", nil, func(s *state) {
			s.Things["compute instance"] = slices.DeleteFunc(s.Things["compute instance"], func(t thing) bool { return t.text("name") == "demo-etcd-1" })
		}, []string{"demo-etcd-2"}, 1, "replace.sh: machine demo-etcd-1 of the same role is not there (sh create.sh, and replace demo-etcd-2 once it is ready)\n"},
		{"a second one stopped", "the same", nil, func(s *state) { s.find("compute instance", "name", "demo-pg-3")["status"] = "STOPPED" },
			[]string{"demo-pg-1"}, 1, "replace.sh: machine demo-pg-3 of the same role is STOPPED (replace demo-pg-1 once it is ready)\n"},
		{"not ours", "another cluster's of the name", nil, func(s *state) { s.find("compute instance", "name", "demo-pg-1")["labels"] = nil },
			[]string{"demo-pg-1"}, 1, "replace.sh: machine demo-pg-1 is there and is not this cluster's: its label pgha-cluster is \"\", not \"demo\" (delete it, or choose another name in the spec)\n"},
		{"no disk", "there is none to replace", nil, nil, []string{"demo-haproxy-1", "disk"}, 2, "replace.sh: machine demo-haproxy-1 has no data disk\n"},
		{"the only one", "its data would be lost", single, nil, []string{"demo-etcd-1", "disk"}, 1,
			"replace.sh: machine demo-etcd-1 is the only one of its role, and its data is on no other (leave out disk)\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := all
			if test.cluster != nil {
				c = newCloud(t, test.cluster)
				c.succeed()
			}
			testkit.OK(t, created.save(all.dir))
			if test.before != nil {
				c.edit(test.before)
			}
			before := c.state()
			status, _, stderr, _ := c.runScript("replace.sh", test.args...)
			if status != test.status || stderr != test.want {
				t.Errorf("%s: status %d, %q, want %d, %q", test.reason, status, stderr, test.status, test.want)
			}
			if diff := cmp.Diff(before, c.state()); diff != "" {
				t.Errorf("%s: something changed:\n%s", test.reason, diff)
			}
		})
	}
}
