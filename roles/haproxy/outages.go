package haproxy

import (
	"time"

	"pgha-gen/generator/role"
)

// restarts is what HAProxy's own start takes, with the state of its servers.
const restarts = time.Second

// connects is haproxy.cfg's timeout connect.
const connects = 4 * time.Second

// found is what follow_leader.py takes: it asks all nodes ten times a second while
// the one that led does not answer, or does not lead any more.
const found = 300 * time.Millisecond

// follows is how long after Patroni says that it leads clients get there. HAProxy's
// own checks ask a node that answered 503 again after inter, one that was down
// after downinter, and then rise-1 times more.
func (c HealthChecks) follows() role.Interval {
	down := time.Duration(c.DownInter) + time.Duration(c.Rise-1)*time.Duration(c.FastInter)
	return role.Interval{Most: min(found, max(time.Duration(c.Inter), down))}
}

// ends is how long after a node fell silent its sessions end: fall checks.
func (c HealthChecks) ends() role.Interval {
	fast := time.Duration(c.FastInter)
	return role.Interval{
		Least: time.Duration(c.Fall-1) * fast,
		Most:  time.Duration(c.Inter) + time.Duration(c.Fall)*c.waits() + time.Duration(c.Fall-1)*fast,
	}
}

// endsEarly is how long after a node fell silent its sessions can end because another
// one leads: one check that fails, and follow_leader.py sees that.
func (c HealthChecks) endsEarly() role.Interval {
	return role.Interval{Most: time.Duration(c.Inter) + c.waits() + found}
}

// waits is how long a check waits for a silent node: up to min(timeout connect, inter)
// for a connection and timeout check for an answer (HAProxy's manual, timeout check).
func (c HealthChecks) waits() time.Duration {
	return min(connects, time.Duration(c.Inter)) + time.Duration(c.Timeout)
}

// outages are of HAProxy's own machines. What is between a new leader and its
// clients, the cluster adds to the database's.
func (s *Settings) outages() []role.Outage {
	lost := role.Outage{Fault: role.ProxyLost, What: "an HAProxy machine lost", Then: "its clients connect to another one; those of the others write on",
		Terms: []role.Term{{For: "others write on", Interval: role.Hiccup()}}}
	if len(s.Members) == 1 {
		lost.Then = "nobody writes until it is back: there is no other"
		lost.Terms = []role.Term{{For: "it is away", Interval: role.Interval{Most: role.Unbounded}}}
	}
	return []role.Outage{lost, {
		Fault: role.ProxyRestarted, What: "HAProxy restarted", Then: "its sessions end; new ones wait for its first checks",
		Sessions: role.End, Terms: []role.Term{{For: "it starts", Interval: role.Interval{Most: restarts}}},
	}}
}
