package yc_test

import (
	"fmt"
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

// empty is a cluster for a folder in which there is nothing.
func empty(t *testing.T) *role.Cluster {
	c := demo.Read(t, testkit.Text(t, "testdata/empty.yaml"))
	c.Secrets.CA = demo.Cluster(t).Secrets.CA
	testkit.OK(t, c.Plan())
	return c
}

// base are the creations of all but disks and machines of empty, in their order.
func base() []string {
	return []string{
		"create network new", "create gateway new", "create route-table new",
		"create subnet new-ru-central1-a", "create subnet new-ru-central1-b", "create subnet new-ru-central1-d",
		"create security-group new-etcd", "create security-group new-patroni", "create security-group new-haproxy",
		"update security-group new-etcd", "update security-group new-patroni", "update security-group new-haproxy",
		"create service-account new-etcd", "create service-account new-patroni",
		"create secret new-etcd", "add-access-binding secret new-etcd",
		"create secret new-patroni", "add-access-binding secret new-patroni",
		"create placement-group new-patroni-a",
	}
}

// names are those of what is there, by kind.
func (s *state) names() map[string][]string {
	all := map[string][]string{}
	for kind, things := range s.Things {
		for _, t := range things {
			all[kind] = append(all[kind], t.text("name"))
		}
	}
	return all
}

func TestEmptyFolder(t *testing.T) {
	c := newCloud(t, empty(t))
	_, calls := c.succeed("base")
	same(t, "what others need comes first", base(), changes(calls))

	_, calls = c.succeed()
	rules := base()[9:12]
	if got := changes(calls); len(got) != 3+6+8 || !slices.Equal(got[:3], rules) || got[3] != "create disk new-etcd-1-data" {
		t.Errorf("it makes %q, want the rules, then disks and machines", got)
	}
	before := c.state()
	_, calls = c.succeed()
	same(t, "what is there is left alone; the rules are the spec's again", rules, changes(calls))
	if diff := cmp.Diff(before, c.state()); diff != "" {
		t.Errorf("a second run changes something (-first +second):\n%s", diff)
	}

	s := c.state()
	for _, m := range []struct{ name, role, zone string }{{"new-etcd-3", "etcd", "d"}, {"new-pg-2", "patroni", "a"}, {"new-haproxy-1", "haproxy", "a"}} {
		one := s.find("compute instance", "name", m.name)
		id := func(kind, name string) string { return s.find(kind, "name", name).text("id") }
		want := map[string]string{
			"subnet_id":          id("vpc subnet", "new-ru-central1-"+m.zone),
			"security_group_ids": id("vpc security-group", "new-"+m.role),
		}
		secret := ""
		if m.role != "haproxy" {
			want["service_account_id"] = id("iam service-account", "new-"+m.role)
			secret = id("lockbox secret", "new-"+m.role)
		}
		for key, value := range want {
			if got := one.text(key); got != value {
				t.Errorf("%s of %s is %q, want %q", key, m.name, got, value)
			}
		}
		if got := c.metadata(m.name, "pgha-secret"); got != secret {
			t.Errorf("metadata of %s has secret %q, want %q", m.name, got, secret)
		}
		if got := c.metadata(m.name, "pgha-bootstrap"); (got != "") != (m.role != "haproxy") {
			t.Errorf("metadata of %s has the permission %q", m.name, got)
		}
	}
	for _, subnet := range s.Things["vpc subnet"] {
		if subnet["route_table_id"] != s.find("vpc route-table", "name", "new").text("id") {
			t.Errorf("subnet %s has no way out", subnet["name"])
		}
	}
}

// TestStolenAccount: whoever has the token of a role's machines can read that
// role's secret, and has no other right.
func TestStolenAccount(t *testing.T) {
	c := newCloud(t, empty(t))
	_, calls := c.succeed()
	s := c.state()
	for _, r := range []string{"etcd", "patroni"} {
		secret := s.find("lockbox secret", "name", "new-"+r).text("id")
		account := s.find("iam service-account", "name", "new-"+r).text("id")
		want := []any{map[string]any{"role_id": "lockbox.payloadViewer", "subject": map[string]any{"type": "serviceAccount", "id": account}}}
		if diff := cmp.Diff(want, s.Access[secret]); diff != "" {
			t.Errorf("readers of %s's secret (-want +got):\n%s", r, diff)
		}
	}
	for _, call := range calls {
		if strings.Contains(call[2], "access-binding") && call[0] != "lockbox" {
			t.Errorf("a right elsewhere: %q", call)
		}
	}
	if account := s.find("compute instance", "name", "new-haproxy-1").text("service_account_id"); account != "" {
		t.Errorf("an HAProxy machine has account %s, and reads no secret", account)
	}
}

// TestInterrupted: whatever creation fails, the next run goes on behind it, and in
// the end there is what an undisturbed run makes.
func TestInterrupted(t *testing.T) {
	whole := newCloud(t, empty(t))
	whole.succeed()
	want := whole.state().names()
	for created := 0; created < 28; created += 9 {
		c := newCloud(t, empty(t))
		c.edit(func(s *state) { s.Left = &created })
		status, _, stderr, _ := c.run()
		if want := "(then run this again: it goes on where it stopped)\n"; status != 1 || !strings.HasSuffix(stderr, want) {
			t.Fatalf("after %d: status %d, %q, want 1 and %q at its end", created, status, stderr, want)
		}
		c.edit(func(s *state) { s.Left = nil })
		c.succeed()
		if diff := cmp.Diff(want, c.state().names()); diff != "" {
			t.Errorf("after %d creations, and again (-undisturbed +got):\n%s", created, diff)
		}
		for _, name := range []string{"new-etcd", "new-patroni"} {
			s := c.state()
			if n := len(s.Access[s.find("lockbox secret", "name", name).text("id")]); n != 1 {
				t.Errorf("after %d: %d may read secret %s, want 1", created, n, name)
			}
		}
	}
}

func TestBaseRefuses(t *testing.T) {
	foreign := func(kind, name string) func(*state) {
		return func(s *state) {
			s.Things[kind] = append(s.Things[kind], thing{"id": "x1", "name": name, "labels": map[string]any{"pgha-cluster": "other"}})
		}
	}
	here := demo.Cluster(t)
	two := demo.Read(t, testkit.Text(t, "testdata/sparse.yaml"))
	tests := []struct {
		name, reason string
		cluster      *role.Cluster
		before       func(*state)
		want         string // the end of what it says
		created      int    // before it ends
	}{
		{"machine of another", "its data would be taken for the cluster's", here, foreign("compute instance", "demo-pg-2"),
			`create.sh: machine demo-pg-2 is there and is not this cluster's: its label pgha-cluster is "other", not "demo" (delete it, or choose another name in the spec)`, 0},
		{"machine of nobody", "one without labels, too", here, func(s *state) {
			s.Things["compute instance"] = []thing{{"id": "x1", "name": "demo-haproxy-1"}}
		}, `create.sh: machine demo-haproxy-1 is there and is not this cluster's: its label pgha-cluster is "", not "demo" (delete it, or choose another name in the spec)`, 0},
		{"disk of another", "another's data", here, foreign("compute disk", "demo-etcd-2-data"),
			`create.sh: disk demo-etcd-2-data is there and is not this cluster's: its label pgha-cluster is "other", not "demo" (delete it, or choose another name in the spec)`, 2},
		{"account of another", "it may have more rights", empty(t), foreign("iam service-account", "new-etcd"),
			`create.sh: service-account new-etcd is there and is not this cluster's: its label pgha-cluster is "other", not "new" (delete it, or choose another name in the spec)`, 9},
		{"no subnet", "an id that is none", here, func(s *state) { s.Things["vpc subnet"] = nil },
			"create.sh: cloud.subnets.ru-central1-a: cannot find subnet e9bexample: see what yc says above (this shows those that are there: yc vpc subnet list --folder-id b1gexample)", 0},
		{"subnet without routes", "its machines would wait for Lockbox", here, func(s *state) { delete(s.Things["vpc subnet"][0], "route_table_id") },
			"create.sh: cloud.subnets.ru-central1-a: subnet e9bexample has no way out, and machines reach Lockbox by it (give it a route table with a route for 0.0.0.0/0 to a NAT gateway)", 0},
		{"subnet whose routes lead elsewhere", "the same", here, func(s *state) {
			s.Things["vpc route-table"][0]["static_routes"] = []any{map[string]any{"destination_prefix": "10.0.0.0/8"}}
		}, "create.sh: cloud.subnets.ru-central1-a: subnet e9bexample has no way out, and machines reach Lockbox by it (give it a route table with a route for 0.0.0.0/0 to a NAT gateway)", 0},
		{"subnet of another zone", "machines would not start in it", here, func(s *state) { s.Things["vpc subnet"][0]["zone_id"] = "ru-central1-b" },
			"create.sh: cloud.subnets.ru-central1-a: subnet e9bexample is in zone ru-central1-b, not in ru-central1-a", 0},
		{"two networks", "machines would not reach each other", two, func(s *state) { s.Things["vpc subnet"][1]["network_id"] = "enpother" },
			"create.sh: cloud.subnets.ru-central1-b: subnet e2lexample is in network enpother, and others of the spec are in enpexample (want one network)", 0},
		{"security group elsewhere", "the cloud would refuse it at the first machine", two, func(s *state) { s.Things["vpc security-group"][1]["network_id"] = "enpother" },
			"create.sh: cloud.security_groups: security-group enptwo is in network enpother, and others of the spec are in enpexample (want one network)", 0},
		{"no account", "an id that is none", here, func(s *state) { s.Things["iam service-account"] = s.Things["iam service-account"][:1] },
			"create.sh: cloud.service_accounts.patroni: cannot find service-account ajeexamplepatroni: see what yc says above (this shows those that are there: yc iam service-account list --folder-id b1gexample)", 0},
		{"no secret", "an id that is none", here, func(s *state) { s.Things["lockbox secret"] = nil },
			"create.sh: secrets.lockbox.etcd: cannot find secret e6qexampleetcd: see what yc says above (this shows those that are there: yc lockbox secret list --folder-id b1gexample)", 0},
		{"no image", "before the first machine is there", here, func(s *state) { s.Images = s.Images[:1] },
			"create.sh: no image in family demo-patroni for machine demo-pg-1: see what yc says above (bake one: sh packer/images.sh)", 0},
		{"too few machines", "the quota of a new cloud", here, func(s *state) { s.Quota["compute instance"] = 4 },
			"create.sh: cannot create machine demo-pg-2: see what yc says above (then run this again: it goes on where it stopped)", 9},
		{"too little disk", "the quota of a new cloud", here, func(s *state) { s.Quota["network-ssd"] = 200 },
			"create.sh: cannot create disk demo-pg-2-data: see what yc says above (then run this again: it goes on where it stopped)", 8},
		{"address taken", "somebody else's machine has it", here, func(s *state) {
			s.Things["compute instance"] = []thing{{"id": "x1", "name": "other", "subnet_id": "e9bexample", "address": "10.128.0.21"}}
		}, "create.sh: cannot create machine demo-pg-1: see what yc says above (then run this again: it goes on where it stopped)", 7},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCloud(t, test.cluster)
			c.edit(test.before)
			status, _, stderr, calls := c.run()
			created := slices.DeleteFunc(changes(calls), func(s string) bool { return !strings.HasPrefix(s, "create ") })
			if last, _, _ := strings.Cut(test.want, ": cannot create"); last != test.want {
				created = created[:len(created)-1] // refused
			}
			if status != 1 || !strings.HasSuffix(stderr, test.want+"\n") || strings.Count(stderr, "create.sh: ") != 1 {
				t.Errorf("%s: status %d, stderr\n%s\nwant 1 and, at its end,\n%s", test.reason, status, stderr, test.want)
			}
			if len(created) != test.created {
				t.Errorf("%s: %d things are created: %q, want %d", test.reason, len(created), created, test.created)
			}
		})
	}
}

