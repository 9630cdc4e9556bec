package generator

import "pgha-gen/generator/role"

// Fixed are the keys of the spec that a cluster takes when it is founded and
// never again, each with what of it, if not all.
func Fixed(c *role.Cluster) []role.FixedKey {
	all := []role.FixedKey{
		{Key: "name", Only: "under another one its data disks are refused"},
		{Key: "cloud.folder_id", Only: "in another one its data disks are refused"},
	}
	for _, p := range c.Groups {
		all = append(all, p.Plan.Fixed...)
	}
	return all
}
