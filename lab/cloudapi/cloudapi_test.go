package cloudapi_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/access"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/dns/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/iam/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/loadbalancer/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/lockbox/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/operation"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/quotamanager/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/vpc/v1"
	ycsdk "github.com/yandex-cloud/go-sdk/v2"
	"github.com/yandex-cloud/go-sdk/v2/credentials"
	"github.com/yandex-cloud/go-sdk/v2/pkg/endpoints"
	"github.com/yandex-cloud/go-sdk/v2/pkg/options"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloudapi"
)

const folder, token = "b1gexample", "t1.example"

// client makes the SDK a connection for the stubs of all services.
type client struct{ sdk *ycsdk.SDK }

func (c client) conn(ctx context.Context, method string) (grpc.ClientConnInterface, error) {
	return c.sdk.GetConnection(ctx, protoreflect.FullName(strings.ReplaceAll(method[1:], "/", ".")))
}

func (c client) Invoke(ctx context.Context, method string, in, out any, o ...grpc.CallOption) error {
	conn, err := c.conn(ctx, method)
	if err != nil {
		return err
	}
	return conn.Invoke(ctx, method, in, out, o...)
}

func (c client) NewStream(ctx context.Context, d *grpc.StreamDesc, method string, o ...grpc.CallOption) (grpc.ClientStream, error) {
	conn, err := c.conn(ctx, method)
	if err != nil {
		return nil, err
	}
	return conn.NewStream(ctx, d, method, o...)
}

// serve is a cloud, and its client by the SDK.
func serve(t *testing.T, config cloudapi.Config) (*cloudapi.Cloud, client) {
	t.Helper()
	config.Folder, config.Token = folder, token
	c := cloudapi.New(config)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.OK(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- c.Serve(ctx, l) }()
	sdk, err := ycsdk.Build(t.Context(), options.WithCredentials(credentials.IAMToken(token)), options.WithPlaintext(),
		options.WithEndpointsResolver(endpoints.NewSingleEndpointResolver(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))))
	testkit.OK(t, err)
	t.Cleanup(func() {
		_ = sdk.Shutdown(context.Background()) // its connections may be cut
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		c.Close()
	})
	testkit.OK(t, c.Put(&compute.Image{Id: "fd8image", Family: "demo-etcd", MinDiskSize: 5 << 30}))
	return c, client{sdk}
}

// wait gives what an operation answers.
func wait[R proto.Message](t *testing.T, c client, op *operation.Operation, err error) (answer R) {
	t.Helper()
	done := ended(t, c, op, err)
	if done.GetError() != nil {
		t.Fatal(done.GetError())
	}
	m, err := done.GetResponse().UnmarshalNew()
	testkit.OK(t, err)
	answer, ok := m.(R)
	if !ok {
		t.Fatalf("operation %s answers with a %T", done.Description, m)
	}
	return answer
}

func ended(t *testing.T, c client, op *operation.Operation, err error) *operation.Operation {
	t.Helper()
	testkit.OK(t, err)
	for {
		op, err = operation.NewOperationServiceClient(c).Get(t.Context(), &operation.GetOperationRequest{OperationId: op.Id})
		testkit.OK(t, err)
		if op.Done {
			return op
		}
		time.Sleep(time.Millisecond)
	}
}

// site is what instances need.
type site struct {
	network *vpc.Network
	subnet  *vpc.Subnet
	group   *vpc.SecurityGroup
	account *iam.ServiceAccount
}

