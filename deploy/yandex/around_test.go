package yandex_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/access"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/dns/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/iam/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/loadbalancer/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/lockbox/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/storage/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/vpc/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"pgha-gen/deploy/yandex"
	"pgha-gen/deploy/yandex/yandextest"
	"pgha-gen/generator/cloud"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloudapi"
)

// empty is a cluster of which everything is created, with a bucket for backups, a
// load balancer of this kind and a zone for its record.
func empty(t *testing.T, kind, zone string) *cloud.Plan {
	t.Helper()
	spec := strings.Replace(testkit.Text(t, "../../generator/yc/testdata/empty.yaml"), "cloud: {folder_id: b1gexample}", "cloud:\n  folder_id: b1gexample", 1)
	if kind != "" {
		spec = demo.Edit(t, spec, "cloud:\n  load_balancer: "+kind+"\n  entry_point: db.example.net\n  dns_zone: "+zone+"\n")
	}
	return cloud.New(demo.Read(t, spec+"backup: {bucket: new-backup}\n"))
}

// folder is one with the images of a plan, and the zones that it has ids of.
func folder(t *testing.T, p *cloud.Plan, config cloudapi.Config) (*yandextest.Cloud, grpc.ClientConnInterface) {
	t.Helper()
	config.Quotas = map[string]int64{"compute.ssdDisks.size": -1, "compute.instanceCores.count": -1, "compute.instances.count": -1}
	c := yandextest.New(t, config)
	for _, machines := range p.Roles() {
		family := machines[0].ImageFamily
		c.Has(t, &compute.Image{Id: "fd8" + family, Name: family, Family: family, Status: compute.Image_READY})
	}
	c.Has(t, &dns.DnsZone{Id: "dnsexample", Name: "example", Zone: "example.net.", PublicVisibility: &dns.PublicVisibility{}})
	return c, connect(t, c)
}

// based has made what goes before the machines of a plan, and filled its secrets.
func based(ctx context.Context, t *testing.T, c *yandextest.Cloud, cc grpc.ClientConnInterface, p *cloud.Plan, s *said) error {
	t.Helper()
	found, err := yandex.Look(ctx, cc, p)
	if err != nil {
		return err
	}
	steps, err := yandex.Base(p, found)
	if err != nil {
		return err
	}
	if err := steps.Do(ctx, cc, p, yandex.World{Said: s.say}); err != nil {
		return err
	}
	c.Fill(t, p)
	return nil
}

// all is a deployment from nothing: what goes before machines, secrets, machines.
func all(ctx context.Context, t *testing.T, c *yandextest.Cloud, cc grpc.ClientConnInterface, p *cloud.Plan, s *said) error {
	t.Helper()
	if err := based(ctx, t, c, cc, p, s); err != nil {
		return err
	}
	_, err := deploy(ctx, cc, p, s)
	return err
}

