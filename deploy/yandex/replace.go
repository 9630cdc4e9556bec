package yandex

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"pgha-gen/generator/cloud"
)

// Replacement is a machine that is deleted, if it is there, and created anew.
type Replacement struct {
	*created
	there *compute.Instance // nil: it is gone
	gone  *compute.Disk     // the data disk that is deleted with it; nil: none
	found *Found
}

// NewReplacement is what is to be done so that a machine of p is a new one, with
// its data disk or with an empty one. Or it is the first reason why it cannot
// be. The new machine never has the permission to bootstrap.
func NewReplacement(p *cloud.Plan, f *Found, m *cloud.Machine, newDisk bool) (*Replacement, error) {
	if all := f.replaceTroubles(p, m); len(all) > 0 {
		return nil, all[0]
	}
	for _, m := range p.Machines {
		if there := f.Machines[m.Name]; there != nil && there.Metadata[permission] != "" {
			return nil, fmt.Errorf("machine %s may still bootstrap a cluster (complete the deployment first: pgha-cloud deploy)", m.Name)
		}
	}
	r := &Replacement{created: &created{Machine: m, image: f.Images[m.ImageFamily]}, there: f.Machines[m.Name], found: f}
	if err := r.data(f, newDisk); err != nil {
		return nil, err
	}
	r.keepAddress()
	return r, nil
}

// replaceTroubles are the reasons why the machine cannot be created.
func (f *Found) replaceTroubles(p *cloud.Plan, m *cloud.Machine) []error {
	all := slices.Concat(f.givenTroubles(p), f.strangers(p))
	if f.Images[m.ImageFamily] == "" {
		all = append(all, fmt.Errorf("machine %s: no image in family %s (bake one: sh packer/images.sh)", m.Name, m.ImageFamily))
	}
	needs := func(kind cloud.Kind, r *cloud.Ref) {
		if r != nil && *r != (cloud.Ref{}) && f.id(kind, *r) == "" {
			all = append(all, fmt.Errorf("machine %s: the folder has no %s %s (pgha-cloud deploy base makes it)", m.Name, kind, r.Name))
		}
	}
	needs(cloud.KindSubnet, &m.Subnet)
	needs(cloud.KindAccount, m.Account)
	needs(cloud.KindSecret, m.Secret)
	needs(kindPlacement, &cloud.Ref{Name: m.PlacementGroup})
	for _, g := range m.SecurityGroups {
		needs(cloud.KindSecurityGroup, &g)
	}
	for _, payload := range p.Payloads {
		if err := f.payloadTrouble(payload); payload.Role == m.Role && err != nil {
			all = append(all, err)
		}
	}
	return all
}

// Changing is that another machine of the plan than the one of that name is being
// created or deleted just now, by this run or somebody else's; nil: none is.
func Changing(p *cloud.Plan, f *Found, name string) error {
	for _, m := range p.Machines {
		there := f.Machines[m.Name]
		if m.Name != name && there != nil && there.Labels[label] == p.Cluster && (starts(there.Status) || there.Status == compute.Instance_DELETING) {
			return fmt.Errorf("machine %s is %s just now: one at a time (run this again once it is ready)", m.Name, strings.ToLower(there.Status.String()))
		}
	}
	return nil
}

// keepAddress has the new machine get the address of the old one where the spec
// leaves it to the cloud: a load balancer may have it.
func (r *Replacement) keepAddress() {
	if r.Address.IsValid() || r.there == nil {
		return
	}
	for _, nic := range r.there.NetworkInterfaces {
		if at, err := netip.ParseAddr(nic.GetPrimaryV4Address().GetAddress()); err == nil && nic.SubnetId == r.found.id(cloud.KindSubnet, r.Subnet) {
			m := *r.Machine
			m.Address = at
			r.Machine = &m
		}
	}
}

// Outdated says why a machine that is there should be a new one, clause by
// clause: a newer image, other user-data, or what else the spec wants. missing
// is one that is not there.
func Outdated(f *Found, m *cloud.Machine, userData string) (why []string, missing bool) {
	there := f.Machines[m.Name]
	if there == nil || there.Status == compute.Instance_DELETING {
		return nil, true
	}
	if is, newest := f.Sources[there.GetBootDisk().GetDiskId()], f.Images[m.ImageFamily]; is != newest {
		why = append(why, fmt.Sprintf("its image is %s, and the newest is %s", cmp.Or(is, "not known"), newest))
	}
	if there.Metadata["user-data"] != userData {
		why = append(why, "its user-data is not the spec's")
	}
	return append(why, differsMachine(there, m)...), false
}

