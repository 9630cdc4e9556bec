package generator_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator"
	"pgha-gen/internal/demo"
)

// TestDiffOfBalancer: what create.sh can change of a load balancer, and what not.
func TestDiffOfBalancer(t *testing.T) {
	const with = "cloud:\n  load_balancer: external\n  entry_point: db.example.net\n"
	for _, test := range []struct {
		reason   string
		old, new []string
		want     string
	}{
		{"it is created", nil, []string{with}, "load balancer demo: "},
		{"a record is its own", []string{with}, []string{with, "cloud:\n  dns_zone: dnsexample\n"}, "load balancer demo: "},
		{"its listeners stay", []string{with}, []string{with, "  haproxy:\n=>  haproxy:\n    ports: {primary: 6000}\n"},
			"load balancer demo: delete it first, since it is made anew; its address may be another one then"},
		{"nothing of it", []string{with}, []string{with, "failover: safe"}, ""},
		{"it is wanted no more", []string{with}, nil, "load balancer demo: delete it, once clients connect in another way"},
	} {
		changes, err := generator.Diff(demo.Small(t, test.old...), demo.Small(t, test.new...), demo.Roles())
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, change := range changes {
			for _, c := range change.Effects {
				if c.Effect == generator.Beside {
					got += strings.Join(c.Of, " ") + ": " + c.What
				}
			}
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.reason, got, test.want)
		}
	}
}

// TestDiffOfSecurityGroups: whom the spec admits, those of the cluster's own admit,
// too, once create.sh has run.
func TestDiffOfSecurityGroups(t *testing.T) {
	const own = "cloud:\n  network: enpexample\n  create_security_groups: true\n"
	const more = "access:\n  monitoring: [10.7.0.0/24]\n"
	around := func(edits ...string) []string {
		changes, err := generator.Diff(demo.Cluster(t, edits[:len(edits)-1]...), demo.Cluster(t, edits...), demo.Roles())
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, change := range changes {
			for _, c := range change.Effects {
				if c.Effect == generator.Around {
					all = append(all, append([]string{c.Role}, c.Of...)...)
				}
			}
		}
		return all
	}
	want := []string{"etcd", "security group demo-etcd", "patroni", "security group demo-patroni", "haproxy", "security group demo-haproxy"}
	if diff := cmp.Diff(want, around(own, more)); diff != "" {
		t.Errorf("own groups (-want +got):\n%s", diff)
	}
	if got := around(more); got != nil {
		t.Errorf("none of its own, and %q changes", got)
	}
	if got := around(own, "durability: quorum=>durability: strict"); got != nil {
		t.Errorf("nobody else is admitted, and %q changes", got)
	}
}
