package patroni

import (
	"fmt"
	"slices"
	"time"

	"pgha-gen/generator/role"
)

// What Patroni and PostgreSQL themselves take; the names are of Patroni 4.1.5.
var (
	// ha.py, fetch_node_status: each replica asks all others how far they are, and
	// waits for one that is silent for 2 s.
	asks = role.Term{For: "the replicas ask each other", Interval: upTo(2 * time.Second)}
	// pg_ctl promote ends the recovery and writes a new timeline. With quorum and
	// strict a replica has to follow first: the watch on the leader key wakes it
	// while the other one is promoted.
	promotes = role.Term{For: "one is promoted", Interval: upTo(time.Second)}
	follows  = role.Term{For: "one is promoted, and another follows it", Interval: upTo(1500 * time.Millisecond)}
	// patroni_run.py has Patroni look ten times a second whether PostgreSQL has stopped
	// (postgresql/__init__.py, _do_stop). Then replicas have up to 1 s to catch up (ha.py,
	// on_shutdown); the leader asks them whether they have all, and gives the lease up.
	handsOver = []role.Term{
		{For: "Patroni sees that PostgreSQL has stopped", Interval: upTo(500 * time.Millisecond)},
		{For: "replicas get the rest", Interval: upTo(time.Second)},
		{For: "the leader asks the replicas", Interval: upTo(2 * time.Second)},
	}
	// disk_full.py and watch.py look once a second each.
	diskFull = role.Term{For: "the full disk is seen", Interval: upTo(3 * time.Second)}
	// patroni_run.py wakes Patroni when PostgreSQL has ended.
	notices = role.Term{For: "Patroni sees it", Interval: upTo(time.Second)}
)

const (
	systemdStops = 28 * time.Second // patroni.service.d/pgha.conf: TimeoutStopSec
	// config.yml's watchdog.safety_margin.
	safetyMargin = 5
)

func upTo(most time.Duration) role.Interval { return role.Interval{Most: most} }

