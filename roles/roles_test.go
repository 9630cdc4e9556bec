package roles_test

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pault.ag/go/debian/version"

	"pgha-gen/generator/role"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles"
)

// A role's plan reads those of the roles that it uses, and its machines are
// created when theirs are there.
func TestRolesComeAfterWhatTheyUse(t *testing.T) {
	var offered []role.Capability
	for _, r := range roles.All() {
		for _, what := range r.Uses {
			if !slices.Contains(offered, what) {
				t.Errorf("%s uses %s, which no role before it offers", r.Name, what)
			}
		}
		offered = append(offered, r.Offers...)
	}
}

// TestDefects: a version in a role's table that is none would be passed over.
func TestDefects(t *testing.T) {
	for _, r := range roles.All() {
		for _, d := range r.Defects {
			if d.Component == "" || d.Upgrade == "" {
				t.Errorf("%s: a table of defects without a component, or without what to do: %+v", r.Name, d)
			}
			for _, defect := range d.Known {
				if _, err := version.Parse(defect.Fixed); err != nil || defect.What == "" {
					t.Errorf("%s: %s: %+v: %v", r.Name, d.Component, defect, err)
				}
			}
			if _, err := version.Parse(d.From); d.From != "" && err != nil {
				t.Errorf("%s: %s: the first version: %v", r.Name, d.Component, err)
			}
		}
	}
}

var account = regexp.MustCompile(`(?m)^account (\S+) (\d+) /\S+$`)

// TestAccounts: the user of each role's service has its own name and number, so
// that no machine takes another role's data disk for its own. The numbers
// themselves are held by the lab, which asks the images.
func TestAccounts(t *testing.T) {
	of := map[string]string{} // a name or number, to its role
	for _, r := range roles.All() {
		bake, err := fs.ReadFile(r.Files, "bake.sh")
		if err != nil {
			t.Fatal(err)
		}
		found := account.FindAllSubmatch(bake, -1)
		if len(found) != 1 {
			t.Errorf("bake.sh of %s makes %d accounts, want one", r.Name, len(found))
			continue
		}
		for _, word := range found[0][1:] {
			if other := of[string(word)]; other != "" {
				t.Errorf("%s and %s both have the user %s", other, r.Name, word)
			}
			of[string(word)] = r.Name
		}
		// Packages take theirs from 100 upwards (adduser) and from 999 downwards (useradd).
		if n, _ := strconv.Atoi(string(found[0][2])); n < 500 || n > 599 {
			t.Errorf("the user of %s has number %d, want one from 500 to 599", r.Name, n)
		}
	}
}

// Everything but the roles themselves works for any role: nothing else names one.
func TestNoRoleIsNamed(t *testing.T) {
	var names []string
	for _, r := range roles.All() {
		names = append(names, r.Name)
	}
	named := regexp.MustCompile(`(?i)` + strings.Join(names, "|"))
	elsewhere := []string{
		"../packer/plugin/docs", "../packer/plugin/example", // examples for people
		"../lab/etcd",       // the module of a program that the lab builds
		"../lab/drill",      // kills and asks those programs, as a person would
		"../deploy/operate", // speaks to the programs, whose APIs have their names; it finds machines by capability
	}
	files := 0
	for _, room := range []string{"../generator", "../packer", "../deploy", "../lab"} {
		err := filepath.WalkDir(room, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (d.Name() == "testdata" || strings.HasSuffix(d.Name(), "test") || slices.Contains(elsewhere, path)):
				return fs.SkipDir // of tests
			case d.IsDir() || strings.HasSuffix(path, "_test.go") || filepath.Ext(path) == ".sum":
				return nil
			}
			files++
			for i, line := range strings.Split(testkit.Text(t, path), "\n") {
				if named.MatchString(line) {
					t.Errorf("%s:%d: %s", path, i+1, line)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 150 {
		t.Errorf("looked through %d files, want more", files)
	}
}
