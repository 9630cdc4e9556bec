package patroni

import (
	"maps"
	"slices"
	"strings"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

func (s *Settings) checkDurability(c *role.Cluster, at specfile.Place) {
	sync, leaders := 0, 0
	for _, m := range s.Members {
		if !m.Tags.NoSync && m.Tags.SyncPriority > 0 {
			sync++
		}
		if m.Tags.leads() {
			leaders++
		}
	}
	switch n := len(s.Members); {
	case n == 0:
		return // said already
	case leaders == 0:
		at.Key("nodes").Problem("no node may lead (take nofailover, or failover_priority 0, away from two)")
	case n > 1 && leaders == 1:
		at.Key("nodes").Warn("only one node may lead: there is no failover (take nofailover, or failover_priority 0, away from another)")
	case n == 1:
		at.Key("nodes").Warn("one node: its loss is an outage (want 3)")
	}
	if c.Durability == role.Async || !specfile.Known(at.Root().Key("durability")) {
		return
	}
	switch {
	case sync < 2:
		at.Key("nodes").Problem("durability %s needs two nodes that may be synchronous, have %d (add nodes, or choose durability async)", c.Durability, sync)
	case sync == 2 && c.Durability == role.Strict:
		at.Key("nodes").Warn("durability strict with two synchronous nodes: while either is down, every write waits (want 3)")
	}
}

func (t Tags) leads() bool { return !t.NoFailover && t.FailoverPriority > 0 }

func (s *Settings) checkTags(at specfile.Place, durability role.Durability) {
	names := map[string]bool{}
	follows := map[string][]string{}
	for _, m := range s.Members {
		names[m.Name] = true
		if from := m.Tags.ReplicateFrom; from != "" && from != m.Name {
			follows[m.Name] = []string{from}
		}
	}
	cycles := cycles(follows)
	for i, m := range s.Members {
		tags := at.Index(i).Key("tags")
		for _, p := range []struct {
			key, never string
			value      int
			off        bool
			effect     string
		}{
			{"failover_priority", "nofailover", m.Tags.FailoverPriority, m.Tags.NoFailover, "leads"},
			{"sync_priority", "nosync", m.Tags.SyncPriority, m.Tags.NoSync, "is chosen"},
		} {
			switch {
			case p.value < 0:
				tags.Key(p.key).Problem("%d (want 0, never, or more: the highest %s first)", p.value, p.effect)
			case p.value > 1 && p.off:
				tags.Key(p.key).Problem("%d contradicts %s (keep one)", p.value, p.never)
			}
		}
		if durability == role.Quorum && m.Tags.FailoverPriority > 1 && !m.Tags.NoFailover {
			tags.Key("failover_priority").Warn("Patroni does not honour it with durability quorum (want sync or strict)")
		}
		switch from := m.Tags.ReplicateFrom; {
		case from == "":
		case from == m.Name:
			tags.Key("replicatefrom").Problem("a node cannot replicate from itself (name another, or leave it out)")
		case !names[from] && specfile.Known(at.Each("name")...):
			tags.Key("replicatefrom").Problem("unknown node %q (want one of this list)", from)
		default:
			if path := cycles[edge{m.Name, from}]; path != nil {
				tags.Key("replicatefrom").Problem("a circle: %s (none of them would get anything from the leader)", chain(m.Name, "follows", path))
			}
		}
	}
}

// An edge leads from one name to another.
type edge struct{ from, to string }

// cycles are the edges that close a cycle, each with the path from its end to
// its start.
func cycles(edges map[string][]string) map[edge][]string {
	found := map[edge][]string{}
	done := map[string]bool{}
	depth := map[string]int{} // of those on the path
	var path []string
	var walk func(at string)
	walk = func(at string) {
		depth[at] = len(path)
		path = append(path, at)
		for _, to := range edges[at] {
			if first, on := depth[to]; on {
				found[edge{at, to}] = slices.Clone(path[first:])
			} else if !done[to] {
				walk(to)
			}
		}
		path = path[:len(path)-1]
		delete(depth, at)
		done[at] = true
	}
	for _, at := range slices.Sorted(maps.Keys(edges)) {
		if !done[at] {
			walk(at)
		}
	}
	return found
}

// chain is a path in words: a follows b, which follows c.
func chain(from, verb string, path []string) string {
	return from + " " + verb + " " + strings.Join(path, ", which "+verb+" ")
}
