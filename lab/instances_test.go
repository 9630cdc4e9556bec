//go:build linux

package lab_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"pgha-gen/deploy/yandex"
	"pgha-gen/generator"
	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab"
	"pgha-gen/lab/cloudapi"
	"pgha-gen/lab/labtest"
	"pgha-gen/lab/workload"
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
	return yc.Run(context.Background(), conn, os.Args[1:], os.Getenv, os.Stdin, os.Stdout)
}

// In a folder that is empty, create.sh base, the commands of the cluster's README that
// bring its secrets to Lockbox, and create.sh create the cluster of the reference by
// the cloud's API. Its machines boot, and clients write; what the API shows and changes
// is theirs. replace.sh gives one of them a new machine, with the data disk of the old
// one.
func TestCreateScript(t *testing.T) {
	testkit.Need(t, "jq")
	ctx, cancel := labtest.Begin(t, 45*time.Second)
	defer cancel()
	c := newClusterOf(t, ctx, demo.Cluster(t, empty))
	_, address := serveAPI(t, ctx, c.Lab)
	spec := c.Cluster()
	out, bin := filepath.Join(labtest.State(t), "out"), t.TempDir()
	testkit.OK(t, demo.Files(t, &spec).Write(ctx, out))
	self, err := os.Executable()
	testkit.OK(t, err)
	testkit.OK(t, os.Symlink(self, filepath.Join(bin, "yc")))
	shell := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, "sh", args...)
		cmd.Dir = c.config.State // has secrets/demo
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "LAB_API="+address)
		said, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, said)
		}
		return string(said)
	}
	script := func(name string, args ...string) string {
		t.Helper()
		return shell(append([]string{filepath.Join(out, "deploy", name)}, args...)...)
	}
	c.started = time.Now()
	script("create.sh", "base")
	pushes := regexp.MustCompile(`(?m)^ *(yc lockbox secret add-version .*)$`).FindAllStringSubmatch(testkit.Text(t, filepath.Join(out, "README.md")), -1)
	if len(pushes) != 2 {
		t.Fatalf("the README brings secrets to Lockbox by %q", pushes)
	}
	for _, push := range pushes {
		shell("-euc", push[1])
	}
	t.Logf("all that goes before machines is there after %.1f s", time.Since(c.started).Seconds())
	c.started = time.Now()
	script("create.sh")
	if err := c.write(ctx, 1); err != nil {
		t.Fatal(err)
	}
	t.Logf("first acknowledged write: %.1f s after create.sh began", time.Since(c.started).Seconds())
	if err := c.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	if said := script("create.sh"); strings.Contains(said, "creating") {
		t.Errorf("a second run creates something:\n%s", said)
	}
	script("create.sh", "finish")

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

	const member = "demo-etcd-2"
	mark := func(args ...string) error {
		_, err := c.Machine(member).Exec(ctx, append(args, "/var/lib/pgha-here")...)
		return err
	}
	testkit.OK(t, mark("touch"))
	script("replace.sh", member)
	if err := c.WaitReady(ctx, member); err != nil {
		t.Fatal(err)
	}
	if mark("test", "-e") == nil {
		t.Errorf("%s has the boot disk that it had", member)
	}
	if step, err := c.WaitStep(ctx, member, "etcd-join", "ok"); err != nil || !strings.HasPrefix(step.Detail, "own log") {
		t.Errorf("%s does not have the data disk that it had: %q, %v", member, step.Detail, err)
	}
	if err := c.write(ctx, 2); err != nil {
		t.Error(err)
	}
	if rows, err := c.rows(ctx, writers); err != nil || !slices.Equal(rows, []int{1, 2}) {
		t.Errorf("the rows are %v: %v", rows, err)
	}
}