func newSite(t *testing.T, c client) site {
	t.Helper()
	var s site
	op, err := vpc.NewNetworkServiceClient(c).Create(t.Context(), &vpc.CreateNetworkRequest{FolderId: folder, Name: "demo"})
	s.network = wait[*vpc.Network](t, c, op, err)
	op, err = vpc.NewSubnetServiceClient(c).Create(t.Context(), &vpc.CreateSubnetRequest{FolderId: folder, Name: "demo-a", NetworkId: s.network.Id, ZoneId: "ru-central1-a", V4CidrBlocks: []string{"10.128.0.0/24"}})
	s.subnet = wait[*vpc.Subnet](t, c, op, err)
	op, err = vpc.NewSecurityGroupServiceClient(c).Create(t.Context(), &vpc.CreateSecurityGroupRequest{FolderId: folder, Name: "demo-etcd", NetworkId: s.network.Id})
	s.group = wait[*vpc.SecurityGroup](t, c, op, err)
	op, err = iam.NewServiceAccountServiceClient(c).Create(t.Context(), &iam.CreateServiceAccountRequest{FolderId: folder, Name: "demo-etcd"})
	s.account = wait[*iam.ServiceAccount](t, c, op, err)
	return s
}

// instance is a request for one that is right.
func (s site) instance(name string) *compute.CreateInstanceRequest {
	return &compute.CreateInstanceRequest{
		FolderId: folder, Name: name, Hostname: name, ZoneId: "ru-central1-a", PlatformId: "standard-v3", Labels: map[string]string{"pgha-cluster": "demo"},
		ResourcesSpec: &compute.ResourcesSpec{Memory: 4 << 30, Cores: 2, CoreFraction: 100},
		Metadata:      map[string]string{"user-data": "#cloud-config\n"},
		BootDiskSpec: &compute.AttachedDiskSpec{AutoDelete: true, Disk: &compute.AttachedDiskSpec_DiskSpec_{DiskSpec: &compute.AttachedDiskSpec_DiskSpec{
			TypeId: "network-ssd", Size: 15 << 30, Source: &compute.AttachedDiskSpec_DiskSpec_ImageId{ImageId: "fd8image"}}}},
		NetworkInterfaceSpecs:  []*compute.NetworkInterfaceSpec{{SubnetId: s.subnet.Id, SecurityGroupIds: []string{s.group.Id}, PrimaryV4AddressSpec: &compute.PrimaryAddressSpec{}}},
		ServiceAccountId:       s.account.Id,
		MaintenancePolicy:      compute.MaintenancePolicy_MIGRATE,
		MaintenanceGracePeriod: durationpb.New(time.Minute),
	}
}

func disk(name string, size int64) *compute.CreateDiskRequest {
	return &compute.CreateDiskRequest{FolderId: folder, Name: name, ZoneId: "ru-central1-a", TypeId: "network-ssd", Size: size}
}

func attached(id string) []*compute.AttachedDiskSpec {
	return []*compute.AttachedDiskSpec{{DeviceName: "data", Disk: &compute.AttachedDiskSpec_DiskId{DiskId: id}}}
}

