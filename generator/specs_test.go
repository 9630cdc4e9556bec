package generator_test

import (
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"pgha-gen/generator"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles"
)

// specs are those of a folder of testdata, as area/name. A file of an area has
// many: each says what differs from base.yaml, below what the file begins with.
// What needs every line to be seen is in whole/.
func specs(t testing.TB, folder string) map[string][]byte {
	t.Helper()
	folder = filepath.Join("testdata", folder)
	base := testkit.Text(t, strings.Replace(folder, "warn", "good", 1)+"/base.yaml")
	all := map[string][]byte{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		area, name := filepath.Base(filepath.Dir(path)), d.Name()
		switch {
		case err != nil || d.IsDir() || name == "base.yaml":
			return err
		case area == "whole":
			all["whole/"+strings.TrimSuffix(name, ".yaml")] = []byte(testkit.Text(t, path))
			return nil
		case filepath.Ext(name) != ".txtar":
			t.Errorf("%s: no file of an area (want .txtar, or whole/)", path)
			return nil
		}
		archive, err := txtar.ParseFile(path)
		if err != nil {
			return err
		}
		for _, edit := range archive.Files {
			key := strings.TrimSuffix(name, ".txtar") + "/" + edit.Name
			if all[key] != nil {
				t.Errorf("%s: two are called %s", path, edit.Name)
			}
			all[key] = []byte(demo.Edit(t, base, string(archive.Comment)+string(edit.Data)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// eachSpec tests the specs of a folder.
func eachSpec(t *testing.T, folder string, test func(t *testing.T, src []byte)) {
	all := specs(t, folder)
	if least := map[string]int{"bad": 231, "warn": 21, "good": 17}[folder]; len(all) < least {
		t.Errorf("testdata/%s has %d specs, want at least %d", folder, len(all), least)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) { test(t, all[name]) })
	}
}

// reference is the reference of all roles that there are.
func reference() []byte { return []byte(generator.Reference(roles.All())) }