// TestAround: from a folder with nothing but images, all is made that create.sh
// makes; then there is nothing to do.
func TestAround(t *testing.T) {
	for _, test := range []struct{ name, kind, zone, address string }{
		{"internal", "internal", "create", "10.128.0.7"},
		{"external", "external", "dnsexample", "203.0.113.10"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := empty(t, test.kind, test.zone)
			c, cc := folder(t, p, cloudapi.Config{Delay: time.Millisecond})
			s := &said{}
			testkit.OK(t, all(t.Context(), t, c, cc, p, s))
			whole(t, cc, p)
			for _, line := range []string{"network new: created", "secret new-etcd: has its reader", "security group new-etcd: has the rules of the spec", "entry point db.example.net: " + test.address} {
				if !s.has(line) {
					t.Errorf("it did not say %q, but %q", line, s.lines)
				}
			}

			// What refers to what.
			found, err := yandex.Look(t.Context(), cc, p)
			testkit.OK(t, err)
			network, _ := found.Around[cloud.KindNetwork]["new"].(*vpc.Network)
			subnet, _ := found.Around[cloud.KindSubnet]["new-ru-central1-b"].(*vpc.Subnet)
			routes, _ := found.Around["route table"]["new"].(*vpc.RouteTable)
			gateway := found.Around["NAT gateway"]["new"]
			if subnet.NetworkId != network.Id || subnet.RouteTableId != routes.Id || routes.StaticRoutes[0].GetGatewayId() != gateway.GetId() {
				t.Errorf("subnet %v, routes %v, gateway %v", subnet, routes, gateway)
			}
			group, _ := found.Around[cloud.KindSecurityGroup]["new-etcd"].(*vpc.SecurityGroup)
			if len(group.Rules) < 5 || group.NetworkId != network.Id {
				t.Errorf("security group %v", group)
			}
			m := found.Machines["new-pg-2"]
			nic, secret, account := m.NetworkInterfaces[0], found.Around[cloud.KindSecret]["new-patroni"], found.Around[cloud.KindAccount]["new-patroni"]
			if nic.SecurityGroupIds[0] != found.Around[cloud.KindSecurityGroup]["new-patroni"].GetId() || m.ServiceAccountId != account.GetId() ||
				m.Metadata["pgha-secret"] != secret.GetId() || m.PlacementPolicy.GetPlacementGroupId() != found.Around["placement group"]["new-patroni-a"].GetId() {
				t.Errorf("machine %v", m)
			}
			// Nobody but its own account may read a secret.
			if diff := cmp.Diff(map[string][]string{
				secret.GetId(): {account.GetId()},
				found.Around[cloud.KindSecret]["new-etcd"].GetId(): {found.Around[cloud.KindAccount]["new-etcd"].GetId()},
			}, found.Readers); diff != "" {
				t.Errorf("readers (-want +got):\n%s", diff)
			}
			lb, _ := found.Around[cloud.KindBalancer]["new"].(*loadbalancer.NetworkLoadBalancer)
			if lb.Type.String() != strings.ToUpper(test.kind) || len(lb.Listeners) != 2 || found.Record.GetData()[0] != test.address {
				t.Errorf("load balancer %v, record %v", lb, found.Record)
			}
			bucketIsRight(t, cc, account.GetId())
			for _, call := range c.Calls() {
				if strings.Contains(call.Method, "Payload") {
					t.Errorf("%s was called", call.Method)
				}
			}
		})
	}
}

// TestBase: what goes before machines is made without images, and no machine.
func TestBase(t *testing.T) {
	p := empty(t, "internal", "create")
	c := yandextest.New(t, cloudapi.Config{})
	cc := connect(t, c)
	found, err := yandex.Look(t.Context(), cc, p)
	testkit.OK(t, err)
	if _, err = yandex.Plan(p, found); err == nil || !strings.Contains(err.Error(), "no image in family new-etcd") {
		t.Errorf("error %v", err)
	}
	steps, err := yandex.Base(p, found)
	testkit.OK(t, err)
	testkit.OK(t, steps.Do(t.Context(), cc, p, yandex.World{Said: (&said{}).say}))
	found, err = yandex.Look(t.Context(), cc, p)
	testkit.OK(t, err)
	steps, err = yandex.Base(p, found)
	testkit.OK(t, err)
	if len(found.Machines)+len(found.Disks)+len(found.Around[cloud.KindTargets]) > 0 || !steps.Nothing() || found.Around[cloud.KindZone]["new"] == nil {
		t.Errorf("%v", found)
	}
}

// around are the methods that make what is around machines.
var around = []string{
	"NetworkService.Create", "GatewayService.Create", "RouteTableService.Create", "SubnetService.Create", "SecurityGroupService.Create", "SecurityGroupService.Update",
	"ServiceAccountService.Create", "SecretService.Create", "SecretService.UpdateAccessBindings", "PlacementGroupService.Create", "DnsZoneService.Create",
	"BucketService.Create", "TargetGroupService.Create", "NetworkLoadBalancerService.Create", "DnsZoneService.UpsertRecordSets",
}

