//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"sync"

	"pgha-gen/deploy/secrets"
	"pgha-gen/lab/client"
	"pgha-gen/lab/netns"
)

// This file is what only tests do with a lab.

// StartAll powers these machines on, all at once; with none named, all.
func (l *Lab) StartAll(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		names = l.Names()
	}
	failures := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { failures[i] = l.Start(ctx, name) })
	}
	wg.Wait()
	return errors.Join(failures...)
}

// WaitStep waits until a machine has said that a step ended so, since it was
// last powered on. A step that fails ends the wait with an error, unless that
// is what is waited for.
func (l *Lab) WaitStep(ctx context.Context, node, step, status string) (Step, error) {
	n, err := l.node(node)
	if err != nil {
		return Step{}, err
	}
	if n.running == nil {
		return Step{}, fmt.Errorf("%s was never powered on", node)
	}
	var last Step
	_, err = n.running.Console().WaitLine(ctx, func(line string) bool {
		s, ok := ParseStep(line)
		if ok && (s.Name == step && s.Status == status || s.Status == "fail") {
			last = s
			return true
		}
		return false
	})
	switch {
	case err != nil:
		return Step{}, fmt.Errorf("%s: waiting for %s %s: %w", node, step, status, err)
	case last.Name != step || last.Status != status:
		return last, fmt.Errorf("%s: waiting for %s %s: %s failed: %s", node, step, status, last.Name, last.Detail)
	}
	return last, nil
}

// WaitReady waits until all these nodes are ready; with none named, all.
func (l *Lab) WaitReady(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		names = l.Names()
	}
	for _, name := range names {
		if _, err := l.WaitStep(ctx, name, "ready", "ok"); err != nil {
			return err
		}
	}
	return nil
}

// Replace makes a node's next start that of a new machine from the image, as
// deploy/create.sh does in the cloud: without the permission to bootstrap. Without
// keepDisk its data are lost as well. The node must be off.
func (l *Lab) Replace(name string, keepDisk bool) error {
	n, err := l.node(name)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n.fresh = true
	n.instance.Attributes = maps.Clone(n.instance.Attributes)
	delete(n.instance.Attributes, "pgha-bootstrap")
	if err := l.Cloud.Put(n.instance); err != nil {
		return err
	}
	if keepDisk {
		return nil
	}
	return os.Remove(l.disk(n.Node))
}

// SetAttribute sets one key of a machine's user metadata.
func (l *Lab) SetAttribute(name, key, value string) error {
	n, err := l.node(name)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.setAttribute(n, key, value)
}

// DialAs gives what connects as a machine, on or off, or as a stranger: the
// others see its address, and their firewalls let it go where that may go.
func (l *Lab) DialAs(name string) client.Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return netns.Dial(ctx, netns.Space(l.config.Name, name), network, address)
	}
}

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

// Cable puts a node's network cable in, or pulls it.
func (l *Lab) Cable(ctx context.Context, name string, in bool) error {
	n, err := l.node(name)
	if err != nil {
		return err
	}
	return l.Network.Cable(ctx, n.port, in)
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