// A machine's life, as the SDK sees it: what it has, and what outlives it.
func TestInstanceLife(t *testing.T) {
	c, sdk := serve(t, cloudapi.Config{})
	s := newSite(t, sdk)
	image, err := compute.NewImageServiceClient(sdk).GetLatestByFamily(t.Context(), &compute.GetImageLatestByFamilyRequest{FolderId: folder, Family: "demo-etcd"})
	testkit.OK(t, err)
	if image.Id != "fd8image" {
		t.Errorf("the newest image is %s", image.Id)
	}
	disks, instances := compute.NewDiskServiceClient(sdk), compute.NewInstanceServiceClient(sdk)
	op, err := disks.Create(t.Context(), disk("demo-etcd-1-data", 10<<30))
	data := wait[*compute.Disk](t, sdk, op, err)
	in := s.instance("demo-etcd-1")
	in.SecondaryDiskSpecs = attached(data.Id)
	op, err = instances.Create(t.Context(), in)
	if op.GetDone() {
		t.Error("the operation is done before anybody looked")
	}
	i := wait[*compute.Instance](t, sdk, op, err)
	if i.Status != compute.Instance_RUNNING || i.Fqdn != "demo-etcd-1.ru-central1.internal" || i.NetworkInterfaces[0].PrimaryV4Address.Address != "10.128.0.3" {
		t.Errorf("the machine is %v", i)
	}
	if _, err := disks.Delete(t.Context(), &compute.DeleteDiskRequest{DiskId: data.Id}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("deleting a disk that is attached: %v", err)
	}
	op, err = instances.UpdateMetadata(t.Context(), &compute.UpdateInstanceMetadataRequest{InstanceId: i.Id, Upsert: map[string]string{"k": "v"}, Delete: []string{"user-data"}})
	wait[*compute.Instance](t, sdk, op, err)
	full, err := instances.Get(t.Context(), &compute.GetInstanceRequest{InstanceId: i.Id, View: compute.InstanceView_FULL})
	testkit.OK(t, err)
	if len(full.Metadata) != 1 || full.Metadata["k"] != "v" {
		t.Errorf("metadata is %v", full.Metadata)
	}
	op, err = instances.Stop(t.Context(), &compute.StopInstanceRequest{InstanceId: i.Id})
	ended(t, sdk, op, err)
	if _, err := instances.Stop(t.Context(), &compute.StopInstanceRequest{InstanceId: i.Id}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("stopping what is stopped: %v", err)
	}
	op, err = instances.Start(t.Context(), &compute.StartInstanceRequest{InstanceId: i.Id})
	wait[*compute.Instance](t, sdk, op, err)
	op, err = instances.Delete(t.Context(), &compute.DeleteInstanceRequest{InstanceId: i.Id})
	ended(t, sdk, op, err)
	left, err := disks.List(t.Context(), &compute.ListDisksRequest{FolderId: folder})
	testkit.OK(t, err)
	if len(left.Disks) != 1 || left.Disks[0].Id != data.Id || len(left.Disks[0].InstanceIds) != 0 {
		t.Errorf("of disks there are left %v", left.Disks)
	}
	for _, call := range c.Calls() {
		if call.Authorization != "Bearer "+token {
			t.Errorf("%s came with the authorization %q", call.Method, call.Authorization)
		}
	}
}

