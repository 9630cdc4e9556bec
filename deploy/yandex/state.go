package yandex

import (
	"context"
	"strings"

	"google.golang.org/grpc"

	"pgha-gen/generator/cloud"
	"pgha-gen/internal/bootlog"
)

// State is that of a machine, as the cloud and the machine's console say.
type State struct {
	Name     string
	Instance string       // such as running; empty: it is not there
	Last     bootlog.Step // what it said last of its boot; empty: its console has nothing of it any more
}

// Well tells whether nothing is wrong with it, as far as the cloud knows.
func (s State) Well() bool {
	return s.Instance == "running" && (s.Last == (bootlog.Step{}) || s.Last.Ready())
}

// Failed is that its boot has ended without it getting ready; nil: it has not.
func (s State) Failed() error {
	if !s.Last.Failed() {
		return nil
	}
	return failed(s.Name, s.Last)
}

// States are those of a plan's machines, in its order. It changes nothing.
func States(ctx context.Context, cc grpc.ClientConnInterface, p *cloud.Plan) ([]State, error) {
	f := newFound()
	if err := f.lookMachines(ctx, cc, p); err != nil {
		return nil, err
	}
	all := make([]State, len(p.Machines))
	g := &group{}
	for i, m := range p.Machines {
		all[i].Name = m.Name
		there := f.Machines[m.Name]
		if there == nil || there.Labels[label] != p.Cluster {
			continue
		}
		all[i].Instance = strings.ToLower(there.Status.String())
		g.Go(func() error {
			last, err := console(ctx, cc, there.Id, m.Name)
			if err != nil {
				return trouble("read the console of machine "+m.Name, err)
			}
			all[i].Last = last
			return nil
		})
	}
	return all, g.Wait()
}