func TestWithoutJq(t *testing.T) {
	c := newCloud(t, demo.Cluster(t))
	bin := t.TempDir()
	dirname, err := exec.LookPath("dirname")
	testkit.OK(t, err)
	testkit.OK(t, os.Symlink(dirname, filepath.Join(bin, "dirname")))
	testkit.OK(t, os.Symlink(filepath.Join(c.bin, "yc"), filepath.Join(bin, "yc")))
	cmd := exec.Command("/bin/sh", filepath.Join(c.folder, "deploy/create.sh"))
	cmd.Env = []string{"PATH=" + bin}
	out, _ := cmd.CombinedOutput()
	if want := "create.sh: jq is not installed (it is a package of that name)\n"; string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

// TestFakeIsStrict: what a yc of today would refuse, the one of these tests does.
func TestFakeIsStrict(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct{ reason, args, want string }{
		{"a misspelt flag", "vpc network create --folder-id f --nam x", "unknown flag: --nam"},
		{"a flag of another verb", "vpc network create --folder-id f --name x --zone a", "unknown flag: --zone"},
		{"a command that is none", "vpc network make --folder-id f", "unknown command vpc network make"},
		{"no value", "vpc network create --folder-id f --name", "flag needs an argument: --name"},
		{"twice", "vpc network create --folder-id f --name a --name b", "flag --name is given twice"},
		{"a name", "vpc network create --folder-id f --name A_b --labels a=b", "name: \"A_b\""},
		{"a label", "vpc network create --folder-id f --name a --labels A=b", "label: \"A=b\""},
		{"no network", "vpc subnet create --folder-id f --name a --labels a=b --zone z --range 10.0.0.0/24 --network-name n", "there is no vpc network n"},
	} {
		if _, err := run(dir, strings.Fields(test.args)); err == nil || !strings.HasSuffix(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.reason, err, test.want)
		}
	}
	t.Setenv("HOME_OF", "there")
	file := filepath.Join(dir, "user-data")
	testkit.OK(t, os.WriteFile(file, []byte("$HOME_OF $$HOME_OF $NOBODY_SETS_THIS|"), 0o600))
	one := thing{}
	testkit.OK(t, (&call{verb: "add-metadata", flags: map[string][]string{"metadata-from-file": {"user-data=" + file}}}).metadata(one))
	if got, want := fmt.Sprint(one["metadata"]), "map[user-data:there $HOME_OF |]"; got != want {
		t.Errorf("user-data becomes %s, want %s", got, want)
	}
}
