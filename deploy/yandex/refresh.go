package yandex

import (
	"context"
	"fmt"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"google.golang.org/grpc"

	"pgha-gen/generator/cloud"
)

// Refresh is new user-data for machines that are there.
type Refresh struct {
	Missing, Same []string // machines that are not there; that have it already
	Changes       []string // machines that get it

	roles [][]change
}

type change struct{ name, id, userData string }

// NewRefresh is what is to be done so that the machines have this user-data, by
// role. With a role or a machine named it is for those alone.
func NewRefresh(ctx context.Context, cc grpc.ClientConnInterface, p *cloud.Plan, userData map[string]string, wanted string) (*Refresh, error) {
	f := newFound()
	if err := f.lookMachines(ctx, cc, p); err != nil {
		return nil, err
	}
	r := &Refresh{}
	for _, machines := range p.Roles() {
		var all []change
		for _, m := range machines {
			there := f.Machines[m.Name]
			switch {
			case wanted != "" && wanted != m.Name && wanted != m.Role:
			case there == nil:
				r.Missing = append(r.Missing, m.Name)
			case there.Labels[label] != p.Cluster:
				return nil, fmt.Errorf(notOurs, machine, m.Name, there.Labels[label], p.Cluster)
			case there.Metadata["user-data"] == userData[m.Role]:
				r.Same = append(r.Same, m.Name)
			default:
				r.Changes = append(r.Changes, m.Name)
				all = append(all, change{m.Name, there.Id, userData[m.Role]})
			}
		}
		r.roles = append(r.roles, all)
	}
	return r, nil
}

// Do gives it to them, role by role: those that are connected to first. They
// take it over by themselves.
func (r *Refresh) Do(ctx context.Context, cc grpc.ClientConnInterface, said func(name, sentence string)) error {
	for _, all := range r.roles {
		g := &group{}
		for _, c := range all {
			g.Go(func() error {
				op, err := compute.NewInstanceServiceClient(cc).UpdateMetadata(ctx, &compute.UpdateInstanceMetadataRequest{InstanceId: c.id, Upsert: map[string]string{"user-data": c.userData}})
				if _, err := done[*compute.Instance](ctx, cc, op, err); err != nil {
					return trouble("give machine "+c.name+" its user-data", err)
				}
				said(c.name, "has the new user-data")
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}
