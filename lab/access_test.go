//go:build linux

package lab_test

import (
	"net/netip"
	"slices"
	"testing"

	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/lab"
	"pgha-gen/roles/haproxy"
	"pgha-gen/roles/patroni"
)

func TestNewAccess(t *testing.T) {
	without := func(name string) func(*role.Cluster) {
		return func(c *role.Cluster) {
			c.Groups = slices.DeleteFunc(c.Groups, func(p *role.Group) bool { return p.Name == name })
		}
	}
	tests := []struct {
		name, reason string
		change       func(*role.Cluster)
		want         string
	}{
		{"example", "it is what the lab runs", func(*role.Cluster) {}, ""},
		{"no clients here", "HAProxy would refuse the lab's own connections",
			func(c *role.Cluster) { c.Access.Clients = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24")} },
			"access.clients does not admit 10.128.0.1, from where the lab connects to demo-haproxy-1 (add 10.128.0.0/24)"},
		{"no Patroni", "there is nothing to write to", without(patroni.Name), "the lab runs clusters with a database (add a role that offers one)"},
		{"no HAProxy", "there is nothing to write through", without(haproxy.Name), "the lab writes through a proxy (add a role that offers one)"},
		{"no database", "there is no user to write as",
			func(c *role.Cluster) { c.Database().Login = nil },
			"the lab writes to a database of the spec, and there is none (add one, with its owner)"},
		{"no address", "the lab gives one in a subnet that is admitted",
			func(c *role.Cluster) {
				c.Group(haproxy.Name).Settings.(*haproxy.Settings).Members[0].Address = netip.Addr{}
			}, ""},
		{"no address in another zone", "its subnet is the zone's, and not admitted",
			func(c *role.Cluster) {
				m := &c.Group(haproxy.Name).Settings.(*haproxy.Settings).Members[0]
				m.Address, m.Zone = netip.Addr{}, "ru-central1-d"
			}, "access.clients does not admit 10.131.0.1, from where the lab connects to demo-haproxy-1 (add 10.131.0.0/24)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := demo.Cluster(t)
			test.change(c)
			got := ""
			if _, err := lab.NewAccess(c); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("%s: have %q, want %q", test.reason, got, test.want)
			}
		})
	}
}
