// Package docs_test holds the documents to the code that they speak of.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"pgha-gen/internal/testkit"
)

var named = regexp.MustCompile("`(Test[A-Za-z0-9]+)(?:/([^`]+))?`")

// Every row of a table in security.md names a test, and every test that it names
// is there: the function, and what a subtest is called.
func TestSecurityNamesTests(t *testing.T) {
	text := testkit.Text(t, "security.md")
	functions, sources := tests(t)
	found := 0
	for i, line := range strings.Split(text, "\n") {
		names := named.FindAllStringSubmatch(line, -1)
		row := strings.HasPrefix(line, "| ") && !strings.Contains(line, " stolen |") && !strings.HasSuffix(line, "| test |")
		// Rows of what a stolen machine costs say it where there is something to test.
		if row && len(names) == 0 && !strings.Contains(line, "on it anyway") {
			t.Errorf("security.md:%d: names no test: %s", i+1, line)
		}
		for _, n := range names {
			found++
			if !functions[n[1]] {
				t.Errorf("security.md:%d: there is no %s", i+1, n[1])
			}
			if n[2] != "" && !sources[n[2]] && !called(sources, n[2]) {
				t.Errorf("security.md:%d: %s has no subtest %q", i+1, n[1], n[2])
			}
		}
	}
	if found < 50 {
		t.Errorf("%d tests are named, want at least 50", found)
	}
}

// called says whether a test's source has the name of a subtest, whole or, when
// the test puts it together, but for its last word.
func called(sources map[string]bool, name string) bool {
	short := name[:strings.LastIndex(name, " ")+1]
	for s := range sources {
		if strings.Contains(s, `"`+name+`"`) || short != "" && strings.Contains(s, `"`+short+`"`) {
			return true
		}
	}
	return false
}

// tests are the test functions of the project, and as sources the text of their
// files, and the names of specs that say themselves what is wrong.
func tests(t *testing.T) (functions, sources map[string]bool) {
	t.Helper()
	functions, sources = map[string]bool{}, map[string]bool{}
	form := regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9]+)\(`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "out" || d.Name() == ".git"):
			return filepath.SkipDir
		case strings.HasSuffix(path, "_test.go"):
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range form.FindAllStringSubmatch(string(text), -1) {
				functions[m[1]] = true
			}
			sources[string(text)] = true
		case strings.Contains(path, "testdata") && strings.HasSuffix(path, ".txtar"):
			archive, err := txtar.ParseFile(path)
			if err != nil {
				return err
			}
			for _, edit := range archive.Files {
				sources[strings.TrimSuffix(filepath.Base(path), ".txtar")+"/"+edit.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return functions, sources
}
