package yandex

import (
	"context"
	"slices"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/dns/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/loadbalancer/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/vpc/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"pgha-gen/generator/cloud"
)

// Doomed is what Destroy deletes beside machines and what is around them.
type Doomed struct {
	Disks   bool // data disks
	Secrets bool // and the accounts that read them
	Backups bool // and their bucket
}

// Destroy deletes what a plan has the cluster create, as far as it is there and
// the cluster's, last things first. Data disks, secrets and backups it deletes
// only if it is asked to; what the spec gives stays. It can be run again.
func Destroy(ctx context.Context, cc grpc.ClientConnInterface, p *cloud.Plan, what Doomed, said func(name, sentence string)) error {
	f := newFound()
	look := &group{}
	look.Go(func() error { return f.lookMachines(ctx, cc, p) })
	look.Go(func() error { return f.lookDisks(ctx, cc, p) })
	look.Go(func() error { return f.lookAround(ctx, cc, p) })
	if err := look.Wait(); err != nil {
		return err
	}
	d := &demolition{ctx, cc, p, f, services(cc), said}
	if err := d.front(); err != nil {
		return err
	}
	if err := d.machines(what.Disks); err != nil {
		return err
	}
	return d.base(what)
}

// demolition is one run of Destroy.
type demolition struct {
	ctx      context.Context
	cc       grpc.ClientConnInterface
	plan     *cloud.Plan
	found    *Found
	services map[cloud.Kind]service
	said     func(name, sentence string)
}

// front deletes what stands before the proxies.
func (d *demolition) front() error {
	b := d.plan.Balancer
	if b == nil {
		return nil
	}
	there, _ := d.mine(cloud.KindBalancer, b.Name).(*loadbalancer.NetworkLoadBalancer)
	if r := b.Record; there != nil && r != nil && proto.Equal(d.found.Record, record(r, there)) {
		op, err := dns.NewDnsZoneServiceClient(d.cc).UpdateRecordSets(d.ctx, &dns.UpdateRecordSetsRequest{DnsZoneId: d.found.id(cloud.KindZone, r.Zone), Deletions: []*dns.RecordSet{d.found.Record}})
		if _, err := finished(d.ctx, d.cc, op, err); err != nil {
			return trouble("delete the record "+r.Name, err)
		}
		d.said("record "+r.Name, "deleted")
	}
	var zone []*part
	for _, one := range parts(d.plan) {
		if one.kind == cloud.KindZone {
			zone = append(zone, one)
		}
	}
	waves := front(d.plan)
	slices.Reverse(waves)
	return d.gone(append(waves, zone))
}

// base deletes what was there before the machines.
func (d *demolition) base(what Doomed) error {
	waves := base(d.plan)
	slices.Reverse(waves)
	for i := range waves {
		waves[i] = slices.DeleteFunc(waves[i], func(one *part) bool {
			kept := (one.kind == cloud.KindSecret || one.kind == cloud.KindAccount) && !what.Secrets || one.kind == cloud.KindBucket && !what.Backups
			if kept && d.mine(one.kind, one.name) != nil {
				d.said(one.String(), "kept")
			}
			return kept || one.kind == cloud.KindZone
		})
	}
	// One that the rules of another name cannot be deleted.
	g := &group{}
	for _, one := range d.plan.SecurityGroups {
		there, _ := d.mine(cloud.KindSecurityGroup, one.Name).(*vpc.SecurityGroup)
		if len(there.GetRules()) == 0 {
			continue
		}
		g.Go(func() error {
			if err := setRules(d.ctx, d.cc, there.Id, nil); err != nil {
				return trouble("delete the rules of security group "+one.Name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return d.gone(waves)
}

// mine is what is there and the cluster's, or nil.
func (d *demolition) mine(kind cloud.Kind, name string) thing {
	t := d.found.Around[kind][name]
	if t == nil || t.GetLabels()[label] != d.plan.Cluster {
		return nil
	}
	return t
}

// gone deletes one wave of parts after the other.
func (d *demolition) gone(waves [][]*part) error {
	for _, wave := range waves {
		g := &group{}
		for _, one := range wave {
			there := d.mine(one.kind, one.name)
			if there == nil {
				d.said(one.String(), notThere)
				continue
			}
			g.Go(func() error {
				op, err := d.services[one.kind].delete(d.ctx, there.GetId())
				if _, err := finished(d.ctx, d.cc, op, err); err != nil {
					if one.kind == cloud.KindBucket && status.Code(err) == codes.FailedPrecondition {
						return d.empty()
					}
					return trouble("delete "+one.String(), err)
				}
				d.said(one.String(), "deleted")
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}

const notThere = "not there, or not this cluster's"

// machines deletes the machines with their boot disks, all at once; then, if it
// is asked to, their data disks.
func (d *demolition) machines(disks bool) error {
	ctx, cc, p, f, said := d.ctx, d.cc, d.plan, d.found, d.said
	g := &group{}
	for _, m := range p.Machines {
		there := f.Machines[m.Name]
		if there == nil || there.Labels[label] != p.Cluster {
			said(m.Name, notThere)
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
