package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"

	"pgha-gen/deploy/secrets"
	"pgha-gen/deploy/yandex/yandextest"
	"pgha-gen/generator"
	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloudapi"
)

// TestMain has the command speak to the cloud of the test, if it has one.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"generate-secrets": generateSecrets,
		"pgha-cloud": func() {
			cloud := connect(os.Getenv)
			if address := os.Getenv("CLOUD"); address != "" {
				cloud = func(ctx context.Context) (grpc.ClientConnInterface, error) {
					return yandextest.Connect(ctx, address, os.Getenv("YC_TOKEN"))
				}
			}
			os.Exit(run(os.Args[1:], demo.Roles(), cloud, os.Stdin, os.Stdout, os.Stderr))
		},
		"yc":     func() { ended(yc(os.Args[1:])) },
		"packer": func() { ended(packer(os.Args[1:])) },
	})
}

func ended(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// generateSecrets is pgha-gen secrets generate.
func generateSecrets() {
	text, err := os.ReadFile("pgha.yaml")
	if err == nil {
		var c *role.Cluster
		if c, err = generator.Read("pgha.yaml", text, demo.Roles()); err == nil {
			_, err = secrets.Generate("secrets/"+c.Name, c, secrets.Rotation{Passwords: len(os.Args) > 1}, secrets.World{UID: os.Geteuid(), Now: time.Now(), Random: rand.Reader})
		}
	}
	ended(err)
}

func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       testkit.Update(),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("CLOUD", yandextest.New(t, cloudapi.Config{}).Address)
			env.Setenv("YC_TOKEN", yandextest.Token)
			return os.WriteFile(env.WorkDir+"/pgha.yaml", []byte(demo.Spec(t)), 0o600)
		},
	})
}
