package agreement

import "fmt"

// Model is a cluster of one leader and standbys, and how it differs from what
// docs/failover-by-agreement.md says.
type Model struct {
	Standbys int // 2 or 3
	Count    int // synchronous_node_count
	// How often it may happen, at most.
	Writes, Crashes, Changes, Terms int
	Without                         Rule // one rule that is not kept
	Plain                           bool // Patroni alone: there is no agreement
}

// Rule is a part of the protocol, or what it rests on.
type Rule string

// The rules: first those of the protocol, then what it rests on.
const (
	CutBeforeMark     Rule = "a standby cuts itself off before it marks"
	AllVotersMark     Rule = "all voters have marked, not only quorum+1 of them"
	EnoughMarks       Rule = "no fewer than quorum+1 voters have marked"
	MarksOfTerm       Rule = "marks count for the leader's term alone"
	MarkEndsBeforeCut Rule = "a cut-off lasts longer than its mark"
	CutOutlivesStart  Rule = "a standby that restarts is still cut off"
	SyncAsItIs        Rule = "the marks are counted by the /sync that there is when the leader key is removed"
	SyncTouched       Rule = "with the leader key, /sync gets a new version"
	CutUntilResult    Rule = "a cut-off lasts until the leader key is there, or another leads"
	NoYoungKey        Rule = "a leader key is removed when no election before it can go on"
	TimelineIsKnown   Rule = "/history has the timeline of who marks"

	LeaseIsKept       Rule = "a leader has stopped when its lease ends"
	FormerLeaderWaits Rule = "the leader in /sync, which needs no votes, does not lead alone if another has led since"
	ReplicaCaughtUp   Rule = "Patroni counts a replica as a voter when it has what the leader had"
)

// step is one that a cluster can take.
type step struct {
	name  string
	after cluster
	wrong string // why that must not happen
}

type walk struct {
	m     *Model
	c     *cluster
	named bool // steps are to have names, which take time to make
	add   func(step)
}

func (w *walk) say(format string, of ...any) string {
	if !w.named {
		return ""
	}
	return fmt.Sprintf(format, of...)
}

func (m *Model) keeps(r Rule) bool { return m.Without != r }

// start is the cluster in its usual state: the first node leads, and all
// others are its synchronous standbys.
func (m *Model) start() cluster {
	var c cluster
	all := set(1<<(m.Standbys+1) - 1)
	for i := range m.Standbys + 1 {
		c.nodes[i] = node{up: true, source: 0}
	}
	for i := m.Standbys + 1; i < maxNodes; i++ {
		c.nodes[i].source = nobody
	}
	c.nodes[0].source, c.nodes[0].primary = nobody, true
	c.nodes[0].standbys, c.nodes[0].count = all.without(0), int8(m.Count)
	c.etcd.leader = lease{0, 1}
	c.etcd.sync = syncKey{leader: 0, voters: all.without(0), quorum: int8(m.Standbys - m.Count), term: 1}
	c.etcd.timeline, c.etcd.known = 1, 1
	c.writes, c.crashes, c.changes = int8(m.Writes), int8(m.Crashes), int8(m.Changes)
	return c
}

// steps are all that can happen next.
func (m *Model) steps(c *cluster, named bool, add func(step)) {
	w := walk{m, c, named, add}
	for i := range m.Standbys + 1 {
		if !c.nodes[i].up {
			w.restart(i)
			continue
		}
		w.crash(i)
		if c.nodes[i].primary {
			w.write(i)
			w.acknowledge(i)
			w.load(i)
			w.changeSync(i)
			w.changeStandbys(i)
			w.takeOver(i)
		} else {
			w.follow(i)
			w.stream(i)
			w.promote(i)
		}
		w.race(i)
		if !m.Plain {
			w.cutOff(i)
			w.mark(i)
			w.lift(i)
		}
	}
	w.expire()
	if !m.Plain {
		w.unmark()
		w.remove()
	}
}

// do is a step that changes a copy of the cluster.
func (w *walk) do(name string, change func(*cluster)) {
	w.try(name, func(c *cluster) string { change(c); return "" })
}

