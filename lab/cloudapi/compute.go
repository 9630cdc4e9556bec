package cloudapi

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/loadbalancer/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/vpc/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Machines are what becomes of instances, such as the machines of a lab. Each
// call gets a copy.
type Machines interface {
	Create(context.Context, *compute.Instance) error // powers it on
	Delete(context.Context, *compute.Instance) error
	Start(context.Context, *compute.Instance) error
	Stop(context.Context, *compute.Instance) error
	SetMetadata(context.Context, *compute.Instance) error
	Console(context.Context, *compute.Instance) (string, error)
	Maintain(context.Context, *compute.Instance) error // as SimulateMaintenanceEvent
	DeleteDisk(context.Context, *compute.Disk) error
}

const region = "ru-central1"

func zones() []string { return []string{region + "-a", region + "-b", region + "-d"} }

func platforms() []string {
	return []string{"standard-v1", "standard-v2", "standard-v3", "highfreq-v3", "standard-v4a", "highfreq-v4a"}
}

// diskType is what the sizes of a type of disk are multiples of, and its quota.
type diskType struct {
	unit  int64
	quota string
}

func diskTypes() map[string]diskType {
	return map[string]diskType{
		"network-ssd":               {1, "compute.ssdDisks.size"},
		"network-hdd":               {1, "compute.hddDisks.size"},
		"network-ssd-nonreplicated": {93 << 30, "compute.ssdNonReplicatedDisks.size"},
		"network-ssd-io-m3":         {93 << 30, "compute.ssdIOM3Disks.size"},
	}
}

func (c *Cloud) zone(id string) error {
	if !slices.Contains(zones(), id) {
		return refuse("zone_id: unknown zone %q (want one of %s)", id, strings.Join(zones(), ", "))
	}
	return nil
}

func listZones(*Cloud, *request, *compute.ListZonesRequest) (proto.Message, error) {
	out := &compute.ListZonesResponse{}
	for _, id := range zones() {
		out.Zones = append(out.Zones, &compute.Zone{Id: id, RegionId: region, Status: compute.Zone_UP})
	}
	return out, nil
}

func getZone(_ *Cloud, _ *request, in *compute.GetZoneRequest) (proto.Message, error) {
	if !slices.Contains(zones(), in.ZoneId) {
		return nil, status.Errorf(codes.NotFound, "Zone %s not found", in.ZoneId)
	}
	return &compute.Zone{Id: in.ZoneId, RegionId: region, Status: compute.Zone_UP}, nil
}

func latestImage(c *Cloud, _ *request, in *compute.GetImageLatestByFamilyRequest) (proto.Message, error) {
	var latest *compute.Image
	for _, image := range all[*compute.Image](c) {
		if image.Family == in.Family {
			latest = image
		}
	}
	if latest == nil {
		return nil, status.Errorf(codes.NotFound, "Image with family %s not found in folder %s", in.Family, in.FolderId)
	}
	return proto.Clone(latest), nil
}

func fillDisk(c *Cloud, r *request, m proto.Message) error {
	d, _ := m.(*compute.Disk)
	d.Status = compute.Disk_READY
	if in, ok := r.in.(*compute.UpdateDiskRequest); ok {
		before, err := get[*compute.Disk](c, r.service(), in.DiskId)
		if err != nil {
			return err
		}
		if d.Size < before.Size {
			return refuse("size: disk %s cannot shrink from %d to %d", d.Id, before.Size, d.Size)
		}
		return c.spend(diskTypes()[d.TypeId].quota, d.Size-before.Size)
	}
	if d.TypeId == "" {
		d.TypeId = "network-hdd"
	}
	if err := c.zone(d.ZoneId); err != nil {
		return err
	}
	return c.fits(d)
}

func (c *Cloud) fits(d *compute.Disk) error {
	kind, ok := diskTypes()[d.TypeId]
	if !ok {
		return refuse("type_id: unknown disk type %q", d.TypeId)
	}
	if d.Size%kind.unit != 0 {
		return refuse("size: %d of a %s (want a multiple of %d)", d.Size, d.TypeId, kind.unit)
	}
	return c.spend(kind.quota, d.Size)
}

