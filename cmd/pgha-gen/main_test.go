package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pgha-gen": func() {
		os.Exit(run(os.Args[1:], demo.Roles(), machinesDial(), os.Stdin, os.Stdout, os.Stderr))
	}})
}

func TestScript(t *testing.T) {
	example := filepath.Join(t.TempDir(), "reference.yaml")
	testkit.OK(t, os.WriteFile(example, []byte(demo.Spec(t)), 0o644))
	readme, err := filepath.Abs("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range demo.Roles() {
		names = append(names, r.Name)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       testkit.Update(),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("EXAMPLE", example)
			env.Setenv("README", readme)
			env.Setenv("ROLES", strings.Join(names, ", "))
			env.Setenv("ROLE_LINES", strings.Join(names, "\n"))
			return nil
		},
		Condition: func(condition string) (bool, error) {
			if condition == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", condition)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":   status,
			"machines": machines(t),
			"bound":    bound,
			"silent":   silent,
		},
	})
}

// status N CMD...: CMD ends with exactly that status, which "! exec" cannot tell
// from another.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N CMD...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%q ended with status %d, want %d", args[1:], got, want)
	}
}

// bound N CMD...: as status, but CMD is bound by the permissions of files, which
// root is not.
func bound(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: bound N CMD...")
	}
	if os.Geteuid() == 0 {
		if _, err := exec.LookPath("setpriv"); err != nil {
			ts.Fatalf("no setpriv (util-linux), by which root is bound by permissions: run the tests as another user")
		}
		args = append([]string{args[0], "setpriv", "--bounding-set=-all", "--"}, args[1:]...)
	}
	status(ts, false, args)
}

// silent DIR FILE: no secret of DIR is in FILE: no line of a key, no password.
func silent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: silent DIR FILE")
	}
	said := ts.ReadFile(args[1])
	names, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*.*"))
	ts.Check(err)
	operator, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "operator", "*.*"))
	ts.Check(err)
	names = append(names, operator...)
	secrets := 0
	for _, name := range names {
		texts := []string{ts.ReadFile(name)}
		var entries []struct {
			Text string `json:"text_value"`
		}
		if strings.HasSuffix(name, ".json") {
			ts.Check(json.Unmarshal([]byte(texts[0]), &entries))
			texts = nil
			for _, e := range entries {
				texts = append(texts, e.Text)
			}
		}
		for _, text := range texts {
			if strings.HasPrefix(text, "-----BEGIN CERTIFICATE-----") {
				continue // which is no secret, and said if the spec is to have it
			}
			for line := range strings.Lines(text) {
				if _, value, ok := strings.Cut(line, "_PASSWORD="); ok {
					line = value
				}
				line = strings.TrimSpace(line)
				if len(line) < 16 || strings.HasPrefix(line, "-----") {
					continue
				}
				secrets++
				if strings.Contains(said, line) {
					ts.Fatalf("a secret of %s is in %s", filepath.Base(name), args[1])
				}
			}
		}
	}
	if secrets < 10 {
		ts.Fatalf("only %d secrets in %s: this test sees nothing", secrets, args[0])
	}
}
