package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"google.golang.org/grpc"

	"pgha-gen/deploy/operate/operatetest"
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
			os.Exit(run(os.Args[1:], demo.Roles(), cloud, operatetest.Behind(os.Getenv("MACHINES")), os.Stdin, os.Stdout, os.Stderr))
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

// What docs/operations.md shows is what the commands say, but for numbers.
func TestOperations(t *testing.T) {
	operations := testkit.Text(t, "../../docs/operations.md")
	numbers := regexp.MustCompile(`[0-9]+\.[0-9] s`)
	authority := operatetest.NewAuthority(t)
	operator := operatetest.Folder(t, authority)
	t.Chdir(t.TempDir())
	testkit.OK(t, os.WriteFile("pgha.yaml", []byte(demo.Spec(t, operatetest.Operators)), 0o600))
	blocks := regexp.MustCompile(`(?m)^\$ pgha-cloud (.*)\n((?:[^$`+"`"+`\n].*\n)+)`).FindAllStringSubmatch(operations, -1)
	if len(blocks) < 3 {
		t.Fatalf("%d commands are shown", len(blocks))
	}
	for _, m := range blocks {
		args, want := append(strings.Fields(m[1]), "--operator", operator), m[2]
		t.Run(m[1], func(t *testing.T) {
			machines, api := operatetest.New(t, authority), yandextest.New(t, cloudapi.Config{})
			machines.Leader, api.Power = "demo-pg-1", machines.Power
			cloud := func(ctx context.Context) (grpc.ClientConnInterface, error) {
				return yandextest.Connect(ctx, api.Address, yandextest.Token)
			}
			var said bytes.Buffer
			if status := run([]string{"deploy", "--yes"}, demo.Roles(), cloud, machines.Dial, strings.NewReader(""), &said, &said); status != 0 {
				t.Fatal(said.String())
			}
			said.Reset()
			if strings.Contains(want, "fd8newer") {
				api.Has(t, &compute.Image{Id: "fd8newer", Name: "newer", Family: "demo-patroni", Status: compute.Image_READY})
			}
			machines.Refuse["demo-etcd-1"] = strings.Contains(want, "demo-etcd-1 is not well")
			status := run(args, demo.Roles(), cloud, machines.Dial, strings.NewReader(""), &said, &said)
			if diff := cmp.Diff(numbers.ReplaceAllString(want, "N s"), numbers.ReplaceAllString(said.String(), "N s")); diff != "" {
				t.Errorf("status %d (-docs/operations.md +got):\n%s", status, diff)
			}
		})
	}
}

// watched is what a command says, while it runs.
type watched struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// Ctrl-C ends replace and roll with one sentence, which says how it goes on.
func TestInterrupted(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"replace demo-pg-1", "pgha-cloud: interrupted (what was begun goes on by itself: run this again if pgha-cloud status does not have the machine)\n"},
		{"roll --role patroni", "pgha-cloud: interrupted (run this again: it goes on where it stopped)\n"},
	} {
		t.Run(test.args, func(t *testing.T) {
			authority := operatetest.NewAuthority(t)
			machines, api := operatetest.New(t, authority), yandextest.New(t, cloudapi.Config{})
			api.Power = machines.Power
			cloud := func(ctx context.Context) (grpc.ClientConnInterface, error) {
				return yandextest.Connect(ctx, api.Address, yandextest.Token)
			}
			text := demo.Spec(t, operatetest.Operators)
			said := &watched{}
			if status := run([]string{"deploy", "-f", "-", "--yes"}, demo.Roles(), cloud, machines.Dial, strings.NewReader(text), said, said); status != 0 {
				t.Fatal(said)
			}
			said = &watched{}
			api.Has(t, &compute.Image{Id: "fd8newer", Name: "newer", Family: "demo-patroni", Status: compute.Image_READY})
			api.Say("demo-pg-1", "join wait for others")
			status := make(chan int)
			go func() {
				args := append(strings.Fields(test.args), "-f", "-", "--operator", operatetest.Folder(t, authority), "--yes")
				status <- run(args, demo.Roles(), cloud, machines.Dial, strings.NewReader(text), said, said)
			}()
			for deadline := time.Now().Add(time.Minute); !strings.Contains(said.String(), "demo-pg-1: created; it boots"); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal(said)
				}
			}
			testkit.OK(t, syscall.Kill(os.Getpid(), syscall.SIGINT))
			if got := <-status; got != 1 || !strings.HasSuffix(said.String(), test.want) {
				t.Errorf("status %d, and it said %q, want %q", got, said, test.want)
			}
		})
	}
}

func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       testkit.Update(),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			authority := operatetest.NewAuthority(t)
			machines, cloud := operatetest.New(t, authority), yandextest.New(t, cloudapi.Config{})
			cloud.Power = machines.Power
			env.Setenv("MACHINES", operatetest.Relay(t, machines.Dial))
			env.Setenv("CLOUD", cloud.Address)
			env.Setenv("YC_TOKEN", yandextest.Token)
			return errors.Join(os.WriteFile(env.WorkDir+"/pgha.yaml", []byte(demo.Spec(t, operatetest.Operators)), 0o600),
				os.Rename(operatetest.Folder(t, authority), env.WorkDir+"/operator"))
		},
	})
}
