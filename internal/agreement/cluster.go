// Package agreement is a model of failover by agreement: it tries every order
// in which a small cluster can do what it does.
package agreement

import (
	"fmt"
	"math/bits"
)

// What a model may have at most.
const (
	maxNodes  = 4
	maxLog    = 6
	maxWrites = 3
)

// nobody is in the place of a node.
const nobody = -1

// cluster is the state of everything. It is comparable, and copied for each
// step.
//
// There is no network in it: a message that is late, lost, or on a link that is
// cut in one direction is a step that is not taken, or taken later.
type cluster struct {
	nodes [maxNodes]node
	etcd  etcd
	acked [maxWrites]write // acknowledged to clients
	// How often more may happen what could happen for ever.
	writes, crashes, changes int8
}

// node is a machine with PostgreSQL, Patroni, and the agent of the agreement.
type node struct {
	up      bool
	primary bool           // PostgreSQL takes writes
	log     wal            // what is on its disk
	source  int8           // whom it streams from
	told    [maxNodes]int8 // how much of the log it told each primary that it has

	standbys set  // synchronous_standby_names: ANY count (standbys)
	count    int8 // 0: commits wait for nobody

	loaded snapshot // what Patroni works by as a leader, until it loads again
	fit    bool     // as Patroni found when there was no leader
	// It has taken the leader key, and will promote PostgreSQL without another look.
	promoting int8 // the term of that key; 0: no

	cut     int8 // the term of the leader that it has cut itself off from; 0: none
	cutFrom int8
}

// etcd is a linearizable store.
type etcd struct {
	leader   lease
	sync     syncKey
	marks    [maxNodes]int8 // of each node: the term of the leader that it refuses to hear
	timeline int8           // the last in /history
	known    int8           // whose it is: the term of that promotion
	// /sync as it was at the last cut-off, where that is what marks are counted by.
	before syncKey
}

// lease is the key /leader. The term is the revision that wrote it; renewals
// write nothing.
type lease struct{ owner, term int8 }

// syncKey is Patroni's /sync: quorum+1 of leader and voters have every
// acknowledged commit between them.
type syncKey struct {
	leader int8
	voters set
	quorum int8
	// The leader's when it wrote the key. No program has it; the model needs it to
	// say what it assumes.
	term int8
}

// snapshot is what Patroni has loaded. It is stale when /sync has another
// version since.
type snapshot struct {
	valid, stale bool
	sync         syncKey
	newTimeline  bool // /history has not the leader's
}

// set is a set of nodes.
type set uint8

func (s set) has(n int) bool    { return s>>n&1 == 1 }
func (s set) with(n int8) set   { return s | 1<<n }
func (s set) without(n int) set { return s &^ (1 << n) }
func (s set) size() int8        { return int8(bits.OnesCount8(uint8(s))) }
func (s set) within(o set) bool { return s&^o == 0 }

func (s set) String() string {
	text := "{"
	for n := range maxNodes {
		if s.has(n) {
			text += string(rune('a' + n))
		}
	}
	return text + "}"
}

// wal is a log. An entry has the term of the leader that wrote it: twice it for a
// write, and one more for the record of its promotion. An entry and its place
// name a write: no leader writes twice at one place.
type wal struct {
	entries [maxLog]int8
	end     int8
}

// write is one in a log; of none, entry is 0.
type write struct{ place, entry int8 }

func (l *wal) add(entry int8) {
	l.entries[l.end] = entry
	l.end++
}

func (l *wal) holds(w write) bool { return w.place < l.end && l.entries[w.place] == w.entry }

func (l *wal) starts(other *wal) bool { return l.common(other) == l.end }

// common is how much two logs have in common.
func (l *wal) common(other *wal) int8 {
	n := int8(0)
	for n < l.end && n < other.end && l.entries[n] == other.entries[n] {
		n++
	}
	return n
}

func (l *wal) cutAt(end int8) {
	for l.end > end {
		l.end--
		l.entries[l.end] = 0
	}
}

// timeline is PostgreSQL's: one more with each promotion. Two nodes may call
// different ones by the same number.
func (l *wal) timeline() int8 {
	timeline := int8(1)
	for _, entry := range l.entries[:l.end] {
		if entry%2 == 1 {
			timeline++
		}
	}
	return timeline
}

// term is that of the last promotion in the log; the first leader had none.
func (l *wal) term() int8 {
	for n := l.end - 1; n >= 0; n-- {
		if l.entries[n]%2 == 1 {
			return l.entries[n] / 2
		}
	}
	return 1
}

func isWrite(entry int8) bool { return entry > 0 && entry%2 == 0 }

// ackable says whether a write on a primary has as many standbys as its
// synchronous_standby_names asks for. It may find so at any later time, too: what
// standbys told it may have been under way for long.
func (c *cluster) ackable(primary int, place int8) bool {
	n := &c.nodes[primary]
	have := int8(0)
	for s := range maxNodes {
		if n.standbys.has(s) && c.nodes[s].told[primary] > place {
			have++
		}
	}
	return have >= n.count
}

func (c *cluster) isAcked(w write) bool {
	for _, a := range c.acked {
		if a == w {
			return true
		}
	}
	return false
}

// ack notes a write, in the order of their places and entries.
func (c *cluster) ack(w write) {
	for i := range c.acked {
		if a := c.acked[i]; a.entry == 0 || w.place < a.place || w.place == a.place && w.entry < a.entry {
			c.acked[i], w = w, a
		}
	}
}

// setSync writes /sync. by has the new version, all others a stale one.
func (c *cluster) setSync(sync syncKey, by int) {
	c.etcd.sync = sync
	for i := range c.nodes {
		c.nodes[i].loaded.stale = c.nodes[i].loaded.valid
	}
	if by != nobody {
		c.nodes[by].loaded.stale, c.nodes[by].loaded.sync = false, sync
	}
}

// forget ends elections that have begun.
func (c *cluster) forget() {
	for i := range c.nodes {
		c.nodes[i].fit, c.nodes[i].promoting = false, 0
	}
}

// lost is an acknowledged write that a log has not.
func (c *cluster) lost(l *wal) (write, bool) {
	for _, w := range c.acked {
		if w.entry != 0 && !l.holds(w) {
			return w, true
		}
	}
	return write{}, false
}

// lacking is how many of these nodes have not all that is acknowledged, and all
// that the leader had when it was promoted: the one before may acknowledge that
// still.
func (c *cluster) lacking(leader int, s set) int8 {
	n := int8(0)
	for i := range maxNodes {
		if !s.has(i) {
			continue
		}
		if _, lost := c.lost(&c.nodes[i].log); lost || c.nodes[i].log.term() < c.nodes[leader].log.term() {
			n++
		}
	}
	return n
}

func name(n int) string { return string(rune('a' + n)) }

func (w write) String() string { return fmt.Sprintf("write %d of term %d", w.place, w.entry/2) }
