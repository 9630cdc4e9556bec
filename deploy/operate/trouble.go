package operate

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// early is how long before its end a certificate is spoken of, as on the
// machines' consoles.
const early = 60 * 24 * time.Hour

// Troubles are all that is wrong with a cluster, one clause each; none: all is
// well.
func (s *State) Troubles() []string {
	if s.silent() {
		return []string{fmt.Sprintf("no machine answers this host: %s says: %s (is this host in access.operators, and the cluster up?)", s.Machines[0].Name, s.Machines[0].Error)}
	}
	// First: whatever else is wrong may be wrong for that.
	all := s.ended()
	all = append(all, s.memberTroubles()...)
	all = append(all, s.dcsTroubles()...)
	all = append(all, s.proxyTroubles()...)
	all = append(all, s.machineTroubles()...)
	if s.Backups != nil && s.Backups.trouble() != "" {
		all = append(all, s.Backups.trouble())
	}
	if left := s.Operator.Sub(s.At); left < early {
		all = append(all, fmt.Sprintf("the operator's certificate ends in %s (run pgha-gen secrets generate)", days(left)))
	}
	return all
}

// silent says whether nobody at all answers.
func (s *State) silent() bool {
	return !slices.ContainsFunc(s.Machines, func(m Machine) bool { return m.Error == "" }) &&
		!slices.ContainsFunc(s.Members, func(m Member) bool { return m.Error == "" && m.Node != nil }) &&
		!slices.ContainsFunc(s.DCS, func(v Voter) bool { return v.Healthy }) && len(s.Machines) > 0
}

// ended are the certificates that have ended, in one clause.
func (s *State) ended() []string {
	var names []string
	for _, m := range s.Machines {
		if end, ok := m.ends(); ok && !end.After(s.At) {
			names = append(names, m.Name)
		}
	}
	if names == nil {
		return nil
	}
	return []string{fmt.Sprintf("certificates have ended on %s (run pgha-gen secrets generate, and what it says next)", strings.Join(names, ", "))}
}

func (s *State) memberTroubles() []string {
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if s.Unlisted != "" {
		add("%s", s.Unlisted)
	}
	leader := s.Leader()
	if leader == nil {
		add("nobody leads, and nobody can write")
	}
	for _, m := range s.Members {
		switch {
		case !m.InSpec:
			add("%s is a member, and not in the spec", m.Name)
		case m.Error != "" && m.State == "no member":
			add("%s is no member, and does not answer: %s", m.Name, m.Error)
		case m.Error != "":
			add("%s does not answer: %s", m.Name, m.Error)
		case m.leads() && m.State != "running":
			add("%s leads, and its PostgreSQL is %s", m.Name, m.State)
		case !m.leads() && m.State != "streaming" && m.State != "in archive recovery":
			add("%s is %s, and does not stream", m.Name, m.State)
		case leader != nil && !m.leads() && m.Timeline != leader.Timeline:
			add("%s is on timeline %d, and %s leads on %d", m.Name, m.Timeline, leader.Name, leader.Timeline)
		case s.Config != nil && m.Lag != nil && *m.Lag > s.Config.MaximumLag:
			add("%s is %s behind, and could not take over (at most %s)", m.Name, size(*m.Lag), size(s.Config.MaximumLag))
		}
		if m.Node != nil && m.Node.Failsafe {
			add("%s is in failsafe mode: etcd is away, and the leader goes on as long as all nodes answer it", m.Name)
		}
		if m.Node != nil && m.Node.Watchdog {
			add("%s cannot use its watchdog", m.Name)
		}
	}
	if s.Config != nil && s.Config.Synchronous != "off" && leader != nil {
		n := 0
		for _, m := range s.Members {
			if m.synchronous() && m.streams() {
				n++
			}
		}
		switch want := s.Config.SyncNodes; {
		case n == 0 && s.Config.Strict:
			add("no standby is synchronous, and commits wait for one")
		case n < want:
			add("%d of %d synchronous standbys: a commit is on the leader's disk alone", n, want)
		}
	}
	if s.Paused() {
		add("Patroni is paused: nobody takes over if the leader is lost (pgha-gen cluster resume)")
	}
	return all
}

