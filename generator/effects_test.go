package generator_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator"
	"pgha-gen/generator/effect"
	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/packer"
)

// goodClusters are those of the reference and of all good specs, by name. One
// without a CA gets the reference's, since there is no user-data without.
func goodClusters(t *testing.T) map[string]*role.Cluster {
	t.Helper()
	all := map[string]*role.Cluster{"reference": demo.Read(t, reference())}
	for name, src := range specs(t, "good") {
		c := demo.Read(t, src)
		if c.Secrets.CA == "" {
			c.Secrets.CA = all["reference"].Secrets.CA
			testkit.OK(t, c.Plan())
		}
		all[name] = c
	}
	return all
}

// userFiles are those that user-data writes, by path.
func userFiles(t *testing.T, c *role.Cluster, group *role.Group) map[string][]byte {
	t.Helper()
	files, err := generator.UserFiles(c, group)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		all[f.Path] = f.Data
	}
	return all
}

// A lists of effects has a line for every key of every file, and no line that
// is about nothing.
func TestEffectsListsAreComplete(t *testing.T) {
	used := map[string]map[effect.Rule]bool{}
	lines := map[string]effect.Rules{}
	keys := 0
	for name, c := range goodClusters(t) {
		for _, group := range c.Groups {
			rules, err := generator.EffectsLists(c, group)
			if err != nil {
				t.Fatal(err)
			}
			lines[group.Name] = rules
			if used[group.Name] == nil {
				used[group.Name] = map[effect.Rule]bool{}
			}
			for path, data := range userFiles(t, c, group) {
				values, err := effect.Keys(path, data)
				if err != nil {
					t.Fatal(err)
				}
				for key := range values {
					keys++
					rule, ok := rules.Of(path, key)
					if !ok {
						t.Errorf("%s, %s: no line is about %s", name, group.Name, effect.Name(path, key))
					}
					used[group.Name][rule] = true
				}
			}
		}
	}
	if keys < 1000 {
		t.Errorf("looked at %d keys, want more", keys)
	}
	all := map[effect.Rule]bool{} // a line of base.list need not be about every role
	for _, of := range used {
		maps.Copy(all, of)
	}
	for name, rules := range lines {
		for _, rule := range rules {
			if !all[rule] {
				t.Errorf("%s: no spec has what this line is about: %s %s", name, effect.Name(rule.Path, rule.Key), rule.Effect)
			}
		}
	}
}

// refresh.py reads the lists, and the files, as this program does.
func TestEffectsAsPythonReadsThem(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import yaml").Run(); err != nil {
		testkit.Missing(t, "%s has no PyYAML", python)
	}
	folder := t.TempDir()
	type sample struct{ List, UserData string }
	samples := map[string]sample{}
	want := map[string][]string{}
	for name, c := range goodClusters(t) {
		for _, group := range c.Groups {
			id := name + " " + group.Name
			data, err := generator.UserData(c, group)
			if err != nil {
				t.Fatal(err)
			}
			list := filepath.Join(folder, group.Name+".list")
			text, err := fs.ReadFile(group.Files, "rootfs/usr/lib/pgha/effects/role.list")
			if err != nil {
				t.Fatal(err)
			}
			testkit.OK(t, os.WriteFile(list, text, 0o644))
			samples[id] = sample{list, string(data)}

			rules, err := generator.EffectsLists(c, group)
			if err != nil {
				t.Fatal(err)
			}
			for path, data := range userFiles(t, c, group) {
				values, err := effect.Keys(path, data)
				if err != nil {
					t.Fatal(err)
				}
				for key := range values {
					rule, _ := rules.Of(path, key)
					want[id] = append(want[id], fmt.Sprintf("%s %s: %s %s %s %s", path, key, rule.Path, rule.Key, rule.Effect, rule.What))
				}
			}
			slices.Sort(want[id])
		}
	}
	base, err := fs.ReadFile(packer.Common(), "rootfs/usr/lib/pgha/effects/base.list")
	if err != nil {
		t.Fatal(err)
	}
	testkit.OK(t, os.WriteFile(filepath.Join(folder, "base.list"), base, 0o644))
	input, err := json.Marshal(samples)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-W", "error", "testdata/effects.py", filepath.Join(folder, "base.list"))
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH=../packer/rootfs/usr/lib/pgha")
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(input)), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string][]string
	testkit.OK(t, json.Unmarshal(out, &got))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-Go +Python):\n%s", diff)
	}
}