// In a folder that is empty, pgha-cloud deploy base, secrets push and deploy create
// the cluster of the reference: its network, accounts and secrets, then its machines,
// which read those secrets; it waits for what they say on their consoles, takes the
// permission to bootstrap back, and clients write; refresh gives them a
// changed spec while they run; roll replaces all of them under load, and nothing
// that was acknowledged is lost. Long, replace gives one of them, and then the
// leader, an empty disk.
func TestDeploy(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 75*time.Second)
	defer cancel()
	d := deploy(t, ctx, demo.Cluster(t, empty, operators))
	if len(d.plan.Given) > 0 {
		t.Errorf("the spec has ids of what is there: %+v", d.plan.Given)
	}
	c, spec := d.cluster, &d.spec
	testkit.OK(t, c.write(ctx, 1))
	if steps := d.steps(t, ctx); !steps.Nothing() {
		t.Errorf("a second run would do something: %+v", steps.Items)
	}
	for _, name := range c.Names() {
		seen, err := c.Machine(name).Exec(ctx, "curl", "-sS", "-H", "Metadata-Flavor: Google", "http://169.254.169.254/computeMetadata/v1/instance/attributes/")
		if err != nil || strings.Contains(string(seen), "pgha-bootstrap") {
			t.Errorf("the metadata of %s has %q behind deploy: %v", name, seen, err)
		}
	}

	const more = "10.77.0.0/24"
	spec.Access.Clients = append(spec.Access.Clients, netip.MustParsePrefix(more))
	refresh, err := yandex.NewRefresh(ctx, d.conn, d.plan, userData(t, spec), "")
	testkit.OK(t, err)
	if len(refresh.Changes) == 0 || len(refresh.Missing) > 0 {
		t.Errorf("refresh would change %q, and misses %q", refresh.Changes, refresh.Missing)
	}
	testkit.OK(t, refresh.Do(ctx, d.conn, func(string, string) {}))
	took := within(t, 30*time.Second, "HAProxy admits the network that is new", func() bool {
		_, err := c.Machine("demo-haproxy-1").Exec(ctx, "grep", "-q", more, "/etc/haproxy/haproxy.cfg")
		return err == nil
	})
	t.Logf("in force on HAProxy's machine %.1f s after refresh", took.Seconds())
	states, err := yandex.States(ctx, d.conn, d.plan)
	testkit.OK(t, err)
	for _, s := range states {
		if !s.Well() {
			t.Errorf("not well: %+v", s)
		}
	}

	w, err := workload.Start(ctx, c.inTurn(c.access.Primary), 4, c.inTurn(c.access.Replicas), 2)
	testkit.OK(t, err)
	t.Cleanup(w.Stop)
	l := &load{w, c}
	leader := c.whole(t, ctx)
	r := c.rolling(t, ctx, d.conn, spec)
	gaps := d.rollAll(t, ctx, r, l.Load)
	for _, name := range c.Names() {
		// The only HAProxy is missed until its machine has booted.
		most := map[string]time.Duration{leader: 20 * time.Second, balancer: time.Minute}[name]
		if gap := gaps[name]; max(gap.write, gap.read) > labtest.Here(max(most, 10*time.Second)) {
			t.Errorf("%s: %.2f s without a write, %.2f s without a row read", name, gap.write.Seconds(), gap.read.Seconds())
		}
	}
	if os.Getenv("PGHA_TEST_LONG") != "" {
		for _, name := range []string{"demo-etcd-1", c.whole(t, ctx)} {
			p, err := r.Replace(ctx, name, true)
			testkit.OK(t, err)
			if gap := doRoll(t, ctx, r, p, l.Load)[name].write; gap > labtest.Here(20*time.Second) {
				t.Errorf("%s: replaced with an empty disk, %.2f s without a write", name, gap.Seconds())
			}
		}
	}
	l.end(t, ctx)
}

// userData is that of each role.
func userData(t *testing.T, c *role.Cluster) map[string]string {
	t.Helper()
	testkit.OK(t, c.Plan())
	all := map[string]string{}
	for _, g := range c.Groups {
		data, err := generator.UserData(c, g)
		testkit.OK(t, err)
		all[g.Name] = string(data)
	}
	return all
}

// serveAPI serves the cloud's API of a lab, and gives its address.
func serveAPI(t *testing.T, ctx context.Context, l *lab.Lab) (*cloudapi.Cloud, string) {
	t.Helper()
	none := map[string]int64{"compute.ssdDisks.size": -1, "compute.instanceCores.count": -1} // the reference needs more than a new folder has
	api, err := l.CloudAPI(ctx, cloudapi.Config{Token: token, Quotas: none})
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
	return api, listener.Addr().String()
}