func TestInstanceRefuses(t *testing.T) {
	_, sdk := serve(t, cloudapi.Config{})
	s := newSite(t, sdk)
	op, err := compute.NewInstanceServiceClient(sdk).Create(t.Context(), s.instance("there"))
	wait[*compute.Instance](t, sdk, op, err)
	tests := []struct {
		name, reason string
		change       func(*compute.CreateInstanceRequest)
		want         codes.Code
	}{
		{"folder", "the token is for another", func(in *compute.CreateInstanceRequest) { in.FolderId = "b1gother" }, codes.PermissionDenied},
		{"name", "capital letters are against its pattern", func(in *compute.CreateInstanceRequest) { in.Name = "Demo" }, codes.InvalidArgument},
		{"name taken", "it is unique in a folder", func(in *compute.CreateInstanceRequest) { in.Name = "there" }, codes.AlreadyExists},
		{"host name taken", "it is unique in a network", func(in *compute.CreateInstanceRequest) { in.Hostname = "there" }, codes.AlreadyExists},
		{"label", "its key is against the pattern", func(in *compute.CreateInstanceRequest) { in.Labels = map[string]string{"Pgha": "x"} }, codes.InvalidArgument},
		{"label's value", "it is too long", func(in *compute.CreateInstanceRequest) { in.Labels = map[string]string{"a": strings.Repeat("a", 64)} }, codes.InvalidArgument},
		{"zone", "there is none of this name", func(in *compute.CreateInstanceRequest) { in.ZoneId = "ru-central1-z" }, codes.InvalidArgument},
		{"platform", "there is none of this name", func(in *compute.CreateInstanceRequest) { in.PlatformId = "standard-v9" }, codes.InvalidArgument},
		{"cores", "no platform has three", func(in *compute.CreateInstanceRequest) { in.ResourcesSpec.Cores = 3 }, codes.InvalidArgument},
		{"core fraction", "it is not on the list", func(in *compute.CreateInstanceRequest) { in.ResourcesSpec.CoreFraction = 30 }, codes.InvalidArgument},
		{"hardware", "it is required", func(in *compute.CreateInstanceRequest) { in.ResourcesSpec = nil }, codes.InvalidArgument},
		{"grace period", "a day is the most", func(in *compute.CreateInstanceRequest) { in.MaintenanceGracePeriod = durationpb.New(25 * time.Hour) }, codes.InvalidArgument},
		{"metadata's value", "256 KB are the most", func(in *compute.CreateInstanceRequest) { in.Metadata["a"] = strings.Repeat("a", 256<<10+1) }, codes.InvalidArgument},
		{"metadata", "512 KB are too much together", func(in *compute.CreateInstanceRequest) {
			in.Metadata = map[string]string{"a": strings.Repeat("a", 256<<10), "b": strings.Repeat("a", 256<<10)}
		}, codes.InvalidArgument},
		{"image", "there is none with this id", func(in *compute.CreateInstanceRequest) {
			in.BootDiskSpec.GetDiskSpec().Source = &compute.AttachedDiskSpec_DiskSpec_ImageId{ImageId: "fd8none"}
		}, codes.NotFound},
		{"boot disk", "the image does not fit", func(in *compute.CreateInstanceRequest) { in.BootDiskSpec.GetDiskSpec().Size = 4 << 30 }, codes.InvalidArgument},
		{"disk", "there is none with this id", func(in *compute.CreateInstanceRequest) { in.SecondaryDiskSpecs = attached("epdnone") }, codes.NotFound},
		{"disks", "three are the most", func(in *compute.CreateInstanceRequest) {
			in.SecondaryDiskSpecs = slices.Repeat(attached("epdnone"), 4)
		}, codes.InvalidArgument},
		{"device name", "it is too long", func(in *compute.CreateInstanceRequest) {
			in.SecondaryDiskSpecs = attached("epdnone")
			in.SecondaryDiskSpecs[0].DeviceName = strings.Repeat("a", 21)
		}, codes.InvalidArgument},
		{"subnet", "there is none with this id", func(in *compute.CreateInstanceRequest) { in.NetworkInterfaceSpecs[0].SubnetId = "e9bnone" }, codes.NotFound},
		{"subnet's zone", "it is another", func(in *compute.CreateInstanceRequest) { in.ZoneId = "ru-central1-b" }, codes.InvalidArgument},
		{"address taken", "another machine has it", func(in *compute.CreateInstanceRequest) { address(in, "10.128.0.3") }, codes.FailedPrecondition},
		{"address elsewhere", "the subnet does not have it", func(in *compute.CreateInstanceRequest) { address(in, "10.129.0.3") }, codes.InvalidArgument},
		{"address of the DNS", "the cloud has it", func(in *compute.CreateInstanceRequest) { address(in, "10.128.0.2") }, codes.InvalidArgument},
		{"security group", "there is none with this id", func(in *compute.CreateInstanceRequest) {
			in.NetworkInterfaceSpecs[0].SecurityGroupIds = []string{"enpnone"}
		}, codes.NotFound},
		{"account", "there is none with this id", func(in *compute.CreateInstanceRequest) { in.ServiceAccountId = "ajenone" }, codes.NotFound},
		{"cores in all", "the quota is 32", func(in *compute.CreateInstanceRequest) { in.ResourcesSpec.Cores = 32 }, codes.ResourceExhausted},
		{"SSD in all", "the quota is 200 GB", func(in *compute.CreateInstanceRequest) { in.BootDiskSpec.GetDiskSpec().Size = 190 << 30 }, codes.ResourceExhausted},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := s.instance("demo")
			test.change(in)
			if _, err := compute.NewInstanceServiceClient(sdk).Create(t.Context(), in); status.Code(err) != test.want {
				t.Errorf("got %v, want %s: %s", err, test.want, test.reason)
			}
		})
	}
	all, err := compute.NewDiskServiceClient(sdk).List(t.Context(), &compute.ListDisksRequest{FolderId: folder})
	testkit.OK(t, err)
	if len(all.Disks) != 1 {
		t.Errorf("what was refused left disks: %v", all.Disks)
	}
}

