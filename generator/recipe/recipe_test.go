package recipe_test

import (
	"encoding/json"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"mvdan.cc/sh/v3/syntax"

	"pgha-gen/generator/recipe"
	"pgha-gen/generator/role"
	"pgha-gen/generator/tree"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/packer"
)

// cluster is the reference's cluster, for a builder.
func cluster(t *testing.T, b role.Builder) *role.Cluster {
	t.Helper()
	c := demo.Cluster(t)
	c.Images.Builder = b
	c.Images.Base.URL = "https://example.com/base.qcow2"
	c.Images.Base.Checksum = "sha256:" + strings.Repeat("0", 64)
	c.Images.Base.Host = "192.0.2.1"
	return c
}

// folder is what bakes one role, by path below its folder; what all roles share
// is beside it.
func folder(t *testing.T, c *role.Cluster, group *role.Group) map[string]string {
	t.Helper()
	out := tree.Tree{}
	testkit.OK(t, recipe.Add(out, c))
	files := map[string]string{}
	for name, file := range out {
		if below, ok := strings.CutPrefix(name, "packer/"+group.Name+"/"); ok {
			files[below] = string(file.Data)
		}
		if below, ok := strings.CutPrefix(name, "packer/common/"); ok {
			files["../common/"+below] = string(file.Data)
		}
	}
	return files
}

// every runs a test for each role and builder.
func every(t *testing.T, test func(t *testing.T, b role.Builder, group *role.Group, files map[string]string)) {
	for _, name := range role.Builder("").Values() {
		b := role.Builder(name)
		c := cluster(t, b)
		for _, group := range c.Groups {
			t.Run(name+"/"+group.Name, func(t *testing.T) {
				test(t, b, group, folder(t, c, group))
			})
		}
	}
}

// TestEnvironment: the environment of a bake has what its scripts read.
func TestEnvironment(t *testing.T) {
	// What a script reads and neither sets nor is told by the recipe.
	elsewhere := map[string]string{
		"ID":               "os-release, which base.sh reads",
		"VERSION_ID":       "os-release",
		"VERSION_CODENAME": "os-release",
	}
	every(t, func(t *testing.T, _ role.Builder, group *role.Group, files map[string]string) {
		var values struct{ Environment map[string]string }
		testkit.OK(t, json.Unmarshal([]byte(files["image.auto.pkrvars.json"]), &values))
		wanted := demands(t, files["../common/base.sh"]+files["../common/seal.sh"]+"\n"+files["bake.sh"])
		for _, name := range wanted {
			if _, ok := values.Environment[name]; !ok && elsewhere[name] == "" {
				t.Errorf("the scripts need %s, and the recipe does not tell it", name)
			}
		}
		for _, name := range []string{"PGHA_ROLE", "PGHA_RECIPE"} {
			if !slices.Contains(wanted, name) {
				t.Errorf("the scripts do not need %s: does this test still see what they read?", name)
			}
		}
		for name, value := range values.Environment {
			if !strings.Contains(files["../common/base.sh"]+files["../common/seal.sh"]+files["bake.sh"], name) {
				t.Errorf("no script reads %s", name)
			}
			if strings.HasPrefix(name, "PGHA_") && value == "" {
				t.Errorf("%s is empty", name)
			}
		}
		if values.Environment["PGHA_ROLE"] != group.Name {
			t.Errorf("PGHA_ROLE is %q", values.Environment["PGHA_ROLE"])
		}
	})
}

// demands are the variables in capitals that a script reads without a default
// and does not set, and those whose names it goes through itself.
func demands(t *testing.T, script string) []string {
	t.Helper()
	file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(script), "scripts")
	if err != nil {
		t.Fatal(err)
	}
	capitals := regexp.MustCompile(`^[A-Z][A-Z0-9_]+$`)
	read, set := map[string]bool{}, map[string]bool{}
	syntax.Walk(file, func(node syntax.Node) bool {
		switch n := node.(type) {
		case *syntax.Assign:
			if n.Name != nil {
				set[n.Name.Value] = true
			}
		case *syntax.ParamExp:
			if capitals.MatchString(n.Param.Value) && n.Exp == nil {
				read[n.Param.Value] = true
			}
		case *syntax.WordIter:
			for _, w := range n.Items {
				if strings.HasPrefix(w.Lit(), "PGHA_") {
					read[w.Lit()] = true
				}
			}
		}
		return true
	})
	for name := range set {
		delete(read, name)
	}
	return slices.Sorted(maps.Keys(read))
}