func (s *State) dcsTroubles() []string {
	var all []string
	for _, v := range s.DCS {
		switch {
		case !v.InSpec:
			all = append(all, fmt.Sprintf("%s is a member of etcd, and not in the spec", v.Name))
		case !v.Healthy:
			all = append(all, fmt.Sprintf("etcd on %s: %s", v.Name, v.Error))
		case !v.Listed:
			all = append(all, fmt.Sprintf("%s is not a member of etcd", v.Name))
		}
		for _, alarm := range v.Alarms {
			all = append(all, fmt.Sprintf("etcd on %s: %s", v.Name, alarm))
		}
	}
	if voters, healthy := s.quorum(); healthy < voters/2+1 {
		all = append(all, fmt.Sprintf("etcd has no quorum: %d of %d members are healthy, want %d", healthy, voters, voters/2+1))
	}
	return all
}

func (s *State) proxyTroubles() []string {
	var all []string
	leader := s.Leader()
	for _, p := range s.Proxies {
		switch {
		case p.Error != "":
			all = append(all, fmt.Sprintf("%s: HAProxy's statistics: %s", p.Name, p.Error))
		case len(p.Writers) == 0:
			all = append(all, fmt.Sprintf("%s sends writers to nobody", p.Name))
		case leader != nil && !slices.Contains(p.Writers, leader.Name):
			all = append(all, fmt.Sprintf("%s sends writers to %s, and %s leads", p.Name, strings.Join(p.Writers, ", "), leader.Name))
		}
	}
	return all
}

func (s *State) machineTroubles() []string {
	var all []string
	for _, m := range s.Machines {
		add := func(format string, args ...any) { all = append(all, m.Name+" "+fmt.Sprintf(format, args...)) }
		if m.Error != "" {
			if !s.spokenOf(m.Name) {
				add("does not answer: %s", m.Error)
			}
			continue
		}
		if !m.Ready && !slices.Contains(m.unwell(), "ready") {
			add("is not ready")
		}
		if m.Spec != "" && m.UserData != m.Spec {
			add("works by user-data %s, and the spec has %s", none(m.UserData), m.Spec)
		}
		end, ends := m.ends()
		ended := ends && !end.After(s.At)
		for _, name := range m.unwell() {
			if name != "certificates" || !ended {
				add("%s %s: %s", name, m.Steps[name].Status, m.Steps[name].Detail)
			}
		}
		if ends && !ended && m.Steps["certificates"].Status == "" && end.Sub(s.At) < early {
			add("has a certificate that ends in %s", days(end.Sub(s.At)))
		}
		if m.Disk != nil && m.Disk.Full && m.Steps["disk"].Status == "" {
			add("has a full data disk")
		}
	}
	return all
}

// spokenOf says whether what a machine's service does not answer is said
// already.
func (s *State) spokenOf(name string) bool {
	m := s.Member(name)
	v := slices.IndexFunc(s.DCS, func(v Voter) bool { return v.Name == name && !v.Healthy })
	p := slices.IndexFunc(s.Proxies, func(p Proxy) bool { return p.Name == name && p.Error != "" })
	return m != nil && m.Error != "" || v >= 0 || p >= 0
}

// unwell are the steps whose last word was not that they ended well.
func (m *Machine) unwell() []string {
	var all []string
	for name, step := range m.Steps {
		if step.Status != "ok" {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// ends is when the first of its certificates ends.
func (m *Machine) ends() (time.Time, bool) {
	if len(m.Certificates) == 0 {
		return time.Time{}, false
	}
	first := m.Certificates[0].End
	for _, c := range m.Certificates {
		first = min(first, c.End)
	}
	return time.Unix(first, 0), true
}

func none(text string) string {
	if text == "" {
		return "(none)"
	}
	return text
}

// days is a time until something ends, as people count it.
func days(d time.Duration) string {
	switch n := int(d.Hours() / 24); {
	case d <= 0:
		return "0 days"
	case n == 1:
		return "1 day"
	default:
		return fmt.Sprintf("%d days", n)
	}
}

// size is a number of bytes for people.
func size(n int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	if unit == 0 || value >= 10 {
		return fmt.Sprintf("%.0f %s", value, units[unit])
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
