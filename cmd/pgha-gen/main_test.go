package main

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "put what was printed into testdata/script")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pgha-gen": main})
}

func TestScript(t *testing.T) {
	example, err := filepath.Abs("../../generator/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("EXAMPLE", example)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status,
			"bound":  bound,
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
