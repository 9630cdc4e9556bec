//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/dns/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/iam/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/lockbox/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/storage/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/vpc/v1"
	"google.golang.org/protobuf/proto"

	plan "pgha-gen/generator/cloud"
	"pgha-gen/generator/role"
	"pgha-gen/lab/cloud"
	"pgha-gen/lab/cloudapi"
	"pgha-gen/lab/machine"
)

// CloudAPI is an API of the cloud by which the lab's machines, all off so far,
// are created: as instances that have their names, and their addresses. Its
// folder has what the spec has ids of, with what Lockbox has now, and an image for
// each role. From then on its Lockbox is the one that machines read, and its
// bindings and grants say who reads it, and who writes to a bucket. A load balancer's health check is asked from where the
// cloud's come from. The caller serves and closes it.
func (l *Lab) CloudAPI(ctx context.Context, config cloudapi.Config) (*cloudapi.Cloud, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cluster.Cloud.LoadBalancer != role.NoBalancer {
		if err := l.attachChecks(ctx); err != nil {
			return nil, err
		}
		config.Check = l.check
	}
	config.Folder, config.Machines, config.Now = l.cluster.Cloud.FolderID, &instances{lab: l, used: map[string]bool{}}, l.config.Now
	var there []proto.Message
	for _, g := range plan.New(l.cluster).Given {
		m, err := l.given(g)
		if err != nil {
			return nil, err
		}
		there = append(there, m)
	}
	for name := range l.config.Images {
		family := l.cluster.ImageFamily(name)
		there = append(there, &compute.Image{Id: "fd8lab" + name, Name: family, Family: family, Status: compute.Image_READY})
	}
	c := cloudapi.New(config)
	for _, m := range there {
		if err := c.Put(m); err != nil {
			return nil, err
		}
	}
	if err := l.fill(c); err != nil {
		return nil, err
	}
	l.api = true
	l.Cloud.SetEditors(c.Editors)
	l.Cloud.SetSecrets(func(id string) (cloud.Secret, bool) {
		s, ok := c.Secret(id)
		return lockboxSecret(s), ok
	})
	return c, nil
}

// fill gives the secrets that the spec has ids of what they are to hold, and its
// service accounts their rights, as whoever made them has done.
func (l *Lab) fill(c *cloudapi.Cloud) error {
	for _, g := range l.cluster.WithSecrets() {
		id, account := l.cluster.Secrets.Lockbox[g.Name], l.cluster.Cloud.ServiceAccounts[g.Name]
		if id == "" {
			continue
		}
		if err := c.SetPayload(id, l.latest[g.Name]); err != nil {
			return err
		}
		if account != "" {
			if err := c.Grant(id, "lockbox.payloadViewer", account); err != nil {
				return err
			}
		}
	}
	if b := plan.New(l.cluster).Bucket; b != nil && !b.Created && b.Writer.ID != "" {
		return c.Grant(b.Name, "storage.editor", b.Writer.ID)
	}
	return nil
}

// lockboxSecret is a secret of the API as machines get it.
func lockboxSecret(s cloudapi.Secret) cloud.Secret {
	found := cloud.Secret{Readers: s.Readers}
	if s.Version == "" {
		return found
	}
	version := cloud.Version{ID: s.Version, Entries: []cloud.Entry{}}
	for _, key := range slices.Sorted(maps.Keys(s.Entries)) {
		version.Entries = append(version.Entries, cloud.Entry{Key: key, Text: s.Entries[key]})
	}
	found.Versions = []cloud.Version{version}
	return found
}

// checks is the place of health checks in the network, and their address is of the
// provider's range:
// https://yandex.cloud/en/docs/network-load-balancer/concepts/health-check
const checks = "health-checks"

var checksAddress = netip.MustParseAddr("198.18.235.250")

func (l *Lab) attachChecks(ctx context.Context) error {
	s := subnet(checksAddress)
	if err := l.route(ctx, s); err != nil {
		return err
	}
	_, err := l.Network.Attach(ctx, checks, netip.PrefixFrom(checksAddress, 24), gateway(s))
	return err
}

