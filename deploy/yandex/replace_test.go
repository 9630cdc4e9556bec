package yandex_test

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/loadbalancer/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"pgha-gen/deploy/yandex"
	"pgha-gen/deploy/yandex/yandextest"
	"pgha-gen/generator/cloud"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloudapi"
)

// replace is one run, as the command does it.
func replace(ctx context.Context, cc grpc.ClientConnInterface, p *cloud.Plan, name string, newDisk bool) (*yandex.Replacement, error) {
	found, err := yandex.Look(ctx, cc, p)
	if err != nil {
		return nil, err
	}
	r, err := yandex.NewReplacement(p, found, p.Machine(name), newDisk)
	if err != nil {
		return nil, err
	}
	return r, r.Do(ctx, cc, p, yandex.World{
		UserData: map[string]string{"etcd": "#cloud-config\n# new\n", "patroni": "#cloud-config\n# new\n", "haproxy": "#cloud-config\n# new\n"},
		Said:     (&said{}).say, Between: 5 * time.Millisecond,
	})
}

// deployed is a cloud with the example's machines.
func deployed(t *testing.T, config cloudapi.Config) (*yandextest.Cloud, grpc.ClientConnInterface, *cloud.Plan) {
	t.Helper()
	c := yandextest.New(t, config)
	cc, p := connect(t, c), cloud.New(demo.Cluster(t))
	_, err := deploy(t.Context(), cc, p, &said{})
	testkit.OK(t, err)
	return c, cc, p
}

// state is what is there of a machine, and of its disk.
func state(t *testing.T, cc grpc.ClientConnInterface, p *cloud.Plan, name string) (*compute.Instance, *compute.Disk) {
	t.Helper()
	found, err := yandex.Look(t.Context(), cc, p)
	testkit.OK(t, err)
	return found.Machines[name], found.Disks[name+"-data"]
}