// outages are what the timers make of each fault. Patroni renews the lease in
// each loop (etcd3.py, _update_leader), so one that is lost has between
// ttl-loop_wait and ttl to go. The replicas watch the key, and see its end at
// once.
func (s *Settings) outages(c *role.Cluster) []role.Outage {
	ttl, loop := seconds(s.TTL), seconds(s.LoopWait)
	lease := role.Term{For: fmt.Sprintf("the lease ends (ttl %d)", s.TTL), Interval: role.Interval{Least: ttl - loop, Most: ttl}}
	if dcs := c.DCS(); dcs != nil {
		lease.Interval = lease.Plus(dcs.Overdue)
	}
	lost, once, steady := s.elect(c, lease), "once the lease has ended", time.Duration(0)
	if s.Agreement.After > 0 {
		lost, steady = s.agree(), seconds(s.TTL+looksEvery)
		once = fmt.Sprintf("once the replicas have agreed; within %.0f s of a failover, or with a replica away, once the lease has ended", steady.Seconds())
	}
	all := []role.Outage{
		{Fault: role.LeaderLost, What: "leader's machine lost", Then: "another node leads " + once,
			Moves: true, Sessions: role.Hang, Terms: lost, Steady: steady, Loss: s.loses(c, loop)},
		{Fault: role.LeaderIsolated, What: "leader cut off from everything", Then: "another node leads " + once + "; this one stops writes before, and follows when it is back",
			Moves: true, Sessions: role.Hang, Terms: lost, Steady: steady, Loss: s.loses(c, ttl)},
		{Fault: role.ManagerHung, What: "leader's Patroni hangs", Then: "another node leads once the lease has ended; PostgreSQL takes writes until HAProxy or the watchdog ends its sessions",
			Moves: true, Sessions: role.Live, Terms: s.elect(c, lease), Loss: s.loses(c, ttl), Fences: s.fences()},
		{Fault: role.ManagerKilled, What: "leader's Patroni killed", Then: "nothing: PostgreSQL stays, and Patroni is started again at once",
			Terms: []role.Term{{For: "writes go on", Interval: role.Hiccup()}}},
		{Fault: role.DatabaseKilled, What: "leader's PostgreSQL killed", Then: s.crash(),
			Sessions: role.End, Terms: s.restart(c)},
		{Fault: role.DatabaseStuck, What: "leader's PostgreSQL killed, and it does not start", Then: fmt.Sprintf("another node leads (primary_start_timeout %d)", s.PrimaryStartTimeout),
			Moves: true, Sessions: role.End, Terms: s.elect(c, s.givesUp()...), Loss: s.loses(c, loop)},
		{Fault: role.LeaderStopped, What: "leader's machine stopped as planned", Then: "a checkpoint of up to 10 s while writes go on, then another node leads: usually within 3 s",
			Moves: true, Sessions: role.End, Terms: s.handOver(c)},
		{Fault: role.LeaderHandsOver, What: "switchover", Then: "another node leads once PostgreSQL has stopped: usually within 3 s",
			Moves: true, Sessions: role.End, Terms: s.handOver(c)},
		{Fault: role.LeaderDiskFull, What: "leader's data disk full", Then: "another node leads that has room",
			Moves: true, Sessions: role.End, Terms: s.handOver(c, diskFull)},
		s.replicaLost(c),
		{Fault: role.DCSMemberLost, What: "one etcd member lost", Then: "nothing: Patroni asks another",
			Terms: []role.Term{{For: "writes go on", Interval: role.Hiccup()}}},
		s.dcsLost(),
	}
	if s.leaders() > 1 {
		return all
	}
	all = slices.DeleteFunc(all, func(o role.Outage) bool { return o.Fault == role.LeaderHandsOver })
	for i, o := range all {
		if o.Moves {
			all[i].Then = "writes wait until it serves again: no other node may lead"
			all[i].Terms, all[i].Loss = []role.Term{{For: "it is away", Interval: upTo(role.Unbounded)}}, nil
		}
	}
	return all
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// leaders is how many nodes may lead.
func (s *Settings) leaders() int {
	n := 0
	for _, m := range s.Members {
		if m.Tags.leads() {
			n++
		}
	}
	return n
}

// elect is what passes until a node leads whose predecessor is gone.
func (s *Settings) elect(c *role.Cluster, before ...role.Term) []role.Term {
	last := promotes
	if s.commitsWait(c) {
		last = follows
	}
	return append(before, asks, last)
}

// commitsWait says whether a new leader acknowledges nothing before a replica
// follows it. With sync it does: Patroni chooses the replica afterwards (ha.py,
// process_sync_replication_prepromote).
func (s *Settings) commitsWait(c *role.Cluster) bool {
	return c.Durability == role.Quorum || c.Durability == role.Strict
}

// handOver is what passes when the leader stops PostgreSQL, and gives its
// lease up. primary_stop_timeout counts in synchronous modes alone (ha.py).
func (s *Settings) handOver(c *role.Cluster, before ...role.Term) []role.Term {
	stop := role.Term{For: fmt.Sprintf("PostgreSQL stops (primary_stop_timeout %d)", primaryStopTimeout), Interval: upTo(seconds(primaryStopTimeout))}
	if c.Durability == role.Async {
		stop = role.Term{For: "PostgreSQL stops", Interval: upTo(systemdStops)}
	}
	return s.elect(c, append(append(before, stop), handsOver...)...)
}

// looks is until Patroni's next loop.
func (s *Settings) looks() role.Term {
	return role.Term{For: fmt.Sprintf("Patroni sees it (loop_wait %d)", s.LoopWait), Interval: upTo(seconds(s.LoopWait))}
}

// crash is what happens after one.
func (s *Settings) crash() string {
	if s.PrimaryStartTimeout == 0 {
		return "another node leads (primary_start_timeout 0)"
	}
	return fmt.Sprintf("it is started again, usually within %d s", 1+min(2, s.PrimaryStartTimeout))
}

// streams is until a replica streams again. One that was refused tries again after
// PostgreSQL's wal_retrieve_retry_interval.
func (s *Settings) streams() role.Term {
	every := 5 * time.Second // PostgreSQL's own
	switch v := s.parameter("wal_retrieve_retry_interval").(type) {
	case int:
		every = time.Duration(v) * time.Millisecond
	case string:
		if d, err := time.ParseDuration(v); err == nil {
			every = d
		}
	}
	return role.Term{For: "a replica streams again", Interval: upTo(every + time.Second)}
}

// restart is what passes until PostgreSQL takes writes again where it was.
// With primary_start_timeout 0 it never is: another node leads.
func (s *Settings) restart(c *role.Cluster) []role.Term {
	recovers := role.Interval{Least: 100 * time.Millisecond, Most: seconds(s.PrimaryStartTimeout)}
	switch {
	case s.leaders() < 2:
		recovers.Most = role.Unbounded
	case s.PrimaryStartTimeout == 0:
		return s.elect(c, s.givesUp()...)
	}
	terms := []role.Term{notices, {For: fmt.Sprintf("PostgreSQL recovers (primary_start_timeout %d)", s.PrimaryStartTimeout), Interval: recovers}}
	if c.Durability != role.Async {
		terms = append(terms, s.streams())
	}
	return terms
}

// givesUp is what passes until a leader whose PostgreSQL does not start gives
// the lease up: ha.py, handle_starting_instance, looks in each loop, and stops
// PostgreSQL at once.
func (s *Settings) givesUp() []role.Term {
	if s.PrimaryStartTimeout == 0 {
		return []role.Term{notices}
	}
	p := seconds(s.PrimaryStartTimeout)
	return []role.Term{notices,
		{For: fmt.Sprintf("PostgreSQL does not start (primary_start_timeout %d)", s.PrimaryStartTimeout), Interval: role.Interval{Least: p, Most: p}},
		s.looks(),
		{For: "it is stopped", Interval: upTo(time.Second)},
		{For: "the leader asks the replicas", Interval: upTo(2 * time.Second)},
	}
}

// loses is what a node that takes over may lack: with durability async it may
// be behind what the leader last said in etcd by maximum_lag_on_failover
// (ha.py, is_lagging), and the leader went on. All others promote nobody who
// may lack an acknowledged commit.
func (s *Settings) loses(c *role.Cluster, written time.Duration) *role.Loss {
	if c.Durability != role.Async {
		return nil
	}
	return &role.Loss{Behind: s.MaximumLagOnFailover, Written: written}
}

// fences is after how long the watchdog resets a node whose Patroni hangs. It
// is only sure to be there if it is required.
func (s *Settings) fences() time.Duration {
	if s.Watchdog != WatchdogRequired {
		return 0
	}
	if margin, ok := s.configured("watchdog", "safety_margin").(int); ok {
		if margin < 0 {
			margin = s.TTL - s.TTL/2
		}
		return seconds(s.TTL - margin)
	}
	return seconds(s.TTL - safetyMargin)
}

// configured is a key of Patroni's configuration that the spec has, or nil.
func (s *Settings) configured(keys ...string) any {
	var at any = s.Config
	for _, key := range keys {
		m, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = m[key]
	}
	return at
}

// dcsLost is without any etcd member. In failsafe mode the leader asks all
// other nodes, and goes on if all of them answer.
func (s *Settings) dcsLost() role.Outage {
	o := role.Outage{Fault: role.DCSLost, What: "all of etcd away",
		Then:  "writes go on while the leader reaches all other nodes; nobody else can lead",
		Terms: []role.Term{{For: "writes go on", Interval: role.Hiccup()}}}
	if s.configured("bootstrap", "dcs", "failsafe_mode") == false {
		o.Then, o.Sessions = "the leader stops writes until etcd is back (failsafe_mode false)", role.End
		o.Terms = []role.Term{{For: "etcd is away", Interval: upTo(role.Unbounded)}}
	}
	return o
}

// replicaLost is what a commit waits for while a replica does not acknowledge:
// until its key in etcd has ended, which lives as long as a lease, and the
// leader looks, in each loop.
func (s *Settings) replicaLost(c *role.Cluster) role.Outage {
	replicas := -1 // without the leader
	for _, m := range s.Members {
		if t := m.Tags; !t.NoSync && !t.NoStream && t.SyncPriority > 0 {
			replicas++
		}
	}
	o := role.Outage{Fault: role.ReplicaLost, What: "a replica's machine lost",
		Terms: []role.Term{{For: "writes go on", Interval: role.Hiccup()}}}
	if c.Durability == role.Async {
		o.Then = "commits go on: they wait for no replica"
		return o
	}
	if c.Durability == role.Quorum && replicas > 1 {
		o.Then = "commits go on: another replica acknowledges them"
		return o
	}
	if replicas <= 1 && c.Durability == role.Strict {
		o.Then = "commits wait until it is back"
		o.Terms = []role.Term{{For: "it is away", Interval: upTo(role.Unbounded)}}
		return o
	}
	until, which := "another one is chosen", ""
	if replicas <= 1 {
		until = "Patroni no longer waits for it"
	}
	if c.Durability != role.Quorum {
		which = "if it is the chosen one, "
	}
	o.Then = fmt.Sprintf("%scommits wait until %s", which, until)
	key := upTo(seconds(s.TTL))
	if dcs := c.DCS(); dcs != nil {
		key = key.Plus(dcs.Overdue)
	}
	o.Terms = append(o.Terms, role.Term{For: fmt.Sprintf("its key in etcd ends (ttl %d)", s.TTL), Interval: key},
		role.Term{For: fmt.Sprintf("the leader looks (loop_wait %d)", s.LoopWait), Interval: upTo(seconds(s.LoopWait))})
	return o
}