// TestAroundFaults: whatever fails of it, at once, late or with the network, is one
// sentence, and the next run completes it.
func TestAroundFaults(t *testing.T) {
	for i, method := range around {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			fault := cloudapi.Fault{Method: method, Times: 1, Code: codes.Internal, Message: "No luck."}
			want := "No luck (run this again"
			switch i % 3 {
			case 1:
				fault.Late = true
			case 2:
				fault.Cut = true
				want = "the API does not answer"
			}
			p := empty(t, "internal", "create")
			c, cc := folder(t, p, cloudapi.Config{})
			c.Break(fault)
			err := all(t.Context(), t, c, cc, p, &said{})
			if text := fmt.Sprint(err); !strings.HasPrefix(text, "cannot ") || !strings.Contains(text, want) || strings.Contains(text, "\n") {
				t.Errorf("error %q", text)
			}
			if strings.HasPrefix(method, "Target") || strings.HasPrefix(method, "NetworkLoad") || strings.HasSuffix(method, "RecordSets") {
				if len(requests[*compute.CreateInstanceRequest](c, "InstanceService.Create")) != 8 {
					t.Error("no machines before the load balancer")
				}
			} else if n := len(requests[*compute.CreateInstanceRequest](c, "InstanceService.Create")); n > 0 {
				t.Errorf("%d machines without what goes before them", n)
			}
			c.Mend()
			testkit.OK(t, all(t.Context(), t, c, cc, p, &said{}))
			whole(t, cc, p)
		})
	}
}

// TestAroundInterrupt: a run that is cut off at any call leaves what the next one
// completes.
func TestAroundInterrupt(t *testing.T) {
	for _, method := range []string{"GatewayService.Create", "SubnetService.Create", "SecurityGroupService.Update", "TargetGroupService.Create", "DnsZoneService.UpsertRecordSets"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			p := empty(t, "internal", "create")
			c, cc := folder(t, p, cloudapi.Config{Delay: 5 * time.Millisecond})
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				for ctx.Err() == nil && !slices.ContainsFunc(c.Calls(), func(call cloudapi.Call) bool { return call.Method == method }) {
					time.Sleep(time.Millisecond)
				}
				cancel()
			}()
			if err := all(ctx, t, c, cc, p, &said{}); err == nil || !strings.Contains(err.Error(), "context canceled") {
				t.Errorf("error %v", err)
			}
			time.Sleep(50 * time.Millisecond) // what was begun ends by itself
			testkit.OK(t, all(t.Context(), t, c, cc, p, &said{}))
			whole(t, cc, p)
		})
	}
}

