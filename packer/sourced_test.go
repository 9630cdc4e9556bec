package packer_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mvdan.cc/sh/v3/syntax"

	"pgha-gen/internal/testkit"
)

// No shell file with somebody else's content is ever run: only step.sh and, at
// the bake, base.sh and seal.sh, which hold nothing but what the repository says.
func TestNothingIsSourced(t *testing.T) {
	allowed := map[string]bool{
		`. "${PGHA_LIB:-/usr/lib/pgha}/step.sh"`: true,
		`. "$here/base.sh"`:                      true,
		`. "$here/seal.sh"`:                      true,
		// The bake, before there is a machine: the base image's own name, and
		// variables of the template whose names are written there.
		`base.sh: . "$os_release"`:          true,
		`base.sh: eval "value=\${$name:-}"`: true,
	}
	found := 0
	for _, root := range []string{".", "../roles", "../deploy"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.Contains(path, "testdata") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil || filepath.Ext(path) != ".sh" && !strings.HasPrefix(string(text), "#!") {
				return err
			}
			if strings.HasPrefix(string(text), "#!/usr/bin/python3") {
				return nil
			}
			for _, command := range sourced(t, path, string(text)) {
				if allowed[command] || allowed[filepath.Base(path)+": "+command] {
					found++
				} else {
					t.Errorf("%s: %s: runs text as shell (want read_values of step.sh)", path, command)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 12 {
		t.Errorf("%d commands run a file: this test looks in the wrong place", found)
	}
}

// sourced are the commands of a script that run text as shell, those in here
// documents and in programs for another shell included.
func sourced(t *testing.T, name, script string) []string {
	t.Helper()
	f, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(script), name)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	line := regexp.MustCompile(`(?m)^\s*(\.|source|eval)\s.*$`)
	syntax.Walk(f, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.CallExpr:
			words := n.Args
			for len(words) > 0 && slices.Contains([]string{"command", "builtin", "exec"}, words[0].Lit()) {
				words = words[1:]
			}
			if len(words) > 0 && slices.Contains([]string{".", "source", "eval"}, words[0].Lit()) {
				var b strings.Builder
				testkit.OK(t, syntax.NewPrinter().Print(&b, n))
				all = append(all, b.String())
			}
			is := func(name string) bool {
				return slices.ContainsFunc(words, func(w *syntax.Word) bool { return w.Lit() == name })
			}
			if !is("sh") || !is("-c") {
				break
			}
			for _, w := range words {
				for _, part := range w.Parts {
					if quoted, ok := part.(*syntax.SglQuoted); ok {
						all = append(all, sourced(t, name, quoted.Value)...)
					}
				}
			}
		case *syntax.Redirect:
			if n.Hdoc != nil {
				var b strings.Builder
				testkit.OK(t, syntax.NewPrinter().Print(&b, n.Hdoc))
				all = append(all, line.FindAllString(b.String(), -1)...)
			}
		}
		return true
	})
	return all
}

// What the test above would find.
func TestSourced(t *testing.T) {
	for _, script := range []string{
		". /run/pgha/node.env", "x=1 . ./f", "if true; then eval \"$x\"; fi", "echo \"$(. ./f; echo)\"", "command . ./f",
		"sh -c '. ./f'", "as_service sh -c 'cd /; eval \"$1\"' sh x", "cat >f <<END\necho\n\t. ./f\nEND", "cat >f <<'END'\nsource ./f\nEND",
	} {
		if len(sourced(t, "script", script)) != 1 {
			t.Errorf("%q: not found", script)
		}
	}
	for _, script := range []string{"find . -type f", "jq '. + {}'", "echo . # eval", "ls ."} {
		if got := sourced(t, "script", script); len(got) != 0 {
			t.Errorf("%q: found %q", script, got)
		}
	}
}