func TestDemands(t *testing.T) {
	got := demands(t, "for n in PGHA_A word; do :; done\nB1=x\necho \"$B1 ${CC} ${DD:-x} $lower $1\"\ncat <<END\n$EE\nEND\n")
	if diff := cmp.Diff([]string{"CC", "EE", "PGHA_A"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRecipeHasOneDigest(t *testing.T) {
	digest := func(change func(*role.Cluster)) string {
		c := cluster(t, role.Yandex)
		change(c)
		testkit.OK(t, c.Plan())
		var values struct {
			Environment map[string]string
			Labels      map[string]string `json:"image_labels"`
		}
		testkit.OK(t, json.Unmarshal([]byte(folder(t, c, c.Groups[0])["image.auto.pkrvars.json"]), &values))
		if values.Environment["PGHA_RECIPE"] != values.Labels["pgha-recipe"] || len(values.Labels["pgha-recipe"]) != 12 {
			t.Errorf("the image says %q, its label %q", values.Environment["PGHA_RECIPE"], values.Labels["pgha-recipe"])
		}
		return values.Labels["pgha-recipe"]
	}
	plain := digest(func(*role.Cluster) {})
	if got := digest(func(c *role.Cluster) { c.Images.Bake.SubnetID = "e9b2" }); got != plain {
		t.Error("where it is baked changes the digest; it is for what is baked")
	}
	if got := digest(func(c *role.Cluster) { c.Images.Architecture = role.ARM64 }); got == plain {
		t.Error("another architecture has the same digest")
	}
}

// TestAddOnce: each file stands once, in common if it is of all images.
func TestAddOnce(t *testing.T) {
	c := cluster(t, role.Yandex)
	out := tree.Tree{}
	testkit.OK(t, recipe.Add(out, c))
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(out)) {
		data := string(out[name].Data)
		if strings.HasSuffix(name, ".hcl") { // Packer reads no other folder's
			continue
		}
		if other := seen[data]; other != "" {
			t.Errorf("%s and %s are the same", other, name)
		}
		seen[data] = name
	}
	for _, group := range c.Groups {
		made, err := recipe.New(c, group)
		if err != nil {
			t.Fatal(err)
		}
		for name := range made.Files {
			_, common := out[path.Join("packer/common", name)]
			_, own := out[path.Join("packer", group.Name, name)]
			if common == own {
				t.Errorf("%s of %s: in common %v, in its own folder %v: want one of them", name, group.Name, common, own)
			}
		}
	}
	if err := recipe.Add(out, c); err == nil {
		t.Error("two clusters in one folder are taken")
	}
}

func TestRefused(t *testing.T) {
	c := cluster(t, "vmware")
	if err := recipe.Add(tree.Tree{}, c); err == nil {
		t.Error("a template of an unknown builder is made")
	}
	if _, err := recipe.Step(c); err == nil {
		t.Error("there is advice for an unknown builder")
	}
	c.Images.Builder = role.SSH
	with := func(name string) *role.Group {
		changed := *c.Groups[0].Role
		changed.Files = fstest.MapFS{name: {}}
		return &role.Group{Role: &changed, Settings: c.Groups[0].Settings, Plan: c.Groups[0].Plan}
	}
	if _, err := recipe.New(c, with("rootfs/usr/lib/pgha/step.sh")); err == nil || !strings.Contains(err.Error(), "added twice") {
		t.Errorf("a role that replaces a file of all images: have error %v", err)
	}
	for _, name := range []string{"base.sh", "image.pkr.hcl"} {
		c.Groups = []*role.Group{with(name)}
		if err := recipe.Add(tree.Tree{}, c); err == nil || !strings.Contains(err.Error(), "added twice") {
			t.Errorf("a role with a %s of its own: have error %v", name, err)
		}
	}
}

// TestBuilders: a builder is a row of role's table and a folder of files, each
// with the other.
func TestBuilders(t *testing.T) {
	entries, err := fs.ReadDir(packer.Template(), "template")
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, entry := range entries {
		if entry.IsDir() {
			folders = append(folders, entry.Name())
		}
	}
	rows := role.Builder("").Values()
	slices.Sort(rows)
	if diff := cmp.Diff(rows, folders); diff != "" {
		t.Errorf("(-rows +folders):\n%s", diff)
	}
}
