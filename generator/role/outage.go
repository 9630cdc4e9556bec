package role

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"pgha-gen/generator/specfile"
)

// Fault is what breaks, or what is done on purpose.
type Fault string

// The faults. What is predicted of each is in the Plan of the role that knows;
// the leader is the node of the database that takes writes.
const (
	LeaderLost      Fault = "leader-lost"       // its machine is gone
	LeaderIsolated  Fault = "leader-isolated"   // it runs, and reaches nobody
	LeaderStopped   Fault = "leader-stopped"    // its machine is stopped as planned
	LeaderHandsOver Fault = "leader-hands-over" // an operator asks for another leader
	LeaderDiskFull  Fault = "leader-disk-full"  // its data disk
	ManagerHung     Fault = "manager-hung"      // what holds the leader's lease stands still, its database runs
	ManagerKilled   Fault = "manager-killed"    // the same is killed
	DatabaseKilled  Fault = "database-killed"   // the leader's, and it starts again
	DatabaseStuck   Fault = "database-stuck"    // the same, and it does not start again
	ReplicaLost     Fault = "replica-lost"      // the machine of a node that does not lead
	DCSMemberLost   Fault = "dcs-member-lost"   // one machine of the DCS
	DCSLost         Fault = "dcs-lost"          // all of them
	ProxyLost       Fault = "proxy-lost"        // a machine of the proxy
	ProxyRestarted  Fault = "proxy-restarted"   // its service
)

const (
	// What a busy machine needs to send packets and to write to its disk, and a
	// client for a new session with TLS and SCRAM; measured on two cores.
	hiccup, reconnect = 500 * time.Millisecond, 500 * time.Millisecond

	Unbounded = time.Duration(math.MaxInt64) // longer than anybody can say
)

// Interval is how long something takes, as far as it is known in advance.
type Interval struct{ Least, Most time.Duration }

// Hiccup is how long a write may take although nothing is in its way.
func Hiccup() Interval { return Interval{0, hiccup} }

// Plus is both, one after the other. Least can be below zero: some time is saved.
func (i Interval) Plus(other Interval) Interval {
	if i.Most == Unbounded || other.Most == Unbounded {
		return Interval{i.Least + other.Least, Unbounded}
	}
	return Interval{i.Least + other.Least, i.Most + other.Most}
}

// Holds says whether a time that was measured is in the interval.
func (i Interval) Holds(t time.Duration) bool { return i.Least <= t && t <= i.Most }

// String is the interval in seconds.
func (i Interval) String() string {
	switch {
	case i.Most == Unbounded && i.Least <= 0:
		return "any time"
	case i.Most == Unbounded:
		return seconds(i.Least) + " s or more"
	case i.Least <= 0:
		return "at most " + seconds(i.Most) + " s"
	}
	return seconds(i.Least) + " to " + seconds(i.Most) + " s"
}

func seconds(t time.Duration) string {
	return strconv.FormatFloat(t.Round(100*time.Millisecond).Seconds(), 'f', -1, 64)
}

// Term is a part of a time, and what it passes for.
type Term struct {
	For string
	Interval
}

// Sessions is what becomes of the sessions that clients have with the leader.
type Sessions int

// The kinds of Sessions.
const (
	Stay Sessions = iota // they work on
	End                  // they end at once
	Hang                 // nobody answers in them, until the proxy ends them
	Live                 // they write on, until the proxy ends them
)

// Loss is what may be lost although it was acknowledged: what a replica is
// behind, and what is written after somebody looked.
type Loss struct {
	Behind  specfile.Size
	Written time.Duration
}

// String says how much it is at most.
func (l *Loss) String() string {
	if l == nil {
		return "none"
	}
	return fmt.Sprintf("those in %s of WAL, and of %s s", l.Behind, seconds(l.Written))
}

// Outage is what is predicted of a fault.
type Outage struct {
	Fault Fault
	What  string // the fault, in words
	Then  string // what happens
	Moves bool   // another node leads then, unless this one is back before
	// What passes, one after the other, before a write is acknowledged again.
	Terms []Term
	// So long the same node has led before; 0: that makes no difference.
	Steady time.Duration
	// After so long the node itself ends sessions that Live; 0: never.
	Fences   time.Duration
	Sessions Sessions
	Loss     *Loss // nil: nothing
}

// Gap is how long nobody can write, from the last acknowledged write to the next,
// if clients connect anew at once.
func (o Outage) Gap() Interval {
	var sum Interval
	for _, t := range o.Terms {
		sum = sum.Plus(t.Interval)
	}
	sum.Least = max(sum.Least, 0)
	return sum
}

// Longest is the term that has the largest part in the longest gap.
func (o Outage) Longest() Term {
	var longest Term
	for _, t := range o.Terms {
		if t.Most > longest.Most {
			longest = t
		}
	}
	return longest
}

// Outages are those that the roles have planned, with the proxy's part in
// each: clients get to the database through it.
func (c *Cluster) Outages() []Outage {
	var all []Outage
	for _, g := range c.Groups {
		for _, o := range g.Plan.Outages {
			all = append(all, o.through(c.Proxy()))
		}
	}
	return all
}

// Outage is what is predicted of a fault; false if nothing is.
func (c *Cluster) Outage(of Fault) (Outage, bool) {
	for _, o := range c.Outages() {
		if o.Fault == of {
			return o, true
		}
	}
	return Outage{}, false
}

// through adds what passes between the database and its clients. Without a
// proxy they find the leader themselves, and sessions that hang are theirs to
// end.
func (o Outage) through(p *ProxyOffer) Outage {
	if o.Sessions == Stay {
		return o
	}
	ends := Interval{0, Unbounded}
	terms := o.Terms[:len(o.Terms):len(o.Terms)]
	if p != nil {
		terms = append(terms, Term{"the proxy follows", p.Follows})
		ends = p.Ends
		if o.Moves && o.Sessions == Hang {
			ends = p.EndsEarly
		}
	}
	if o.Fences > 0 {
		ends.Most = min(ends.Most, o.Fences)
	}
	o.Terms = terms
	switch gap := o.Gap(); {
	case o.Sessions == Hang && p != nil && ends.Most > gap.Most:
		o.Terms = append(o.Terms, Term{"sessions hang until the proxy ends them", Interval{0, ends.Most - gap.Most}})
	case o.Sessions == Live:
		o.Terms = append(o.Terms, Term{"sessions write on until they are ended", Interval{-min(ends.Most, gap.Least), -ends.Least}})
	}
	o.Terms = append(o.Terms, Term{"clients connect anew", Interval{0, reconnect}})
	return o
}
