package yandex

import (
	"context"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"pgha-gen/generator/cloud"
)

// Destroy deletes a plan's machines that are there and the cluster's, with their
// boot disks, all at once; then, if disks is set, their data disks too. Nothing
// else is deleted. It can be run again.
func Destroy(ctx context.Context, cc grpc.ClientConnInterface, p *cloud.Plan, disks bool, said func(name, sentence string)) error {
	f := newFound()
	if err := f.lookMachines(ctx, cc, p); err != nil {
		return err
	}
	if err := f.lookDisks(ctx, cc, p); err != nil {
		return err
	}
	g := &group{}
	for _, m := range p.Machines {
		there := f.Machines[m.Name]
		if there == nil || there.Labels[label] != p.Cluster {
			said(m.Name, "not there, or not this cluster's")
			continue
		}
		g.Go(func() error {
			op, err := compute.NewInstanceServiceClient(cc).Delete(ctx, &compute.DeleteInstanceRequest{InstanceId: there.Id})
			if _, err := done[*emptypb.Empty](ctx, cc, op, err); err != nil {
				return trouble("delete machine "+m.Name, err)
			}
			said(m.Name, "deleted")
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, m := range p.Machines {
		if m.Data == nil || f.Disks[m.Data.Name] == nil || f.Disks[m.Data.Name].Labels[label] != p.Cluster {
			continue
		}
		if !disks {
			said(m.Data.Name, "kept")
			continue
		}
		g.Go(func() error {
			op, err := compute.NewDiskServiceClient(cc).Delete(ctx, &compute.DeleteDiskRequest{DiskId: f.Disks[m.Data.Name].Id})
			if _, err := done[*emptypb.Empty](ctx, cc, op, err); err != nil {
				return trouble("delete disk "+m.Data.Name, err)
			}
			said(m.Data.Name, "deleted")
			return nil
		})
	}
	return g.Wait()
}
