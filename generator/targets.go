package generator

import (
	"slices"
	"time"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// checkTargets reports each target that the prediction misses, and what would
// meet it. with gives the same cluster with another preset.
func checkTargets(c *role.Cluster, at specfile.Place, with func(role.Failover) (*role.Cluster, error)) {
	if target := time.Duration(c.Targets.Failover); target > 0 {
		checkFailover(c, target, at.Key("failover"), with)
	}
	if c.Targets.LostRows == role.NoTarget {
		return
	}
	all := c.Outages()
	if i := slices.IndexFunc(all, func(o role.Outage) bool { return o.Loss != nil }); i >= 0 {
		at.Key("lost_rows").Problem("%d, but with durability %s the fault %q may lose rows that were acknowledged: %s (want another durability, such as %s)",
			c.Targets.LostRows, c.Durability, all[i].What, all[i].Loss, role.Quorum)
	}
}

func checkFailover(c *role.Cluster, target time.Duration, at specfile.Place, with func(role.Failover) (*role.Cluster, error)) {
	worst := longest(c)
	gap := worst.Gap().Most
	switch {
	case gap <= target:
		return
	case gap == role.Unbounded:
		at.Problem("%s, but after the fault %q %s (change that, or leave the target out)", c.Targets.Failover, worst.What, worst.Then)
		return
	}
	instead := "; most of it: " + worst.Longest().For
	for _, preset := range []role.Failover{role.Safe, role.Balanced, role.Fast} {
		if other, err := with(preset); err == nil && longest(other).Gap().Most <= target {
			instead = ", or failover " + string(preset)
			break
		}
	}
	at.Problem("%s, but after the fault %q nobody can write for %s (want at least %ds%s)",
		c.Targets.Failover, worst.What, worst.Gap(), (gap+time.Second-1)/time.Second, instead)
}

// longest is the worst of the faults after which another node leads; of none,
// nothing takes any time.
func longest(c *role.Cluster) role.Outage {
	var worst role.Outage
	for _, o := range c.Outages() {
		if o.Moves && o.Gap().Most > worst.Gap().Most {
			worst = o
		}
	}
	return worst
}
