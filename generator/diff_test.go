package generator_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"pgha-gen/generator"
	"pgha-gen/generator/emit"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles"
)

// TestDiff changes every key of the reference, and says what follows.
func TestDiff(t *testing.T) {
	edits, err := txtar.ParseFile("testdata/diff.txtar")
	if err != nil {
		t.Fatal(err)
	}
	old := demo.Cluster(t)
	var b strings.Builder
	var tried []string
	for _, edit := range edits.Files {
		new, err := generator.Read(edit.Name, []byte(demo.Spec(t, string(edit.Data))), demo.Roles())
		if err != nil {
			t.Error(err)
			continue
		}
		changes, err := generator.Diff(old, new, demo.Roles())
		if err != nil {
			t.Errorf("%s: %v", edit.Name, err)
			continue
		}
		fmt.Fprintf(&b, "%s\n", edit.Name)
		for _, change := range changes {
			for _, k := range change.Keys {
				tried = append(tried, k.Key)
				fmt.Fprintf(&b, "  %s\n", k.Key)
			}
			for _, c := range change.Effects {
				fmt.Fprintf(&b, "    %s %s %s: %s\n", c.Effect, c.Role, strings.Join(c.Nodes, " "), c.What)
				for _, of := range c.Of {
					fmt.Fprintf(&b, "      %s\n", of)
				}
			}
		}
	}
	testkit.Golden(t, "diff.txt", b.String())
	// The region is in the names of zones, and a spec has one format.
	no := []string{"format", "cloud.region", "roles.etcd.machine.preemptible"}
	for _, key := range leaves("", generator.Document(old)) {
		if slices.Contains(no, key) {
			continue
		}
		if !slices.ContainsFunc(tried, func(k string) bool { return strings.HasPrefix(k+".", key+".") || strings.HasPrefix(k, key+"[") }) {
			t.Errorf("no edit changes %s", key)
		}
	}
}

// leaves are the keys of a spec that have no keys below them.
func leaves(above string, m emit.Map) []string {
	var all []string
	for _, p := range m {
		key := strings.TrimPrefix(above+"."+p.Key, ".")
		if inner, ok := p.Value.(emit.Map); ok && len(inner) > 0 {
			all = append(all, leaves(key, inner)...)
		} else {
			all = append(all, key)
		}
	}
	return all
}

// TestDiffOfAnyTwo: there is a difference between two good specs that have
// little in common, and all keys of it make one of the other.
func TestDiffOfAnyTwo(t *testing.T) {
	old := demo.Read(t, reference())
	all := specs(t, "good")
	for _, name := range []string{"common/overrides", "etcd/checksum-unknown", "patroni/database-dash", "patroni/tags"} {
		t.Run(name, func(t *testing.T) {
			new := demo.Read(t, all[name])
			changes, err := generator.Diff(old, new, roles.All())
			if err != nil {
				t.Fatal(err)
			}
			if len(changes) == 0 {
				t.Error("no key differs")
			}
			if back, err := generator.Diff(new, old, roles.All()); err != nil || len(back) == 0 {
				t.Errorf("the way back: %d changes, %v", len(back), err)
			}
			if same, err := generator.Diff(new, new, roles.All()); err != nil || len(same) > 0 {
				t.Errorf("with itself: %d changes, %v", len(same), err)
			}
			text, err := emit.YAML(generator.Mix("", generator.Document(old), generator.Document(new), func(string, any, any) bool { return true }))
			if err != nil {
				t.Fatal(err)
			}
			want, err := generator.Effective(new)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), understood(t, text)); diff != "" {
				t.Errorf("all that differs makes another spec (-want +got):\n%s", diff)
			}
		})
	}
}