func address(in *compute.CreateInstanceRequest, a string) {
	in.NetworkInterfaceSpecs[0].PrimaryV4AddressSpec.Address = a
}

func TestAroundMachinesRefuses(t *testing.T) {
	_, sdk := serve(t, cloudapi.Config{})
	s := newSite(t, sdk)
	subnets, groups := vpc.NewSubnetServiceClient(sdk), vpc.NewSecurityGroupServiceClient(sdk)
	rule := func(change func(*vpc.SecurityGroupRuleSpec)) error {
		spec := &vpc.SecurityGroupRuleSpec{Direction: vpc.SecurityGroupRule_INGRESS, Ports: &vpc.PortRange{FromPort: 1, ToPort: 2},
			Protocol: &vpc.SecurityGroupRuleSpec_ProtocolName{ProtocolName: "TCP"}, Target: &vpc.SecurityGroupRuleSpec_PredefinedTarget{PredefinedTarget: "self_security_group"}}
		change(spec)
		_, err := groups.UpdateRules(t.Context(), &vpc.UpdateSecurityGroupRulesRequest{SecurityGroupId: s.group.Id, AdditionRuleSpecs: []*vpc.SecurityGroupRuleSpec{spec}})
		return err
	}
	subnet := func(cidr string) error {
		_, err := subnets.Create(t.Context(), &vpc.CreateSubnetRequest{FolderId: folder, Name: "b", NetworkId: s.network.Id, ZoneId: "ru-central1-b", V4CidrBlocks: []string{cidr}})
		return err
	}
	tests := []struct {
		name, reason string
		do           func() error
		want         codes.Code
	}{
		{"subnet overlaps", "networks of a VPC do not share addresses", func() error { return subnet("10.128.0.128/25") }, codes.FailedPrecondition},
		{"subnet is public", "the cloud routes private ones", func() error { return subnet("8.8.8.0/24") }, codes.InvalidArgument},
		{"subnet is not masked", "it is an address", func() error { return subnet("10.129.0.1/24") }, codes.InvalidArgument},
		{"rule without a target", "one is required", func() error { return rule(func(s *vpc.SecurityGroupRuleSpec) { s.Target = nil }) }, codes.InvalidArgument},
		{"rule's ports", "there are 65535", func() error { return rule(func(s *vpc.SecurityGroupRuleSpec) { s.Ports.ToPort = 70000 }) }, codes.InvalidArgument},
		{"rule's network", "it is an address", func() error {
			return rule(func(s *vpc.SecurityGroupRuleSpec) {
				s.Target = &vpc.SecurityGroupRuleSpec_CidrBlocks{CidrBlocks: &vpc.CidrBlocks{V4CidrBlocks: []string{"10.0.0.1/24"}}}
			})
		}, codes.InvalidArgument},
		{"network in use", "subnets are in it", func() error {
			_, err := vpc.NewNetworkServiceClient(sdk).Delete(t.Context(), &vpc.DeleteNetworkRequest{NetworkId: s.network.Id})
			return err
		}, codes.FailedPrecondition},
		{"targets", "no machine has the address", func() error {
			_, err := loadbalancer.NewTargetGroupServiceClient(sdk).Create(t.Context(), &loadbalancer.CreateTargetGroupRequest{
				FolderId: folder, Name: "demo", RegionId: "ru-central1", Targets: []*loadbalancer.Target{{SubnetId: s.subnet.Id, Address: "10.128.0.9"}}})
			return err
		}, codes.InvalidArgument},
		{"secret's key", "it is against the pattern", func() error {
			_, err := lockbox.NewSecretServiceClient(sdk).Create(t.Context(), &lockbox.CreateSecretRequest{FolderId: folder, Name: "demo", VersionPayloadEntries: entries("a b")})
			return err
		}, codes.InvalidArgument},
		{"secret's reader", "there is no such account", func() error {
			op, err := lockbox.NewSecretServiceClient(sdk).Create(t.Context(), &lockbox.CreateSecretRequest{FolderId: folder, Name: "demo2", VersionPayloadEntries: entries("a")})
			secret := wait[*lockbox.Secret](t, sdk, op, err)
			_, err = lockbox.NewSecretServiceClient(sdk).UpdateAccessBindings(t.Context(), &access.UpdateAccessBindingsRequest{ResourceId: secret.Id, AccessBindingDeltas: reader("ajenone")})
			return err
		}, codes.NotFound},
		{"DNS zone", "its name has a point at the end", func() error {
			_, err := dns.NewDnsZoneServiceClient(sdk).Create(t.Context(), &dns.CreateDnsZoneRequest{FolderId: folder, Name: "demo", Zone: "demo.internal", PrivateVisibility: &dns.PrivateVisibility{NetworkIds: []string{s.network.Id}}})
			return err
		}, codes.InvalidArgument},
		{"a method that is not here", "the answer says so", func() error {
			_, err := compute.NewSnapshotServiceClient(sdk).List(t.Context(), &compute.ListSnapshotsRequest{FolderId: folder})
			return err
		}, codes.Unimplemented},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := test.do(); status.Code(err) != test.want {
				t.Errorf("got %v, want %s: %s", err, test.want, test.reason)
			}
		})
	}
}

