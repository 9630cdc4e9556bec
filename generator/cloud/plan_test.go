package cloud_test

import (
	"net/netip"
	"testing"

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
		Subnet: "e9bexample", Address: netip.MustParseAddr("10.128.0.22"), SecurityGroups: []string{},
		Account: "ajeexamplepatroni", MaintenancePolicy: "migrate", Grace: "60s",
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