// try is do that can be wrong.
func (w *walk) try(name string, change func(*cluster) string) {
	after := *w.c
	wrong := change(&after)
	w.add(step{name, after, wrong})
}

// PostgreSQL.

func (w *walk) write(i int) {
	n := &w.c.nodes[i]
	if w.c.writes == 0 || n.log.end == maxLog {
		return
	}
	w.do(w.say("%c writes", 'a'+i), func(c *cluster) {
		c.writes--
		c.nodes[i].log.add(2 * n.log.term())
	})
}

func (w *walk) acknowledge(i int) {
	log := &w.c.nodes[i].log
	for place := range log.end {
		this := write{place, log.entries[place]}
		if !isWrite(this.entry) || w.c.isAcked(this) || !w.c.ackable(i, place) {
			continue
		}
		w.try(w.say("%c acknowledges %s", 'a'+i, this), func(c *cluster) string {
			c.ack(this)
			for j := range c.nodes {
				if other := &c.nodes[j]; other.primary && other.log.term() > log.term() && !other.log.holds(this) {
					return fmt.Sprintf("%s leads since then, and does not have it", name(j))
				}
			}
			return ""
		})
	}
}

// stream brings an entry of the source's log to the disk of a standby, which
// tells the source. What the source had sent before a cut-off and was not on the
// disk is gone with the walreceiver; what the standby told may still be under way.
func (w *walk) stream(i int) {
	n := &w.c.nodes[i]
	if n.source == nobody || n.cut > 0 && n.cutFrom == n.source {
		return
	}
	source := &w.c.nodes[n.source]
	if !source.up || !source.primary {
		return
	}
	switch {
	case !n.log.starts(&source.log):
		if w.c.etcd.leader.owner == n.source { // Patroni rewinds to the leader alone
			w.do(w.say("%c is rewound", 'a'+i), func(c *cluster) { c.nodes[i].log.cutAt(n.log.common(&source.log)) })
		}
	case n.log.end < source.log.end:
		w.do(w.say("%c streams from %c", 'a'+i, 'a'+n.source), func(c *cluster) {
			c.nodes[i].log.add(source.log.entries[n.log.end])
			c.nodes[i].told[n.source] = n.log.end + 1
		})
	case n.told[n.source] != n.log.end:
		w.do(w.say("%c tells %c how far it is", 'a'+i, 'a'+n.source), func(c *cluster) {
			c.nodes[i].told[n.source] = n.log.end
		})
	}
}

func (w *walk) crash(i int) {
	if w.c.crashes == 0 {
		return
	}
	w.do(w.say("%c stops", 'a'+i), func(c *cluster) {
		c.crashes--
		c.stop(i)
	})
}

// stop is the end of all processes of a node. What it told is gone, too, if
// it leads again: those are other connections.
func (c *cluster) stop(i int) {
	n := &c.nodes[i]
	n.up = false
	c.demote(i)
	n.fit, n.promoting = false, 0
}

// demote is PostgreSQL's restart as a standby that follows nobody yet.
func (c *cluster) demote(i int) {
	n := &c.nodes[i]
	n.primary, n.source, n.standbys, n.count, n.loaded = false, nobody, 0, 0, snapshot{}
	for j := range c.nodes {
		c.nodes[j].told[i] = 0
	}
}

func (w *walk) restart(i int) {
	w.do(w.say("%c starts", 'a'+i), func(c *cluster) {
		c.nodes[i].up = true
		if !w.m.keeps(CutOutlivesStart) {
			c.nodes[i].cut, c.nodes[i].cutFrom = 0, 0
		}
	})
}

// Patroni.