func detached(c *Cloud, t *thing) error {
	d, _ := t.Message.(*compute.Disk)
	if len(d.InstanceIds) > 0 {
		return status.Errorf(codes.FailedPrecondition, "Disk %s is attached to instance %s", d.Id, d.InstanceIds[0])
	}
	if c.config.Machines == nil {
		return nil
	}
	return c.config.Machines.DeleteDisk(c.ctx, proto.CloneOf(d))
}

func fillPlacementGroup(_ *Cloud, r *request, m proto.Message) error {
	g, _ := m.(*compute.PlacementGroup)
	in, ok := r.in.(*compute.CreatePlacementGroupRequest)
	switch {
	case !ok:
	case in.GetSpreadPlacementStrategy() == nil:
		return refuse("placement_strategy: want spread")
	default:
		g.PlacementStrategy = &compute.PlacementGroup_SpreadPlacementStrategy{SpreadPlacementStrategy: in.GetSpreadPlacementStrategy()}
	}
	return nil
}

// most that an instance may have.
const (
	mostSecurityGroups = 5
	mostSpread         = 5 // instances of a placement group
	mostValue          = 256 << 10
	mostMetadata       = 512 << 10
)

// fillInstance is for Update, too.
func fillInstance(c *Cloud, r *request, m proto.Message) error {
	i, _ := m.(*compute.Instance)
	if in, ok := r.in.(*compute.UpdateInstanceRequest); ok {
		if changed := func(path string) bool { return in.UpdateMask == nil || slices.Contains(in.UpdateMask.Paths, path) }; changed("resources_spec") && in.ResourcesSpec != nil {
			if i.Status != compute.Instance_STOPPED {
				return status.Errorf(codes.FailedPrecondition, "Instance %s must be stopped", i.Id)
			}
			i.Resources = resources(in.ResourcesSpec)
		}
		return metadataFits(i.Metadata)
	}
	in, _ := r.in.(*compute.CreateInstanceRequest)
	if err := c.zone(in.ZoneId); err != nil {
		return err
	}
	if !slices.Contains(platforms(), in.PlatformId) {
		return refuse("platform_id: unknown platform %q", in.PlatformId)
	}
	i.Resources, i.Status = resources(in.ResourcesSpec), compute.Instance_PROVISIONING
	for name, n := range map[string]int64{"compute.instanceCores.count": i.Resources.Cores, "compute.instanceMemory.size": i.Resources.Memory} {
		if err := c.spend(name, n); err != nil {
			return err
		}
	}
	if err := metadataFits(in.Metadata); err != nil {
		return err
	}
	if group := in.GetPlacementPolicy().GetPlacementGroupId(); group != "" {
		n := 0
		for _, other := range all[*compute.Instance](c) {
			if other.GetPlacementPolicy().GetPlacementGroupId() == group {
				n++
			}
		}
		if n >= mostSpread {
			return status.Errorf(codes.FailedPrecondition, "Placement group %s is full: it has %d instances", group, n)
		}
	}
	if err := c.name(i, in.Hostname); err != nil {
		return err
	}
	if err := c.interfaces(i, in.NetworkInterfaceSpecs); err != nil {
		return err
	}
	return c.disks(i, in)
}

func resources(spec *compute.ResourcesSpec) *compute.Resources {
	fraction := spec.CoreFraction
	if fraction == 0 {
		fraction = 100
	}
	return &compute.Resources{Memory: spec.Memory, Cores: spec.Cores, CoreFraction: fraction}
}

func metadataFits(metadata map[string]string) error {
	total := 0
	for key, value := range metadata {
		total += len(key) + len(value)
		if len(value) > mostValue {
			return refuse("metadata.%s: %d bytes (at most %d)", key, len(value), mostValue)
		}
	}
	if total >= mostMetadata {
		return refuse("metadata: %d bytes (less than %d)", total, mostMetadata)
	}
	return nil
}

// name gives an instance its FQDN, which is unique.
func (c *Cloud) name(i *compute.Instance, host string) error {
	i.Fqdn = i.Id + ".auto.internal"
	if host != "" {
		i.Fqdn = host + "." + region + ".internal"
	}
	for _, other := range all[*compute.Instance](c) {
		if other.Fqdn == i.Fqdn {
			return status.Errorf(codes.AlreadyExists, "Instance with hostname %s already exists", host)
		}
	}
	return nil
}

