//go:build linux

package lab_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/lab"
	"pgha-gen/roles/etcd"
)

// readNamed is the example without any node's address.
func readNamed(t *testing.T) *role.Cluster {
	t.Helper()
	text := regexp.MustCompile(`(?m)^ *address: .*\n|, address: [0-9.]+`).ReplaceAllString(demo.Spec(t), "")
	// A name that needs quotes wherever it is written.
	text = regexp.MustCompile(`(- name: |databases: \[)app\b`).ReplaceAllString(text, "${1}app-data")
	c := demo.Read(t, text)
	for _, p := range c.Groups {
		for _, n := range p.Nodes() {
			if n.Address.IsValid() {
				t.Fatalf("%s has an address: this looks at nothing", n.Name)
			}
		}
	}
	return c
}

func TestAddresses(t *testing.T) {
	if got, err := lab.Addresses(demo.Cluster(t)); err != nil || got["demo-pg-2"] != netip.MustParseAddr("10.128.0.22") || len(got) != 7 {
		t.Errorf("the spec's addresses are %v, %v", got, err)
	}

	c := readNamed(t)
	members := c.Group(etcd.Name).Settings.(*etcd.Settings).Members
	members[1].Zone, members[2].Zone = "ru-central1-b", "ru-central1-d"
	given, err := lab.Addresses(c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := lab.Addresses(c)
	if diff := cmp.Diff(fmt.Sprint(given), fmt.Sprint(again)); diff != "" || err != nil {
		t.Errorf("%v, and they changed (-first +second):\n%s", err, diff)
	}
	seen := map[netip.Addr]string{}
	for name, a := range given {
		if other := seen[a]; other != "" {
			t.Errorf("%s and %s both have %s", name, other, a)
		}
		seen[a] = name
		if last := a.As4()[3]; last < 3 || last > 254 {
			t.Errorf("%s has %s, which is no host's", name, a)
		}
	}
	for name, subnet := range map[string]string{"demo-etcd-1": "10.128.0.0/24", "demo-etcd-2": "10.129.0.0/24", "demo-etcd-3": "10.131.0.0/24", "demo-pg-1": "10.128.0.0/24"} {
		if !netip.MustParsePrefix(subnet).Contains(given[name]) {
			t.Errorf("%s has %s, want one of %s", name, given[name], subnet)
		}
	}

	// What somebody has is not given, and a zone's subnet is where its nodes are.
	before := given["demo-etcd-1"]
	members[1].Zone, members[1].Address = "ru-central1-a", before
	if given, err = lab.Addresses(c); err != nil || given["demo-etcd-1"] == before || given["demo-etcd-2"] != before {
		t.Errorf("%v, %v: %s is demo-etcd-2's", given, err, before)
	}
	members[1].Address = netip.MustParseAddr("10.7.7.7")
	if given, err = lab.Addresses(c); err != nil || !netip.MustParsePrefix("10.7.7.0/24").Contains(given["demo-etcd-1"]) {
		t.Errorf("%v, %v: the zone's subnet is 10.7.7.0/24", given, err)
	}

	for i := range 300 {
		c.Group(etcd.Name).Settings.(*etcd.Settings).Members = append(c.Group(etcd.Name).Settings.(*etcd.Settings).Members, role.Node{Name: fmt.Sprintf("n%d", i), Zone: "ru-central1-a"})
	}
	if _, err = lab.Addresses(c); err == nil || !strings.HasSuffix(err.Error(), ": subnet 10.7.7.0/24 has no free address (give the node one elsewhere)") {
		t.Errorf("300 nodes in a subnet: %v", err)
	}
}

// The emulated DNS knows an address that the lab gave, and the way back.
func TestNamesResolve(t *testing.T) {
	c := readNamed(t)
	l, err := offLab(t, func(config *lab.Config) { config.Cluster = c })
	if err != nil {
		t.Fatal(err)
	}
	given, err := lab.Addresses(c)
	if err != nil {
		t.Fatal(err)
	}
	for name, address := range given {
		resolver := netip.PrefixFrom(address, 24).Masked().Addr().Next().Next()
		back, err := dns.ReverseAddr(address.String())
		if err != nil {
			t.Fatal(err)
		}
		for question, want := range map[string]string{c.FQDN(name) + ".": address.String(), back: c.FQDN(name) + "."} {
			conn, err := l.DialAs("demo-pg-1")(t.Context(), "tcp", netip.AddrPortFrom(resolver, 53).String())
			if err != nil {
				t.Fatal(err)
			}
			kind := dns.TypeA
			if question == back {
				kind = dns.TypePTR
			}
			m := new(dns.Msg).SetQuestion(question, kind)
			answer, _, err := new(dns.Client).ExchangeWithConn(m, &dns.Conn{Conn: conn})
			conn.Close()
			if err != nil || len(answer.Answer) != 1 || !strings.HasSuffix(answer.Answer[0].String(), "\t"+want) {
				t.Errorf("%s is %v, %v, want %s", question, answer, err, want)
			}
		}
	}
}
