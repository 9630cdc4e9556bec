package yandex

import (
	"context"
	"fmt"
	"sync"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/dns/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/iam/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/lockbox/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/storage/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/vpc/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pgha-gen/generator/cloud"
	"pgha-gen/internal/bootlog"
)

// Found is what the folder has of what a plan is about.
type Found struct {
	Disks    map[string]*compute.Disk
	Machines map[string]*compute.Instance // with metadata
	Consoles map[string]bootlog.Step      // the last step of those that may still bootstrap
	Images   map[string]string            // ids by family; "": the family has none
	Sources  map[string]string            // images that disks were made of, by the disks' ids
	Given    map[string]place             // of what the spec has the id of; not there: not found

	Around  map[cloud.Kind]map[string]thing // what is around machines, by name
	Readers map[string][]string             // ids of accounts that may read the cluster's secrets, by their ids
	Record  *dns.RecordSet                  // of the entry point; nil: there is none

	routes       map[string]*vpc.RouteTable // of subnets that the spec has ids of, by their ids; nil: a subnet has none
	routesUnseen map[string]bool            // subnets whose routes the account may not see

	taken error // the bucket that is created cannot be; nil: it can, or it is there

	mu sync.Mutex // while Look goes on
}

func newFound() *Found {
	return &Found{Disks: map[string]*compute.Disk{}, Machines: map[string]*compute.Instance{}, Consoles: map[string]bootlog.Step{}, Images: map[string]string{}, Sources: map[string]string{}, Given: map[string]place{}, Around: map[cloud.Kind]map[string]thing{}, Readers: map[string][]string{},
		routes: map[string]*vpc.RouteTable{}, routesUnseen: map[string]bool{}}
}

// place is something given, and where it is.
type place struct {
	zone, network string
	thing         thing
}