// TestAroundChanges is a table of what somebody changed, what is said of it, and
// whether a run makes it as the spec wants it.
func TestAroundChanges(t *testing.T) {
	p := empty(t, "internal", "create")
	name := func(found *yandex.Found, kind cloud.Kind, name string) string {
		return found.Around[kind][name].GetId()
	}
	tests := []struct {
		name   string
		change func(context.Context, grpc.ClientConnInterface, *yandex.Found) (any, error)
		want   yandex.Item
	}{
		{"a rule is gone", func(ctx context.Context, cc grpc.ClientConnInterface, f *yandex.Found) (any, error) {
			g, _ := f.Around[cloud.KindSecurityGroup]["new-etcd"].(*vpc.SecurityGroup)
			return vpc.NewSecurityGroupServiceClient(cc).UpdateRules(ctx, &vpc.UpdateSecurityGroupRulesRequest{SecurityGroupId: g.Id, DeletionRuleIds: []string{g.Rules[0].Id}})
		}, yandex.Item{Verb: yandex.Change, Kind: "security group", Name: "new-etcd", Says: "it gets the rules of the spec"}},
		{"a rule too many", func(ctx context.Context, cc grpc.ClientConnInterface, f *yandex.Found) (any, error) {
			return vpc.NewSecurityGroupServiceClient(cc).UpdateRules(ctx, &vpc.UpdateSecurityGroupRulesRequest{SecurityGroupId: name(f, cloud.KindSecurityGroup, "new-patroni"), AdditionRuleSpecs: []*vpc.SecurityGroupRuleSpec{{
				Direction: vpc.SecurityGroupRule_INGRESS, Protocol: &vpc.SecurityGroupRuleSpec_ProtocolName{ProtocolName: "ANY"}, Target: &vpc.SecurityGroupRuleSpec_CidrBlocks{CidrBlocks: &vpc.CidrBlocks{V4CidrBlocks: []string{"0.0.0.0/0"}}},
			}}})
		}, yandex.Item{Verb: yandex.Change, Kind: "security group", Name: "new-patroni", Says: "it gets the rules of the spec"}},
		{"the reader is gone", func(ctx context.Context, cc grpc.ClientConnInterface, f *yandex.Found) (any, error) {
			return lockbox.NewSecretServiceClient(cc).SetAccessBindings(ctx, &access.SetAccessBindingsRequest{ResourceId: name(f, cloud.KindSecret, "new-etcd")})
		}, yandex.Item{Verb: yandex.Change, Kind: "secret", Name: "new-etcd", Says: "it gets its reader"}},
		{"a target is gone", func(ctx context.Context, cc grpc.ClientConnInterface, f *yandex.Found) (any, error) {
			g, _ := f.Around[cloud.KindTargets]["new"].(*loadbalancer.TargetGroup)
			return loadbalancer.NewTargetGroupServiceClient(cc).RemoveTargets(ctx, &loadbalancer.RemoveTargetsRequest{TargetGroupId: g.Id, Targets: g.Targets[:1]})
		}, yandex.Item{Verb: yandex.Change, Kind: "target group", Name: "new", Says: "it gets the machines of the spec"}},
		{"another machine is a target", func(ctx context.Context, cc grpc.ClientConnInterface, f *yandex.Found) (any, error) {
			nic := f.Machines["new-etcd-1"].NetworkInterfaces[0]
			return loadbalancer.NewTargetGroupServiceClient(cc).AddTargets(ctx, &loadbalancer.AddTargetsRequest{TargetGroupId: name(f, cloud.KindTargets, "new"), Targets: []*loadbalancer.Target{{SubnetId: nic.SubnetId, Address: nic.PrimaryV4Address.Address}}})
		}, yandex.Item{Verb: yandex.Change, Kind: "target group", Name: "new", Says: "it gets the machines of the spec"}},
		{"another record", func(ctx context.Context, cc grpc.ClientConnInterface, f *yandex.Found) (any, error) {
			return dns.NewDnsZoneServiceClient(cc).UpsertRecordSets(ctx, &dns.UpsertRecordSetsRequest{DnsZoneId: name(f, cloud.KindZone, "new"), Replacements: []*dns.RecordSet{{Name: "db.example.net.", Type: "A", Ttl: 60, Data: []string{"192.0.2.1"}}}})
		}, yandex.Item{Verb: yandex.Change, Kind: "network load balancer", Name: "new", Says: "it gets the record db.example.net."}},
		{"a subnet without a way out", func(ctx context.Context, cc grpc.ClientConnInterface, f *yandex.Found) (any, error) {
			s, _ := f.Around[cloud.KindSubnet]["new-ru-central1-a"].(*vpc.Subnet)
			s.RouteTableId = ""
			return nil, nil
		}, yandex.Item{Verb: yandex.Differs, Kind: "subnet", Name: "new-ru-central1-a", Says: "its route table is not new"}},
		{"a load balancer with other ports", func(ctx context.Context, cc grpc.ClientConnInterface, f *yandex.Found) (any, error) {
			lb, _ := f.Around[cloud.KindBalancer]["new"].(*loadbalancer.NetworkLoadBalancer)
			lb.Listeners[0].Port = 6432
			return nil, nil
		}, yandex.Item{Verb: yandex.Differs, Kind: "network load balancer", Name: "new",
			Says: "what it listens to is primary 6432 to 5431 and replicas 5433 to 5433, and the spec wants primary 5431 to 5431 and replicas 5433 to 5433, delete it, and it is made anew: its address may be another one then"}},
		{"routes that lead nowhere", func(ctx context.Context, cc grpc.ClientConnInterface, f *yandex.Found) (any, error) {
			r, _ := f.Around["route table"]["new"].(*vpc.RouteTable)
			r.StaticRoutes = nil
			return nil, nil
		}, yandex.Item{Verb: yandex.Differs, Kind: "route table", Name: "new", Says: "it has no route to the gateway"}},
		{"the bucket keeps no versions", func(ctx context.Context, cc grpc.ClientConnInterface, f *yandex.Found) (any, error) {
			return storage.NewBucketServiceClient(cc).Update(ctx, &storage.UpdateBucketRequest{Name: "new-backup", UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"versioning"}}, Versioning: storage.Versioning_VERSIONING_SUSPENDED})
		}, yandex.Item{Verb: yandex.Change, Kind: "bucket", Name: "new-backup", Says: "it gets versions, and its writer"}},
		{"nobody may write in the bucket", func(ctx context.Context, cc grpc.ClientConnInterface, f *yandex.Found) (any, error) {
			return storage.NewBucketServiceClient(cc).Update(ctx, &storage.UpdateBucketRequest{Name: "new-backup", UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"acl"}}})
		}, yandex.Item{Verb: yandex.Change, Kind: "bucket", Name: "new-backup", Says: "it gets versions, and its writer"}},
		{"versions stay for ever", func(ctx context.Context, cc grpc.ClientConnInterface, f *yandex.Found) (any, error) {
			return storage.NewBucketServiceClient(cc).Update(ctx, &storage.UpdateBucketRequest{Name: "new-backup", UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"lifecycle_rules"}}})
		}, yandex.Item{Verb: yandex.Change, Kind: "bucket", Name: "new-backup", Says: "it gets versions, and its writer"}},
		{"what the spec does not want", func(ctx context.Context, cc grpc.ClientConnInterface, f *yandex.Found) (any, error) {
			f.Around[cloud.KindSecret]["new-old"] = &lockbox.Secret{Name: "new-old", Labels: map[string]string{"pgha-cluster": "new"}}
			return nil, nil
		}, yandex.Item{Verb: yandex.Extra, Kind: "secret", Name: "new-old"}},
	}
	c, cc := folder(t, p, cloudapi.Config{})
	testkit.OK(t, all(t.Context(), t, c, cc, p, &said{}))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			found, err := yandex.Look(t.Context(), cc, p)
			testkit.OK(t, err)
			called, err := test.change(t.Context(), cc, found)
			testkit.OK(t, err)
			if called != nil {
				found, err = yandex.Look(t.Context(), cc, p)
				testkit.OK(t, err)
			}
			steps, err := yandex.Plan(p, found)
			testkit.OK(t, err)
			got := slices.DeleteFunc(steps.Items, func(i yandex.Item) bool { return i.Verb == yandex.Exists })
			if diff := cmp.Diff([]yandex.Item{test.want}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if steps.Nothing() != (test.want.Verb != yandex.Change) {
				t.Errorf("nothing to do: %v", steps.Nothing())
			}
			testkit.OK(t, steps.Do(t.Context(), cc, p, yandex.World{Said: (&said{}).say, Between: time.Millisecond}))
			whole(t, cc, p)
		})
	}
}

