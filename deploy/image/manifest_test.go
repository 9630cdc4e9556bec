package image

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/recipe"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
	"pgha-gen/internal/testkit"
)

// store is a role of the tests: what a cluster asks of an image, and no more.
type store struct{ requires, exact []string }

func (store) Machines() role.Machines             { return role.Machines{DataDisk: &role.Disk{}} }
func (store) Check(*role.Cluster, specfile.Place) {}

func (s store) Plan(*role.Cluster) (*role.Plan, error) {
	return &role.Plan{Unit: "store.service", DataMount: "/var/lib/store", Requires: s.requires, Exact: s.exact}, nil
}

// cluster has one role, store, and gives the digest of its recipe.
func cluster(t testing.TB, s store) (*role.Cluster, string) {
	t.Helper()
	files := fstest.MapFS{"rootfs/usr/lib/pgha/sealed/role.list": {Data: []byte("absent /etc/store/*/* a store\n")}}
	c := &role.Cluster{Name: "demo", Groups: []*role.Group{{
		Role: &role.Role{Name: "store", Files: files, Defects: []role.Defects{
			{Component: "python3", Known: []role.Defect{{Fixed: "3.13.5", What: "is slow"}}},
			{Component: "store", From: "1.3", Known: []role.Defect{{Fixed: "1.5", What: "loses what it keeps"}}, Upgrade: "at night"},
		}},
		Settings: s,
	}}}
	testkit.OK(t, c.Plan())
	baked, err := recipe.New(c, c.Groups[0])
	if err != nil {
		t.Fatal(err)
	}
	return c, baked.Digest
}

// today is the day of the tests, and good was baked on it.
var today = time.Date(2026, 3, 1, 23, 59, 0, 0, time.UTC)

func good(recipe string) *Manifest {
	return &Manifest{
		Format: Format, Role: "store", Contract: role.Contract, Recipe: recipe, Baked: "2026-03-01",
		Base:       Base{ID: "debian", Version: "13"},
		Components: []Component{{Name: "store", Version: "1.5"}, {Name: "python3", Version: "3.13.5-1"}},
		Packages:   []Component{{Name: "python3", Version: "3.13.5-1"}, {Name: "curl", Version: "1:8.14.1-2+b1"}},
	}
}