func entries(key string) []*lockbox.PayloadEntryChange {
	return []*lockbox.PayloadEntryChange{{Key: key, Value: &lockbox.PayloadEntryChange_TextValue{TextValue: "x"}}}
}

func reader(account string) []*access.AccessBindingDelta {
	return []*access.AccessBindingDelta{{Action: access.AccessBindingAction_ADD, AccessBinding: &access.AccessBinding{
		RoleId: "lockbox.payloadViewer", Subject: &access.Subject{Id: account, Type: "serviceAccount"}}}}
}

// A secret's versions: a new one has the entries of its base, and its own.
func TestSecret(t *testing.T) {
	c, sdk := serve(t, cloudapi.Config{})
	s := newSite(t, sdk)
	secrets := lockbox.NewSecretServiceClient(sdk)
	op, err := secrets.Create(t.Context(), &lockbox.CreateSecretRequest{FolderId: folder, Name: "demo", VersionPayloadEntries: entries("a"), DeletionProtection: true})
	secret := wait[*lockbox.Secret](t, sdk, op, err)
	op, err = secrets.AddVersion(t.Context(), &lockbox.AddVersionRequest{SecretId: secret.Id, BaseVersionId: secret.CurrentVersion.Id, PayloadEntries: entries("b")})
	version := wait[*lockbox.Version](t, sdk, op, err)
	payload, err := lockbox.NewPayloadServiceClient(sdk).Get(t.Context(), &lockbox.GetPayloadRequest{SecretId: secret.Id})
	testkit.OK(t, err)
	if payload.VersionId != version.Id || len(payload.Entries) != 2 {
		t.Errorf("the payload is %v", payload)
	}
	testkit.OK(t, c.SetPayload(secret.Id, map[string]string{"c": "d"}))
	payload, err = lockbox.NewPayloadServiceClient(sdk).Get(t.Context(), &lockbox.GetPayloadRequest{SecretId: secret.Id})
	testkit.OK(t, err)
	if len(payload.Entries) != 1 || payload.Entries[0].GetTextValue() != "d" {
		t.Errorf("the payload that was set is %v", payload)
	}
	if err := c.SetPayload("e6qnone", nil); err == nil {
		t.Error("a secret that is not there got a payload")
	}
	op, err = secrets.UpdateAccessBindings(t.Context(), &access.UpdateAccessBindingsRequest{ResourceId: secret.Id, AccessBindingDeltas: reader(s.account.Id)})
	ended(t, sdk, op, err)
	bound, err := secrets.ListAccessBindings(t.Context(), &access.ListAccessBindingsRequest{ResourceId: secret.Id})
	testkit.OK(t, err)
	if len(bound.AccessBindings) != 1 || bound.AccessBindings[0].Subject.Id != s.account.Id {
		t.Errorf("bindings are %v", bound.AccessBindings)
	}
	const another = "ajeanother"
	testkit.OK(t, c.Grant(secret.Id, "lockbox.viewer", "ajenone")) // it sees that there is a secret
	testkit.OK(t, c.Grant(folder, "lockbox.payloadViewer", another))
	seen, ok := c.Secret(secret.Id)
	want := cloudapi.Secret{Readers: []string{s.account.Id, another}, Version: payload.VersionId, Entries: map[string]string{"c": "d"}}
	if diff := cmp.Diff(want, seen); diff != "" || !ok {
		t.Errorf("what machines see, %t (-want +got):\n%s", ok, diff)
	}
	if _, ok := c.Secret("e6qnone"); ok || c.Grant("e6qnone", "lockbox.payloadViewer", another) == nil {
		t.Error("a secret that is not there is seen, or has a reader")
	}
	if _, err := secrets.Delete(t.Context(), &lockbox.DeleteSecretRequest{SecretId: secret.Id}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("deleting a secret that is protected: %v", err)
	}
}