func (c *Cloud) interfaces(i *compute.Instance, specs []*compute.NetworkInterfaceSpec) error {
	if len(specs) != 1 {
		return refuse("network_interface_specs: want one")
	}
	spec := specs[0]
	s, err := get[*vpc.Subnet](c, "vpc.v1.SubnetService", spec.SubnetId)
	if err != nil {
		return err
	}
	if s.ZoneId != i.ZoneId {
		return refuse("network_interface_specs[0].subnet_id: subnet %s is in zone %s, and the instance in %s", s.Id, s.ZoneId, i.ZoneId)
	}
	if n := len(spec.SecurityGroupIds); n > mostSecurityGroups {
		return refuse("network_interface_specs[0].security_group_ids: %d (at most %d)", n, mostSecurityGroups)
	}
	for _, id := range spec.SecurityGroupIds {
		g, err := get[*vpc.SecurityGroup](c, "vpc.v1.SecurityGroupService", id)
		if err != nil {
			return err
		}
		if g.NetworkId != s.NetworkId {
			return refuse("network_interface_specs[0].security_group_ids: %s is of network %s, and the subnet of %s", id, g.NetworkId, s.NetworkId)
		}
	}
	address, err := c.plug(s, spec.GetPrimaryV4AddressSpec().GetAddress())
	if err != nil {
		return err
	}
	i.NetworkInterfaces = []*compute.NetworkInterface{{
		Index: "0", SubnetId: s.Id, SecurityGroupIds: spec.SecurityGroupIds, PrimaryV4Address: &compute.PrimaryAddress{Address: address},
	}}
	return nil
}

// addresses are those that are taken in a subnet.
func (c *Cloud) addresses(subnet string) []string {
	var used []string
	for _, i := range all[*compute.Instance](c) {
		for _, nic := range i.NetworkInterfaces {
			if nic.SubnetId == subnet {
				used = append(used, nic.PrimaryV4Address.GetAddress())
			}
		}
	}
	for _, b := range all[*loadbalancer.NetworkLoadBalancer](c) {
		for _, l := range b.Listeners {
			if l.SubnetId == subnet {
				used = append(used, l.Address)
			}
		}
	}
	return used
}

// disks makes the boot disk of an instance, and attaches the others. Nothing is
// changed if it refuses.
func (c *Cloud) disks(i *compute.Instance, in *compute.CreateInstanceRequest) error {
	spec := in.BootDiskSpec.GetDiskSpec()
	if spec == nil {
		return refuse("boot_disk_spec.disk_spec: Field is required")
	}
	image, err := get[*compute.Image](c, "compute.v1.ImageService", spec.GetImageId())
	if err != nil {
		return err
	}
	if spec.Size < image.MinDiskSize {
		return refuse("boot_disk_spec.disk_spec.size: %d is less than the image needs (%d)", spec.Size, image.MinDiskSize)
	}
	boot := &compute.Disk{
		Id: c.id("epd"), FolderId: i.FolderId, CreatedAt: i.CreatedAt, Name: spec.Name, TypeId: spec.TypeId, ZoneId: i.ZoneId, Size: spec.Size,
		Status: compute.Disk_READY, Source: &compute.Disk_SourceImageId{SourceImageId: image.Id}, InstanceIds: []string{i.Id},
	}
	if boot.TypeId == "" {
		boot.TypeId = "network-hdd"
	}
	if err := c.fits(boot); err != nil {
		return err
	}
	if err := c.spend("compute.disks.count", 1); err != nil {
		return err
	}
	i.BootDisk = &compute.AttachedDisk{Mode: compute.AttachedDisk_READ_WRITE, AutoDelete: in.BootDiskSpec.AutoDelete, DiskId: boot.Id}
	var secondary []*compute.Disk
	for n, spec := range in.SecondaryDiskSpecs {
		d, err := get[*compute.Disk](c, "compute.v1.DiskService", spec.GetDiskId())
		if err != nil {
			return err
		}
		if d.ZoneId != i.ZoneId {
			return refuse("secondary_disk_specs[%d]: disk %s is in zone %s, and the instance in %s", n, d.Id, d.ZoneId, i.ZoneId)
		}
		if len(d.InstanceIds) > 0 {
			return status.Errorf(codes.FailedPrecondition, "Disk %s is attached to instance %s", d.Id, d.InstanceIds[0])
		}
		if slices.ContainsFunc(i.SecondaryDisks, func(a *compute.AttachedDisk) bool { return a.DiskId == d.Id || a.DeviceName == spec.DeviceName }) {
			return refuse("secondary_disk_specs[%d]: disk %s or device name %s is there twice", n, d.Id, spec.DeviceName)
		}
		i.SecondaryDisks = append(i.SecondaryDisks, &compute.AttachedDisk{
			Mode: compute.AttachedDisk_READ_WRITE, DeviceName: spec.DeviceName, AutoDelete: spec.AutoDelete, DiskId: d.Id,
		})
		secondary = append(secondary, d)
	}
	for _, d := range secondary {
		d.InstanceIds = []string{i.Id}
	}
	c.things = append(c.things, &thing{c.kindOf("compute.v1.DiskService"), boot, c.config.Now()})
	return nil
}

