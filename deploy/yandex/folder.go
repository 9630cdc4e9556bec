package yandex

import (
	"context"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/access"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/dns/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/iam/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/loadbalancer/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/lockbox/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/operation"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/storage/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/vpc/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"pgha-gen/generator/cloud"
)

// The kinds that no spec has ids of.
const (
	kindGateway   cloud.Kind = "NAT gateway"
	kindRoutes    cloud.Kind = "route table"
	kindPlacement cloud.Kind = "placement group"
)

// thing is one of what is around machines, as the API shows it.
type thing interface {
	proto.Message
	GetId() string
	GetName() string
	GetLabels() map[string]string
}

// service is what the API can do with a kind of things.
type service struct {
	list   func(ctx context.Context, folder, token string) (page []thing, next string, err error) // nil: it is asked for by name
	delete func(ctx context.Context, id string) (*operation.Operation, error)
}

// services are those of all kinds that are around machines.
func services(cc grpc.ClientConnInterface) map[cloud.Kind]service {
	networks, subnets, groups := vpc.NewNetworkServiceClient(cc), vpc.NewSubnetServiceClient(cc), vpc.NewSecurityGroupServiceClient(cc)
	gateways, routes := vpc.NewGatewayServiceClient(cc), vpc.NewRouteTableServiceClient(cc)
	accounts, secrets, placements := iam.NewServiceAccountServiceClient(cc), lockbox.NewSecretServiceClient(cc), compute.NewPlacementGroupServiceClient(cc)
	targets, balancers, zones := loadbalancer.NewTargetGroupServiceClient(cc), loadbalancer.NewNetworkLoadBalancerServiceClient(cc), dns.NewDnsZoneServiceClient(cc)
	return map[cloud.Kind]service{
		cloud.KindNetwork: {func(ctx context.Context, folder, token string) ([]thing, string, error) {
			r, err := networks.List(ctx, &vpc.ListNetworksRequest{FolderId: folder, PageSize: pageSize, PageToken: token})
			return things(r.GetNetworks()), r.GetNextPageToken(), err
		}, func(ctx context.Context, id string) (*operation.Operation, error) {
			return networks.Delete(ctx, &vpc.DeleteNetworkRequest{NetworkId: id})
		}},
		cloud.KindSubnet: {func(ctx context.Context, folder, token string) ([]thing, string, error) {
			r, err := subnets.List(ctx, &vpc.ListSubnetsRequest{FolderId: folder, PageSize: pageSize, PageToken: token})
			return things(r.GetSubnets()), r.GetNextPageToken(), err
		}, func(ctx context.Context, id string) (*operation.Operation, error) {
			return subnets.Delete(ctx, &vpc.DeleteSubnetRequest{SubnetId: id})
		}},
		kindGateway: {func(ctx context.Context, folder, token string) ([]thing, string, error) {
			r, err := gateways.List(ctx, &vpc.ListGatewaysRequest{FolderId: folder, PageSize: pageSize, PageToken: token})
			return things(r.GetGateways()), r.GetNextPageToken(), err
		}, func(ctx context.Context, id string) (*operation.Operation, error) {
			return gateways.Delete(ctx, &vpc.DeleteGatewayRequest{GatewayId: id})
		}},
		kindRoutes: {func(ctx context.Context, folder, token string) ([]thing, string, error) {
			r, err := routes.List(ctx, &vpc.ListRouteTablesRequest{FolderId: folder, PageSize: pageSize, PageToken: token})
			return things(r.GetRouteTables()), r.GetNextPageToken(), err
		}, func(ctx context.Context, id string) (*operation.Operation, error) {
			return routes.Delete(ctx, &vpc.DeleteRouteTableRequest{RouteTableId: id})
		}},
		cloud.KindSecurityGroup: {func(ctx context.Context, folder, token string) ([]thing, string, error) {
			r, err := groups.List(ctx, &vpc.ListSecurityGroupsRequest{FolderId: folder, PageSize: pageSize, PageToken: token})
			return things(r.GetSecurityGroups()), r.GetNextPageToken(), err
		}, func(ctx context.Context, id string) (*operation.Operation, error) {
			return groups.Delete(ctx, &vpc.DeleteSecurityGroupRequest{SecurityGroupId: id})
		}},
		cloud.KindAccount: {func(ctx context.Context, folder, token string) ([]thing, string, error) {
			r, err := accounts.List(ctx, &iam.ListServiceAccountsRequest{FolderId: folder, PageSize: pageSize, PageToken: token})
			return things(r.GetServiceAccounts()), r.GetNextPageToken(), err
		}, func(ctx context.Context, id string) (*operation.Operation, error) {
			return accounts.Delete(ctx, &iam.DeleteServiceAccountRequest{ServiceAccountId: id})
		}},
		cloud.KindSecret: {func(ctx context.Context, folder, token string) ([]thing, string, error) {
			r, err := secrets.List(ctx, &lockbox.ListSecretsRequest{FolderId: folder, PageSize: pageSize, PageToken: token})
			return things(r.GetSecrets()), r.GetNextPageToken(), err
		}, func(ctx context.Context, id string) (*operation.Operation, error) {
			return secrets.Delete(ctx, &lockbox.DeleteSecretRequest{SecretId: id})
		}},
		kindPlacement: {func(ctx context.Context, folder, token string) ([]thing, string, error) {
			r, err := placements.List(ctx, &compute.ListPlacementGroupsRequest{FolderId: folder, PageSize: pageSize, PageToken: token})
			return things(r.GetPlacementGroups()), r.GetNextPageToken(), err
		}, func(ctx context.Context, id string) (*operation.Operation, error) {
			return placements.Delete(ctx, &compute.DeletePlacementGroupRequest{PlacementGroupId: id})
		}},
		cloud.KindTargets: {func(ctx context.Context, folder, token string) ([]thing, string, error) {
			r, err := targets.List(ctx, &loadbalancer.ListTargetGroupsRequest{FolderId: folder, PageSize: pageSize, PageToken: token})
			return things(r.GetTargetGroups()), r.GetNextPageToken(), err
		}, func(ctx context.Context, id string) (*operation.Operation, error) {
			return targets.Delete(ctx, &loadbalancer.DeleteTargetGroupRequest{TargetGroupId: id})
		}},
		cloud.KindBalancer: {func(ctx context.Context, folder, token string) ([]thing, string, error) {
			r, err := balancers.List(ctx, &loadbalancer.ListNetworkLoadBalancersRequest{FolderId: folder, PageSize: pageSize, PageToken: token})
			return things(r.GetNetworkLoadBalancers()), r.GetNextPageToken(), err
		}, func(ctx context.Context, id string) (*operation.Operation, error) {
			return balancers.Delete(ctx, &loadbalancer.DeleteNetworkLoadBalancerRequest{NetworkLoadBalancerId: id})
		}},
		cloud.KindZone: {func(ctx context.Context, folder, token string) ([]thing, string, error) {
			r, err := zones.List(ctx, &dns.ListDnsZonesRequest{FolderId: folder, PageSize: pageSize, PageToken: token})
			return things(r.GetDnsZones()), r.GetNextPageToken(), err
		}, func(ctx context.Context, id string) (*operation.Operation, error) {
			return zones.Delete(ctx, &dns.DeleteDnsZoneRequest{DnsZoneId: id})
		}},
		cloud.KindBucket: {nil, func(ctx context.Context, name string) (*operation.Operation, error) {
			return storage.NewBucketServiceClient(cc).Delete(ctx, &storage.DeleteBucketRequest{Name: name})
		}},
	}
}