// data checks the data disk, and decides what becomes of it.
func (r *Replacement) data(f *Found, newDisk bool) error {
	if r.Data == nil {
		if newDisk {
			return fmt.Errorf("machine %s has no data disk", r.Name)
		}
		return nil
	}
	d := f.Disks[r.Data.Name]
	if d == nil {
		if r.there != nil && !newDisk {
			return fmt.Errorf("machine %s is there, and its data disk %s is not (--new-disk makes an empty one)", r.Name, r.Data.Name)
		}
		r.disk = true
		return nil
	}
	r.diskID = d.Id
	for _, id := range d.InstanceIds {
		if id != r.there.GetId() {
			return fmt.Errorf("disk %s is attached to another machine: instance %s (detach it there)", d.Name, id)
		}
	}
	if newDisk {
		r.disk, r.gone = true, d
		return nil
	}
	if d.ZoneId != r.Zone {
		return fmt.Errorf("disk %s is in zone %s, and the spec wants machine %s in %s (--new-disk makes an empty one there)", d.Name, d.ZoneId, r.Name, r.Zone)
	}
	if r.there != nil && r.there.Status != compute.Instance_DELETING && len(d.InstanceIds) == 0 {
		return fmt.Errorf("machine %s is there, and its data disk %s is not attached to it (attach it, or delete the machine)", r.Name, d.Name)
	}
	for _, a := range r.there.GetSecondaryDisks() {
		if a.DiskId == d.Id && a.AutoDelete {
			return fmt.Errorf("disk %s would be deleted with machine %s: its auto-delete is on (detach it, and attach it again without)", d.Name, r.Name)
		}
	}
	return nil
}

// Says is what is done, for people.
func (r *Replacement) Says() string {
	text := fmt.Sprintf("machine %s is created from image %s", r.Name, r.image)
	if r.there != nil {
		text = fmt.Sprintf("machine %s is deleted, and created anew from image %s", r.Name, r.image)
	}
	switch {
	case r.Data == nil:
	case r.gone != nil:
		text += "; its disk " + r.Data.Name + " is deleted, and it gets an empty one"
	case r.disk:
		text += "; it gets an empty disk " + r.Data.Name
	default:
		text += "; it keeps its disk " + r.Data.Name
	}
	return text
}

// Do deletes what is there, creates the machine, and waits until it is ready and,
// where a load balancer has it as a target, gets clients.
// What fails or is interrupted leaves what the next run completes.
func (r *Replacement) Do(ctx context.Context, cc grpc.ClientConnInterface, p *cloud.Plan, w World) error {
	if r.there != nil {
		w.Said(r.Name, "deleting the machine")
		if err := r.delete(ctx, cc, w); err != nil {
			return trouble("delete machine "+r.Name, err)
		}
	}
	if r.gone != nil {
		w.Said(r.Name, "deleting its data disk")
		op, err := compute.NewDiskServiceClient(cc).Delete(ctx, &compute.DeleteDiskRequest{DiskId: r.gone.Id})
		if _, err := done[*emptypb.Empty](ctx, cc, op, err); err != nil {
			return trouble("delete disk "+r.Data.Name, err)
		}
	}
	if err := r.create(ctx, newBuilder(cc, p, r.found, w.Said), w); err != nil {
		return err
	}
	if err := ready(ctx, cc, r.id, r.Name, w); err != nil {
		return err
	}
	return r.balanced(ctx, cc, p, w)
}

// delete also waits for a machine that is being deleted already.
func (r *Replacement) delete(ctx context.Context, cc grpc.ClientConnInterface, w World) error {
	client := compute.NewInstanceServiceClient(cc)
	if r.there.Status != compute.Instance_DELETING {
		op, err := client.Delete(ctx, &compute.DeleteInstanceRequest{InstanceId: r.there.Id})
		_, err = done[*emptypb.Empty](ctx, cc, op, err)
		return err
	}
	for {
		_, err := client.Get(ctx, &compute.GetInstanceRequest{InstanceId: r.there.Id})
		if status.Code(err) == codes.NotFound {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(w.Between):
		}
	}
}