// release detaches the disks of an instance, and deletes those that go with it.
func (c *Cloud) release(i *compute.Instance) {
	for _, a := range append([]*compute.AttachedDisk{i.BootDisk}, i.SecondaryDisks...) {
		t, err := c.thing(c.kindOf("compute.v1.DiskService"), a.DiskId)
		if err != nil {
			continue
		}
		if d, ok := t.Message.(*compute.Disk); ok {
			d.InstanceIds = nil
		}
		if a.AutoDelete {
			c.forget(t)
		}
	}
}

func createInstance(c *Cloud, r *request, _ *compute.CreateInstanceRequest) (proto.Message, error) {
	k := c.kindOf(r.service())
	t, err := c.created(k, r)
	if err != nil {
		return nil, err
	}
	i, _ := t.Message.(*compute.Instance)
	w := c.transition(i, compute.Instance_PROVISIONING, compute.Instance_RUNNING, Machines.Create)
	w.undo = func() { c.release(i); c.forget(t) }
	return c.start(r, w)
}

// transition is a change of an instance's status, and what the machine does.
func (c *Cloud) transition(i *compute.Instance, during, after compute.Instance_Status, do func(Machines, context.Context, *compute.Instance) error) work {
	before := i.Status
	i.Status = during
	w := work{
		ids:    map[string]string{"instance_id": i.Id},
		finish: func() proto.Message { i.Status = after; return i },
		undo:   func() { i.Status = before },
	}
	if machines := c.config.Machines; machines != nil {
		copied := proto.CloneOf(i)
		w.run = func(ctx context.Context) error { return do(machines, ctx, copied) }
	}
	return w
}

func (c *Cloud) instance(id string, in ...compute.Instance_Status) (*compute.Instance, error) {
	i, err := get[*compute.Instance](c, "compute.v1.InstanceService", id)
	if err == nil && len(in) > 0 && !slices.Contains(in, i.Status) {
		return nil, status.Errorf(codes.FailedPrecondition, "Instance %s is %s", id, i.Status)
	}
	return i, err
}

func getInstance(c *Cloud, _ *request, in *compute.GetInstanceRequest) (proto.Message, error) {
	i, err := c.instance(in.InstanceId)
	if err != nil {
		return nil, err
	}
	i = proto.CloneOf(i)
	if in.View != compute.InstanceView_FULL {
		i.Metadata = nil
	}
	return i, nil
}

func deleteInstance(c *Cloud, r *request, in *compute.DeleteInstanceRequest) (proto.Message, error) {
	t, err := c.thing(c.kindOf(r.service()), in.InstanceId)
	if err != nil {
		return nil, err
	}
	i, _ := t.Message.(*compute.Instance)
	if i.Status == compute.Instance_DELETING {
		return nil, status.Errorf(codes.FailedPrecondition, "Instance %s is %s", i.Id, i.Status)
	}
	w := c.transition(i, compute.Instance_DELETING, compute.Instance_DELETING, Machines.Delete)
	w.finish = func() proto.Message { c.release(i); c.forget(t); return nil }
	return c.start(r, w)
}

