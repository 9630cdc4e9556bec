package yandex

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/access"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/dns/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/lockbox/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/quotamanager/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/resourcemanager/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/vpc/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"pgha-gen/generator/cloud"
	"pgha-gen/generator/role"
)

// Checked is what is to be said of a plan before it is deployed.
type Checked struct {
	Troubles []error // each would stop it
	Unknown  []error // what the account may not see
}

// Check looks for all that would stop a deployment by the account of this id: at
// once, and without changing anything. Of an account that is not known, it says
// nothing.
func Check(ctx context.Context, cc grpc.ClientConnInterface, p *cloud.Plan, account string) (*Checked, error) {
	folder, err := resourcemanager.NewFolderServiceClient(cc).Get(ctx, &resourcemanager.GetFolderRequest{FolderId: p.Folder})
	if err != nil {
		return nil, trouble("find folder "+p.Folder, err)
	}
	f, err := Look(ctx, cc, p)
	if err != nil {
		return nil, err
	}
	c := &checker{cc: cc, plan: p, found: f, cloud: folder.CloudId, caller: account}
	c.Troubles = f.troubles(p, true)
	for id, unseen := range f.routesUnseen {
		if unseen {
			c.Unknown = append(c.Unknown, errors.New("cannot see the routes of subnet "+id+": the account may not"))
		}
	}
	g := &group{}
	for _, check := range []func(context.Context) error{c.readers, c.writer, c.rights, c.zone, c.quotas} {
		g.Go(func() error { return check(ctx) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	byText := func(a, b error) int { return strings.Compare(a.Error(), b.Error()) }
	slices.SortFunc(c.Troubles, byText)
	slices.SortFunc(c.Unknown, byText)
	return &c.Checked, nil
}

// troubles are the reasons why what p wants cannot be made, as far as f tells;
// without machines, why what goes before them cannot.
func (f *Found) troubles(p *cloud.Plan, machines bool) []error {
	all := slices.Concat(f.givenTroubles(p), f.strangers(p))
	if f.taken != nil {
		all = append(all, f.taken)
	}
	if !machines {
		return all
	}
	all = append(all, f.waysOut(p)...)
	families := map[string]bool{}
	creates := map[string]bool{} // machines of a role
	for _, m := range p.Machines {
		if f.Machines[m.Name] != nil {
			continue
		}
		creates[m.Role] = true
		if !families[m.ImageFamily] && f.Images[m.ImageFamily] == "" {
			all = append(all, fmt.Errorf("machine %s: no image in family %s (bake one: sh packer/images.sh)", m.Name, m.ImageFamily))
		}
		families[m.ImageFamily] = true
		if err := f.addressTrouble(m); err != nil {
			all = append(all, err)
		}
	}
	for _, payload := range p.Payloads {
		if err := f.payloadTrouble(payload); creates[payload.Role] && err != nil {
			all = append(all, err)
		}
	}
	return all
}

// givenTroubles are about what the spec has ids of.
func (f *Found) givenTroubles(p *cloud.Plan) (all []error) {
	network := ""
	for _, g := range p.Given {
		at, ok := f.Given[g.ID]
		switch {
		case !ok:
			all = append(all, fmt.Errorf("%s: cannot find %s %s (is the id right, and does the account see it?)", g.Key, g.Kind, g.ID))
		case at.zone != g.Zone:
			all = append(all, fmt.Errorf("%s: %s %s is in zone %s, not in %s", g.Key, g.Kind, g.ID, at.zone, g.Zone))
		case at.network == "":
		case network != "" && at.network != network:
			all = append(all, fmt.Errorf("%s: %s %s is in network %s, and others of the spec are in %s (want one network)", g.Key, g.Kind, g.ID, at.network, network))
		default:
			network = at.network
		}
	}
	return all
}

// strangers are those that have a name of the cluster's and are not its own.
func (f *Found) strangers(p *cloud.Plan) (all []error) {
	add := func(kind, name string, labels map[string]string) {
		text := notOurs
		if kind == string(cloud.KindBucket) {
			text = notOurBucket
		}
		if labels[label] != p.Cluster {
			all = append(all, fmt.Errorf(text, kind, name, labels[label], p.Cluster))
		}
	}
	for _, one := range parts(p) {
		if there := f.Around[one.kind][one.name]; there != nil {
			add(string(one.kind), one.name, there.GetLabels())
		}
	}
	for _, m := range p.Machines {
		if m.Data != nil && f.Disks[m.Data.Name] != nil {
			add(disk, m.Data.Name, f.Disks[m.Data.Name].Labels)
		}
		if there := f.Machines[m.Name]; there != nil {
			add(machine, m.Name, there.Labels)
		}
	}
	return all
}

// addressTrouble is about the address of a machine that is to be created.
func (f *Found) addressTrouble(m *cloud.Machine) error {
	if !m.Address.IsValid() {
		return nil
	}
	id := f.id(cloud.KindSubnet, m.Subnet)
	if s, ok := f.Given[m.Subnet.ID].thing.(*vpc.Subnet); ok && !slices.ContainsFunc(s.V4CidrBlocks, func(block string) bool {
		p, err := netip.ParsePrefix(block)
		return err == nil && p.Contains(m.Address)
	}) {
		return fmt.Errorf("machine %s: its address %s is not one of subnet %s, which has %s", m.Name, m.Address, id, strings.Join(s.V4CidrBlocks, " and "))
	}
	for _, name := range slices.Sorted(maps.Keys(f.Machines)) {
		for _, nic := range f.Machines[name].NetworkInterfaces {
			if id != "" && nic.SubnetId == id && nic.GetPrimaryV4Address().GetAddress() == m.Address.String() {
				return fmt.Errorf("machine %s: its address %s is that of machine %s (choose another one in the spec)", m.Name, m.Address, name)
			}
		}
	}
	return nil
}

const fill = "pgha-gen secrets generate, and then pgha-cloud secrets push"

// payloadTrouble is about what a secret holds.
func (f *Found) payloadTrouble(p *cloud.Payload) error {
	there, _ := f.Around[cloud.KindSecret][p.Secret.Name].(*lockbox.Secret)
	if p.Secret.ID != "" {
		there, _ = f.Given[p.Secret.ID].thing.(*lockbox.Secret)
		if there == nil {
			return nil // it is said already
		}
	}
	if there == nil {
		return fmt.Errorf("secret %s is not there yet (pgha-cloud deploy base, %s)", p.Secret.Name, fill)
	}
	name := p.Secret.Name + p.Secret.ID
	if there.CurrentVersion == nil {
		return fmt.Errorf("secret %s has no version (%s)", name, fill)
	}
	missing := slices.DeleteFunc(slices.Clone(p.Entries), func(entry string) bool {
		return slices.Contains(there.CurrentVersion.PayloadEntryKeys, entry)
	})
	switch n := len(missing); {
	case n > 1:
		return fmt.Errorf("secret %s has no entry %s, and lacks %d more (%s)", name, missing[0], n-1, fill)
	case n == 1:
		return fmt.Errorf("secret %s has no entry %s (%s)", name, missing[0], fill)
	}
	return nil
}

// checker is one run of Check.
type checker struct {
	cc    grpc.ClientConnInterface
	plan  *cloud.Plan
	found *Found
	cloud string

	caller string // the account that deploys; empty: it is not known

	mu sync.Mutex
	Checked
}

func (c *checker) trouble(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Troubles = append(c.Troubles, fmt.Errorf(format, args...))
}

// unseen gives err, unless the account may not see it.
func (c *checker) unseen(what string, err error) error {
	if status.Code(err) != codes.PermissionDenied {
		return trouble(what, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Unknown = append(c.Unknown, errors.New("cannot "+what+": the account may not"))
	return nil
}

// waysOut are about subnets of machines that are to be created and read secrets:
// they reach Lockbox by their subnet alone, since they have no address that is
// known outside.
func (f *Found) waysOut(p *cloud.Plan) (all []error) {
	needs := map[cloud.Ref]bool{}
	for _, m := range p.Machines {
		if m.Account != nil && f.Machines[m.Name] == nil {
			needs[m.Subnet] = true
		}
	}
	if n := p.Network; n != nil && n.NAT == "" {
		var tables []*vpc.RouteTable
		for _, t := range f.Around[kindRoutes] {
			table, _ := t.(*vpc.RouteTable)
			tables = append(tables, table)
		}
		// Somebody may have given a route to what is there already.
		without := slices.ContainsFunc(n.Subnets, func(s cloud.Subnet) bool {
			there, _ := f.Around[cloud.KindSubnet][s.Name].(*vpc.Subnet)
			return needs[cloud.Ref{Name: s.Name}] && !slices.ContainsFunc(tables, func(t *vpc.RouteTable) bool { return t.Id == there.GetRouteTableId() && leadsOut(t) })
		})
		if without {
			all = append(all, errors.New("cloud.nat_gateway: the subnets that are created have no way out, and machines reach Lockbox by it (want true)"))
		}
	}
	for _, g := range p.Given {
		if _, ok := f.Given[g.ID].thing.(*vpc.Subnet); ok && needs[cloud.Ref{ID: g.ID}] && !f.routesUnseen[g.ID] && !leadsOut(f.routes[g.ID]) {
			all = append(all, fmt.Errorf("%s: subnet %s has no way out, and machines reach Lockbox by it (give it a route table with a route for 0.0.0.0/0 to a NAT gateway)", g.Key, g.ID))
		}
	}
	return all
}

// readers: accounts may read the secrets that the spec has ids of.
func (c *checker) readers(ctx context.Context) error {
	folder, err := bindings(func(token string) (*access.ListAccessBindingsResponse, error) {
		return resourcemanager.NewFolderServiceClient(c.cc).ListAccessBindings(ctx, &access.ListAccessBindingsRequest{ResourceId: c.plan.Folder, PageSize: pageSize, PageToken: token})
	})
	if err != nil {
		return c.unseen("see who has which role in folder "+c.plan.Folder, err)
	}
	for _, payload := range c.plan.Payloads {
		id := payload.Secret.ID
		if _, ok := c.found.Given[id].thing.(*lockbox.Secret); !ok {
			continue
		}
		own, err := bindings(func(token string) (*access.ListAccessBindingsResponse, error) {
			return lockbox.NewSecretServiceClient(c.cc).ListAccessBindings(ctx, &access.ListAccessBindingsRequest{ResourceId: id, PageSize: pageSize, PageToken: token})
		})
		if err != nil {
			if err := c.unseen("see who may read secret "+id, err); err != nil {
				return err
			}
			continue
		}
		i := slices.IndexFunc(c.plan.Machines, func(m *cloud.Machine) bool { return m.Role == payload.Role && m.Account != nil })
		if i < 0 {
			continue
		}
		account := *c.plan.Machines[i].Account
		if reads := c.found.id(cloud.KindAccount, account); reads == "" || !slices.ContainsFunc(slices.Concat(own, folder), func(b *access.AccessBinding) bool {
			return b.Subject.GetId() == reads && slices.Contains([]string{payloadViewer, "lockbox.admin", "admin"}, b.RoleId)
		}) {
			c.trouble("secret %s: service account %s may not read it (give it the role %s on this secret)", id, account.ID+account.Name, payloadViewer)
		}
	}
	return nil
}

// bindings asks for one page after another.
func bindings(page func(token string) (*access.ListAccessBindingsResponse, error)) (all []*access.AccessBinding, _ error) {
	token := ""
	for {
		r, err := page(token)
		if err != nil {
			return nil, err
		}
		all = append(all, r.AccessBindings...)
		if token = r.NextPageToken; token == "" {
			return all, nil
		}
	}
}

// zone: the name of the entry point is one of the zone that the spec has the id
// of.
func (c *checker) zone(context.Context) error {
	b := c.plan.Balancer
	if b == nil || b.Record == nil {
		return nil
	}
	if zone, ok := c.found.Given[b.Record.Zone.ID].thing.(*dns.DnsZone); ok && !strings.HasSuffix("."+b.Record.Name, "."+zone.Zone) {
		c.trouble("cloud.dns_zone: zone %s is that of %s, and cloud.entry_point is %s (want a name in it)", zone.Id, strings.TrimSuffix(zone.Zone, "."), b.EntryPoint)
	}
	return nil
}

// needs are what is to be created, by the ids of the quotas on it.
func (f *Found) needs(p *cloud.Plan) map[string]int64 {
	n := map[string]int64{}
	size := map[role.DiskType]string{
		role.SSD: "compute.ssdDisks.size", role.HDD: "compute.hddDisks.size",
		role.NonReplicated: "compute.ssdNonReplicatedDisks.size", role.IOM3: "compute.ssdIOM3Disks.size",
	}
	disk := func(d role.Disk) {
		n["compute.disks.count"]++
		n[size[d.Type]] += int64(d.Size)
	}
	for _, m := range p.Machines {
		if f.Machines[m.Name] != nil {
			continue
		}
		n["compute.instances.count"]++
		n["compute.instanceCores.count"] += int64(m.Cores)
		n["compute.instanceMemory.size"] += int64(m.Memory)
		disk(m.Boot)
		if m.Data != nil && f.Disks[m.Data.Name] == nil {
			disk(m.Data.Disk)
		}
	}
	quota := map[cloud.Kind]string{
		cloud.KindNetwork: "vpc.networks.count", cloud.KindSubnet: "vpc.subnets.count", kindRoutes: "vpc.routeTables.count",
		cloud.KindSecurityGroup: "vpc.securityGroups.count", cloud.KindBalancer: "ylb.networkLoadBalancers.count", cloud.KindTargets: "ylb.targetGroups.count",
	}
	for _, one := range parts(p) {
		if id := quota[one.kind]; id != "" && f.Around[one.kind][one.name] == nil {
			n[id]++
		}
	}
	return n
}

// quotas: there is room for what is created. The cloud counts all of its folders.
func (c *checker) quotas(ctx context.Context) error {
	needs := c.found.needs(c.plan)
	client := quotamanager.NewQuotaLimitServiceClient(c.cc)
	g := &group{}
	unseen := sync.OnceValue(func() error {
		return c.unseen("see the quotas of cloud "+c.cloud, status.Error(codes.PermissionDenied, ""))
	})
	for id, need := range needs {
		g.Go(func() error {
			limit, err := client.Get(ctx, &quotamanager.GetQuotaLimitRequest{QuotaId: id, Resource: &quotamanager.Resource{Id: c.cloud, Type: "resource-manager.cloud"}})
			switch status.Code(err) {
			case codes.OK:
			case codes.NotFound:
				return nil // what it limits has no limit
			case codes.PermissionDenied:
				return unseen()
			default:
				return trouble("see quota "+id, err)
			}
			left := int64(limit.GetLimit().GetValue() - limit.GetUsage().GetValue())
			if limit.GetLimit() != nil && need > left {
				c.trouble("quota %s: %s more is needed, and %s of %s is left (ask for a higher one in the console, or want less in the spec)", id, amount(id, need), amount(id, left), amount(id, int64(limit.Limit.Value)))
			}
			return nil
		})
	}
	return g.Wait()
}

// amount is what a quota counts.
func amount(quota string, n int64) string {
	if strings.HasSuffix(quota, ".size") {
		return fmt.Sprintf("%dGB", n/gibibyte)
	}
	return fmt.Sprint(n)
}
