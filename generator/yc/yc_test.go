package yc_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/cloud"
	"pgha-gen/generator/role"
	"pgha-gen/generator/yc"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles/etcd"
	"pgha-gen/roles/haproxy"
)

func TestCreate(t *testing.T) {
	tests := []struct {
		name, reason string
		cluster      *role.Cluster
	}{
		{"example", "the reference of the spec, with addresses", demo.Cluster(t)},
		{"sparse", "no addresses, several zones, security groups, a preemptible role", demo.Read(t, testkit.Text(t, "testdata/sparse.yaml"))},
		{"empty", "a folder in which there is nothing", demo.Read(t, testkit.Text(t, "testdata/empty.yaml"))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Log(test.reason)
			got, err := yc.Create(cloud.New(test.cluster))
			if err != nil {
				t.Fatal(err)
			}
			testkit.Golden(t, test.name+".sh", got)
			judge(t, got, "shellcheck", "--shell=sh", "-")
			judge(t, got, "dash", "-n")
		})
	}
}

// judge asks a program about a script, which is on its standard input.
func judge(t *testing.T, script []byte, program string, args ...string) {
	t.Run(program, func(t *testing.T) {
		testkit.Need(t, program)
		cmd := exec.Command(program, args...)
		cmd.Stdin = bytes.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

func TestCreateRefuses(t *testing.T) {
	tests := []struct {
		name, reason string
		change       func(*role.Cluster)
	}{
		{"folder", "a line break ends a command", func(c *role.Cluster) { c.Cloud.FolderID = "b1g\nreboot" }},
		{"service account", "an escape sequence changes what a terminal shows", func(c *role.Cluster) { c.Cloud.ServiceAccounts = map[string]string{"etcd": "aje\x1b[2J"} }},
		{"node", "an option's own words are looked at, too", func(c *role.Cluster) { c.Groups[0].Settings.(*etcd.Settings).Members[0].Name = "a\x00" }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := demo.Cluster(t)
			test.change(c)
			if got, err := yc.Create(cloud.New(c)); err == nil || got != nil {
				t.Errorf("got %d bytes and error %v, want an error alone: %s", len(got), err, test.reason)
			}
		})
	}
}

func TestFirstRun(t *testing.T) {
	spec := demo.Cluster(t)
	c := newCloud(t, spec)
	stdout, calls := c.succeed()
	same(t, "each disk before its machine; etcd and PostgreSQL are bootstrapped", everything(), changes(calls))
	if want := "disk demo-etcd-1-data: creating\nmachine demo-etcd-1: creating\n"; !strings.HasPrefix(stdout, want) {
		t.Errorf("it says %q, want it to start with %q", stdout, want)
	}
	for _, call := range calls {
		if got := option(call, "--folder-id"); got != "b1gexample" && call[2] != "get" {
			t.Errorf("%q is for folder %q", call, got)
		}
	}
	for _, g := range spec.Groups {
		for _, n := range g.Nodes() {
			i := slices.IndexFunc(calls, func(call []string) bool {
				return call[1] == "instance" && call[2] == "create" && option(call, "--name") == n.Name
			})
			if i < 0 {
				t.Fatalf("machine %s is not created", n.Name)
			}
			want := map[string]string{
				"--hostname":           n.Name,
				"--zone":               n.Zone,
				"--network-interface":  "subnet-id=e9bexample,ipv4-address=" + n.Address.String(),
				"--metadata-from-file": "user-data=../user-data/" + g.Name + ".yaml",
				"--service-account-id": spec.Cloud.ServiceAccounts[g.Name],
				"--attach-disk":        "disk-name=" + n.Name + "-data,device-name=data,mode=rw,auto-delete=false",
			}
			if g.Plan.DataMount == "" {
				want["--attach-disk"] = ""
			}
			got := map[string]string{}
			for name := range want {
				got[name] = option(calls[i], name)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("machine %s (-want +got):\n%s", n.Name, diff)
			}
		}
	}
}

func TestBootstrapMembersAreNamedWhole(t *testing.T) {
	spec := demo.Cluster(t)
	spec.Groups[2].Settings.(*haproxy.Settings).Members[0].Name = "etcd-1" // the end of a bootstrap member's name
	_, calls := newCloud(t, spec).succeed()
	want := append(everything()[:12], "create instance etcd-1")
	same(t, "it is no bootstrap member", want, changes(calls))
}

func TestLaterRuns(t *testing.T) {
	tests := []struct {
		name, reason string
		before       func(c *fakeCloud)
		want         []string
	}{
		{"nothing lost", "what is there is left alone", func(*fakeCloud) {}, nil},
		{"an etcd machine", "beside the others it joins, with its own disk", func(c *fakeCloud) { c.remove("instance", "demo-etcd-2") },
			[]string{"create instance demo-etcd-2"}},
		{"an etcd machine and its disk", "the disk comes first", func(c *fakeCloud) {
			c.remove("instance", "demo-etcd-1")
			c.remove("disk", "demo-etcd-1-data")
		}, []string{"create disk demo-etcd-1-data", "create instance demo-etcd-1"}},
		{"all etcd machines but one", "one that is left may hold the data", func(c *fakeCloud) {
			c.remove("instance", "demo-etcd-1")
			c.remove("instance", "demo-etcd-3")
		}, []string{"create instance demo-etcd-1", "create instance demo-etcd-3"}},
		{"a Patroni and an HAProxy machine", "beside the others, neither bootstraps", func(c *fakeCloud) {
			c.remove("instance", "demo-pg-3")
			c.remove("instance", "demo-haproxy-1")
		}, []string{"create instance demo-pg-3", "create instance demo-haproxy-1"}},
		{"a machine whose name starts the same", "names are compared whole", func(c *fakeCloud) {
			c.remove("instance", "demo-pg-1")
			c.edit(func(s *state) {
				for _, name := range []string{"demo-pg-10", "x-demo-pg-1"} {
					s.Things["compute instance"] = append(s.Things["compute instance"], thing{"id": "fhm" + name, "name": name})
				}
			})
		}, []string{"create instance demo-pg-1"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCloud(t, demo.Cluster(t))
			c.succeed()
			test.before(c)
			_, calls := c.succeed()
			same(t, test.reason, test.want, changes(calls))
			for _, call := range calls {
				if call[1] == "instance" && call[2] == "create" && !strings.Contains(option(call, "--name"), "haproxy") &&
					!strings.HasPrefix(option(call, "--attach-disk"), "disk-name="+option(call, "--name")+"-data,") {
					t.Errorf("%s has not its disk: %q", option(call, "--name"), call)
				}
			}
		})
	}
}

func TestPartialRun(t *testing.T) {
	for _, created := range []int{0, 1, 2, 5, 7, 8, 12} {
		c := newCloud(t, demo.Cluster(t))
		c.edit(func(s *state) { s.Left = &created })
		status, _, stderr, calls := c.run()
		if status != 1 || !strings.Contains(stderr, "quota exceeded") {
			t.Fatalf("after %d: status %d, want 1 and what yc says:\n%s", created, status, stderr)
		}
		same(t, "it stops at the first failure", everything()[:created+1], changes(calls))

		c.edit(func(s *state) { s.Left = nil })
		_, calls = c.succeed()
		want := slices.Clone(everything()[created:])
		for i := range want {
			if created >= 2 && strings.Contains(want[i], "etcd") || created >= 8 && strings.Contains(want[i], "pg") {
				want[i] = strings.TrimSuffix(want[i], " bootstraps")
			}
		}
		same(t, "the rest follows; beside a bootstrap member the others join", want, changes(calls))
	}
}

func TestFormed(t *testing.T) {
	c := newCloud(t, demo.Cluster(t))
	c.succeed()
	c.remove("instance", "demo-etcd-2")
	stdout, calls := c.succeed("finish")
	var removed []string
	said := ""
	for _, name := range []string{"demo-etcd-1", "demo-etcd-2", "demo-etcd-3", "demo-pg-1", "demo-pg-2", "demo-pg-3"} {
		if name == "demo-etcd-2" {
			said += "machine demo-etcd-2: not there\n"
			continue
		}
		removed = append(removed, "remove-metadata instance "+name)
		said += "machine " + name + ": may no longer bootstrap a cluster\n"
	}
	same(t, "bootstrap members that are there", removed, changes(calls))
	if want := said; stdout != want {
		t.Errorf("it says %q, want %q", stdout, want)
	}
	for _, call := range calls {
		if call[2] == "remove-metadata" && option(call, "--keys") != "pgha-bootstrap" {
			t.Errorf("it takes away more: %q", call)
		}
	}
	for _, name := range []string{"demo-etcd-1", "demo-etcd-3"} {
		if token := c.metadata(name, "pgha-bootstrap"); token != "" || c.metadata(name, "user-data") == "" {
			t.Errorf("%s may still found: %q", name, token)
		}
	}
}

func TestRefused(t *testing.T) {
	tests := []struct {
		name, reason string
		before       func(c *fakeCloud)
		args         []string
		status       int
		want         string
	}{
		{"a wrong word", "a slip must not create machines", func(*fakeCloud) {}, []string{"fromed"}, 2, "want no argument"},
		{"two words", "nothing is guessed", func(*fakeCloud) {}, []string{"finish", "now"}, 2, "want no argument"},
		{"an empty word", "an unset variable in quotes", func(*fakeCloud) {}, []string{""}, 2, "want no argument"},
		{"no answer", "what is there is not known, so nothing is created", func(c *fakeCloud) { c.edit(func(s *state) { s.Away = true }) }, nil, 1, "code = Unavailable\ncreate.sh: cannot list what is there"},
		{"no answer at the finish", "as above", func(c *fakeCloud) { c.edit(func(s *state) { s.Away = true }) }, []string{"finish"}, 1, "cannot list what is there"},
		{"another answer", "as above", func(c *fakeCloud) { c.edit(func(s *state) { s.Garble = true }) }, nil, 1, "create.sh: yc compute disk list --format json gave no list\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCloud(t, demo.Cluster(t))
			test.before(c)
			status, stdout, stderr, calls := c.run(test.args...)
			if status != test.status || stdout != "" || !strings.Contains(stderr, test.want) {
				t.Errorf("status %d, stdout %q, stderr %q; want %d, nothing, %q: %s", status, stdout, stderr, test.status, test.want, test.reason)
			}
			same(t, test.reason, nil, changes(calls))
		})
	}
}

// TestFormedTooSoon: with no machine there, it must not seem that the
// permission was taken back.
func TestFormedTooSoon(t *testing.T) {
	c := newCloud(t, demo.Cluster(t))
	status, _, stderr, calls := c.run("finish")
	if want := "has none of these machines (create them first, without an argument)\n"; status != 1 || !strings.HasSuffix(stderr, want) {
		t.Errorf("status %d, stderr %q; want 1, %q", status, stderr, want)
	}
	same(t, "nothing is there to change", nil, changes(calls))
}

func TestWithoutYc(t *testing.T) {
	c := newCloud(t, demo.Cluster(t))
	bin := t.TempDir()
	for _, name := range []string{"dirname", "cat"} {
		real, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		testkit.OK(t, os.Symlink(real, filepath.Join(bin, name)))
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(sh, filepath.Join(c.folder, "deploy/create.sh"))
	cmd.Env = []string{"PATH=" + bin}
	out, err := cmd.CombinedOutput()
	if want := "create.sh: yc is not installed (https://yandex.cloud/en/docs/cli)\n"; string(out) != want || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("got %q (%v), want %q and status 1", out, err, want)
	}
}

// Ids of odd characters do not come through the spec's checks. If one ever does,
// it is still one word of a command.
func TestOddCharacters(t *testing.T) {
	odd := `a'b"c$(touch hurt)` + "`touch hurt`" + `;touch hurt #\ *~é`
	spec := demo.Cluster(t)
	spec.Cloud.FolderID = odd
	spec.Cloud.ServiceAccounts = map[string]string{"etcd": odd, "patroni": odd}
	c := newCloud(t, spec)
	_, calls := c.succeed()
	for _, call := range calls {
		if got := option(call, "--folder-id"); got != odd && call[2] != "get" {
			t.Fatalf("folder %q, want %q", got, odd)
		}
		if call[1] != "instance" || call[2] != "create" {
			continue
		}
		want := odd
		if strings.Contains(option(call, "--name"), "haproxy") {
			want = "" // reads no secret
		}
		if got := option(call, "--service-account-id"); got != want {
			t.Fatalf("service account %q of %s, want %q", got, option(call, "--name"), want)
		}
	}
	if _, err := os.Stat(filepath.Join(c.folder, "deploy", "hurt")); err == nil {
		t.Error("a part of an id was run")
	}
}