func updateMetadata(c *Cloud, r *request, in *compute.UpdateInstanceMetadataRequest) (proto.Message, error) {
	i, err := c.instance(in.InstanceId)
	if err != nil {
		return nil, err
	}
	after := maps.Clone(i.Metadata)
	if after == nil {
		after = map[string]string{}
	}
	for _, key := range in.Delete {
		delete(after, key)
	}
	maps.Copy(after, in.Upsert)
	if err := metadataFits(after); err != nil {
		return nil, err
	}
	before := i.Metadata
	i.Metadata = after
	w := c.transition(i, i.Status, i.Status, Machines.SetMetadata)
	w.undo = func() { i.Metadata = before }
	w.finish = func() proto.Message { return i }
	return c.start(r, w)
}

func startInstance(c *Cloud, r *request, in *compute.StartInstanceRequest) (proto.Message, error) {
	i, err := c.instance(in.InstanceId, compute.Instance_STOPPED)
	if err != nil {
		return nil, err
	}
	return c.start(r, c.transition(i, compute.Instance_STARTING, compute.Instance_RUNNING, Machines.Start))
}

func stopInstance(c *Cloud, r *request, in *compute.StopInstanceRequest) (proto.Message, error) {
	i, err := c.instance(in.InstanceId, compute.Instance_RUNNING)
	if err != nil {
		return nil, err
	}
	w := c.transition(i, compute.Instance_STOPPING, compute.Instance_STOPPED, Machines.Stop)
	w.finish = func() proto.Message { i.Status = compute.Instance_STOPPED; return nil }
	return c.start(r, w)
}

func restartInstance(c *Cloud, r *request, in *compute.RestartInstanceRequest) (proto.Message, error) {
	i, err := c.instance(in.InstanceId, compute.Instance_RUNNING)
	if err != nil {
		return nil, err
	}
	w := c.transition(i, compute.Instance_RESTARTING, compute.Instance_RUNNING, func(m Machines, ctx context.Context, i *compute.Instance) error {
		if err := m.Stop(ctx, i); err != nil {
			return err
		}
		return m.Start(ctx, i)
	})
	w.finish = func() proto.Message { i.Status = compute.Instance_RUNNING; return nil }
	return c.start(r, w)
}

func serialPortOutput(c *Cloud, _ *request, in *compute.GetInstanceSerialPortOutputRequest) (proto.Message, error) {
	i, err := c.instance(in.InstanceId)
	if err != nil {
		return nil, err
	}
	out := &compute.GetInstanceSerialPortOutputResponse{}
	if c.config.Machines == nil {
		return out, nil
	}
	out.Contents, err = c.config.Machines.Console(c.ctx, proto.CloneOf(i))
	return out, err
}

func simulateMaintenance(c *Cloud, r *request, in *compute.SimulateInstanceMaintenanceEventRequest) (proto.Message, error) {
	i, err := c.instance(in.InstanceId, compute.Instance_RUNNING)
	if err != nil {
		return nil, err
	}
	if i.MaintenancePolicy == compute.MaintenancePolicy_MAINTENANCE_POLICY_UNSPECIFIED {
		return nil, status.Errorf(codes.FailedPrecondition, "Instance %s has no maintenance policy", i.Id)
	}
	w := c.transition(i, i.Status, i.Status, Machines.Maintain)
	w.finish = nil
	return c.start(r, w)
}

// used is how much of a quota is.
func (c *Cloud) used(name string) (n int64) {
	for _, t := range c.things {
		if t.quota == name {
			n++
		}
		switch m := t.Message.(type) {
		case *compute.Instance:
			if m.Status != compute.Instance_STOPPED {
				switch name {
				case "compute.instanceCores.count":
					n += m.Resources.GetCores()
				case "compute.instanceMemory.size":
					n += m.Resources.GetMemory()
				}
			}
		case *compute.Disk:
			if diskTypes()[m.TypeId].quota == name {
				n += m.Size
			}
		}
	}
	return n
}

func (c *Cloud) quotaNames(service string) []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(quotas())), maps.Keys(c.config.Quotas))
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(name string) bool { return service != "" && !strings.HasPrefix(name, service+".") })
}
