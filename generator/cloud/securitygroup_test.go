package cloud_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"pgha-gen/generator"
	"pgha-gen/generator/cloud"
	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

// TestSecurityGroupsAreTheFirewall: the cloud's firewall and that of the machines
// admit the same, read from what each is written as.
func TestSecurityGroupsAreTheFirewall(t *testing.T) {
	const create = "cloud:\n  network: enpexample\n  create_security_groups: true\n"
	many := "access: {clients: ["
	for i := range 120 {
		many += fmt.Sprintf("10.%d.0.0/24, ", i)
	}
	tests := []struct {
		name, reason string
		cluster      *role.Cluster
	}{
		{"addresses", "nodes by their addresses", demo.Cluster(t, create, "access: {clients: [10.128.0.0/24], operators: [192.0.2.0/24], monitoring: [10.128.9.0/24, 10.128.9.7/32]}\n")},
		{"names", "nodes by their names", demo.Read(t, demo.Edit(t, testkit.Text(t, "../yc/testdata/sparse.yaml"), create))},
		{"nobody else", "neither operators nor monitoring", demo.Cluster(t, create)},
		{"a load balancer", "its checks", demo.Small(t, create, "cloud:\n  load_balancer: external\n  entry_point: db.example.net\n")},
		{"many networks", "a rule holds 50", demo.Cluster(t, create, strings.TrimSuffix(many, ", ")+"]}\n")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			groups := cloud.New(test.cluster).SecurityGroups
			if len(groups) != len(test.cluster.Groups) {
				t.Fatalf("%d groups, want one for each of %d roles", len(groups), len(test.cluster.Groups))
			}
			for i, g := range test.cluster.Groups {
				if diff := cmp.Diff(firewall(t, test.cluster, g), admitted(t, test.cluster, groups[i])); diff != "" {
					t.Errorf("%s, %s (-firewall +security group):\n%s", test.reason, g.Name, diff)
				}
			}
		})
	}
	if groups := cloud.New(demo.Cluster(t)).SecurityGroups; groups != nil {
		t.Errorf("%d groups, and the spec wants none", len(groups))
	}
}

// firewall is what /etc/pgha/access in the user-data of a role admits, as "port
// source".
func firewall(t *testing.T, c *role.Cluster, g *role.Group) []string {
	t.Helper()
	data, err := generator.UserData(c, g)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(file(t, data, "/etc/pgha/access"))) {
		if f := strings.Fields(line); f[0] == "admit" {
			all = append(all, f[1]+" "+f[2])
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// admitted is the same of a security group: the machines that have a group in
// the place of the group.
func admitted(t *testing.T, c *role.Cluster, g *cloud.SecurityGroup) []string {
	t.Helper()
	members := map[string][]string{}
	for _, m := range cloud.New(c).Machines {
		for _, ref := range m.SecurityGroups {
			if ref.Name == "" {
				continue // one that the spec gives
			}
			node := role.Node{Name: m.Name, Address: m.Address}
			members[ref.Name] = append(members[ref.Name], c.Sources([]role.Node{node})...)
		}
	}
	var all, beside []string
	for _, r := range g.Rules {
		if len(r.Networks) > 50 || (r.Group != "") == (len(r.Networks) > 0) {
			t.Errorf("rule %v", r)
		}
		if r.Protocol != cloud.TCP {
			beside = append(beside, strings.TrimSpace(fmt.Sprintln(r.Egress, r.Protocol, r.Port, r.Networks)))
			continue
		}
		if r.Egress || r.Port == 0 {
			t.Errorf("rule %v", r)
		}
		for _, n := range r.Networks {
			all = append(all, fmt.Sprint(r.Port, " ", n))
		}
		for _, source := range members[r.Group] {
			all = append(all, fmt.Sprint(r.Port, " ", source))
		}
	}
	// firewall.nft: echo requests and errors of ICMP, and output.
	if want := []string{"false icmp 0 [0.0.0.0/0]", "true any 0 [0.0.0.0/0]"}; !slices.Equal(beside, want) {
		t.Errorf("beside ports it has %q, want %q", beside, want)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// file is a file that user-data writes.
func file(t *testing.T, userData []byte, path string) string {
	t.Helper()
	var doc struct {
		Files []struct {
			Path, Content, Encoding string
		} `yaml:"write_files"`
	}
	if err := yaml.Unmarshal(userData, &doc); err != nil {
		t.Fatal(err)
	}
	for _, f := range doc.Files {
		if f.Path != path {
			continue
		}
		if f.Encoding == "" {
			return f.Content
		}
		data, err := base64.StdEncoding.DecodeString(f.Content)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	t.Fatalf("user-data does not write %s", path)
	return ""
}
