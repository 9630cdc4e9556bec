//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
	"pgha-gen/lab/machine"
)

// Refresh gives the lab a changed spec, as a person with yc would: secrets that
// are missing are made, Lockbox gets what the folder of secrets has, machines of new nodes are created, powered off,
// and the others get the new user-data while they run. Machines of nodes that
// the spec has no more stay as they are: see Remove. Refused: the spec of another
// cluster, and what a machine that is there cannot become: its role and address
// stay.
func (l *Lab) Refresh(ctx context.Context, cluster *role.Cluster) error {
	c := *cluster
	c.Secrets.CA = specfile.Text(l.CA.Certificate())
	if err := c.Plan(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cluster.Token() != c.Token() {
		return fmt.Errorf("the lab runs cluster %s, and the spec is of %s (another cluster is another lab)", l.cluster.Token(), c.Token())
	}
	given, err := addresses(&c, l.addresses())
	if err != nil {
		return err
	}
	for _, part := range c.Groups {
		for _, n := range part.Nodes() {
			was := l.nodes[n.Name]
			switch {
			case was == nil:
			case was.part.Name != part.Name:
				return fmt.Errorf("%s is a machine of role %s (give the one of %s another name)", n.Name, was.part.Name, part.Name)
			case given[n.Name] != was.Address:
				return fmt.Errorf("%s has the address %s, and the spec has %s (the machine has to be created anew)", n.Name, was.Address, given[n.Name])
			}
		}
	}
	if err := l.generate(&c); err != nil {
		return err
	}
	l.cluster = &c
	if err := errors.Join(l.putPayloads(), l.putBuckets(&c)); err != nil {
		return err
	}
	return l.createNodes(ctx, given, false)
}

// Remove powers a machine off and deletes it, as yc compute instance delete
// does: its data disk stays. What has begun is not interrupted.
func (l *Lab) Remove(ctx context.Context, name string) error {
	n, err := l.node(name)
	if err = errors.Join(err, ctx.Err()); err != nil {
		return err
	}
	if n.running != nil {
		if err := n.running.Close(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Cloud.Remove(n.instance.ID)
	delete(l.nodes, name)
	return l.Network.Detach(name)
}

// GrowDisk makes a node's data disk larger while its machine runs, as yc compute
// disk update does.
func (l *Lab) GrowDisk(name string, size int64) error {
	n, err := l.node(name)
	if err != nil {
		return err
	}
	if n.part.Settings.Machines().DataDisk == nil {
		return fmt.Errorf("%s has no data disk", name)
	}
	return machine.GrowDisk(l.disk(n.Node), size)
}

// addresses are those of the machines there are.
func (l *Lab) addresses() map[string]netip.Addr {
	all := map[string]netip.Addr{}
	for name, n := range l.nodes {
		all[name] = n.Address
	}
	return all
}

// UserData is what each machine's metadata has now.
func (l *Lab) UserData() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]string{}
	for name, n := range l.nodes {
		all[name] = n.instance.Attributes["user-data"]
	}
	return all
}

// InSpec says whether the spec has a node of this name.
func (l *Lab) InSpec(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.cluster.Groups, func(g *role.Group) bool {
		return slices.ContainsFunc(g.Nodes(), func(n role.Node) bool { return n.Name == name })
	})
}

// Place is a machine's role and address.
func (l *Lab) Place(name string) (role string, address netip.Addr, err error) {
	n, err := l.node(name)
	if err != nil {
		return "", netip.Addr{}, err
	}
	return n.part.Name, n.Address, nil
}

// setAttribute sets one key of a machine's user metadata.
func (l *Lab) setAttribute(n *node, key, value string) error {
	n.instance.Attributes = maps.Clone(n.instance.Attributes)
	n.instance.Attributes[key] = value
	return l.Cloud.Put(n.instance)
}
