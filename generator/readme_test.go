package generator_test

import (
	"os"
	"strings"
	"testing"

	"pgha-gen/generator"
	"pgha-gen/roles"
)

// TestAdmitted: the cluster's README names whom the firewalls let in, machines by
// their role, whether they are known by address or by name.
func TestAdmitted(t *testing.T) {
	src, err := os.ReadFile("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	operated := strings.NewReplacer("operators: []", "operators: [10.9.0.0/24]", "monitoring: []", "monitoring: [10.8.0.1/32]")
	named := strings.NewReplacer(", address: 10.128.0.11", "", ", address: 10.128.0.22", "")
	tests := []struct {
		name, reason, spec string
		want               []string
	}{
		{"example", "neither operators nor monitoring", string(src), []string{
			"| etcd | 2379 | … | patroni, etcd |", "| etcd | 2381 | … | nobody |",
			"| patroni | 8008 | … | patroni, haproxy |", "| haproxy | 5431 | … | 10.128.0.0/24 |"}},
		{"operators and monitoring", "each where it belongs, and no further", operated.Replace(string(src)), []string{
			"| etcd | 2379 | … | patroni, etcd, 10.9.0.0/24 |", "| etcd | 2380 | … | etcd |", "| etcd | 2381 | … | 10.8.0.1/32 |",
			"| patroni | 5432 | … | patroni, haproxy, 10.128.0.0/24, 10.9.0.0/24 |"}},
		{"by name", "a machine without an address is of its role, too", named.Replace(string(src)), []string{
			"| etcd | 2379 | … | patroni, etcd |", "| etcd | 2380 | … | etcd |"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := generator.Read("pgha.yaml", []byte(test.spec), roles.All())
			if err != nil {
				t.Fatal(err)
			}
			files, err := generator.Generate(c)
			if err != nil {
				t.Fatal(err)
			}
			var rows []string
			for line := range strings.Lines(string(files["README.md"].Data)) {
				if cells := strings.Split(strings.TrimSpace(line), " | "); len(cells) == 4 {
					rows = append(rows, cells[0]+" | "+cells[1]+" | … | "+cells[3])
				}
			}
			all := strings.Join(rows, "\n")
			for _, row := range test.want {
				if !strings.Contains(all, row) {
					t.Errorf("%s: no row %s in\n%s", test.reason, row, all)
				}
			}
		})
	}
}