// TestReplaceMachine: a machine is a new one at its old address, from the newest image,
// with the new user-data and never with the permission to bootstrap; its disk is
// the old one, or a new one.
func TestReplaceMachine(t *testing.T) {
	c, cc, p := deployed(t, cloudapi.Config{Delay: 5 * time.Millisecond})
	c.Has(t, &compute.Image{Id: "fd8newer", Name: "demo-patroni-2", Family: "demo-patroni", Status: compute.Image_READY})
	before, data := state(t, cc, p, "demo-pg-2")

	r, err := replace(t.Context(), cc, p, "demo-pg-2", false)
	testkit.OK(t, err)
	if want := "machine demo-pg-2 is deleted, and created anew from image fd8newer; it keeps its disk demo-pg-2-data"; r.Says() != want {
		t.Errorf("it says %q, want %q", r.Says(), want)
	}
	after, kept := state(t, cc, p, "demo-pg-2")
	if after.Id == before.Id || kept.Id != data.Id {
		t.Errorf("instance %s is now %s; disk %s is now %s", before.Id, after.Id, data.Id, kept.Id)
	}
	if diff := cmp.Diff([]string{after.Id}, kept.InstanceIds); diff != "" {
		t.Errorf("the disk is attached to (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"user-data": "#cloud-config\n# new\n"}, after.Metadata); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	if got := after.NetworkInterfaces[0].PrimaryV4Address.Address; got != "10.128.0.22" {
		t.Errorf("its address is %s", got)
	}
	created := requests[*compute.CreateInstanceRequest](c, "InstanceService.Create")
	if got := created[len(created)-1].BootDiskSpec.GetDiskSpec().GetImageId(); got != "fd8newer" {
		t.Errorf("its image is %s", got)
	}

	r, err = replace(t.Context(), cc, p, "demo-pg-2", true)
	testkit.OK(t, err)
	if want := "; its disk demo-pg-2-data is deleted, and it gets an empty one"; !strings.HasSuffix(r.Says(), want) {
		t.Errorf("it says %q, want %q", r.Says(), want)
	}
	if _, fresh := state(t, cc, p, "demo-pg-2"); fresh.Id == data.Id || fresh.Size != data.Size {
		t.Errorf("disk %s of %d is now %s of %d", data.Id, data.Size, fresh.Id, fresh.Size)
	}

	p.Machine("demo-haproxy-1").Address = netip.Addr{} // the cloud chose it
	balancer, _ := state(t, cc, p, "demo-haproxy-1")
	address := balancer.NetworkInterfaces[0].PrimaryV4Address.Address
	r, err = replace(t.Context(), cc, p, "demo-haproxy-1", false)
	testkit.OK(t, err)
	if want := "machine demo-haproxy-1 is deleted, and created anew from image fd8haproxy"; r.Says() != want {
		t.Errorf("it says %q, want %q", r.Says(), want)
	}
	if after, _ := state(t, cc, p, "demo-haproxy-1"); after.NetworkInterfaces[0].PrimaryV4Address.Address != address {
		t.Errorf("its address was %s, and is %s", address, after.NetworkInterfaces[0].PrimaryV4Address.Address)
	}
	whole(t, cc, p)
}

// TestReplaceMachineFaults: what fails or is interrupted in the middle leaves what the
// next run completes: one machine, with the data that it had.
func TestReplaceMachineFaults(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(*yandextest.Cloud)
		want  string
	}{
		{"not deleted", func(c *yandextest.Cloud) {
			c.Break(cloudapi.Fault{Method: "InstanceService.Delete", Code: codes.PermissionDenied, Message: "Permission denied"})
		}, "cannot delete machine demo-pg-1: Permission denied (see cloud.folder_id"},
		{"deleted late", func(c *yandextest.Cloud) {
			c.Break(cloudapi.Fault{Method: "InstanceService.Delete", Late: true, Code: codes.Internal, Message: "Try again"})
		}, "cannot delete machine demo-pg-1: Try again (run this again"},
		{"cut while it is deleted", func(c *yandextest.Cloud) {
			c.Break(cloudapi.Fault{Method: "InstanceService.Delete", Cut: true, Times: 1})
		}, "cannot delete machine demo-pg-1: "},
		{"not created", func(c *yandextest.Cloud) {
			c.Break(cloudapi.Fault{Method: "InstanceService.Create", Code: codes.ResourceExhausted, Message: "Quota limit compute.instanceCores.count exceeded"})
		}, "cannot create machine demo-pg-1: Quota limit compute.instanceCores.count exceeded (ask for a higher quota"},
		{"created late", func(c *yandextest.Cloud) {
			c.Break(cloudapi.Fault{Method: "InstanceService.Create", Late: true, Code: codes.Internal, Message: "Not enough hosts"})
		}, "cannot create machine demo-pg-1: Not enough hosts (run this again"},
		{"it fails", func(c *yandextest.Cloud) { c.Say("demo-pg-1", "secrets fail Lockbox refuses") },
			"machine demo-pg-1: secrets failed: Lockbox refuses (mend it, delete the machine, and run this again"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, cc, p := deployed(t, cloudapi.Config{Delay: 20 * time.Millisecond})
			_, data := state(t, cc, p, "demo-pg-1")
			test.spoil(c)
			_, err := replace(t.Context(), cc, p, "demo-pg-1", false)
			if text := fmt.Sprint(err); !strings.Contains(text, test.want) || strings.Contains(text, "\n") {
				t.Errorf("error %q, want %q in it", text, test.want)
			}
			c.Mend()
			c.Say("demo-pg-1", "ready ok again")
			// What was cut may still take effect amid the next look.
			for tries := 0; ; tries++ {
				_, err = replace(t.Context(), cc, p, "demo-pg-1", false)
				if err == nil || tries == 5 || !strings.HasPrefix(err.Error(), "disk demo-pg-1-data is attached to another machine: ") {
					break
				}
			}
			testkit.OK(t, err)
			if _, kept := state(t, cc, p, "demo-pg-1"); kept.Id != data.Id {
				t.Errorf("disk %s is now %s", data.Id, kept.Id)
			}
			whole(t, cc, p)
		})
	}

	t.Run("an empty disk that is not created", func(t *testing.T) {
		c, cc, p := deployed(t, cloudapi.Config{})
		c.Break(cloudapi.Fault{Method: "DiskService.Create", Code: codes.ResourceExhausted, Message: "Quota limit compute.ssdDisks.size exceeded"})
		if _, err := replace(t.Context(), cc, p, "demo-pg-1", true); !strings.HasPrefix(fmt.Sprint(err), "cannot create disk demo-pg-1-data: Quota") {
			t.Errorf("error %v", err)
		}
		c.Mend()
		r, err := replace(t.Context(), cc, p, "demo-pg-1", false)
		testkit.OK(t, err)
		if want := "machine demo-pg-1 is created from image fd8patroni; it gets an empty disk demo-pg-1-data"; r.Says() != want {
			t.Errorf("it says %q, want %q", r.Says(), want)
		}
		whole(t, cc, p)
	})

	t.Run("interrupted while it is deleted", func(t *testing.T) {
		c, cc, p := deployed(t, cloudapi.Config{})
		_, data := state(t, cc, p, "demo-pg-1")
		ctx, cancel := context.WithCancel(t.Context())
		goesOn := make(chan bool)
		c.Power = func(string, bool) { cancel(); <-goesOn }
		if _, err := replace(ctx, cc, p, "demo-pg-1", false); !strings.HasPrefix(fmt.Sprint(err), "cannot delete machine demo-pg-1: ") {
			t.Errorf("error %v", err)
		}
		if there, _ := state(t, cc, p, "demo-pg-1"); there.GetStatus() != compute.Instance_DELETING {
			t.Fatalf("the machine is %v", there.GetStatus())
		}
		time.AfterFunc(100*time.Millisecond, func() { close(goesOn) })
		_, err := replace(t.Context(), cc, p, "demo-pg-1", false)
		testkit.OK(t, err)
		if _, kept := state(t, cc, p, "demo-pg-1"); kept.Id != data.Id {
			t.Errorf("disk %s is now %s", data.Id, kept.Id)
		}
		whole(t, cc, p)
	})

	t.Run("interrupted while it boots", func(t *testing.T) {
		c, cc, p := deployed(t, cloudapi.Config{})
		c.Say("demo-pg-1", "join wait for others")
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		if _, err := replace(ctx, cc, p, "demo-pg-1", false); !strings.HasPrefix(fmt.Sprint(err), "machine demo-pg-1 is not ready in time: ") || !strings.HasSuffix(err.Error(), " (it may still come: pgha-cloud status; --timeout waits longer)") {
			t.Errorf("error %v", err)
		}
		c.Say("demo-pg-1", "ready ok")
		whole(t, cc, p)
	})
}