func TestFaults(t *testing.T) {
	quota := status.Error(codes.ResourceExhausted, "Quota limit compute.instances.count exceeded")
	tests := []struct {
		name, reason string
		fault        cloudapi.Fault
		want         codes.Code // of the second call
		late         bool
		there        int // machines, behind that
	}{
		{"refused", "the second fails, and is not there", cloudapi.Fault{Method: "InstanceService.Create", After: 1, Code: status.Code(quota), Message: "quota"}, codes.ResourceExhausted, false, 1},
		{"late", "the operation starts, fails, and takes all back", cloudapi.Fault{Method: "InstanceService.Create", After: 1, Code: codes.Internal, Message: "no host", Late: true}, codes.Internal, true, 1},
		{"cut", "the answer is lost, and the machine is there", cloudapi.Fault{Method: "InstanceService.Create", After: 1, Times: 1, Cut: true}, codes.Unavailable, false, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Log(test.reason)
			c, sdk := serve(t, cloudapi.Config{})
			s := newSite(t, sdk)
			c.Break(test.fault)
			instances := compute.NewInstanceServiceClient(sdk)
			op, err := instances.Create(t.Context(), s.instance("one"))
			wait[*compute.Instance](t, sdk, op, err)
			op, err = instances.Create(t.Context(), s.instance("two"))
			got := status.Code(err)
			if test.late {
				got = codes.Code(ended(t, sdk, op, err).GetError().GetCode())
			}
			if got != test.want {
				t.Errorf("the second is answered with %s (%v), want %s", got, err, test.want)
			}
			c.Mend()
			list, err := instances.List(t.Context(), &compute.ListInstancesRequest{FolderId: folder})
			testkit.OK(t, err)
			disks, err := compute.NewDiskServiceClient(sdk).List(t.Context(), &compute.ListDisksRequest{FolderId: folder})
			testkit.OK(t, err)
			if len(list.Instances) != test.there || len(disks.Disks) != test.there {
				t.Errorf("there are %d machines and %d disks, want %d", len(list.Instances), len(disks.Disks), test.there)
			}
		})
	}
}

// What nobody created by the API is there as well, of every kind but those that a
// folder does not have.
func TestPut(t *testing.T) {
	c, sdk := serve(t, cloudapi.Config{})
	testkit.OK(t, c.Put(&iam.ServiceAccount{Id: "ajegiven", Name: "given"}))
	found, err := iam.NewServiceAccountServiceClient(sdk).Get(t.Context(), &iam.GetServiceAccountRequest{ServiceAccountId: "ajegiven"})
	testkit.OK(t, err)
	if found.FolderId != folder {
		t.Errorf("the account is in folder %q", found.FolderId)
	}
	if err := c.Put(&compute.Zone{Id: "ru-central1-x"}); err == nil {
		t.Error("a folder has a zone")
	}
}

