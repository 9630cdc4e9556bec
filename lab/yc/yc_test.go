package yc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/vpc/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloudapi"
	"pgha-gen/lab/yc"
)

type bearer struct{}

func (bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer t1.example"}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }

// newYc is a yc in a folder with a subnet, and an image of demo-etcd.
func newYc(t *testing.T, env map[string]string) func(args ...string) (string, error) {
	t.Helper()
	cloud := cloudapi.New(cloudapi.Config{Folder: "b1g", Token: "t1.example"})
	testkit.OK(t, cloud.Put(&compute.Image{Id: "fd8", Family: "demo-etcd"}))
	testkit.OK(t, cloud.Put(&vpc.Subnet{Id: "e9b", Name: "a", NetworkId: "enp", ZoneId: "ru-central1-a", V4CidrBlocks: []string{"10.128.0.0/24"}}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.OK(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- cloud.Serve(ctx, l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(bearer{}))
	testkit.OK(t, err)
	t.Cleanup(func() {
		testkit.OK(t, conn.Close())
		cancel()
		testkit.OK(t, <-served)
		cloud.Close()
	})
	return func(args ...string) (string, error) {
		var out bytes.Buffer
		err := yc.Run(ctx, conn, args, func(name string) string { return env[name] }, strings.NewReader(env["STDIN"]), &out)
		return out.String(), err
	}
}

// words are the arguments of a line without quotes.
func words(line string) []string { return strings.Fields(line) }

const machine = "compute instance create --folder-id b1g --name demo-etcd-1 --hostname demo-etcd-1 --zone ru-central1-a --platform standard-v3 " +
	"--cores 2 --core-fraction 100 --memory 4GB --create-boot-disk image-folder-id=b1g,image-family=demo-etcd,type=network-ssd,size=10GB,auto-delete=true " +
	"--attach-disk disk-name=data,device-name=data,mode=rw,auto-delete=false --network-interface subnet-id=e9b,ipv4-address=auto " +
	"--maintenance-policy migrate --maintenance-grace-period 60s --labels pgha-cluster=demo"

// A machine's life by commands; what they print is what jq reads in the scripts.
func TestMachine(t *testing.T) {
	run := newYc(t, map[string]string{"HOME": "/root"})
	file := filepath.Join(t.TempDir(), "user-data")
	testkit.OK(t, os.WriteFile(file, []byte("cost: $$5 $HOME $UNSET."), 0o600))
	do := func(line string) map[string]any {
		t.Helper()
		out, err := run(words(line)...)
		testkit.OK(t, err)
		var printed map[string]any
		testkit.OK(t, json.Unmarshal([]byte(out), &printed))
		return printed
	}
	do("compute disk create --folder-id b1g --name data --zone ru-central1-a --type network-ssd --size 10GB")
	do(machine + " --metadata a=b,pgha-bootstrap=x --metadata-from-file user-data=" + file)
	list, err := run(words("compute instance list --folder-id b1g --format json")...)
	testkit.OK(t, err)
	for _, want := range []string{`"name": "demo-etcd-1"`, `"pgha-cluster": "demo"`, `"status": "RUNNING"`, `"address": "10.128.0.3"`} {
		if !strings.Contains(list, want) {
			t.Errorf("the list lacks %s:\n%s", want, list)
		}
	}
	left := do("compute instance remove-metadata --folder-id b1g --name demo-etcd-1 --keys pgha-bootstrap")
	metadata, _ := left["metadata"].(map[string]any)
	if len(metadata) != 2 || metadata["user-data"] != "cost: $5 /root ." {
		t.Errorf("metadata is %v", metadata)
	}
	do("compute instance delete --folder-id b1g --name demo-etcd-1")
	do("compute disk delete --folder-id b1g --name data")
	if list, err := run(words("compute disk list --folder-id b1g")...); err != nil || list != "[]\n" {
		t.Errorf("disks are left: %s %v", list, err)
	}
}

// What goes before machines, as create.sh base makes it, and a machine that is created
// with all of that by its name.
func TestBase(t *testing.T) {
	run := newYc(t, map[string]string{"STDIN": `[{"key": "ca.crt", "text_value": "new"}]`})
	do := func(line string) string {
		t.Helper()
		out, err := run(words(line)...)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return out
	}
	for _, line := range []string{
		"vpc network create --name demo --labels pgha-cluster=demo",
		"vpc gateway create --name demo",
		"vpc route-table create --name demo --network-name demo --route destination=0.0.0.0/0,gateway-name=demo",
		"vpc subnet create --name demo-a --network-name demo --zone ru-central1-a --range 10.130.0.0/24 --route-table-name demo",
		"vpc security-group create --name demo-etcd --network-name demo",
		"vpc security-group update --name demo-etcd --rule direction=ingress,protocol=tcp,port=2379,v4-cidrs=[192.0.2.0/24,10.0.0.0/8] " +
			"--rule direction=ingress,protocol=tcp,port=2380,security-group-name=demo-etcd --rule direction=egress,protocol=any,v4-cidrs=[0.0.0.0/0]",
		"iam service-account create --name demo-etcd",
		`lockbox secret create --name demo-etcd --payload [{"key":"none","text_value":"none"}]`,
		"lockbox secret add-version --name demo-etcd --payload -",
		"compute placement-group create --name demo-etcd-a --spread-strategy",
		"compute disk create --name data --zone ru-central1-a --type network-ssd --size 10GB",
	} {
		do(line + " --folder-id b1g")
	}
	id := func(kind string) string {
		t.Helper()
		var list []struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		}
		testkit.OK(t, json.Unmarshal([]byte(do(kind+" list --folder-id b1g --format json")), &list))
		for _, one := range list {
			if strings.HasPrefix(one.Name, "demo") {
				return one.ID
			}
		}
		t.Fatalf("there is no %s: %v", kind, list)
		return ""
	}
	account := id("iam service-account")
	do("lockbox secret add-access-binding --folder-id b1g --name demo-etcd --role lockbox.payloadViewer --service-account-id " + account)
	if said := do("lockbox secret list-access-bindings --folder-id b1g --name demo-etcd --format json"); !strings.Contains(said, `"id": "`+account+`"`) || !strings.Contains(said, `"role_id": "lockbox.payloadViewer"`) {
		t.Errorf("bindings are %s", said)
	}
	if said := do("lockbox secret get --id " + id("lockbox secret")); !strings.Contains(said, `"ca.crt"`) {
		t.Errorf("the secret is %s", said)
	}
	if said := do("vpc security-group list --folder-id b1g"); strings.Count(said, `"direction"`) != 3 || !strings.Contains(said, `"security_group_id": "`+id("vpc security-group")+`"`) {
		t.Errorf("the security groups are %s", said)
	}
	if said := do("vpc subnet list --folder-id b1g"); !strings.Contains(said, `"route_table_id": "`+id("vpc route-table")+`"`) || !strings.Contains(said, `"network_id": "`+id("vpc network")+`"`) {
		t.Errorf("the subnets are %s", said)
	}
	said := do(strings.Replace(machine, "subnet-id=e9b,", "subnet-name=demo-a,", 1) + " --service-account-name demo-etcd --placement-group-name demo-etcd-a")
	for _, want := range []string{`"service_account_id": "` + account + `"`, `"placement_group_id": "` + id("compute placement-group") + `"`, `"subnet_id": "` + id("vpc subnet") + `"`} {
		if !strings.Contains(said, want) {
			t.Errorf("the machine lacks %s: %s", want, said)
		}
	}
	if said := do("vpc gateway list --folder-id b1g"); !strings.Contains(said, "shared_egress_gateway") {
		t.Errorf("the gateways are %s", said)
	}
}

func TestRefuses(t *testing.T) {
	run := newYc(t, nil)
	tests := []struct{ name, reason, line, want string }{
		{"command", "it is not in the reference", "compute disk frobnicate --folder-id b1g", `unknown command "compute disk frobnicate"`},
		{"flag", "the command does not have it", "compute disk list --folder-id b1g --zone a", "unknown flag: --zone"},
		{"no value", "the flag needs one", "compute disk list --folder-id", "flag needs an argument: --folder-id"},
		{"twice", "one of both would be lost", "compute disk list --folder-id b1g --folder-id b1h", "--folder-id is given twice"},
		{"no folder", "it would be the profile's", "compute disk list", "no folder"},
		{"other folder", "the token is for one alone", "compute disk list --folder-id b1h", "PermissionDenied"},
		{"name", "nothing has it", "compute instance get --folder-id b1g --name x", `"x" not found`},
		{"family", "it has no image", "compute image get-latest-from-family other --folder-id b1g", "NotFound"},
		{"families", "one is asked for", "compute image get-latest-from-family a b --folder-id b1g", "want one family"},
		{"size", "it has a unit", "compute disk create --folder-id b1g --name x --zone ru-central1-a --type network-ssd --size 10TiB", `size "10TiB"`},
		{"limit", "the API's answer is passed on", "compute disk create --folder-id b1g --name X --zone ru-central1-a --type network-ssd --size 10GB", "InvalidArgument"},
		{"disk", "there is none of this name", machine, `"data" not found`},
		{"grant", "a misspelt permission", "storage bucket create --folder-id b1g --name backup --grants grant-type=grant-type-account,grantee-id=aje,permission=write", `--grants: unknown value "write"`},
		{"versioning", "a misspelt word", "storage bucket update --folder-id b1g --name backup --versioning on", `--versioning: unknown value "on"`},
		{"lifecycle", "the API knows no such rule", `storage bucket update --folder-id b1g --name backup --lifecycle-rules {"lifecycleRules":[{"noncurrentVersions":"7"}]}`, "unknown field"},
		{"direction", "it is none", "vpc security-group create --folder-id b1g --name x --network-id enp --rule direction=up,protocol=tcp", `direction "up"`},
		{"port", "it is no number", "vpc security-group create --folder-id b1g --name x --network-id enp --rule direction=ingress,protocol=tcp,port=http", `port "http"`},
		{"group", "there is none of this name", "vpc security-group create --folder-id b1g --name x --network-id enp --rule direction=ingress,protocol=tcp,security-group-name=x", `"x" not found`},
		{"gateway", "there is none of this name", "vpc route-table create --folder-id b1g --name x --network-id enp --route destination=0.0.0.0/0,gateway-name=x", `"x" not found`},
		{"network", "there is none of this name", "vpc subnet create --folder-id b1g --name x --network-name x --zone ru-central1-a --range 10.1.0.0/24", `"x" not found`},
		{"payload", "it is no JSON", "lockbox secret create --folder-id b1g --name x --payload x", "payload is not a list in JSON"},
		{"no value of many", "each needs one", "vpc security-group create --folder-id b1g --name x --rule", "flag needs an argument: --rule"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, err := run(words(test.line)...)
			if err == nil || !strings.Contains(err.Error(), test.want) || out != "" {
				t.Errorf("got %q and error %v, want an error with %q: %s", out, err, test.want, test.reason)
			}
		})
	}
}