// load is the start of a leader's loop. It can take as long as it wants to
// until the next one, and works by what it has loaded: the renewal of the lease
// does not look at the key (etcd3.py, _update_leader).
func (w *walk) load(i int) {
	switch w.c.etcd.leader.owner {
	case int8(i):
		n := &w.c.nodes[i]
		differs := w.c.etcd.timeline != n.log.timeline() || w.c.etcd.known != n.log.term()
		if now := (snapshot{valid: true, sync: w.c.etcd.sync, newTimeline: differs}); w.c.nodes[i].loaded != now {
			w.do(w.say("%c loads", 'a'+i), func(c *cluster) { c.nodes[i].loaded = now })
		}
	case nobody: // see race
	default:
		w.do(w.say("%c sees another leader and stops", 'a'+i), func(c *cluster) { c.demote(i) })
	}
}

// overlap is Patroni's invariant (quorum.py, check_invariants): who can
// acknowledge a commit and who can elect a leader have a node in common.
func overlap(leader int, sync syncKey, standbys set, count int8) bool {
	voters, acks := sync.voters.with(sync.leader), standbys.with(int8(leader))
	return sync.voters == 0 || (voters|acks).size() <= sync.quorum+count+1 && (voters.within(acks) || acks.within(voters))
}

// changeSync is any change of /sync that keeps the invariant, of which Patroni
// takes some: to any voters, with as large a quorum as they need. It is lost if
// /sync has changed since it was loaded.
func (w *walk) changeSync(i int) {
	n := &w.c.nodes[i]
	if !n.loaded.valid || n.loaded.stale || w.c.changes == 0 || n.loaded.sync.leader != int8(i) {
		return
	}
	for voters := set(0); voters < 1<<(w.m.Standbys+1); voters++ {
		sync := syncKey{int8(i), voters, voters.size() - min(int8(w.m.Count), voters.size()), n.log.term()}
		if voters.has(i) || voters == w.c.etcd.sync.voters || !overlap(i, sync, n.standbys, n.count) {
			continue
		}
		if w.m.keeps(ReplicaCaughtUp) && voters != 0 && w.c.lacking(i, voters) > sync.quorum {
			continue
		}
		w.do(w.say("%c sets /sync to %d of %s", 'a'+i, sync.quorum, voters), func(c *cluster) {
			c.changes--
			c.setSync(sync, i)
		})
	}
}

// changeStandbys is the same of synchronous_standby_names.
func (w *walk) changeStandbys(i int) {
	n := &w.c.nodes[i]
	if !n.loaded.valid || w.c.changes == 0 || n.loaded.sync.leader != int8(i) {
		return
	}
	for standbys := set(0); standbys < 1<<(w.m.Standbys+1); standbys++ {
		count := min(int8(w.m.Count), standbys.size())
		if standbys.has(i) || standbys == n.standbys && count == n.count || !overlap(i, n.loaded.sync, standbys, count) {
			continue
		}
		w.do(w.say("%c waits for %d of %s", 'a'+i, count, standbys), func(c *cluster) {
			c.changes--
			c.nodes[i].standbys, c.nodes[i].count = standbys, count
		})
	}
}

// takeOver is what a new leader does in its first loops: it writes itself into
// /sync, and then its timeline into /history, whatever is there by then.
func (w *walk) takeOver(i int) {
	n := &w.c.nodes[i]
	if !n.loaded.valid {
		return
	}
	sync := n.loaded.sync
	if sync.leader == int8(i) {
		if n.loaded.newTimeline {
			w.do(w.say("%c writes its timeline into /history", 'a'+i), func(c *cluster) {
				c.etcd.timeline, c.etcd.known = n.log.timeline(), n.log.term()
				c.nodes[i].loaded.newTimeline = false
			})
		}
		return
	}
	if n.loaded.stale {
		return
	}
	sync.voters = sync.voters.with(sync.leader).without(i)
	sync.leader, sync.term = int8(i), n.log.term()
	if !overlap(i, sync, n.standbys, n.count) {
		sync.voters, sync.quorum = n.standbys, n.standbys.size()-n.count
		if w.m.keeps(ReplicaCaughtUp) && sync.voters != 0 && w.c.lacking(i, sync.voters) > sync.quorum {
			return
		}
	}
	w.do(w.say("%c writes itself into /sync", 'a'+i), func(c *cluster) { c.setSync(sync, i) })
}

