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

func balanced(t *testing.T, edits string) *role.Cluster {
	c := demo.Read(t, demo.Edit(t, strings.Replace(testkit.Text(t, "testdata/empty.yaml"), "cloud: {folder_id: b1gexample}", "cloud:\n  folder_id: b1gexample", 1), edits))
	c.Secrets.CA = demo.Cluster(t).Secrets.CA
	testkit.OK(t, c.Plan())
	return c
}

func TestBalancerScript(t *testing.T) {
	for name, edit := range map[string]string{
		"internal": "cloud:\n  load_balancer: internal\n  entry_point: db.example.net\n  dns_zone: create\n",
		"external": "cloud:\n  load_balancer: external\n  entry_point: db.example.net\n  dns_zone: dnsexample\n",
		"no-zone":  "cloud:\n  load_balancer: external\n  entry_point: db.example.net\n",
	} {
		got, err := yc.Create(cloud.New(balanced(t, edit)))
		testkit.OK(t, err)
		_, tail, _ := strings.Cut(string(got), "\ntargets new ")
		testkit.Golden(t, "balancer-"+name+".txt", "targets new "+tail)
		judge(t, got, "shellcheck", "--shell=sh", "-")
		got, err = yc.Destroy(cloud.New(balanced(t, edit)))
		testkit.OK(t, err)
		judge(t, got, "shellcheck", "--shell=sh", "-")
	}
}

// TestBalancer: the load balancer has the proxies for targets, whatever happens to
// them, and its record is there as long as it is.
func TestBalancer(t *testing.T) {
	for _, test := range []struct{ name, edit, address, zone string }{
		{"internal", "cloud:\n  load_balancer: internal\n  entry_point: db.example.net\n  dns_zone: create\n", "10.128.0.250", "new"},
		{"external", "cloud:\n  load_balancer: external\n  entry_point: db.example.net\n  dns_zone: dnsexample\n", "203.0.113.10", "given-dnsexample"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCloud(t, balanced(t, test.edit))
			stdout, _ := c.succeed()
			if want := "entry point db.example.net.: " + test.address + "\n"; !strings.HasSuffix(stdout, want) {
				t.Errorf("it says %q, want %q at its end", stdout, want)
			}
			check := func(reason string) {
				t.Helper()
				s := c.state()
				var want []any
				for _, name := range []string{"new-haproxy-1", "new-haproxy-2"} {
					m := s.find("compute instance", "name", name)
					want = append(want, map[string]any{"subnet_id": m["subnet_id"], "address": m["address"]})
				}
				got, _ := s.find("load-balancer target-group", "name", "new")["targets"].([]any)
				byAddress := func(a, b any) int {
					return strings.Compare(a.(map[string]any)["address"].(string), b.(map[string]any)["address"].(string))
				}
				slices.SortFunc(want, byAddress)
				slices.SortFunc(got, byAddress)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: targets (-want +got):\n%s", reason, diff)
				}
				if diff := cmp.Diff([]any{"db.example.net. 60 A " + test.address}, s.find("dns zone", "name", test.zone)["records"]); diff != "" {
					t.Errorf("%s: records (-want +got):\n%s", reason, diff)
				}
			}
			check("after the first run")
			before := c.state()
			c.succeed()
			if diff := cmp.Diff(before, c.state()); diff != "" {
				t.Errorf("a second run changes something:\n%s", diff)
			}
			// A new machine gets another address: somebody took the old one.
			c.remove("instance", "new-haproxy-2")
			c.edit(func(s *state) {
				old := before.find("compute instance", "name", "new-haproxy-2")
				s.Things["compute instance"] = append(s.Things["compute instance"], thing{"id": "x1", "name": "other", "subnet_id": old["subnet_id"], "address": old["address"]})
			})
			c.succeed()
			check("after a replacement")
			if status, _, stderr, _ := c.runScript("destroy.sh", "new"); status != 1 || !strings.Contains(stderr, "cannot delete subnet new-ru-central1-b") {
				t.Errorf("status %d, %q: another's machine is in the subnet", status, stderr)
			}
			c.edit(func(s *state) {
				s.Things["compute instance"] = slices.DeleteFunc(s.Things["compute instance"], func(t thing) bool { return t.text("name") == "other" })
			})
			if status, _, stderr, _ := c.runScript("destroy.sh", "new"); status != 0 {
				t.Fatal(stderr)
			}
			s := c.state()
			for _, kind := range []string{"load-balancer network-load-balancer", "load-balancer target-group", "vpc network"} {
				if n := len(s.Things[kind]); n > 0 {
					t.Errorf("%d of %s are left", n, kind)
				}
			}
			if zone := s.find("dns zone", "name", test.zone); (zone == nil) != (test.zone == "new") || zone != nil && len(zone["records"].([]any)) > 0 {
				t.Errorf("zone %v is left", zone)
			}
		})
	}
}

// TestProductionIsCreated: the example for production comes up in a folder in which
// there is nothing but images and the zone of its name.
func TestProductionIsCreated(t *testing.T) {
	c := newCloud(t, demo.Read(t, testkit.Text(t, "../../examples/production.yaml")))
	c.succeed("base")
	stdout, _ := c.succeed()
	if want := "entry point db.example.net.: 203.0.113.10\n"; !strings.HasSuffix(stdout, want) {
		t.Errorf("it says %q, want %q at its end", stdout, want)
	}
	before := c.state()
	c.succeed()
	if diff := cmp.Diff(before, c.state()); diff != "" {
		t.Errorf("a second run changes something:\n%s", diff)
	}
	c.succeed("finish")
	for _, m := range c.state().Things["compute instance"] {
		if c.metadata(m.text("name"), "pgha-bootstrap") != "" {
			t.Errorf("%s may bootstrap a cluster", m["name"])
		}
	}
}
