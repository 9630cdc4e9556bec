package yandex_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"pgha-gen/deploy/yandex"
	"pgha-gen/deploy/yandex/yandextest"
	"pgha-gen/generator/cloud"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloudapi"
)

// said is what a deployment said, by machine.
type said struct {
	mu    sync.Mutex
	lines []string
}

func (s *said) say(name, sentence string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, name+": "+sentence)
}

func (s *said) has(line string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.lines, line)
}

// deploy is one run, as the command does it.
func deploy(ctx context.Context, cc grpc.ClientConnInterface, p *cloud.Plan, s *said) (*yandex.Steps, error) {
	found, err := yandex.Look(ctx, cc, p)
	if err != nil {
		return nil, err
	}
	steps, err := yandex.Plan(p, found)
	if err != nil {
		return nil, err
	}
	return steps, steps.Do(ctx, cc, p, yandex.World{
		UserData: map[string]string{"etcd": "#cloud-config\n# etcd\n", "patroni": "#cloud-config\n# patroni\n", "haproxy": "#cloud-config\n# haproxy\n"},
		Said:     s.say, Between: 5 * time.Millisecond,
	})
}

func connect(t *testing.T, c *yandextest.Cloud) grpc.ClientConnInterface {
	t.Helper()
	cc, err := yandextest.Connect(t.Context(), c.Address, yandextest.Token)
	testkit.OK(t, err)
	return cc
}

func requests[R proto.Message](c *yandextest.Cloud, method string) (all []R) {
	for _, call := range c.Calls() {
		if r, ok := call.Request.(R); ok && call.Method == method {
			all = append(all, r)
		}
	}
	return all
}

func verbs(s *yandex.Steps) map[yandex.Verb]int {
	n := map[yandex.Verb]int{}
	for _, i := range s.Items {
		n[i.Verb]++
	}
	return n
}