// TestAroundNotOurs: what has a name of the cluster's and is not its own is refused
// before anything is made.
func TestAroundNotOurs(t *testing.T) {
	c, cc := folder(t, empty(t, "", ""), cloudapi.Config{})
	c.Has(t, &vpc.Network{Id: "enpother", Name: "new", Labels: map[string]string{"pgha-cluster": "old"}})
	_, err := deploy(t.Context(), cc, empty(t, "", ""), &said{})
	if text := fmt.Sprint(err); text != `network new is there and is not this cluster's: its label pgha-cluster is "old", not "new" (delete it, or choose another name in the spec)` {
		t.Errorf("error %q", text)
	}
	for _, call := range c.Calls() {
		if strings.HasSuffix(call.Method, ".Create") {
			t.Errorf("%s was called", call.Method)
		}
	}
}

// TestMayNotSee: who may not list a kind can deploy what needs none of it.
func TestMayNotSee(t *testing.T) {
	c := yandextest.New(t, cloudapi.Config{})
	cc, p := connect(t, c), cloud.New(demo.Cluster(t))
	for _, method := range []string{"DnsZoneService.List", "NetworkLoadBalancerService.List", "NetworkService.List"} {
		c.Break(cloudapi.Fault{Method: method, Code: codes.PermissionDenied, Message: "Permission denied"})
	}
	_, err := deploy(t.Context(), cc, p, &said{})
	testkit.OK(t, err)
	p = empty(t, "", "")
	_, err = yandex.Look(t.Context(), cc, p)
	if text := fmt.Sprint(err); !strings.HasPrefix(text, "cannot list the folder's networks: Permission denied") {
		t.Errorf("error %q", text)
	}
}

