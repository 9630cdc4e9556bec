package yandex

import (
	"fmt"
	"slices"
	"strings"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"

	"pgha-gen/generator/cloud"
)

// Verb is how what is there is to what the spec wants.
type Verb string

// The verbs.
const (
	Exists  Verb = "exists"
	Create  Verb = "create"
	Change  Verb = "change"  // it is made as the spec wants it
	Differs Verb = "differs" // it is left as it is
	Extra   Verb = "extra"   // it is the cluster's, and the spec does not want it; it is left as it is
)

// Item is a disk, a machine, or what is around them.
type Item struct {
	Verb       Verb
	Kind, Name string
	Says       string // how it differs
}

// Steps are what Do does, and what it leaves.
type Steps struct {
	Items []Item

	base  [][]*todo           // what goes before machines
	do    map[string]*created // what is created, by machine
	front [][]*todo           // what stands before machines that are there
	keep  []string            // machines with the permission to bootstrap, to be taken back
	await []string            // machines that are there and have not been ready
	ids   map[string]string   // of machines
	found *Found
}

// created is what is created for a machine.
type created struct {
	*cloud.Machine
	disk      bool // is created, too
	permitted bool // to bootstrap
	image     string
	diskID    string // once it is there
	id        string // once it is there
}

// Nothing tells whether there is nothing to do.
func (s *Steps) Nothing() bool {
	return len(s.base)+len(s.do)+len(s.front)+len(s.keep)+len(s.await) == 0
}

const (
	disk       = "disk"
	machine    = "machine"
	label      = "pgha-cluster"
	permission = "pgha-bootstrap"
	notOurs    = "%s %s is there and is not this cluster's: its label " + label + " is %q, not %q (delete it, or choose another name in the spec)"
	gibibyte   = 1 << 30

	notOurBucket = "%s %s is there and is not this cluster's: its tag " + label + " is %q, not %q (give backup.create_bucket: false if it is yours, or choose another name in the spec)"
)

// Plan is what is to be done so that what p wants is there. Or it is the first
// reason why it cannot be: nothing is begun that could not be finished.
func Plan(p *cloud.Plan, f *Found) (*Steps, error) {
	if all := f.troubles(p, true); len(all) > 0 {
		return nil, all[0]
	}
	s := newSteps(f)
	s.base = s.addParts(f, base(p))
	for _, machines := range p.Roles() {
		permitted := machines[0].Bootstraps && mayBootstrap(p, f, machines)
		for _, m := range machines {
			s.add(f, m, permitted)
		}
	}
	s.front = s.addParts(f, front(p))
	s.extra(p, f)
	return s, nil
}

// Base is Plan of what goes before machines alone. What nobody wants any more, only
// Plan tells.
func Base(p *cloud.Plan, f *Found) (*Steps, error) {
	if all := f.troubles(p, false); len(all) > 0 {
		return nil, all[0]
	}
	s := newSteps(f)
	s.base = s.addParts(f, base(p))
	return s, nil
}

func newSteps(f *Found) *Steps {
	return &Steps{do: map[string]*created{}, ids: map[string]string{}, found: f}
}

// mayBootstrap tells whether machines of a role that are created may bootstrap
// the cluster. Beside one whose permission was taken back, they join: there was
// a cluster. Where a deployment was interrupted, all of them still have it.
func mayBootstrap(p *cloud.Plan, f *Found, machines []*cloud.Machine) bool {
	for _, m := range machines {
		if there := f.Machines[m.Name]; there != nil && there.Metadata[permission] != p.Token {
			return false
		}
	}
	return !slices.ContainsFunc(machines, func(m *cloud.Machine) bool { return f.Machines[m.Name] != nil && f.ready(m.Name) })
}

