package operate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// PlanReplace is what is to be done before the machine of that name is deleted
// and created anew: a switchover if it leads, else nothing. empty is whether the
// data on it go. Refused: a machine that is well while another of its kind is
// not; one whose loss costs etcd its quorum; a leader that nobody could take over
// from; the only one of its kind with its data.
func (s *State) PlanReplace(name string, empty bool) (*Plan, error) {
	if err := s.Silent(); err != nil {
		return nil, err
	}
	p := newPlan()
	if err := s.mayLoseVoter(p, name, empty); err != nil {
		return nil, err
	}
	if err := s.mayLoseMember(p, name, empty); err != nil {
		return nil, err
	}
	return p, s.mayLoseProxy(p, name)
}

// Silent is that nobody at all answers, which says nothing of the cluster; nil:
// somebody does.
func (s *State) Silent() error {
	if s.silent() {
		return errors.New(s.Troubles()[0])
	}
	return nil
}

// only refuses the loss of the data that no other machine has.
func only(name string, empty bool) error {
	if !empty {
		return nil
	}
	return fmt.Errorf("cannot replace %s with an empty disk: its data are on no other machine (let it keep its disk)", name)
}

// notWell refuses the replacement of a machine that is well beside one that is
// not.
func notWell(name, other, why string) error {
	return fmt.Errorf("cannot replace %s: %s is not well: %s (bring it back or replace it first: pgha-gen cluster status)", name, other, why)
}

func (s *State) mayLoseVoter(p *Plan, name string, empty bool) error {
	at := slices.IndexFunc(s.DCS, func(v Voter) bool { return v.Name == name })
	if at < 0 {
		return nil
	}
	if len(s.DCS) == 1 {
		p.note("etcd has no other member: nobody takes over if the leader is lost meanwhile")
		return only(name, empty)
	}
	healthy := 0
	for _, v := range s.DCS {
		switch {
		case v.Name == name, !v.InSpec:
		case v.lacks() == "":
			healthy++
		case s.DCS[at].lacks() == "":
			return notWell(name, v.Name, v.lacks())
		}
	}
	if voters, _ := s.quorum(); healthy < voters/2+1 {
		return fmt.Errorf("cannot replace %s: etcd would have no quorum, %d of %d members are healthy beside it (bring the others back first: pgha-gen cluster status)", name, healthy, voters)
	}
	p.note("etcd: %d other members are healthy, and go on", healthy)
	return nil
}

func (s *State) mayLoseMember(p *Plan, name string, empty bool) error {
	m := s.Member(name)
	if m == nil {
		return nil
	}
	if s.Paused() {
		return fmt.Errorf("cannot replace %s: Patroni is paused, and would not start PostgreSQL on the new machine (pgha-gen cluster resume)", name)
	}
	if len(s.Members) == 1 {
		p.note("PostgreSQL is on no other machine: nobody can read or write meanwhile")
		return only(name, empty)
	}
	leader, err := s.led("replace " + name)
	if err != nil {
		return err
	}
	if s.lacksMember(m) == "" {
		for i := range s.Members {
			other := &s.Members[i]
			if why := s.lacksMember(other); other.Name != name && other.InSpec && why != "" {
				return notWell(name, other.Name, why)
			}
		}
	}
	if leader.Name == name {
		target, err := s.target("replace "+name+", which leads", "")
		if err != nil {
			return err
		}
		p.Turns = append(p.Turns, s.handover(target))
		p.note("sessions with %s end; writers are refused for some seconds, and nothing that was acknowledged is lost", name)
		return nil
	}
	if s.mayRestart(name) != nil && m.streams() {
		p.note("no other standby streams: until %s is back, commits are on the leader's disk alone, or wait where durability asks for it", name)
	}
	p.note("readers that are connected to %s lose their sessions", name)
	return nil
}

func (s *State) mayLoseProxy(p *Plan, name string) error {
	at := slices.IndexFunc(s.Proxies, func(x Proxy) bool { return x.Name == name })
	switch {
	case at < 0:
		return nil
	case len(s.Proxies) == 1:
		p.note("HAProxy is on no other machine: clients cannot connect meanwhile")
		return nil
	}
	for _, other := range s.Proxies {
		if why := s.lacksProxy(&other); other.Name != name && why != "" && s.lacksProxy(&s.Proxies[at]) == "" {
			return notWell(name, other.Name, why)
		}
	}
	p.note("clients that are connected to %s lose their sessions", name)
	return nil
}

// Order is how late a machine may be replaced when all are, one after the other:
// etcd's members first and their leader behind them, then what runs none of this,
// then the database, and its leader last.
func (s *State) Order(name string) int {
	for _, v := range s.DCS {
		if v.Name == name {
			if v.Leader {
				return 1
			}
			return 0
		}
	}
	switch m := s.Member(name); {
	case m == nil:
		return 2
	case !m.leads():
		return 3
	}
	return 4
}

// Lacks says what a machine lacks to count as whole: that it is well, and works
// by the spec. Empty: nothing.
func (s *State) Lacks(name string) string {
	if why := s.Unwell(name); why != "" {
		return why
	}
	for _, m := range s.Machines {
		if m.Name == name && m.Spec != "" && m.UserData != m.Spec {
			return fmt.Sprintf("it works by user-data %s, and the spec has %s", none(m.UserData), m.Spec)
		}
	}
	return ""
}

// Unwell says why the others cannot count on a machine, and on what it runs.
// Empty: they can.
func (s *State) Unwell(name string) string {
	for _, m := range s.Machines {
		switch {
		case m.Name != name:
		case m.Error != "":
			return "it does not answer: " + m.Error
		case !m.Ready:
			return "it is not ready"
		}
	}
	for _, v := range s.DCS {
		if why := v.lacks(); v.Name == name && why != "" {
			return why
		}
	}
	if m := s.Member(name); m != nil {
		if why := s.lacksMember(m); why != "" {
			return why
		}
		for _, p := range s.Proxies {
			if p.Error == "" && !m.leads() && !m.tag("noloadbalance") && !slices.Contains(p.Readers, name) {
				return p.Name + " sends no readers to it yet"
			}
		}
	}
	for i := range s.Proxies {
		if why := s.lacksProxy(&s.Proxies[i]); s.Proxies[i].Name == name && why != "" {
			return why
		}
	}
	return ""
}

func (v *Voter) lacks() string {
	switch {
	case !v.Healthy:
		return "etcd: " + v.Error
	case !v.Listed:
		return "it is not a member of etcd"
	case v.Learner:
		return "etcd: it learns, and does not vote yet"
	}
	return ""
}

func (s *State) lacksMember(m *Member) string {
	switch {
	case m.Error != "":
		return "it does not answer: " + m.Error
	case m.leads() && m.State != "running":
		return "its PostgreSQL is " + m.State
	case !m.leads() && !m.follows(s, m):
		return "it does not stream yet"
	}
	return ""
}

func (s *State) lacksProxy(p *Proxy) string {
	leader := s.Leader()
	switch {
	case p.Error != "":
		return "HAProxy's statistics: " + p.Error
	case leader != nil && !slices.Contains(p.Writers, leader.Name):
		return fmt.Sprintf("it sends writers to %s, and %s leads", none(strings.Join(p.Writers, ", ")), leader.Name)
	}
	return ""
}
