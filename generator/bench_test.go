package generator_test

import (
	"fmt"
	"strings"
	"testing"

	"pgha-gen/generator"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles"
)

// BenchmarkReadGenerate reads a spec and generates everything from it. All
// times must grow with the number of nodes, and no faster.
func BenchmarkReadGenerate(b *testing.B) {
	specs := []struct {
		name string
		src  []byte
	}{{"example", []byte(demo.Spec(b))}}
	for _, nodes := range []int{10, 100, 500} {
		specs = append(specs, struct {
			name string
			src  []byte
		}{fmt.Sprintf("nodes=%d", nodes), manyNodes(nodes)})
	}
	for _, s := range specs {
		b.Run("read/"+s.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := generator.Read("pgha.yaml", s.src, roles.All()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("generate/"+s.name, func(b *testing.B) {
			c := demo.Read(b, s.src)
			c.Secrets.CA = demo.Cluster(b).Secrets.CA // without it, HAProxy has no user-data
			testkit.OK(b, c.Plan())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := generator.Generate(c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// manyNodes is a spec with seven etcd nodes at most, one HAProxy, and for the
// rest Patroni's.
func manyNodes(total int) []byte {
	var b strings.Builder
	b.WriteString(`format: pgha/v1
name: demo
cloud: {folder_id: b1gexample, service_accounts: {etcd: ajea, patroni: ajeb}, subnets: {ru-central1-a: e9bexample}}
access: {clients: [10.0.0.0/8]}
secrets: {lockbox: {etcd: e6qa, patroni: e6qb}}
roles:
`)
	number := 0
	list := func(role string, count int) {
		fmt.Fprintf(&b, "  %s:\n    nodes:\n", role)
		for range count {
			// Four networks of 250 addresses, without those that are the cloud's.
			fmt.Fprintf(&b, "      - {name: n%d, zone: ru-central1-a, address: 10.1.%d.%d}\n", number, number/250, number%250+3)
			number++
		}
	}
	etcd := 3
	if total >= 100 {
		etcd = 7
	}
	list("etcd", etcd)
	list("patroni", total-etcd-1)
	list("haproxy", 1)
	return []byte(b.String())
}
