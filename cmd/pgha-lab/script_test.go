//go:build linux

package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"pgha-gen/internal/testkit"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pgha-lab": func() {
		os.Exit(run(context.Background(), "pgha-lab", os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}})
}

// What the command says where no machine is needed.
func TestScript(t *testing.T) {
	spec, err := filepath.Abs("../../docs/reference.yaml")
	testkit.OK(t, err)
	etcd, err := filepath.Abs("../../lab/etcd")
	testkit.OK(t, err)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       testkit.Update(),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("SPEC", spec)
			env.Setenv("ETCD", etcd)
			return nil
		},
		Condition: func(string) (bool, error) { return os.Geteuid() == 0, nil }, // [root] alone
	})
}