func TestCheck(t *testing.T) {
	requires := []string{"store>=1.2", "store<2"}
	tests := []struct {
		name, reason string
		settings     store
		change       func(*Manifest)
		want         []string
	}{
		{"fits", "nothing to say", store{requires, []string{"store=1.5", "python3=3.13.5"}}, func(*Manifest) {}, nil},
		{"role", "an image of something else has nothing else to be compared with", store{}, func(m *Manifest) { m.Role = "shop\n" },
			[]string{`it is an image of role "shop\n", and the spec has no such role (want store)`}},
		{"contract", "of another generator", store{}, func(m *Manifest) { m.Contract = 7 },
			[]string{`it speaks contract 7, this pgha-gen speaks 2 (bake it again, or use the pgha-gen that baked it)`}},
		{"recipe", "an older recipe may well do", store{}, func(m *Manifest) { m.Recipe = "abc" },
			[]string{`warning: it was baked from recipe "abc", and the spec renders "RECIPE" now (bake it again to have what has changed since)`}},
		{"too old", "the lower end", store{requires: requires}, func(m *Manifest) { m.Components[0].Version = "1.2~rc1" },
			[]string{`it has store "1.2~rc1", and user-data requires store>=1.2 (bake it again)`}},
		{"too new", "the upper end, which is open", store{requires: requires}, func(m *Manifest) { m.Components[0].Version = "2" },
			[]string{`it has store "2", and user-data requires store<2 (bake it again)`}},
		{"no version", "what cannot be compared holds nothing", store{requires: requires}, func(m *Manifest) { m.Components[0].Version = "1.5 beta\n" },
			[]string{`it has store "1.5 beta\n", and user-data requires store>=1.2 (bake it again)`,
				`it has store "1.5 beta\n", and user-data requires store<2 (bake it again)`}},
		{"missing", "what is not there holds nothing", store{[]string{"store<2"}, []string{"store=1.5"}}, func(m *Manifest) { m.Components = m.Components[1:] },
			[]string{`it has no store, and user-data requires store<2 (bake it again)`,
				`it has no store, and the spec wants store 1.5 (bake it again, or change the version in the spec)`}},
		{"not exact", "3.1 is no beginning of 3.13", store{exact: []string{"python3=3.1"}}, func(*Manifest) {},
			[]string{`it has python3 "3.13.5-1", and the spec wants python3 3.1 (bake it again, or change the version in the spec)`}},
		{"relation", "what is not understood is not held", store{requires: []string{"store=1", "store<=2", "<2", "store>=", "store>1"}}, func(*Manifest) {},
			[]string{`user-data requires "store=1", which is neither name>=version nor name<version`,
				`user-data requires "store<=2", which is neither name>=version nor name<version`,
				`user-data requires "<2", which is neither name>=version nor name<version`,
				`user-data requires "store>=", which is neither name>=version nor name<version`,
				`user-data requires "store>1", which is neither name>=version nor name<version`}},
		{"defect", "it works, mostly", store{}, func(m *Manifest) { m.Components[0].Version = "1.4" },
			[]string{`warning: store 1.4 loses what it keeps (fixed in 1.5)`,
				`warning: store 1.4 should give way to 1.5 or later, which has none of these (at night)`}},
		{"nothing in it", "all that is missing, in one run", store{}, func(m *Manifest) { *m = Manifest{Format: Format, Role: "store", Baked: m.Baked} },
			[]string{`its manifest does not say from which recipe it was baked (no bake leaves that out: bake it again)`,
				`its manifest does not say from which base it was baked (no bake leaves that out: bake it again)`,
				`its manifest lists no components (no bake leaves that out: bake it again)`,
				`its manifest lists no packages (no bake leaves that out: bake it again)`,
				`it speaks contract 0, this pgha-gen speaks 2 (bake it again, or use the pgha-gen that baked it)`,
				`warning: it was baked from recipe "", and the spec renders "RECIPE" now (bake it again to have what has changed since)`}},
		{"60 days", "it is still young", store{}, func(m *Manifest) { m.Baked = "2025-12-31" }, nil},
		{"61 days", "the updates of two months are missing", store{}, func(m *Manifest) { m.Baked = "2025-12-30" },
			[]string{`warning: it was baked 61 days ago, on 2025-12-30, and has no security update since (bake it again)`}},
		{"no day", "of an older bake", store{}, func(m *Manifest) { m.Baked = "" },
			[]string{`warning: its manifest does not say on which day it was baked, so that nobody knows which security updates it has (bake it again)`}},
		{"no date", "a manifest that no bake wrote", store{}, func(m *Manifest) { m.Baked = "yesterday\n" },
			[]string{`warning: its manifest gives "yesterday\n" as the day on which it was baked (want a date such as 2026-01-31: bake it again)`}},
		{"no such day", "each month has its days", store{}, func(m *Manifest) { m.Baked = "2026-02-30" },
			[]string{`warning: its manifest gives "2026-02-30" as the day on which it was baked (want a date such as 2026-01-31: bake it again)`}},
		{"tomorrow", "clocks differ a little", store{}, func(m *Manifest) { m.Baked = "2026-03-02" }, nil},
		{"next week", "and here by too much to say how old it is", store{}, func(m *Manifest) { m.Baked = "2026-03-08" },
			[]string{`warning: it was baked on 2026-03-08, which is still to come: a clock was wrong, there or here (bake it again if it was there)`}},
		{"half a list", "each row has a name and a version, once", store{}, func(m *Manifest) {
			m.Components = append(m.Components, m.Components[1])
			m.Packages = append(m.Packages, Component{Name: "x"}, Component{Version: "1"}, m.Packages[0])
		}, []string{`its manifest lists component "python3" twice (no bake leaves that out: bake it again)`,
			`its manifest has no version for package "x" (no bake leaves that out: bake it again)`,
			`its manifest has no name for package 4 (no bake leaves that out: bake it again)`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, recipe := cluster(t, test.settings)
			m := good(recipe)
			test.change(m)
			all, err := (&Image{Manifest: m}).Check(c, today)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, texts(all, recipe)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

func texts(all []Finding, recipe string) []string {
	var said []string
	for _, f := range all {
		said = append(said, strings.ReplaceAll(f.String(), recipe, "RECIPE"))
	}
	return said
}

func TestParse(t *testing.T) {
	tests := []struct{ name, reason, text, want string }{
		{"nothing", "a bake that was cut short", "", "no manifest of an image: EOF"},
		{"no JSON", "another file", "format: x", "no manifest of an image: invalid character 'o' in literal false (expecting 'a')"},
		{"cut", "a copy that was cut short", `{"format": "pgha-image/v1"`, "no manifest of an image: unexpected EOF"},
		{"more", "two manifests", `{"format": "pgha-image/v1"} {}`, "no manifest of an image: there is more after its end"},
		{"other format", "of a later generator", `{"format": "pgha-image/v2"}`,
			`a manifest of format "pgha-image/v2" (want "pgha-image/v1": use the pgha-gen that baked the image)`},
		{"list", "another kind of JSON", `[]`, "no manifest of an image: json: cannot unmarshal array into Go value of type image.Manifest"},
		{"smallest", "what is missing is for Check", `{"format": "pgha-image/v1", "later": 1}`, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse([]byte(test.text))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// FuzzCheck: whatever a manifest holds, each finding is one line, and the same
// manifest written again says the same.
func FuzzCheck(f *testing.F) {
	c, recipe := cluster(f, store{[]string{"store>=1.2", "store<2"}, []string{"store=1.5"}})
	seed, err := json.Marshal(good(recipe))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(bytes.ReplaceAll(seed, []byte("1.5"), []byte(`1\n\u001b[31m5:-~`)))
	f.Add([]byte(`{"format": "pgha-image/v1", "role": "store", "components": [{}], "packages": null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		if err != nil {
			return
		}
		all, err := (&Image{Manifest: m}).Check(c, today)
		if err != nil {
			t.Fatal(err)
		}
		for _, finding := range all {
			if strings.ContainsAny(finding.String(), "\n\x1b") {
				t.Errorf("%q is more than one line", finding)
			}
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		other, err := Parse(again)
		if err != nil {
			t.Fatal(err)
		}
		if rest, err := (&Image{Manifest: other}).Check(c, today); err != nil || !slices.Equal(all, rest) {
			t.Errorf("%v; written again: %v, %v", all, rest, err)
		}
	})
}
