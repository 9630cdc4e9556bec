package generator_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator"
	"pgha-gen/internal/demo"
)

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