func things[T thing](all []T) []thing {
	var some []thing
	for _, t := range all {
		some = append(some, t)
	}
	return some
}

// lookAround asks for what is around the machines. Who may not see a kind of
// which the plan makes nothing need not.
func (f *Found) lookAround(ctx context.Context, cc grpc.ClientConnInterface, p *cloud.Plan) error {
	wanted := map[cloud.Kind]bool{}
	for _, one := range parts(p) {
		wanted[one.kind] = true
	}
	g := &group{}
	for kind, service := range services(cc) {
		if service.list == nil {
			continue
		}
		g.Go(func() error {
			return pages(string(kind)+"s", func(token string) (string, error) {
				page, next, err := service.list(ctx, p.Folder, token)
				if status.Code(err) == codes.PermissionDenied && !wanted[kind] {
					return "", nil
				}
				f.mu.Lock()
				defer f.mu.Unlock()
				if f.Around[kind] == nil {
					f.Around[kind] = map[string]thing{}
				}
				for _, t := range page {
					f.Around[kind][t.GetName()] = t
				}
				return next, err
			})
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	g.Go(func() error { return f.lookBucket(ctx, cc, p) })
	for _, s := range p.Secrets {
		if there := f.Around[cloud.KindSecret][s.Name]; there != nil && there.GetLabels()[label] == p.Cluster {
			g.Go(func() error { return f.lookReaders(ctx, cc, there) })
		}
	}
	if b := p.Balancer; b != nil && b.Record != nil {
		if zone := f.id(cloud.KindZone, b.Record.Zone); zone != "" {
			g.Go(func() error {
				found, err := dns.NewDnsZoneServiceClient(cc).GetRecordSet(ctx, &dns.GetDnsZoneRecordSetRequest{DnsZoneId: zone, Name: b.Record.Name, Type: "A"})
				if err == nil {
					f.Record = found
				} else if status.Code(err) != codes.NotFound {
					return trouble("look for the record "+b.Record.Name, err)
				}
				return nil
			})
		}
	}
	return g.Wait()
}

func (f *Found) lookReaders(ctx context.Context, cc grpc.ClientConnInterface, secret thing) error {
	token := ""
	for {
		r, err := lockbox.NewSecretServiceClient(cc).ListAccessBindings(ctx, &access.ListAccessBindingsRequest{ResourceId: secret.GetId(), PageSize: pageSize, PageToken: token})
		if err != nil {
			return trouble("see who may read secret "+secret.GetName(), err)
		}
		f.mu.Lock()
		for _, b := range r.AccessBindings {
			if b.RoleId == payloadViewer {
				f.Readers[secret.GetId()] = append(f.Readers[secret.GetId()], b.Subject.GetId())
			}
		}
		f.mu.Unlock()
		if token = r.NextPageToken; token == "" {
			return nil
		}
	}
}

// id is that of what is given or there; empty: it is not there.
func (f *Found) id(kind cloud.Kind, r cloud.Ref) string {
	if r.ID != "" {
		return r.ID
	}
	if t := f.Around[kind][r.Name]; t != nil {
		return t.GetId()
	}
	return ""
}