// Look asks for what is there. It changes nothing.
func Look(ctx context.Context, cc grpc.ClientConnInterface, p *cloud.Plan) (*Found, error) {
	f := newFound()
	mu := &f.mu
	g := &group{}
	g.Go(func() error { return f.lookDisks(ctx, cc, p) })
	g.Go(func() error { return f.lookMachines(ctx, cc, p) })
	families := map[string]bool{}
	for _, m := range p.Machines {
		if families[m.ImageFamily] {
			continue
		}
		families[m.ImageFamily] = true
		g.Go(func() error {
			image, err := compute.NewImageServiceClient(cc).GetLatestByFamily(ctx, &compute.GetImageLatestByFamilyRequest{FolderId: p.Folder, Family: m.ImageFamily})
			if err != nil && status.Code(err) != codes.NotFound {
				return trouble("find an image of family "+m.ImageFamily, err)
			}
			mu.Lock()
			defer mu.Unlock()
			f.Images[m.ImageFamily] = image.GetId()
			return nil
		})
	}
	g.Go(func() error { return f.lookAround(ctx, cc, p) })
	for _, given := range p.Given {
		g.Go(func() error {
			at, err := find(ctx, cc, given)
			if err != nil && status.Code(err) != codes.NotFound {
				return trouble(fmt.Sprintf("find %s %s of %s", given.Kind, given.ID, given.Key), err)
			}
			if subnet, ok := at.thing.(*vpc.Subnet); ok && err == nil {
				if err := f.lookRoutes(ctx, cc, subnet); err != nil {
					return err
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				f.Given[given.ID] = at
			}
			return nil
		})
	}
	return f, g.Wait()
}

// lookRoutes asks for the routes of a subnet.
func (f *Found) lookRoutes(ctx context.Context, cc grpc.ClientConnInterface, subnet *vpc.Subnet) error {
	if subnet.RouteTableId == "" {
		return nil
	}
	table, err := vpc.NewRouteTableServiceClient(cc).Get(ctx, &vpc.GetRouteTableRequest{RouteTableId: subnet.RouteTableId})
	if err != nil && status.Code(err) != codes.PermissionDenied && status.Code(err) != codes.NotFound {
		return trouble("see the routes of subnet "+subnet.Id, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.routes[subnet.Id], f.routesUnseen[subnet.Id] = table, status.Code(err) == codes.PermissionDenied
	return nil
}

func (f *Found) lookDisks(ctx context.Context, cc grpc.ClientConnInterface, p *cloud.Plan) error {
	return pages("disks", func(token string) (string, error) {
		r, err := compute.NewDiskServiceClient(cc).List(ctx, &compute.ListDisksRequest{FolderId: p.Folder, PageSize: pageSize, PageToken: token})
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, d := range r.GetDisks() {
			f.Disks[d.Name] = d
			f.Sources[d.Id] = d.GetSourceImageId()
		}
		return r.GetNextPageToken(), err
	})
}

// lookMachines lists the machines, and asks for the metadata of those that are
// the plan's: lists do not have it.
func (f *Found) lookMachines(ctx context.Context, cc grpc.ClientConnInterface, p *cloud.Plan) error {
	mu := &f.mu
	client := compute.NewInstanceServiceClient(cc)
	var there []*compute.Instance
	err := pages("machines", func(token string) (string, error) {
		r, err := client.List(ctx, &compute.ListInstancesRequest{FolderId: p.Folder, PageSize: pageSize, PageToken: token})
		there = append(there, r.GetInstances()...)
		return r.GetNextPageToken(), err
	})
	if err != nil {
		return err
	}
	g := &group{}
	for _, m := range there {
		g.Go(func() error {
			if p.Machine(m.Name) != nil {
				full, err := client.Get(ctx, &compute.GetInstanceRequest{InstanceId: m.Id, View: compute.InstanceView_FULL})
				if status.Code(err) == codes.NotFound {
					return nil // it was deleted behind the list
				}
				if err != nil {
					return trouble("look at machine "+m.Name, err)
				}
				m = full
			}
			var last bootlog.Step
			if m.Metadata[permission] != "" {
				var err error
				if last, err = console(ctx, cc, m.Id, m.Name); err != nil {
					return trouble("read the console of machine "+m.Name, err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			f.Consoles[m.Name] = last
			f.Machines[m.Name] = m
			return nil
		})
	}
	return g.Wait()
}

// ready tells whether the machine has said so.
func (f *Found) ready(name string) bool { return f.Consoles[name].Ready() }

const pageSize = 1000

// pages asks for one page after another.
func pages(what string, page func(token string) (next string, err error)) error {
	token := ""
	for {
		next, err := page(token)
		if err != nil {
			return trouble("list the folder's "+what, err)
		}
		if next == "" {
			return nil
		}
		token = next
	}
}

// find asks for one that the spec gives.
func find(ctx context.Context, cc grpc.ClientConnInterface, g cloud.Given) (place, error) {
	switch g.Kind {
	case cloud.KindNetwork:
		t, err := vpc.NewNetworkServiceClient(cc).Get(ctx, &vpc.GetNetworkRequest{NetworkId: g.ID})
		return place{"", g.ID, t}, err
	case cloud.KindSubnet:
		t, err := vpc.NewSubnetServiceClient(cc).Get(ctx, &vpc.GetSubnetRequest{SubnetId: g.ID})
		return place{t.GetZoneId(), t.GetNetworkId(), t}, err
	case cloud.KindSecurityGroup:
		t, err := vpc.NewSecurityGroupServiceClient(cc).Get(ctx, &vpc.GetSecurityGroupRequest{SecurityGroupId: g.ID})
		return place{"", t.GetNetworkId(), t}, err
	case cloud.KindAccount:
		t, err := iam.NewServiceAccountServiceClient(cc).Get(ctx, &iam.GetServiceAccountRequest{ServiceAccountId: g.ID})
		return place{"", "", t}, err
	case cloud.KindSecret:
		t, err := lockbox.NewSecretServiceClient(cc).Get(ctx, &lockbox.GetSecretRequest{SecretId: g.ID})
		return place{"", "", t}, err
	case cloud.KindZone:
		t, err := dns.NewDnsZoneServiceClient(cc).Get(ctx, &dns.GetDnsZoneRequest{DnsZoneId: g.ID})
		return place{"", "", t}, err
	case cloud.KindBucket:
		t, err := storage.NewBucketServiceClient(cc).Get(ctx, &storage.GetBucketRequest{Name: g.ID})
		if status.Code(err) == codes.PermissionDenied { // somebody else may have it
			err = status.Error(codes.NotFound, err.Error())
		}
		return place{"", "", bucket{t}}, err
	}
	return place{}, fmt.Errorf("nobody knows how to find a %s", g.Kind)
}
