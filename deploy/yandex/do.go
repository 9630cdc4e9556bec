package yandex

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"pgha-gen/generator/cloud"
	"pgha-gen/generator/role"
	"pgha-gen/internal/bootlog"
)

// World is what Do needs beside the plan.
type World struct {
	UserData map[string]string           // by role
	Said     func(name, sentence string) // one at a time is not promised
	Between  time.Duration               // looks at a console
}

// atOnce is how many machines are made at once: a folder may have 15 operations
// (the limits of Compute Cloud).
const atOnce = 12

// Do creates what is missing, waits until all machines that have not been are
// ready, and takes back the permission to bootstrap. What fails or is
// interrupted leaves what the next run completes.
func (s *Steps) Do(ctx context.Context, cc grpc.ClientConnInterface, p *cloud.Plan, w World) error {
	b := newBuilder(cc, p, s.found, w.Said)
	if err := b.do(ctx, s.base); err != nil {
		return err
	}
	if err := s.create(ctx, b, w); err != nil {
		return err
	}
	if err := b.do(ctx, s.front); err != nil {
		return err
	}
	if len(s.front) > 0 {
		w.Said("entry point "+p.Balancer.EntryPoint, address(b.balancer))
	}
	if err := s.wait(ctx, cc, w); err != nil {
		return err
	}
	return s.takeBack(ctx, cc, w)
}

