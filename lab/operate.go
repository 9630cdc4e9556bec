//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"pgha-gen/deploy/secrets"
	"pgha-gen/generator/role"
	"pgha-gen/internal/bootlog"
	"pgha-gen/lab/client"
	"pgha-gen/lab/machine"
	"pgha-gen/lab/netns"
)

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
func (l *Lab) WaitStep(ctx context.Context, node, step, status string) (bootlog.Step, error) {
	n, err := l.node(node)
	if err != nil {
		return bootlog.Step{}, err
	}
	if n.running == nil {
		return bootlog.Step{}, fmt.Errorf("%s was never powered on", node)
	}
	var last bootlog.Step
	_, err = n.running.Console().WaitLine(ctx, func(line string) bool {
		s, ok := bootlog.Parse(line)
		if ok && (s.Name == step && s.Status == status || s.Status == "fail") {
			last = s
			return true
		}
		return false
	})
	switch {
	case err != nil:
		return bootlog.Step{}, fmt.Errorf("%s: waiting for %s %s: %w", node, step, status, err)
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

// Announce has metadata tell a machine that its host is to be maintained, such as
// MIGRATE_ON_HOST_MAINTENANCE; empty: that nothing is to happen.
func (l *Lab) Announce(name, event string) error {
	n, err := l.node(name)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n.instance.MaintenanceEvent = event
	return l.Cloud.Put(n.instance)
}

// DialAs gives what connects as a machine, on or off, or as a stranger: the
// others see its address, and their firewalls let it go where that may go.
func (l *Lab) DialAs(name string) client.Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return netns.Dial(ctx, netns.Space(l.config.Name, name), network, address)
	}
}

// Cable puts a node's network cable in, or pulls it.
func (l *Lab) Cable(ctx context.Context, name string, in bool) error {
	n, err := l.node(name)
	if err != nil {
		return err
	}
	return l.Network.Cable(ctx, n.port, in)
}

// Lose has the network lose packets between nodes: see netns.Network.Lose.
func (l *Lab) Lose(ctx context.Context, losses ...netns.Loss) error {
	return l.Network.Lose(ctx, losses...)
}

// Slow lets a node's network cable carry no more than so many bits a second; 0: as
// many as it can.
func (l *Lab) Slow(ctx context.Context, name string, bits int) error {
	n, err := l.node(name)
	if err != nil {
		return err
	}
	return l.Network.Slow(ctx, n.port, bits)
}

// Delay makes every packet from and to a node arrive so much later, until the
// function that it gives is called.
func (l *Lab) Delay(ctx context.Context, name string, by time.Duration) (end func() error, err error) {
	n, err := l.node(name)
	if err != nil {
		return nil, err
	}
	return l.Network.Delay(ctx, n.port, by)
}

// SlowDisk lets a node's data disk take no more than so many writes a second; 0: as
// many as it can.
func (l *Lab) SlowDisk(name string, writes int) error {
	n, err := l.node(name)
	if err != nil {
		return err
	}
	return machine.SlowDisk(l.disk(n.Node), writes)
}

// Cluster is the spec in force. Its parts are shared with the lab.
func (l *Lab) Cluster() role.Cluster {
	l.mu.Lock()
	defer l.mu.Unlock()
	return *l.cluster
}

// Images are the folders of the images, by role. Their names end with a digest.
func (l *Lab) Images() map[string]string { return maps.Clone(l.config.Images) }

// Rotate makes secrets anew, as pgha-gen secrets generate --rotate does, and puts
// them into Lockbox. Machines take them over by themselves within minutes.
func (l *Lab) Rotate(r secrets.Rotation) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := secrets.Generate(l.secrets(l.cluster), l.cluster, r, l.world()); err != nil {
		return err
	}
	if err := l.generate(l.cluster); err != nil {
		return err
	}
	return l.putPayloads()
}

// EndCertificates puts certificates into Lockbox that end so soon, for these nodes,
// as if they had been made long ago. Rotate replaces them by good ones.
func (l *Lab) EndCertificates(after time.Duration, names ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	old, _, err := l.CA.Update(l.cluster, l.payloads, secrets.Rotation{Certificates: true}, l.config.Now().Add(after-secrets.Life))
	if err != nil {
		return err
	}
	for of, payload := range l.payloads {
		payload = maps.Clone(payload)
		for entry, text := range old[of] {
			if node, _, _ := strings.Cut(entry, "."); slices.Contains(names, node) {
				payload[entry] = text
			}
		}
		if err := l.putPayload(of, payload); err != nil {
			return err
		}
	}
	return nil
}

// Offering are the nodes of the spec that offer a capability, and have a machine.
func (l *Lab) Offering(what role.Capability) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for _, n := range l.cluster.Offering(what) {
		if l.nodes[n.Name] != nil {
			names = append(names, n.Name)
		}
	}
	return names
}
