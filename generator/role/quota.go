package role

import (
	"fmt"

	"pgha-gen/generator/specfile"
)

// Need is how much of something the cluster takes from the cloud.
type Need struct {
	What   string // such as cores
	Amount string
	Quota  string // what a new cloud may have of it
	Over   bool   // the amount is more than that
}

// Needs are what all machines and disks take together, and networks where
// each bake makes its own. The quotas are a new cloud's (the table of quotas
// and limits of Compute Cloud, and of Virtual Private Cloud); support raises
// them.
func (c *Cluster) Needs() []Need {
	machines, cores, disks := 0, 0, 0
	var memory specfile.Size
	disk := map[DiskType]specfile.Size{}
	for _, g := range c.Groups {
		m := g.Settings.Machines()
		n := len(m.Nodes)
		each := []Disk{m.BootDisk}
		if m.DataDisk != nil {
			each = append(each, *m.DataDisk)
		}
		machines += n
		cores += n * m.Cores
		memory += specfile.Size(n) * m.Memory
		disks += n * len(each)
		for _, d := range each {
			disk[d.Type] += specfile.Size(n) * d.Size
		}
	}
	all := []Need{
		need("machines", machines, 12),
		need("cores", cores, 32),
		need("memory", memory, 128*specfile.GiB),
		need("disks", disks, 32),
	}
	for _, d := range []Disk{{SSD, 200 * specfile.GiB}, {HDD, 500 * specfile.GiB}, {NonReplicated, 558 * specfile.GiB}, {IOM3, 186 * specfile.GiB}} {
		if disk[d.Type] > 0 {
			all = append(all, need(string(d.Type), disk[d.Type], d.Size))
		}
	}
	if c.Images.Builder.Networks() && c.Images.Bake.SubnetID == "" && c.Cloud.bringsSubnets() {
		all = append(all, need("networks, one for each bake", len(c.Groups), 2))
	}
	if c.Cloud.CreatesNetwork() {
		all = append(all, need("networks", 1, 2))
	}
	if !c.Cloud.bringsSubnets() {
		all = append(all, need("subnets", len(c.Cloud.Subnets), 6))
	}
	if c.Cloud.CreateSecurityGroups {
		all = append(all, need("security groups", len(c.Groups), 10))
	}
	placed := 0
	for _, g := range c.Groups {
		placed += len(c.Together(g))
	}
	if placed > 0 {
		all = append(all, need("placement groups", placed, 2))
	}
	return all
}

func need[A ~int | ~int64](what string, amount, quota A) Need {
	return Need{what, fmt.Sprint(amount), fmt.Sprint(quota), amount > quota}
}