// TestDo: all is created as create.sh creates it, each machine behind its disk;
// then nobody may bootstrap, and there is nothing to do.
func TestDo(t *testing.T) {
	// Lists show what is new a while later: nothing depends on them.
	c := yandextest.New(t, cloudapi.Config{Lag: 300 * time.Millisecond, Delay: 10 * time.Millisecond})
	cc, p, s := connect(t, c), cloud.New(demo.Cluster(t)), &said{}
	steps, err := deploy(t.Context(), cc, p, s)
	testkit.OK(t, err)
	if diff := cmp.Diff(map[yandex.Verb]int{yandex.Create: 13}, verbs(steps)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	created := requests[*compute.CreateInstanceRequest](c, "InstanceService.Create")
	i := slices.IndexFunc(created, func(r *compute.CreateInstanceRequest) bool { return r.Name == "demo-pg-2" })
	if len(created) != 7 || i < 0 {
		t.Fatalf("%d machines, that of demo-pg-2 at %d", len(created), i)
	}
	got := created[i]
	want := &compute.CreateInstanceRequest{
		FolderId: "b1gexample", Name: "demo-pg-2", Hostname: "demo-pg-2", ZoneId: "ru-central1-a", PlatformId: "standard-v3",
		Labels:        map[string]string{"pgha-cluster": "demo", "pgha-role": "patroni"},
		ResourcesSpec: &compute.ResourcesSpec{Cores: 4, CoreFraction: 100, Memory: 16 << 30},
		Metadata:      map[string]string{"user-data": "#cloud-config\n# patroni\n", "pgha-bootstrap": p.Token},
		MetadataOptions: &compute.MetadataOptions{
			GceHttpEndpoint: compute.MetadataOption_ENABLED, GceHttpToken: compute.MetadataOption_ENABLED,
			AwsV1HttpEndpoint: compute.MetadataOption_ENABLED, AwsV1HttpToken: compute.MetadataOption_DISABLED,
		},
		BootDiskSpec: &compute.AttachedDiskSpec{AutoDelete: true, Disk: &compute.AttachedDiskSpec_DiskSpec_{DiskSpec: &compute.AttachedDiskSpec_DiskSpec{
			TypeId: "network-ssd", Size: 15 << 30, Source: &compute.AttachedDiskSpec_DiskSpec_ImageId{ImageId: "fd8patroni"},
		}}},
		SecondaryDiskSpecs: []*compute.AttachedDiskSpec{{Mode: compute.AttachedDiskSpec_READ_WRITE, DeviceName: "data",
			Disk: &compute.AttachedDiskSpec_DiskId{DiskId: got.SecondaryDiskSpecs[0].GetDiskId()}}},
		NetworkInterfaceSpecs: []*compute.NetworkInterfaceSpec{{SubnetId: "e9bexample", PrimaryV4AddressSpec: &compute.PrimaryAddressSpec{Address: "10.128.0.22"}}},
		ServiceAccountId:      "ajeexamplepatroni",
		SchedulingPolicy:      &compute.SchedulingPolicy{},
		MaintenancePolicy:     compute.MaintenancePolicy_MIGRATE, MaintenanceGracePeriod: durationpb.New(time.Minute),
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("demo-pg-2 (-want +got):\n%s", diff)
	}
	for _, line := range []string{"demo-pg-2: ready ok it answers", "demo-etcd-1: may no longer bootstrap a cluster"} {
		if !s.has(line) {
			t.Errorf("it did not say %q, but %q", line, s.lines)
		}
	}
	time.Sleep(400 * time.Millisecond) // the lag
	whole(t, cc, p)
}

// whole: all that the plan wants is there, and nobody may bootstrap.
func whole(t *testing.T, cc grpc.ClientConnInterface, p *cloud.Plan) {
	t.Helper()
	found, err := yandex.Look(t.Context(), cc, p)
	testkit.OK(t, err)
	steps, err := yandex.Plan(p, found)
	testkit.OK(t, err)
	for _, i := range steps.Items {
		if i.Verb != yandex.Exists {
			t.Errorf("%s %s %s: %s", i.Verb, i.Kind, i.Name, i.Says)
		}
	}
	if !steps.Nothing() {
		t.Error("there is something to do")
	}
	for name, m := range found.Machines {
		if m.Metadata["pgha-bootstrap"] != "" {
			t.Errorf("%s may still bootstrap a cluster", name)
		}
	}
}

// TestFaults is a table of what goes wrong in the middle: one sentence that says
// what to do, and the next run completes what is there.
func TestFaults(t *testing.T) {
	tests := []struct {
		name   string
		config cloudapi.Config
		spoil  func(*yandextest.Cloud)
		mend   func(*yandextest.Cloud)
		want   []string
	}{
		{"quota at the fifth machine", cloudapi.Config{}, func(c *yandextest.Cloud) {
			c.Break(cloudapi.Fault{Method: "InstanceService.Create", After: 4, Code: codes.ResourceExhausted, Message: "Quota limit compute.instanceCores.count exceeded"})
		}, nil, []string{"cannot create machine demo-", "Quota limit compute.instanceCores.count exceeded", "ask for a higher quota"}},
		{"the token ends in the middle", cloudapi.Config{}, func(c *yandextest.Cloud) {
			c.Break(cloudapi.Fault{Method: "InstanceService.Create", After: 2, Code: codes.Unauthenticated, Message: "The token has expired"})
		}, nil, []string{"cannot create machine demo-", "The token has expired", "set YC_TOKEN"}},
		{"an operation that fails late", cloudapi.Config{}, func(c *yandextest.Cloud) {
			c.Break(cloudapi.Fault{Method: "InstanceService.Create", After: 3, Times: 1, Late: true, Code: codes.Internal, Message: "Not enough hosts.\n"})
		}, nil, []string{"cannot create machine demo-", ": Not enough hosts (run this again: it goes on where it stopped)"}},
		{"the network is cut", cloudapi.Config{}, func(c *yandextest.Cloud) {
			c.Break(cloudapi.Fault{Method: "DiskService.Create", After: 2, Cut: true, Times: 1})
		}, nil, []string{"cannot create ", "the API does not answer"}},
		{"a machine that fails", cloudapi.Config{}, func(c *yandextest.Cloud) {
			c.Say("demo-pg-1", "secrets fail Lockbox refuses e6qexamplepatroni")
		}, func(c *yandextest.Cloud) { c.Say("demo-pg-1", "ready ok again") },
			[]string{"machine demo-pg-1: secrets failed: Lockbox refuses e6qexamplepatroni (mend it, delete the machine"}},
		{"the permission cannot be taken back", cloudapi.Config{}, func(c *yandextest.Cloud) {
			c.Break(cloudapi.Fault{Method: "InstanceService.UpdateMetadata", After: 1, Code: codes.PermissionDenied, Message: "Permission denied"})
		}, nil, []string{"cannot take back the permission of machine demo-", "compute.editor"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := yandextest.New(t, test.config)
			cc, p := connect(t, c), cloud.New(demo.Cluster(t))
			test.spoil(c)
			_, err := deploy(t.Context(), cc, p, &said{})
			text := fmt.Sprint(err)
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("error %q, want %q in it", text, want)
				}
			}
			if strings.Contains(text, "\n") {
				t.Errorf("error %q is more than one sentence", text)
			}
			c.Mend()
			if test.mend != nil {
				test.mend(c)
			}
			// What was cut may still take effect behind the next look.
			for tries := 0; ; tries++ {
				_, err = deploy(t.Context(), cc, p, &said{})
				if err == nil || tries == 5 || !strings.Contains(err.Error(), "already exists (run this again") {
					break
				}
			}
			testkit.OK(t, err)
			whole(t, cc, p)
		})
	}
}

// TestInterrupt: what was begun is completed by the next run, and machines that
// it makes may bootstrap, as those beside them may.
func TestInterrupt(t *testing.T) {
	c := yandextest.New(t, cloudapi.Config{})
	cc, p := connect(t, c), cloud.New(demo.Cluster(t))
	c.Break(cloudapi.Fault{Method: "InstanceService.Create", After: 1, Times: 99, Code: codes.Unavailable, Message: "away"})
	c.Say("demo-etcd-1", "")
	if _, err := deploy(t.Context(), cc, p, &said{}); err == nil {
		t.Fatal("no error")
	}
	c.Mend()
	for _, name := range []string{"demo-etcd-1", "demo-etcd-2", "demo-etcd-3", "demo-pg-1", "demo-pg-2", "demo-pg-3", "demo-haproxy-1"} {
		c.Say(name, "join wait for others")
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	if _, err := deploy(ctx, cc, p, &said{}); err == nil || !strings.Contains(err.Error(), "is not ready") && !strings.Contains(err.Error(), "canceled") {
		t.Fatalf("error %v", err)
	}
	for _, name := range []string{"demo-etcd-1", "demo-etcd-2", "demo-etcd-3", "demo-pg-1", "demo-pg-2", "demo-pg-3", "demo-haproxy-1"} {
		c.Say(name, "ready ok")
	}
	_, err := deploy(t.Context(), cc, p, &said{})
	testkit.OK(t, err)
	whole(t, cc, p)
	if n := len(requests[*compute.CreateDiskRequest](c, "DiskService.Create")); n != 6 {
		t.Errorf("%d disks created, want 6", n)
	}
}