// TestReplaceMachineGuards is a table of what is refused: one sentence, and nothing is
// done.
func TestReplaceMachineGuards(t *testing.T) {
	relabel := func(name string) func(*yandex.Found) {
		return func(f *yandex.Found) { f.Machines[name].Labels = nil }
	}
	tests := []struct {
		name, of string
		newDisk  bool
		spoil    func(*yandex.Found)
		want     string
	}{
		{"another's machine", "demo-pg-1", false, relabel("demo-pg-1"), `machine demo-pg-1 is there and is not this cluster's: its label pgha-cluster is "", not "demo"`},
		{"another's disk", "demo-pg-1", true, func(f *yandex.Found) { f.Disks["demo-pg-1-data"].Labels = map[string]string{"pgha-cluster": "other"} },
			`disk demo-pg-1-data is there and is not this cluster's: its label pgha-cluster is "other", not "demo"`},
		{"no data disk", "demo-haproxy-1", true, func(*yandex.Found) {}, "machine demo-haproxy-1 has no data disk"},
		{"the disk is away", "demo-pg-1", false, func(f *yandex.Found) { delete(f.Disks, "demo-pg-1-data") }, "machine demo-pg-1 is there, and its data disk demo-pg-1-data is not (--new-disk makes an empty one)"},
		{"the disk is another machine's", "demo-pg-1", true, func(f *yandex.Found) { f.Disks["demo-pg-1-data"].InstanceIds = []string{"fhmother"} },
			"disk demo-pg-1-data is attached to another machine: instance fhmother (detach it there)"},
		{"the disk is not attached", "demo-pg-1", false, func(f *yandex.Found) { f.Disks["demo-pg-1-data"].InstanceIds = nil },
			"machine demo-pg-1 is there, and its data disk demo-pg-1-data is not attached to it (attach it, or delete the machine)"},
		{"the disk goes with the machine", "demo-pg-1", false, func(f *yandex.Found) { f.Machines["demo-pg-1"].SecondaryDisks[0].AutoDelete = true },
			"disk demo-pg-1-data would be deleted with machine demo-pg-1: its auto-delete is on (detach it, and attach it again without)"},
		{"the disk is in another zone", "demo-pg-1", false, func(f *yandex.Found) { f.Disks["demo-pg-1-data"].ZoneId = "ru-central1-b" },
			"disk demo-pg-1-data is in zone ru-central1-b, and the spec wants machine demo-pg-1 in ru-central1-a (--new-disk makes an empty one there)"},
		{"no image", "demo-pg-1", false, func(f *yandex.Found) { f.Images["demo-patroni"] = "" }, "machine demo-pg-1: no image in family demo-patroni (bake one: sh packer/images.sh)"},
		{"an id that is gone", "demo-pg-1", false, func(f *yandex.Found) { delete(f.Given, "e9bexample") }, "cannot find subnet e9bexample"},
		{"a deployment that is not complete", "demo-pg-1", false, func(f *yandex.Found) {
			there := f.Machines["demo-etcd-1"]
			there.Metadata = maps.Clone(there.Metadata)
			there.Metadata["pgha-bootstrap"] = "x"
		}, "machine demo-etcd-1 may still bootstrap a cluster (complete the deployment first: pgha-cloud deploy)"},
	}
	_, cc, p := deployed(t, cloudapi.Config{})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			found, err := yandex.Look(t.Context(), cc, p)
			testkit.OK(t, err)
			test.spoil(found)
			_, err = yandex.NewReplacement(p, found, p.Machine(test.of), test.newDisk)
			if text := fmt.Sprint(err); !strings.Contains(text, test.want) || strings.Contains(text, "\n") {
				t.Errorf("error %q, want %q in it", text, test.want)
			}
		})
	}
}