// race is the election. First a node finds that it may lead (ha.py,
// is_healthiest_node), which asks others for what they have, those that it
// reaches; then it creates the leader key, if there is none.
func (w *walk) race(i int) {
	n := &w.c.nodes[i]
	leader := w.c.etcd.leader
	last := int(leader.term) == w.m.Terms
	if leader.owner == int8(i) && !n.primary && n.promoting == 0 && !last {
		// It has started anew, with another lease, which it writes into the key.
		w.do(w.say("%c keeps the leader key", 'a'+i), func(c *cluster) {
			c.etcd.leader.term++
			c.nodes[i].promoting = c.etcd.leader.term
		})
	}
	if leader.owner != nobody {
		return
	}
	if !n.fit && w.mayLead(i) {
		w.do(w.say("%c finds that it may lead", 'a'+i), func(c *cluster) { c.nodes[i].fit = true })
	}
	if !n.fit || last {
		return
	}
	w.try(w.say("%c takes the leader key", 'a'+i), func(c *cluster) string {
		c.etcd.leader = lease{int8(i), leader.term + 1}
		c.nodes[i].fit = false
		if w.m.keeps(NoYoungKey) {
			c.forget() // by the time that this key is gone, the others have failed to take it
		}
		if n.primary {
			return c.judge(i)
		}
		c.nodes[i].promoting = c.etcd.leader.term
		return ""
	})
}

func (w *walk) mayLead(i int) bool {
	n, sync := &w.c.nodes[i], w.c.etcd.sync
	if n.log.timeline() < w.c.etcd.timeline {
		return false
	}
	if n.primary { // it asks nobody
		return true
	}
	if sync.leader == int8(i) && (w.c.newest() <= sync.term || !w.m.keeps(FormerLeaderWaits)) { // it need not reach anybody
		return true
	}
	members := sync.voters.with(sync.leader)
	votes := int8(0)
	if !members.has(i) {
		votes = -1
	}
	for j := range w.m.Standbys + 1 {
		if other := &w.c.nodes[j]; j != i && members.has(j) && other.up && !other.primary && other.log.end <= n.log.end {
			votes++
		}
	}
	return votes >= sync.quorum
}

// newest is the last term that any log has a promotion of.
func (c *cluster) newest() int8 {
	newest := int8(0)
	for i := range c.nodes {
		newest = max(newest, c.nodes[i].log.term())
	}
	return newest
}

// promote makes a primary of a standby that has the leader key (ha.py,
// process_sync_replication_prepromote).
func (w *walk) promote(i int) {
	n := &w.c.nodes[i]
	if n.promoting == 0 || n.log.end == maxLog {
		return
	}
	w.try(w.say("%c is promoted", 'a'+i), func(c *cluster) string {
		members := c.etcd.sync.voters.with(c.etcd.sync.leader)
		n := &c.nodes[i]
		n.count = members.size() - c.etcd.sync.quorum - 1
		if !members.has(i) {
			n.count++
		}
		n.standbys = members.without(i)
		n.log.add(2*n.promoting + 1)
		n.primary, n.source, n.cut, n.cutFrom, n.fit, n.promoting = true, nobody, 0, 0, false, 0
		for j := range c.nodes {
			c.nodes[j].told[i] = 0
		}
		return c.judge(i)
	})
}

// judge says what is wrong with a node that leads.
func (c *cluster) judge(i int) string {
	if w, lost := c.lost(&c.nodes[i].log); lost {
		return fmt.Sprintf("%s leads without %s, which was acknowledged", name(i), w)
	}
	return ""
}

func (w *walk) follow(i int) {
	leader := w.c.etcd.leader.owner
	if leader == nobody || leader == int8(i) || w.c.nodes[i].source == leader {
		return
	}
	w.do(w.say("%c follows %c", 'a'+i, 'a'+leader), func(c *cluster) { c.nodes[i].source = leader })
}