func TestToken(t *testing.T) {
	c, sdk := serve(t, cloudapi.Config{})
	c.SetToken("t1.next")
	if _, err := vpc.NewNetworkServiceClient(sdk).List(t.Context(), &vpc.ListNetworksRequest{FolderId: folder}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a token that has expired: %v", err)
	}
}

// What was created is by its id at once, and in lists later; its name is taken
// meanwhile. An operation takes its time.
func TestEventually(t *testing.T) {
	var passed atomic.Int64
	now := func() time.Time { return time.Unix(passed.Load(), 0) }
	_, sdk := serve(t, cloudapi.Config{Lag: time.Second, Delay: 20 * time.Millisecond, Looks: 3, Now: now})
	networks := vpc.NewNetworkServiceClient(sdk)
	began := time.Now()
	op, err := networks.Create(t.Context(), &vpc.CreateNetworkRequest{FolderId: folder, Name: "demo"})
	n := wait[*vpc.Network](t, sdk, op, err)
	if took := time.Since(began); took < 20*time.Millisecond {
		t.Errorf("the operation took %s", took)
	}
	seen := func() int {
		list, err := networks.List(t.Context(), &vpc.ListNetworksRequest{FolderId: folder, Filter: `name="demo"`})
		testkit.OK(t, err)
		return len(list.Networks)
	}
	if got := seen(); got != 0 {
		t.Errorf("lists show %d at once", got)
	}
	if _, err := networks.Get(t.Context(), &vpc.GetNetworkRequest{NetworkId: n.Id}); err != nil {
		t.Error(err)
	}
	if _, err := networks.Create(t.Context(), &vpc.CreateNetworkRequest{FolderId: folder, Name: "demo"}); status.Code(err) != codes.AlreadyExists {
		t.Errorf("the same name again: %v", err)
	}
	passed.Add(1)
	if got := seen(); got != 1 {
		t.Errorf("lists show %d later", got)
	}
}

func TestPages(t *testing.T) {
	_, sdk := serve(t, cloudapi.Config{Quotas: map[string]int64{"vpc.networks.count": 3}})
	networks := vpc.NewNetworkServiceClient(sdk)
	for _, name := range []string{"abc", "bcd", "cde"} {
		op, err := networks.Create(t.Context(), &vpc.CreateNetworkRequest{FolderId: folder, Name: name})
		wait[*vpc.Network](t, sdk, op, err)
	}
	in := &vpc.ListNetworksRequest{FolderId: folder, PageSize: 2}
	var names []string
	for {
		page, err := networks.List(t.Context(), in)
		testkit.OK(t, err)
		for _, n := range page.Networks {
			names = append(names, n.Name)
		}
		if in.PageToken = page.NextPageToken; in.PageToken == "" {
			break
		}
	}
	if want := []string{"abc", "bcd", "cde"}; !slices.Equal(names, want) {
		t.Errorf("pages have %v, want %v", names, want)
	}
}

func TestQuotas(t *testing.T) {
	_, sdk := serve(t, cloudapi.Config{Quotas: map[string]int64{"vpc.networks.count": 1, "compute.disks.count": -1}})
	newSite(t, sdk)
	if _, err := vpc.NewNetworkServiceClient(sdk).Create(t.Context(), &vpc.CreateNetworkRequest{FolderId: folder, Name: "two"}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a second network: %v", err)
	}
	limits, err := quotamanager.NewQuotaLimitServiceClient(sdk).List(t.Context(), &quotamanager.ListQuotaLimitsRequest{
		Resource: &quotamanager.Resource{Id: "b1gstandin", Type: "resource-manager.cloud"}, Service: "vpc"})
	testkit.OK(t, err)
	if l := limits.QuotaLimits; len(l) != 4 || l[0].QuotaId != "vpc.networks.count" || l[0].Limit.Value != 1 || l[0].Usage.Value != 1 {
		t.Errorf("the quotas are %v", l)
	}
}
