package generator

import "pgha-gen/generator/role"

// Fixed are the keys of the spec that a cluster takes when it is founded and
// never again, each with what of it, if not all.
func Fixed(c *role.Cluster) []role.Fact {
	all := []role.Fact{
		{Name: "name", Value: "under another one its data disks are refused"},
		{Name: "cloud.folder_id", Value: "in another one its data disks are refused"},
	}
	for _, p := range c.Parts {
		all = append(all, p.Settings.Guide(c).Fixed...)
	}
	return all
}