// expire is the end of a lease that is not renewed. By then its owner has
// stopped, and all who led before; their loops, and elections that began before it
// began, are over.
func (w *walk) expire() {
	if w.c.etcd.leader.owner == nobody {
		return
	}
	for i := range w.c.nodes {
		if w.c.nodes[i].primary && w.m.keeps(LeaseIsKept) {
			return
		}
	}
	w.do(w.say("the lease of %c ends", 'a'+w.c.etcd.leader.owner), func(c *cluster) {
		c.etcd.leader.owner = nobody
		c.forget()
	})
}

// The agreement.

// cutOff is of a standby that believes its leader dead; it may err. From then
// on nothing that it sends reaches the leader.
func (w *walk) cutOff(i int) {
	n, leader := &w.c.nodes[i], w.c.etcd.leader
	if n.primary || n.cut > 0 || leader.owner == nobody || leader.owner == int8(i) || n.source != leader.owner {
		return
	}
	w.do(w.say("%c cuts itself off from %c", 'a'+i, 'a'+leader.owner), func(c *cluster) {
		c.nodes[i].cut, c.nodes[i].cutFrom = leader.term, leader.owner
		if !w.m.keeps(SyncAsItIs) {
			c.etcd.before = c.etcd.sync
		}
	})
	if !w.m.keeps(CutBeforeMark) && w.c.etcd.marks[i] != leader.term {
		w.do(w.say("%c marks before it is cut off", 'a'+i), func(c *cluster) { c.etcd.marks[i] = leader.term })
	}
}

func (w *walk) mark(i int) {
	n := &w.c.nodes[i]
	if n.cut == 0 || w.c.etcd.marks[i] == n.cut {
		return
	}
	w.do(w.say("%c marks against term %d", 'a'+i, n.cut), func(c *cluster) { c.etcd.marks[i] = n.cut })
}

// unmark is the end of a mark: its lease's, or because its node wants so.
func (w *walk) unmark() {
	for i, mark := range w.c.etcd.marks {
		if mark > 0 {
			w.do(w.say("the mark of %c ends", 'a'+i), func(c *cluster) { c.etcd.marks[i] = 0 })
		}
	}
}

// remove is the one transaction of the agreement.
func (w *walk) remove() {
	leader, sync := w.c.etcd.leader, w.c.etcd.sync
	if !w.m.keeps(SyncAsItIs) {
		sync = w.c.etcd.before
	}
	if leader.owner == nobody || sync.voters == 0 {
		return
	}
	marks := int8(0)
	for i := range w.m.Standbys + 1 {
		mark := w.c.etcd.marks[i]
		if !sync.voters.has(i) || mark == 0 || mark != leader.term && w.m.keeps(MarksOfTerm) {
			continue
		}
		if log := &w.c.nodes[i].log; (log.timeline() != w.c.etcd.timeline || log.term() != w.c.etcd.known) && w.m.keeps(TimelineIsKnown) {
			continue
		}
		marks++
	}
	need := sync.voters.size()
	switch w.m.Without {
	case AllVotersMark:
		need = sync.quorum + 1
	case EnoughMarks:
		need = sync.quorum
	}
	if marks < need {
		return
	}
	w.do(w.say("the marks remove the leader key of %c", 'a'+leader.owner), func(c *cluster) {
		c.etcd.leader.owner = nobody
		if w.m.keeps(NoYoungKey) {
			c.forget()
		}
		if w.m.keeps(SyncTouched) {
			c.setSync(c.etcd.sync, nobody)
		}
	})
}

// lift ends a cut-off. The node looks into etcd: first that its mark is gone,
// which nobody can make anew, then at the leader key.
func (w *walk) lift(i int) {
	n, leader := &w.c.nodes[i], w.c.etcd.leader
	if n.cut == 0 || w.c.etcd.marks[i] == n.cut && w.m.keeps(MarkEndsBeforeCut) {
		return
	}
	back := leader.owner == n.cutFrom && leader.term >= n.cut
	if !back && n.log.term() <= n.cut && w.m.keeps(CutUntilResult) {
		return
	}
	w.do(w.say("%c ends its cut-off", 'a'+i), func(c *cluster) { c.nodes[i].cut, c.nodes[i].cutFrom = 0, 0 })
}
