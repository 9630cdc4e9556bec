package generator_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"pgha-gen/generator"
	"pgha-gen/generator/emit"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
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