func (s *Steps) add(f *Found, m *cloud.Machine, permitted bool) {
	c := &created{Machine: m, permitted: permitted, image: f.Images[m.ImageFamily]}
	if m.Data != nil {
		d := f.Disks[m.Data.Name]
		c.disk, c.diskID = d == nil, d.GetId()
		s.item(disk, m.Data.Name, d != nil, differsDisk(d, m))
	}
	there := f.Machines[m.Name]
	if there != nil {
		s.ids[m.Name] = there.Id
	}
	s.item(machine, m.Name, there != nil, differsMachine(there, m))
	if m.Bootstraps && (there != nil && there.Metadata[permission] != "" || there == nil && permitted) {
		s.keep = append(s.keep, m.Name)
	}
	if there != nil && !f.ready(m.Name) && (there.Metadata[permission] != "" || starts(there.Status)) {
		s.await = append(s.await, m.Name)
	}
	if there != nil {
		if c.disk {
			s.Items = s.Items[:len(s.Items)-2] // the machine has another one
			s.item(machine, m.Name, true, []string{"it has no data disk " + m.Data.Name})
		}
		return
	}
	s.do[m.Name] = c
}

func starts(s compute.Instance_Status) bool {
	return s == compute.Instance_PROVISIONING || s == compute.Instance_STARTING
}

func (s *Steps) item(kind, name string, there bool, differs []string) {
	one := Item{Exists, kind, name, strings.Join(differs, ", ")}
	switch {
	case !there:
		one.Verb = Create
	case len(differs) > 0:
		one.Verb = Differs
	}
	s.Items = append(s.Items, one)
}

func differsDisk(d *compute.Disk, m *cloud.Machine) (all []string) {
	if d == nil {
		return nil
	}
	all = differ(all, "zone", d.ZoneId, m.Zone)
	all = differ(all, "type", d.TypeId, string(m.Data.Type))
	return differ(all, "size", fmt.Sprintf("%dGB", d.Size/gibibyte), fmt.Sprintf("%dGB", int64(m.Data.Size)/gibibyte))
}

func differsMachine(i *compute.Instance, m *cloud.Machine) (all []string) {
	if i == nil {
		return nil
	}
	if i.Status != compute.Instance_RUNNING && !starts(i.Status) {
		all = append(all, "it is "+strings.ToLower(i.Status.String()))
	}
	all = differ(all, "zone", i.ZoneId, m.Zone)
	all = differ(all, "platform", i.PlatformId, m.Platform)
	all = differ(all, "cores", fmt.Sprint(i.Resources.GetCores()), fmt.Sprint(m.Cores))
	all = differ(all, "core fraction", fmt.Sprint(i.Resources.GetCoreFraction()), fmt.Sprint(m.CoreFraction))
	all = differ(all, "memory", fmt.Sprintf("%dGB", i.Resources.GetMemory()/gibibyte), fmt.Sprintf("%dGB", int64(m.Memory)/gibibyte))
	if m.Address.IsValid() && len(i.NetworkInterfaces) > 0 {
		all = differ(all, "address", i.NetworkInterfaces[0].GetPrimaryV4Address().GetAddress(), m.Address.String())
	}
	return all
}

func differ(all []string, what, is, want string) []string {
	if is == want {
		return all
	}
	return append(all, fmt.Sprintf("%s is %s, and the spec wants %s", what, is, want))
}

// extra are those of the cluster that the spec does not want.
func (s *Steps) extra(p *cloud.Plan, f *Found) {
	wanted := map[string]bool{}
	for _, m := range p.Machines {
		wanted[machine+m.Name] = true
		if m.Data != nil {
			wanted[disk+m.Data.Name] = true
		}
	}
	all := s.extraParts(p, f)
	for name, d := range f.Disks {
		if d.Labels[label] == p.Cluster && !wanted[disk+name] {
			all = append(all, Item{Extra, disk, name, ""})
		}
	}
	for name, m := range f.Machines {
		if m.Labels[label] == p.Cluster && !wanted[machine+name] {
			all = append(all, Item{Extra, machine, name, ""})
		}
	}
	slices.SortFunc(all, func(a, b Item) int { return strings.Compare(a.Kind+a.Name, b.Kind+b.Name) })
	s.Items = append(s.Items, all...)
}