// check asks a target as a load balancer does.
func (l *Lab) check(ctx context.Context, url string) bool {
	transport := &http.Transport{DialContext: l.DialAs(checks), DisableKeepAlives: true}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// given is something that the spec has the id of, as the API shows it.
func (l *Lab) given(g plan.Given) (proto.Message, error) {
	const network = "enplab"
	name := strings.ToLower(g.ID)
	switch g.Kind {
	case plan.KindSubnet:
		for _, part := range l.cluster.Groups {
			for _, n := range part.Nodes() {
				if n.Zone == g.Zone && l.nodes[n.Name] != nil {
					block := subnet(l.nodes[n.Name].Address).String()
					return &vpc.Subnet{Id: g.ID, Name: name, NetworkId: network, ZoneId: g.Zone, V4CidrBlocks: []string{block}}, nil
				}
			}
		}
		return nil, fmt.Errorf("%s: the lab has no machine in zone %s, so there is no such subnet", g.Key, g.Zone)
	case plan.KindSecurityGroup:
		return &vpc.SecurityGroup{Id: g.ID, Name: name, NetworkId: network}, nil
	case plan.KindBucket:
		return &storage.Bucket{Id: g.ID, Name: g.ID}, nil
	case plan.KindAccount:
		return &iam.ServiceAccount{Id: g.ID, Name: name}, nil
	case plan.KindZone:
		_, domain, _ := strings.Cut(l.cluster.Cloud.EntryPoint, ".")
		return &dns.DnsZone{Id: g.ID, Name: name, Zone: domain + ".", PublicVisibility: &dns.PublicVisibility{}}, nil
	case plan.KindSecret:
		return &lockbox.Secret{Id: g.ID, Name: name, Status: lockbox.Secret_ACTIVE}, nil
	}
	return nil, fmt.Errorf("%s: the lab has no %s (want the spec without it)", g.Key, g.Kind)
}

// instances are the lab's machines, as the API has them.
type instances struct {
	lab  *Lab
	mu   sync.Mutex
	used map[string]bool // names that a machine had
}

// Create powers on a new machine, with an empty boot disk and the metadata of
// the instance.
func (m *instances) Create(ctx context.Context, i *compute.Instance) error {
	n, err := m.lab.node(i.Name)
	if err != nil {
		return err
	}
	if got := i.NetworkInterfaces[0].PrimaryV4Address.GetAddress(); got != n.Address.String() {
		return fmt.Errorf("%s would have the address %s, and the lab has it at %s", i.Name, got, n.Address)
	}
	m.mu.Lock()
	again := m.used[i.Name]
	m.used[i.Name] = true
	m.mu.Unlock()
	if again {
		if err := m.lab.Replace(i.Name, true); err != nil {
			return err
		}
	}
	if err := m.become(n, i); err != nil {
		return err
	}
	return m.lab.Start(context.WithoutCancel(ctx), i.Name)
}

// become has metadata tell the machine what the API says of the instance.
func (m *instances) become(n *node, i *compute.Instance) error {
	m.lab.mu.Lock()
	defer m.lab.mu.Unlock()
	m.lab.Cloud.Remove(n.instance.ID)
	n.instance.ID, n.instance.Hostname, n.instance.Zone = i.Id, i.Fqdn, i.ZoneId
	n.instance.FolderID, n.instance.SubnetID = i.FolderId, i.NetworkInterfaces[0].SubnetId
	n.instance.ServiceAccountID, n.instance.Attributes, n.instance.Labels = i.ServiceAccountId, maps.Clone(i.Metadata), maps.Clone(i.Labels)
	return m.lab.Cloud.Put(n.instance)
}

// Delete shuts a machine down; what it had on its boot disk is gone.
func (m *instances) Delete(ctx context.Context, i *compute.Instance) error { return m.Stop(ctx, i) }

func (m *instances) Start(ctx context.Context, i *compute.Instance) error {
	return m.lab.Start(context.WithoutCancel(ctx), i.Name)
}

func (m *instances) Stop(ctx context.Context, i *compute.Instance) error {
	running := m.lab.Machine(i.Name)
	if running == nil {
		return nil
	}
	if err := running.PowerOff(ctx); err != nil && !errors.Is(err, machine.ErrCut) {
		return err
	}
	return running.Close()
}

// SetMetadata gives a machine, on or off, the user metadata of the instance.
func (m *instances) SetMetadata(_ context.Context, i *compute.Instance) error {
	n, err := m.lab.node(i.Name)
	if err != nil {
		return err
	}
	m.lab.mu.Lock()
	defer m.lab.mu.Unlock()
	n.instance.Attributes = maps.Clone(i.Metadata)
	return m.lab.Cloud.Put(n.instance)
}

// Console is what the machine has written since it was last powered on.
func (m *instances) Console(_ context.Context, i *compute.Instance) (string, error) {
	running := m.lab.Machine(i.Name)
	if running == nil {
		return "", nil
	}
	var text strings.Builder
	for _, line := range running.Console().Lines() {
		text.WriteString(line.Text + "\n")
	}
	return text.String(), nil
}

// Maintain tells the machine that its host is maintained.
func (m *instances) Maintain(_ context.Context, i *compute.Instance) error {
	if i.MaintenancePolicy == compute.MaintenancePolicy_RESTART {
		return m.lab.Announce(i.Name, "TERMINATE_ON_HOST_MAINTENANCE")
	}
	return m.lab.Announce(i.Name, "MIGRATE_ON_HOST_MAINTENANCE")
}

// DeleteDisk deletes a data disk, if a machine ever had it.
func (m *instances) DeleteDisk(_ context.Context, d *compute.Disk) error {
	err := os.Remove(filepath.Join(m.lab.config.State, "disks", d.Name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
