package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles"
)

// The mistakes that README.md shows are what the reference gives with them.
func TestReadmeMistakes(t *testing.T) {
	_, shown, _ := strings.Cut(testkit.Text(t, "../README.md"), "A mistake is shown where it is:\n\n```\n")
	shown, _, _ = strings.Cut(shown, "\n```\n")
	spec := demo.Spec(t,
		"    version: 3.5.15 =>    versoin: 3.5.15 ",
		"    - {name: demo-etcd-3, zone: ru-central1-a, address: 10.128.0.31}\n=>",
		"      max_connections: 300\n=>      max_connections: 300\n      work_mem: 8MiB\n")
	_, err := generator.Read("pgha.yaml", []byte(spec), roles.All())
	if err == nil {
		t.Fatal("the reference with three mistakes is a good spec")
	}
	if diff := cmp.Diff(err.Error(), shown); diff != "" {
		t.Errorf("(-want +README.md):\n%s", diff)
	}
}

var documents = []string{"../README.md", "architecture.md", "security.md", "figures.md", "operations.md", "recovery.md"}

// The files that the documents name are there.
func TestPathsExist(t *testing.T) {
	for _, file := range documents {
		link := regexp.MustCompile(`\]\(([^)#]+)\)|` + "`((?:cmd|deploy|docs|generator|internal|lab|packer|roles)/[a-z0-9_./-]+)`")
		for _, m := range link.FindAllStringSubmatch(testkit.Text(t, file), -1) {
			target := filepath.Join(filepath.Dir(file), m[1])
			if m[2] != "" {
				target = filepath.Join("..", m[2])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// The commands and options that the documents tell are there.
func TestCommandsExist(t *testing.T) {
	forms := []struct {
		what *regexp.Regexp // as it is told; the name is its group
		in   string         // the files where it is
		as   string         // how it is written there, with the name for %s
		ask  int            // how often it is told, at least
	}{
		{regexp.MustCompile(`(?m)(?:^|\x60)make\s([a-z-]+)`), "../Makefile", "\n%s:", 10},
		{regexp.MustCompile(`(?m)(?:^ *|\x60)pgha-gen ([a-z]+)`), "../cmd/pgha-gen/*.go", `"%s`, 8},
		{regexp.MustCompile(`(?m)(?:^|\x60)bin/pgha-lab ([a-z]+)`), "../cmd/pgha-lab/*.go", `"%s`, 1},
		{regexp.MustCompile(`(?m)(?:^ *|\x60|\$ )pgha-cloud ([a-z]+)`), "../cmd/pgha-cloud/*.go", `"%s`, 6},
		{regexp.MustCompile(`-var ([a-z_]+)=?`), "../packer/template/*/source.pkr.hcl", `variable "%s"`, 8},
		{regexp.MustCompile(`\x60--([a-z-]+)[\x60 ]`), "../cmd/pgha-*/*.go", `"%s"`, 2},
	}
	var told string
	for _, file := range append([]string{
		"../generator/template/README.md", "../packer/template/yandex/README.md",
		"../packer/template/qemu/README.md", "../packer/template/ssh/README.md",
	}, documents...) {
		told += testkit.Text(t, file)
	}
	for _, form := range forms {
		files, err := filepath.Glob(form.in)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", form.in, err)
		}
		var source string
		for _, file := range files {
			source += testkit.Text(t, file)
		}
		found := form.what.FindAllStringSubmatch(told, -1)
		if len(found) < form.ask {
			t.Errorf("%s: %d are told, want at least %d", form.what, len(found), form.ask)
		}
		for _, m := range found {
			if !strings.Contains(source, fmt.Sprintf(form.as, m[1])) {
				t.Errorf("%s has no %s", form.in, m[1])
			}
		}
	}
}