// TestDestroyAround: what the cluster created goes, secrets with their accounts if
// they are named; what was there before stays.
func TestDestroyAround(t *testing.T) {
	p := empty(t, "internal", "create")
	c, cc := folder(t, p, cloudapi.Config{})
	c.Has(t, &iam.ServiceAccount{Id: "ajeother", Name: "other"})
	before := left(t, cc, p)
	testkit.OK(t, all(t.Context(), t, c, cc, p, &said{}))
	s := &said{}
	testkit.OK(t, yandex.Destroy(t.Context(), cc, p, yandex.Doomed{}, s.say))
	for _, line := range []string{"bucket new-backup: kept", "secret new-etcd: kept", "service account new-etcd: kept", "new-pg-1-data: kept", "network new: deleted", "record db.example.net.: deleted", "zone new: deleted"} {
		if !s.has(line) {
			t.Errorf("it did not say %q, but %q", line, s.lines)
		}
	}
	want := maps.Clone(before)
	want["bucket"], want["secret"], want["service account"], want["disk"] = 1, want["secret"]+2, want["service account"]+2, 6
	if diff := cmp.Diff(want, left(t, cc, p)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	// It comes back, with what was kept.
	_, err := deploy(t.Context(), cc, p, &said{})
	testkit.OK(t, err)
	whole(t, cc, p)
	for range 2 {
		testkit.OK(t, yandex.Destroy(t.Context(), cc, p, yandex.Doomed{Disks: true, Secrets: true, Backups: true}, (&said{}).say))
		if diff := cmp.Diff(before, left(t, cc, p)); diff != "" {
			t.Errorf("left (-want +got):\n%s", diff)
		}
	}
}

// TestDestroyFaults: a fault at any deletion leaves what the next run completes.
func TestDestroyFaults(t *testing.T) {
	for i, method := range []string{
		"DnsZoneService.UpdateRecordSets", "NetworkLoadBalancerService.Delete", "TargetGroupService.Delete", "DnsZoneService.Delete", "InstanceService.Delete", "DiskService.Delete",
		"SecurityGroupService.Update", "SecurityGroupService.Delete", "SubnetService.Delete", "RouteTableService.Delete", "GatewayService.Delete", "SecretService.Delete",
		"ServiceAccountService.Delete", "BucketService.Delete", "PlacementGroupService.Delete", "NetworkService.Delete",
	} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			p := empty(t, "internal", "create")
			c, cc := folder(t, p, cloudapi.Config{})
			before := left(t, cc, p)
			testkit.OK(t, all(t.Context(), t, c, cc, p, &said{}))
			c.Break(cloudapi.Fault{Method: method, Times: 1, Late: i%2 == 0, Code: codes.Internal, Message: "No luck"})
			everything := yandex.Doomed{Disks: true, Secrets: true, Backups: true}
			err := yandex.Destroy(t.Context(), cc, p, everything, (&said{}).say)
			if text := fmt.Sprint(err); !strings.HasPrefix(text, "cannot delete ") || !strings.HasSuffix(text, ": No luck (run this again: it goes on where it stopped)") {
				t.Errorf("error %q", text)
			}
			c.Mend()
			testkit.OK(t, yandex.Destroy(t.Context(), cc, p, everything, (&said{}).say))
			if diff := cmp.Diff(before, left(t, cc, p)); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
		})
	}
}

// left counts what the folder has, by kind.
func left(t *testing.T, cc grpc.ClientConnInterface, p *cloud.Plan) map[string]int {
	t.Helper()
	found, err := yandex.Look(t.Context(), cc, p)
	testkit.OK(t, err)
	n := map[string]int{"machine": len(found.Machines), "disk": len(found.Disks)}
	for kind, all := range found.Around {
		n[string(kind)] = len(all)
	}
	return n
}
