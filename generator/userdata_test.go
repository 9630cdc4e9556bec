package generator

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/role"
)

func TestAccess(t *testing.T) {
	tests := []struct {
		name, reason string
		ports        []role.Port
		want         [][]string
	}{
		{"none", "a machine that nobody reaches", nil, nil},
		{"no limit", "0 is any number", []role.Port{{Number: 2379, From: []string{"10.0.0.1/32", "p2.internal"}}},
			[][]string{{"admit", "2379", "10.0.0.1/32"}, {"admit", "2379", "p2.internal"}}},
		{"limit", "it holds for the port, once", []role.Port{{Number: 5432, From: []string{"10.0.0.1/32", "10.0.0.0/8"}, Limit: 300}, {Number: 8008, From: []string{"10.0.0.1/32"}, Limit: 16}},
			[][]string{{"admit", "5432", "10.0.0.1/32"}, {"admit", "5432", "10.0.0.0/8"}, {"limit", "5432", "300"}, {"admit", "8008", "10.0.0.1/32"}, {"limit", "8008", "16"}}},
		{"nobody", "a port for nobody has nothing to limit", []role.Port{{Number: 8404, Limit: 4}}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, access(test.ports)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}
