package cloudapi_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"

	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloudapi"
)

// machines remembers what it is asked for. One named bad does not start.
type machines struct {
	mu   sync.Mutex
	told []string
}

func (m *machines) tell(what string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, what)
	return nil
}

func (m *machines) Create(_ context.Context, i *compute.Instance) error {
	if i.Name == "bad" {
		return errors.New("it does not boot")
	}
	return m.tell("create " + i.Name + " with " + i.Metadata["user-data"])
}

func (m *machines) Delete(_ context.Context, i *compute.Instance) error {
	return m.tell("delete " + i.Name)
}

func (m *machines) Start(_ context.Context, i *compute.Instance) error {
	return m.tell("start " + i.Name)
}
func (m *machines) Stop(_ context.Context, i *compute.Instance) error {
	return m.tell("stop " + i.Name)
}

func (m *machines) SetMetadata(_ context.Context, i *compute.Instance) error {
	return m.tell("metadata " + i.Metadata["k"])
}

func (m *machines) Console(_ context.Context, i *compute.Instance) (string, error) {
	return "the console of " + i.Name, nil
}

func (m *machines) Maintain(_ context.Context, i *compute.Instance) error {
	return m.tell("maintain " + i.Name)
}

func (m *machines) DeleteDisk(_ context.Context, d *compute.Disk) error {
	return m.tell("delete disk " + d.Name)
}

// What the API does to an instance, the machine does, in the same order. One that
// cannot be made is not there, and neither is its boot disk.
func TestMachines(t *testing.T) {
	m := &machines{}
	_, sdk := serve(t, cloudapi.Config{Machines: m})
	s := newSite(t, sdk)
	instances, disks := compute.NewInstanceServiceClient(sdk), compute.NewDiskServiceClient(sdk)
	op, err := disks.Create(t.Context(), disk("data", 10<<30))
	data := wait[*compute.Disk](t, sdk, op, err)

	in := s.instance("bad")
	in.SecondaryDiskSpecs = attached(data.Id)
	op, err = instances.Create(t.Context(), in)
	if failed := ended(t, sdk, op, err).GetError(); failed == nil || failed.Message != "it does not boot" {
		t.Errorf("a machine that does not boot: %v", failed)
	}
	list, err := instances.List(t.Context(), &compute.ListInstancesRequest{FolderId: folder})
	testkit.OK(t, err)
	left, err := disks.List(t.Context(), &compute.ListDisksRequest{FolderId: folder})
	testkit.OK(t, err)
	if len(list.Instances) != 0 || len(left.Disks) != 1 || len(left.Disks[0].InstanceIds) != 0 {
		t.Errorf("of it there are %v, and %v", list.Instances, left.Disks)
	}

	in = s.instance("good")
	in.SecondaryDiskSpecs = attached(data.Id)
	op, err = instances.Create(t.Context(), in)
	i := wait[*compute.Instance](t, sdk, op, err)
	console, err := instances.GetSerialPortOutput(t.Context(), &compute.GetInstanceSerialPortOutputRequest{InstanceId: i.Id})
	testkit.OK(t, err)
	if console.Contents != "the console of good" {
		t.Errorf("the console is %q", console.Contents)
	}
	op, err = instances.UpdateMetadata(t.Context(), &compute.UpdateInstanceMetadataRequest{InstanceId: i.Id, Upsert: map[string]string{"k": "v"}})
	ended(t, sdk, op, err)
	op, err = instances.SimulateMaintenanceEvent(t.Context(), &compute.SimulateInstanceMaintenanceEventRequest{InstanceId: i.Id})
	ended(t, sdk, op, err)
	op, err = instances.Restart(t.Context(), &compute.RestartInstanceRequest{InstanceId: i.Id})
	ended(t, sdk, op, err)
	op, err = instances.Delete(t.Context(), &compute.DeleteInstanceRequest{InstanceId: i.Id})
	ended(t, sdk, op, err)
	op, err = disks.Delete(t.Context(), &compute.DeleteDiskRequest{DiskId: data.Id})
	ended(t, sdk, op, err)
	want := []string{"create good with #cloud-config\n", "metadata v", "maintain good", "stop good", "start good", "delete good", "delete disk data"}
	if !slices.Equal(m.told, want) {
		t.Errorf("the machines were told\n%s\nwant\n%s", strings.Join(m.told, "\n"), strings.Join(want, "\n"))
	}
}
