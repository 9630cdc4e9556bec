package cloud_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pgha-gen/generator/cloud"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
	"pgha-gen/internal/demo"
)

func TestMachines(t *testing.T) {
	p := cloud.New(demo.Cluster(t))
	want := &cloud.Machine{
		Name: "demo-pg-2", Role: "patroni", Zone: "ru-central1-a", Bootstraps: true,
		Platform: "standard-v3", Cores: 4, CoreFraction: 100, Memory: 16 * specfile.GiB,
		Boot: role.Disk{Type: role.SSD, Size: 15 * specfile.GiB}, ImageFamily: "demo-patroni",
		Data:   &cloud.Disk{Name: "demo-pg-2-data", Disk: role.Disk{Type: role.SSD, Size: 100 * specfile.GiB}},
		Subnet: cloud.Ref{ID: "e9bexample"}, Address: netip.MustParseAddr("10.128.0.22"),
		Account: &cloud.Ref{ID: "ajeexamplepatroni"}, Maintenance: cloud.Maintenance{Policy: "migrate", Grace: time.Minute},
	}
	if diff := cmp.Diff(want, p.Machine("demo-pg-2"), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if m := p.Machine("demo-pg-9"); m != nil {
		t.Errorf("demo-pg-9 is %v, and the spec has no such node", m)
	}
	var roles []string
	for _, machines := range p.Roles() {
		roles = append(roles, machines[0].Role)
	}
	if diff := cmp.Diff([]string{"etcd", "patroni", "haproxy"}, roles); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNetwork is a table of what is created and what is there.
func TestNetwork(t *testing.T) {
	subnets := func(a, b string) []cloud.Subnet {
		return []cloud.Subnet{
			{Name: "demo-ru-central1-a", Zone: "ru-central1-a", Range: netip.MustParsePrefix(a)},
			{Name: "demo-ru-central1-b", Zone: "ru-central1-b", Range: netip.MustParsePrefix(b)},
		}
	}
	tests := []struct {
		name, reason, cloud string
		want                *cloud.Network
		given               []string
	}{
		{"nothing there", "a network, a subnet for each zone with nodes, a way out", "cloud: {folder_id: b1gexample}\n", &cloud.Network{
			Ref: cloud.Ref{Name: "demo"}, NAT: "demo",
			Subnets: subnets("10.128.0.0/24", "10.129.0.0/24"),
		}, nil},
		{"a network is there", "subnets are made in it", "cloud: {folder_id: b1gexample, network: enpone}\n", &cloud.Network{
			Ref: cloud.Ref{ID: "enpone"}, NAT: "demo",
			Subnets: subnets("10.128.0.0/24", "10.129.0.0/24"),
		}, []string{"cloud.network network enpone"}},
		{"no way out", "the network has one of its own", "cloud: {folder_id: b1gexample, network: enpone, nat_gateway: false, subnets: {ru-central1-a: 10.128.0.0/25, ru-central1-b: 10.129.0.0/16}}\n", &cloud.Network{
			Ref:     cloud.Ref{ID: "enpone"},
			Subnets: subnets("10.128.0.0/25", "10.129.0.0/16"),
		}, []string{"cloud.network network enpone"}},
		{"subnets are there", "nothing of it is created", "cloud: {folder_id: b1gexample, subnets: {ru-central1-a: e9bone, ru-central1-b: e2lone}, security_groups: [enpsg]}\n", nil,
			[]string{"cloud.subnets.ru-central1-a subnet e9bone", "cloud.subnets.ru-central1-b subnet e2lone", "cloud.security_groups security group enpsg"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := cloud.New(demo.Small(t, test.cloud))
			if diff := cmp.Diff(test.want, p.Network, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
			var given []string
			for _, g := range p.Given {
				if g.Kind == cloud.KindSecret {
					continue
				}
				given = append(given, g.Key+" "+string(g.Kind)+" "+g.ID)
			}
			if diff := cmp.Diff(test.given, given); diff != "" {
				t.Errorf("what is given (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAccounts: an account reads the secret of its own role alone, whether they
// are given or created.
func TestAccounts(t *testing.T) {
	tests := []struct {
		name, edit string
		accounts   []*cloud.Account
		secrets    []*cloud.Secret
		machine    [2]*cloud.Ref // account and secret of a Patroni machine
	}{
		{"given", "", nil, nil, [2]*cloud.Ref{{ID: "ajeexamplepatroni"}, nil}},
		{"created", "cloud:\n  -service_accounts:\nsecrets:\n  -lockbox:\n",
			[]*cloud.Account{{Name: "demo-etcd", Role: "etcd"}, {Name: "demo-patroni", Role: "patroni"}},
			[]*cloud.Secret{{Name: "demo-etcd", Role: "etcd", Reader: cloud.Ref{Name: "demo-etcd"}}, {Name: "demo-patroni", Role: "patroni", Reader: cloud.Ref{Name: "demo-patroni"}}},
			[2]*cloud.Ref{{Name: "demo-patroni"}, {Name: "demo-patroni"}}},
		{"an account given", "secrets:\n  -lockbox:\n", nil,
			[]*cloud.Secret{{Name: "demo-etcd", Role: "etcd", Reader: cloud.Ref{ID: "ajeexampleetcd", Name: "demo-etcd"}}, {Name: "demo-patroni", Role: "patroni", Reader: cloud.Ref{ID: "ajeexamplepatroni", Name: "demo-patroni"}}},
			[2]*cloud.Ref{{ID: "ajeexamplepatroni"}, {Name: "demo-patroni"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var edits []string
			if test.edit != "" {
				edits = []string{test.edit}
			}
			p := cloud.New(demo.Cluster(t, edits...))
			if diff := cmp.Diff(test.accounts, p.Accounts); diff != "" {
				t.Errorf("accounts (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.secrets, p.Secrets); diff != "" {
				t.Errorf("secrets (-want +got):\n%s", diff)
			}
			m := p.Machine("demo-pg-1")
			if diff := cmp.Diff(test.machine, [2]*cloud.Ref{m.Account, m.Secret}); diff != "" {
				t.Errorf("of a machine (-want +got):\n%s", diff)
			}
			if m := p.Machine("demo-haproxy-1"); m.Account != nil || m.Secret != nil {
				t.Errorf("an HAProxy machine has account %v and secret %v", m.Account, m.Secret)
			}
		})
	}
}

func TestPlacementGroups(t *testing.T) {
	p := cloud.New(demo.Cluster(t, "cloud:\n  placement: spread\n"))
	if diff := cmp.Diff([]*cloud.PlacementGroup{{Name: "demo-etcd-a", Role: "etcd"}, {Name: "demo-patroni-a", Role: "patroni"}}, p.PlacementGroups); diff != "" {
		t.Errorf("of roles with several machines in a zone (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{"demo-etcd-3": "demo-etcd-a", "demo-pg-1": "demo-patroni-a", "demo-haproxy-1": ""} {
		if got := p.Machine(name).PlacementGroup; got != want {
			t.Errorf("%s is in %q, want %q", name, got, want)
		}
	}
	if p := cloud.New(demo.Cluster(t)); p.PlacementGroups != nil || p.Machine("demo-pg-1").PlacementGroup != "" {
		t.Errorf("groups %v, and the spec wants none", p.PlacementGroups)
	}
}
