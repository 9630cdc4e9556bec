package agreement

import (
	"hash/maphash"
	"slices"
	"unsafe"
)

// Result is what a search found.
type Result struct {
	States int      // as many different ones the cluster can be in
	Term   int      // the last in which a write was acknowledged
	Wrong  string   // what must not be; empty: nothing
	Trace  []string // the fewest steps that lead there
}

// id tells states apart, by 128 bits of a hash.
type id [2]uint64

// Search tries every order of steps. Two states in which the standbys have only
// changed names are the same.
func (m *Model) Search() Result {
	seeds := [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	names := renamings(m.Standbys)
	identify := func(c *cluster) id {
		least := hash(c, seeds)
		for _, to := range names[1:] {
			other := c.renamed(to)
			if h := hash(&other, seeds); slices.Compare(h[:], least[:]) < 0 {
				least = h
			}
		}
		return least
	}
	type origin struct {
		parent int32
		nth    int16 // of the parent's steps
	}
	start := m.start()
	seen := map[id]struct{}{identify(&start): {}}
	from := []origin{{-1, 0}}
	layer, first, term := []cluster{start}, 0, 0
	for len(layer) > 0 {
		var next []cluster
		for i := range layer {
			nth, last, at := int16(0), int16(0), int32(first+i)
			var wrong step
			m.steps(&layer[i], false, func(s step) {
				if s.wrong != "" && wrong.wrong == "" {
					wrong, last = s, nth
				}
				key := identify(&s.after)
				if _, known := seen[key]; !known {
					seen[key] = struct{}{}
					next = append(next, s.after)
					for _, w := range s.after.acked {
						term = max(term, int(w.entry)/2)
					}
					from = append(from, origin{at, nth})
				}
				nth++
			})
			if wrong.wrong != "" {
				way := []int16{last}
				for at := int32(first + i); from[at].parent >= 0; at = from[at].parent {
					way = append(way, from[at].nth)
				}
				slices.Reverse(way)
				return Result{len(seen), term, wrong.wrong, m.replay(way)}
			}
		}
		first += len(layer)
		layer = next
	}
	return Result{States: len(seen), Term: term}
}

func hash(c *cluster, seeds [2]maphash.Seed) id {
	// All fields are of one byte each, so there is nothing between them.
	bytes := (*[unsafe.Sizeof(*c)]byte)(unsafe.Pointer(c))[:]
	return id{maphash.Bytes(seeds[0], bytes), maphash.Bytes(seeds[1], bytes)}
}

// renaming says what each node is called instead.
type renaming [maxNodes]int8

// renamings are all ways to name the standbys, the first one as they are. The
// node that leads at the start keeps its name.
func renamings(standbys int) []renaming {
	all := []renaming{{0, 1, 2, 3}}
	for n := 2; n <= standbys; n++ {
		for _, r := range slices.Clone(all) {
			for k := 1; k < n; k++ {
				r := r
				r[k], r[n] = r[n], r[k]
				all = append(all, r)
			}
		}
	}
	return all
}

func (to renaming) node(n int8) int8 {
	if n == nobody {
		return nobody
	}
	return to[n]
}

func (to renaming) set(s set) set {
	renamed := set(0)
	for n := range maxNodes {
		if s.has(n) {
			renamed = renamed.with(to[n])
		}
	}
	return renamed
}

func (to renaming) sync(s syncKey) syncKey {
	s.leader, s.voters = to.node(s.leader), to.set(s.voters)
	return s
}

func (c *cluster) renamed(to renaming) cluster {
	r := *c
	for i := range c.nodes {
		n := c.nodes[i]
		n.source, n.cutFrom, n.standbys = to.node(n.source), to.node(n.cutFrom), to.set(n.standbys)
		if n.loaded.valid {
			n.loaded.sync = to.sync(n.loaded.sync)
		}
		for j, told := range c.nodes[i].told {
			n.told[to[j]] = told
		}
		r.nodes[to[i]] = n
		r.etcd.marks[to[i]] = c.etcd.marks[i]
	}
	r.etcd.leader.owner = to.node(c.etcd.leader.owner)
	r.etcd.sync, r.etcd.before = to.sync(c.etcd.sync), to.sync(c.etcd.before)
	return r
}

// replay are the names of steps, each by its place among those that are
// possible.
func (m *Model) replay(way []int16) []string {
	var names []string
	c := m.start()
	for _, want := range way {
		nth := int16(0)
		var taken step
		m.steps(&c, true, func(s step) {
			if nth == want {
				taken = s
			}
			nth++
		})
		names = append(names, taken.name)
		c = taken.after
	}
	return names
}
