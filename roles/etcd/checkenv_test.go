package etcd

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pault.ag/go/debian/version"

	"pgha-gen/internal/testkit"
)

// TestVariables asks etcd's own source for its flags: each has a decision, and
// nothing else has.
func TestVariables(t *testing.T) {
	want := append(flags(t), "ETCD_UNSUPPORTED_ARCH") // read by os.Getenv rather than as a flag
	got := slices.Sorted(maps.Keys(rules().Refused))
	for name := range rules().Tunable {
		if rules().Refused[name] != "" {
			t.Errorf("%s is both tunable and refused", name)
		}
		got = append(got, name)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("variables with a decision (-etcd's +ours):\n%s", diff)
	}
}

// flags are those of the etcd that the lab builds, as variables.
func flags(t *testing.T) (names []string) {
	t.Helper()
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "go.etcd.io/etcd/server/v3")
	list.Dir = "../../lab/etcd"
	dir, err := list.Output()
	file := filepath.Join(strings.TrimSpace(string(dir)), "etcdmain", "config.go")
	if _, statErr := os.Stat(file); err != nil || statErr != nil {
		testkit.Missing(t, "etcd's source is not on this machine (cd lab/etcd && go mod download)")
	}
	source, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(source, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !strings.HasSuffix(method.Sel.Name, "Var") {
			return true
		}
		// The first text among the arguments is the flag's name.
		i := slices.IndexFunc(call.Args, func(arg ast.Expr) bool {
			text, ok := arg.(*ast.BasicLit)
			return ok && text.Kind == token.STRING
		})
		if i >= 0 {
			name, err := strconv.Unquote(call.Args[i].(*ast.BasicLit).Value)
			if err == nil && name != "" {
				names = append(names, "ETCD_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
			}
		}
		return true
	})
	if len(names) < 80 {
		t.Fatalf("found %d flags in %s, want about a hundred: this test sees nothing", len(names), file)
	}
	return names
}

// TestNewest says what the reference promises of the version that init writes.
func TestNewest(t *testing.T) {
	var newest version.Version
	for known := range checksums {
		if v, err := version.Parse(known); err != nil {
			t.Error(err)
		} else if version.Compare(newest, v) < 0 {
			newest = v
		}
	}
	if found := defects.Of(newest.String()); newest.Empty() || found != nil {
		t.Errorf("%s, the newest version that is known: %q", newest, found)
	}
}
