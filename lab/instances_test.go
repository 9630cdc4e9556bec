//go:build linux

package lab_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab"
	"pgha-gen/lab/cloudapi"
	"pgha-gen/lab/labtest"
	"pgha-gen/lab/yc"
)

// TestMain makes this program yc where it is called so.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "yc" {
		if err := runYc(); err != nil {
			fmt.Fprintln(os.Stderr, "ERROR: "+err.Error())
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// token is what an IAM token may look like.
const token = "t1.lab"

// bearer puts the token into each call of the API.
type bearer struct{}

func (bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + token}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }

func dialAPI(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(bearer{}))
}

func runYc() error {
	conn, err := dialAPI(os.Getenv("LAB_API"))
	if err != nil {
		return err
	}
	defer conn.Close()
	return yc.Run(context.Background(), conn, os.Args[1:], os.Getenv, os.Stdout)
}

// create.sh creates the machines of the reference by the cloud's API. They boot,
// and clients write; what the API shows and changes is theirs.
func TestCreateScript(t *testing.T) {
	testkit.Need(t, "jq")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	c := newClusterOf(t, ctx, demo.Cluster(t))
	address := serveAPI(t, ctx, c.Lab)
	spec := c.Cluster()
	out := filepath.Join(labtest.State(t), "out")
	testkit.OK(t, demo.Files(t, &spec).Write(ctx, out))
	script := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, "sh", append([]string{filepath.Join(out, "deploy", "create.sh")}, args...)...)
		bin := t.TempDir()
		self, err := os.Executable()
		testkit.OK(t, err)
		testkit.OK(t, os.Symlink(self, filepath.Join(bin, "yc")))
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "LAB_API="+address)
		said, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("create.sh %q: %v\n%s", args, err, said)
		}
		return string(said)
	}
	c.started = time.Now()
	script()
	if err := c.write(ctx, 1); err != nil {
		t.Fatal(err)
	}
	t.Logf("first acknowledged write: %.1f s after create.sh began", time.Since(c.started).Seconds())
	if err := c.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	if said := script(); strings.Contains(said, "creating") {
		t.Errorf("a second run creates something:\n%s", said)
	}
	script("finish")

	conn, err := dialAPI(address)
	testkit.OK(t, err)
	defer conn.Close()
	api := compute.NewInstanceServiceClient(conn)
	list, err := api.List(ctx, &compute.ListInstancesRequest{FolderId: spec.Cloud.FolderID})
	testkit.OK(t, err)
	if len(list.Instances) != 7 {
		t.Errorf("the folder has %d machines", len(list.Instances))
	}
	for _, i := range list.Instances {
		console, err := api.GetSerialPortOutput(ctx, &compute.GetInstanceSerialPortOutputRequest{InstanceId: i.Id})
		testkit.OK(t, err)
		if !strings.Contains(console.Contents, " "+i.Name+" ready ok") {
			t.Errorf("the console of %s does not say that it is ready", i.Name)
		}
		seen, err := c.Machine(i.Name).Exec(ctx, "curl", "-sS", "-H", "Metadata-Flavor: Google", "http://169.254.169.254/computeMetadata/v1/instance/attributes/")
		if err != nil || strings.Contains(string(seen), "pgha-bootstrap") {
			t.Errorf("the metadata of %s has %q behind finish: %v", i.Name, seen, err)
		}
	}
}

// serveAPI serves the cloud's API of a lab, and gives its address.
func serveAPI(t *testing.T, ctx context.Context, l *lab.Lab) string {
	t.Helper()
	none := map[string]int64{"compute.ssdDisks.size": -1, "compute.instanceCores.count": -1} // the reference needs more than a new folder has
	api, err := l.CloudAPI(cloudapi.Config{Token: token, Quotas: none})
	testkit.OK(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.OK(t, err)
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- api.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		api.Close()
	})
	return listener.Addr().String()
}
