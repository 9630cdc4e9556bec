package generator_test

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pgha-gen/generator"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles"
)

// FuzzRead holds three promises: Read never panics; every problem has a place
// in the file; and what a good spec is understood as is a spec of the same
// cluster, from which everything can be generated.
func FuzzRead(f *testing.F) {
	f.Add([]byte(demo.Spec(f)))
	authority := demo.Cluster(f).Secrets.CA
	for _, folder := range []string{"bad", "warn", "good"} {
		for _, src := range specs(f, folder) {
			f.Add(src)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := generator.Read("pgha.yaml", src, roles.All())
		if err != nil {
			checkPlaces(t, err, src)
			return
		}
		understood, err := generator.Effective(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := generator.Read("cluster.yaml", understood, roles.All())
		if err != nil {
			t.Fatalf("the spec as understood has problems:\n%v\n%s", err, understood)
		}
		if diff := cmp.Diff(c, again, clusters()); diff != "" {
			t.Fatalf("read again, it is another cluster (-want +got):\n%s", diff)
		}
		if len(again.Warnings) > len(c.Warnings) {
			t.Fatalf("read again, it has more warnings:\n%v\nbefore:\n%v", again.Warnings, c.Warnings)
		}
		if c.Secrets.CA == "" { // a warning only: it is made after the spec
			c.Secrets.CA = authority
			testkit.OK(t, c.Plan())
		}
		tree, err := generator.Generate(c)
		if err != nil {
			t.Fatalf("a good spec does not generate: %v", err)
		}
		for _, g := range c.Groups {
			if bytes.ContainsRune(tree["user-data/"+g.Name+".yaml"].Data, '$') {
				t.Fatalf("the user-data of %s holds a $, which the cloud's command would replace", g.Name)
			}
		}
	})
}

func checkPlaces(t *testing.T, err error, src []byte) {
	t.Helper()
	var found specfile.Problems
	if !errors.As(err, &found) || len(found) == 0 {
		t.Fatalf("got %v, want problems", err)
	}
	for _, p := range found {
		if notText := strings.Contains(p.Text, "UTF-16") || strings.HasPrefix(p.Text, "not UTF-8"); !inside(p, src) && !notText {
			t.Errorf("%s: not a place in the file", p)
		}
		if p.Text == "" || strings.ContainsAny(p.String(), "\n\x1b") {
			t.Errorf("%q is no line that can be shown", p)
		}
		p.Excerpt()
	}
}

// clusters compares what specs say; where they say it does not matter.
func clusters() cmp.Options {
	return cmp.Options{
		cmpopts.IgnoreFields(role.Cluster{}, "Warnings"),
		cmpopts.IgnoreTypes(&role.Role{}),
		cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}),
	}
}