func (s *Steps) create(ctx context.Context, b *builder, w World) error {
	g := &group{}
	slots := make(chan struct{}, atOnce)
	for _, c := range s.do {
		g.Go(func() error {
			slots <- struct{}{}
			defer func() { <-slots }()
			if g.Failed() || ctx.Err() != nil {
				return ctx.Err()
			}
			return c.create(ctx, b, w)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for name, c := range s.do {
		s.ids[name] = c.id
	}
	return nil
}

func (c *created) create(ctx context.Context, b *builder, w World) error {
	labels := map[string]string{label: b.Cluster, "pgha-role": c.Role}
	if c.disk {
		w.Said(c.Name, "creating its data disk")
		op, err := compute.NewDiskServiceClient(b).Create(ctx, &compute.CreateDiskRequest{FolderId: b.Folder, Name: c.Data.Name, ZoneId: c.Zone, TypeId: string(c.Data.Type), Size: int64(c.Data.Size), Labels: labels})
		d, err := done[*compute.Disk](ctx, b, op, err)
		if err != nil {
			return trouble("create disk "+c.Data.Name, err)
		}
		c.diskID = d.Id
	}
	w.Said(c.Name, "creating the machine")
	op, err := compute.NewInstanceServiceClient(b).Create(ctx, c.request(b, w, labels))
	i, err := done[*compute.Instance](ctx, b, op, err)
	if err != nil {
		return trouble("create machine "+c.Name, err)
	}
	c.id = i.Id
	b.isMachine(i)
	w.Said(c.Name, "created; it boots")
	return nil
}

// request says the same as deploy/create.sh.
func (c *created) request(b *builder, w World, labels map[string]string) *compute.CreateInstanceRequest {
	metadata := map[string]string{"user-data": w.UserData[c.Role]}
	if id := b.id(cloud.KindSecret, c.Secret); id != "" {
		metadata["pgha-secret"] = id
	}
	if c.permitted {
		metadata[permission] = b.Token
	}
	// cloud-init reads the EC2 tree, the boot steps the GCE one, and its
	// token where there are secrets to read.
	token := compute.MetadataOption_DISABLED
	if c.Account != nil {
		token = compute.MetadataOption_ENABLED
	}
	r := &compute.CreateInstanceRequest{
		FolderId: b.Folder, Name: c.Name, Hostname: c.Name, Labels: labels, ZoneId: c.Zone, PlatformId: c.Platform,
		ResourcesSpec: &compute.ResourcesSpec{Cores: int64(c.Cores), CoreFraction: int64(c.CoreFraction), Memory: int64(c.Memory)},
		Metadata:      metadata,
		MetadataOptions: &compute.MetadataOptions{
			GceHttpEndpoint: compute.MetadataOption_ENABLED, GceHttpToken: token,
			AwsV1HttpEndpoint: compute.MetadataOption_ENABLED, AwsV1HttpToken: compute.MetadataOption_DISABLED,
		},
		BootDiskSpec: &compute.AttachedDiskSpec{AutoDelete: true, Disk: &compute.AttachedDiskSpec_DiskSpec_{DiskSpec: &compute.AttachedDiskSpec_DiskSpec{
			TypeId: string(c.Boot.Type), Size: int64(c.Boot.Size), Source: &compute.AttachedDiskSpec_DiskSpec_ImageId{ImageId: c.image},
		}}},
		NetworkInterfaceSpecs:  []*compute.NetworkInterfaceSpec{{SubnetId: b.id(cloud.KindSubnet, &c.Subnet), PrimaryV4AddressSpec: &compute.PrimaryAddressSpec{}}},
		ServiceAccountId:       b.id(cloud.KindAccount, c.Account),
		SchedulingPolicy:       &compute.SchedulingPolicy{Preemptible: c.Preemptible},
		MaintenancePolicy:      compute.MaintenancePolicy(compute.MaintenancePolicy_value[strings.ToUpper(c.Maintenance.Policy)]),
		MaintenanceGracePeriod: durationpb.New(c.Maintenance.Grace),
	}
	if c.Address.IsValid() {
		r.NetworkInterfaceSpecs[0].PrimaryV4AddressSpec.Address = c.Address.String()
	}
	if c.diskID != "" {
		r.SecondaryDiskSpecs = []*compute.AttachedDiskSpec{{Mode: compute.AttachedDiskSpec_READ_WRITE, DeviceName: role.DataDevice, Disk: &compute.AttachedDiskSpec_DiskId{DiskId: c.diskID}}}
	}
	for _, g := range c.SecurityGroups {
		r.NetworkInterfaceSpecs[0].SecurityGroupIds = append(r.NetworkInterfaceSpecs[0].SecurityGroupIds, b.id(cloud.KindSecurityGroup, &g))
	}
	if c.PlacementGroup != "" {
		r.PlacementPolicy = &compute.PlacementPolicy{PlacementGroupId: b.id(kindPlacement, &cloud.Ref{Name: c.PlacementGroup})}
	}
	return r
}

// wait follows the consoles until all machines that were created, or that had
// not been ready, are.
func (s *Steps) wait(ctx context.Context, cc grpc.ClientConnInterface, w World) error {
	names := slices.Clone(s.await)
	for name := range s.do {
		names = append(names, name)
	}
	// Others may wait for the one that fails.
	ctx, end := context.WithCancel(ctx)
	defer end()
	g := &group{}
	for _, name := range names {
		g.Go(func() error {
			err := ready(ctx, cc, s.ids[name], name, w)
			if err != nil {
				g.fail(err)
				end()
			}
			return err
		})
	}
	return g.Wait()
}

func ready(ctx context.Context, cc grpc.ClientConnInterface, id, name string, w World) error {
	shown := ""
	for {
		last, err := console(ctx, cc, id, name)
		// The call may know of ctx's end before ctx says so.
		if err != nil && ctx.Err() == nil && status.Code(err) != codes.DeadlineExceeded {
			return trouble("read the console of machine "+name, err)
		}
		if sentence := strings.TrimSpace(last.Name + " " + last.Status + " " + last.Detail); sentence != "" && sentence != shown {
			shown = sentence
			w.Said(name, sentence)
		}
		switch {
		case last.Ready():
			return nil
		case last.Failed():
			return failed(name, last)
		}
		select {
		case <-ctx.Done():
			if shown == "" {
				shown = "it has said nothing yet"
			}
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("machine %s is not ready in time: %s (it may still come: pgha-cloud status; --timeout waits longer)", name, shown)
			}
			return fmt.Errorf("machine %s is not ready: %s: %w", name, shown, ctx.Err())
		case <-time.After(w.Between):
		}
	}
}

func failed(name string, last bootlog.Step) error {
	return fmt.Errorf("machine %s: %s failed: %s (mend it, delete the machine, and %s)", name, last.Name, last.Detail, again)
}

// console is the last step that a machine has said; that it is ready or has
// failed stands against what comes behind it.
func console(ctx context.Context, cc grpc.ClientConnInterface, id, name string) (last bootlog.Step, err error) {
	r, err := compute.NewInstanceServiceClient(cc).GetSerialPortOutput(ctx, &compute.GetInstanceSerialPortOutputRequest{InstanceId: id, Port: 1})
	if err != nil {
		return last, err
	}
	for line := range strings.Lines(r.Contents) {
		s, ok := bootlog.Parse(strings.TrimRight(line, "\r\n"))
		if ok && s.Node == name && (!last.Ready() && !last.Failed() || s.Ready()) {
			last = s
		}
	}
	return last, nil
}

func (s *Steps) takeBack(ctx context.Context, cc grpc.ClientConnInterface, w World) error {
	g := &group{}
	for _, name := range s.keep {
		g.Go(func() error {
			op, err := compute.NewInstanceServiceClient(cc).UpdateMetadata(ctx, &compute.UpdateInstanceMetadataRequest{InstanceId: s.ids[name], Delete: []string{permission}})
			if _, err := done[*compute.Instance](ctx, cc, op, err); err != nil {
				return trouble("take back the permission of machine "+name+" to bootstrap", err)
			}
			w.Said(name, "may no longer bootstrap a cluster")
			return nil
		})
	}
	return g.Wait()
}
