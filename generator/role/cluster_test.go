package role_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/role"
)

func TestSources(t *testing.T) {
	c := &role.Cluster{}
	c.Cloud.Domain = "ru-central1.internal"
	one := []role.Node{{Name: "p1", Address: netip.MustParseAddr("10.128.0.21")}, {Name: "p2"}}
	two := []role.Node{{Name: "h1", Address: netip.MustParseAddr("10.128.0.41")}}
	want := []string{"10.128.0.21/32", "p2.ru-central1.internal", "10.128.0.41/32"}
	if diff := cmp.Diff(want, c.Sources(one, nil, two)); diff != "" {
		t.Errorf("an address alone, else the name (-want +got):\n%s", diff)
	}
}

func TestNetworks(t *testing.T) {
	one := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.168.7.1/32")}
	two := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	if diff := cmp.Diff([]string{"10.0.0.0/8", "192.168.7.1/32", "0.0.0.0/0"}, role.Networks(one, nil, two)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := role.Networks(nil, nil); len(got) != 0 {
		t.Errorf("nobody: got %v", got)
	}
}