// TestReplaceNeeds: what the machine refers to, and its secrets, must be there
// before the old one is deleted.
func TestReplaceNeeds(t *testing.T) {
	c, cc, p := deployed(t, cloudapi.Config{})
	refused := func(want string) {
		t.Helper()
		_, err := replace(t.Context(), cc, p, "demo-pg-1", false)
		if text := fmt.Sprint(err); !strings.HasPrefix(text, want) || strings.Contains(text, "\n") {
			t.Errorf("error %q, want %q", text, want)
		}
	}
	testkit.OK(t, c.SetPayload("e6qexamplepatroni", map[string]string{"ca.crt": "x"}))
	refused("secret e6qexamplepatroni has no entry ")
	p.Machine("demo-pg-1").SecurityGroups = []cloud.Ref{{Name: "demo-patroni"}}
	refused("machine demo-pg-1: the folder has no security group demo-patroni (pgha-cloud deploy base makes it)")
	if n := len(requests[*compute.DeleteInstanceRequest](c, "InstanceService.Delete")); n > 0 {
		t.Errorf("%d machines were deleted", n)
	}
}

// TestReplaceBalanced: the target of a load balancer counts once that sends
// clients to it.
func TestReplaceBalanced(t *testing.T) {
	c, cc, p := deployed(t, cloudapi.Config{})
	p.Balancer = &cloud.Balancer{Name: "demo", Targets: []string{"demo-haproxy-1"}}
	_, err := replace(t.Context(), cc, p, "demo-haproxy-1", false)
	testkit.OK(t, err) // there is none yet
	ours := map[string]string{"pgha-cluster": "demo"}
	targets := &loadbalancer.TargetGroup{Id: "enptargets", Name: "demo", Labels: ours, RegionId: "ru-central1", Targets: []*loadbalancer.Target{{SubnetId: "e9bexample", Address: "10.128.0.40"}}}
	c.Has(t, targets, &loadbalancer.NetworkLoadBalancer{Id: "enpbalancer", Name: "demo", Labels: ours, AttachedTargetGroups: []*loadbalancer.AttachedTargetGroup{{TargetGroupId: "enptargets"}}})
	c.SetTarget("10.128.0.40", loadbalancer.TargetState_INITIAL)
	time.AfterFunc(500*time.Millisecond, func() { c.SetTarget("10.128.0.40", loadbalancer.TargetState_HEALTHY) })
	start := time.Now()
	_, err = replace(t.Context(), cc, p, "demo-haproxy-1", false)
	testkit.OK(t, err)
	if took := time.Since(start); took < 500*time.Millisecond {
		t.Errorf("it did not wait, but ended after %v", took)
	}
	c.SetTarget("10.128.0.40", loadbalancer.TargetState_UNHEALTHY)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if _, err = replace(ctx, cc, p, "demo-haproxy-1", false); fmt.Sprint(err) != "machine demo-haproxy-1 is ready, but load balancer demo sends no clients to it: it is unhealthy (it may still come)" {
		t.Errorf("error %v", err)
	}
	c.Break(cloudapi.Fault{Method: "NetworkLoadBalancerService.GetTargetStates", Code: codes.PermissionDenied, Message: "Permission denied"})
	if _, err = replace(t.Context(), cc, p, "demo-haproxy-1", false); !strings.HasPrefix(fmt.Sprint(err), "cannot ask load balancer demo for its targets: Permission denied (") {
		t.Errorf("error %v", err)
	}
	c.Mend()
	targets.Targets = nil
	if _, err = replace(t.Context(), cc, p, "demo-haproxy-1", false); fmt.Sprint(err) != "load balancer demo has no target with the address 10.128.0.40 of machine demo-haproxy-1 (pgha-cloud deploy adds it)" {
		t.Errorf("error %v", err)
	}
}
