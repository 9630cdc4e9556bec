//go:build linux

package lab

import (
	"context"
	"fmt"
	"maps"
	"net/netip"

	"pgha-gen/deploy/secrets"
)

// This file is what only tests do with a lab.

// AddStranger gives somebody who is no machine of the cluster a place in the
// network, to connect from (DialAs): at any address, whose subnet of 256 is
// routed. Refused: an address and a name that are taken.
func (l *Lab) AddStranger(ctx context.Context, name string, address netip.Addr) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.nodes {
		if n.Address == address {
			return fmt.Errorf("stranger %q: %s has the address %s", name, n.Name, address)
		}
	}
	s := subnet(address)
	if err := l.route(ctx, s); err != nil {
		return err
	}
	_, err := l.Network.Attach(ctx, name, netip.PrefixFrom(address, 24), gateway(s))
	return err
}

// InstanceID is a node's id in the lab's cloud.
func (l *Lab) InstanceID(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nodes[name].instance.ID
}

// DataDisk is the file that a node's data disk is; it may not be there yet.
func (l *Lab) DataDisk(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.disk(l.nodes[name].Node)
}

// Payload is a copy of what the machines of a role should have.
func (l *Lab) Payload(role string) secrets.Payload {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.payloads[role])
}

// PutSecrets makes these what the machines of each role should have, and puts
// them into Lockbox.
func (l *Lab) PutSecrets(payloads map[string]secrets.Payload) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.payloads = maps.Clone(payloads)
	return l.putPayloads()
}

// SecretsOf are the entries that a node may have: its own, and those that all
// nodes of its role share.
func (l *Lab) SecretsOf(name string) map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.nodes[name]
	all := map[string]string{}
	for _, s := range n.part.Plan.Secrets {
		entry := s.Entry(name)
		all[entry] = l.payloads[n.part.Name][entry]
	}
	return all
}
