package operate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Screen is a state for people, with empty lines between its parts.
func (s *State) Screen() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cluster %s, %s\n", s.Cluster, s.mode())
	if s.Scheduled != nil {
		fmt.Fprintf(&b, "a switchover is scheduled for %s%s\n", s.Scheduled.At, prefixed(" to ", s.Scheduled.To))
	}
	if s.Backups != nil {
		fmt.Fprintf(&b, "backup: %s\n", s.Backups.Line())
	}
	table(&b, []string{"PostgreSQL", "role", "state", "lag", "timeline", "restart pending for", "tags"}, s.memberRows())
	table(&b, []string{"etcd", "state", "role", "version", "db size", "in use"}, s.dcsRows())
	table(&b, []string{"HAProxy", "writers go to", "readers go to"}, s.proxyRows())
	table(&b, []string{"machine", "role", "state", "user-data", "certificates", "data disk"}, s.machineRows())
	table(&b, []string{"step", "status", "said", "last words"}, s.stepRows())
	return b.String()
}

// mode is what the cluster promises.
func (s *State) mode() string {
	if s.Config == nil {
		return "its dynamic configuration cannot be read"
	}
	text := map[string]string{"off": "asynchronous replication", "on": "synchronous replication", "quorum": "synchronous replication by quorum"}[s.Config.Synchronous]
	if s.Config.Strict {
		text += ", strict"
	}
	if s.Config.Paused {
		return text + ", PAUSED"
	}
	return text
}

func (s *State) memberRows() [][]string {
	var rows [][]string
	for _, m := range s.Members {
		state := m.State
		if m.Error != "" {
			state = "no answer"
			if m.State != "no member" {
				state += ", was " + m.State
			}
		}
		lag := ""
		if !m.leads() {
			lag = "unknown"
			if m.Lag != nil {
				lag = size(*m.Lag)
			}
		}
		timeline := ""
		if m.Timeline > 0 {
			timeline = fmt.Sprint(m.Timeline)
		}
		rows = append(rows, []string{m.Name, strings.ReplaceAll(m.Role, "_", " "), state, lag, timeline, m.restart(), m.tags()})
	}
	return rows
}

// restart says for which parameters a restart is pending.
func (m *Member) restart() string {
	if m.Pending == nil {
		return ""
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(m.Pending)) {
		all = append(all, fmt.Sprintf("%s %s -> %s", name, m.Pending[name].Old, m.Pending[name].New))
	}
	if len(all) == 0 {
		return "unknown parameters"
	}
	return strings.Join(all, ", ")
}

func (m *Member) tags() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(m.Tags)) {
		if m.Tags[name] == true {
			all = append(all, name)
		} else {
			all = append(all, fmt.Sprintf("%s=%v", name, m.Tags[name]))
		}
	}
	return strings.Join(all, ", ")
}

func (s *State) dcsRows() [][]string {
	var rows [][]string
	for _, v := range s.DCS {
		state, role := "healthy", "member"
		if !v.Healthy {
			state = v.Error
		}
		if v.Learner {
			role = "learner"
		}
		if v.Leader {
			role = "leader"
		}
		sizes := []string{"", ""}
		if v.Version != "" {
			sizes = []string{size(v.Size), size(v.InUse)}
		}
		rows = append(rows, []string{v.Name, strings.Join(append([]string{state}, v.Alarms...), ", "), role, v.Version, sizes[0], sizes[1]})
	}
	return rows
}

func (s *State) proxyRows() [][]string {
	var rows [][]string
	for _, p := range s.Proxies {
		if p.Error != "" {
			rows = append(rows, []string{p.Name, p.Error, ""})
			continue
		}
		nobody := func(names []string) string {
			if len(names) == 0 {
				return "nobody"
			}
			return strings.Join(names, ", ")
		}
		rows = append(rows, []string{p.Name, nobody(p.Writers), nobody(p.Readers)})
	}
	return rows
}

func (s *State) machineRows() [][]string {
	var rows [][]string
	for _, m := range s.Machines {
		if m.Error != "" {
			rows = append(rows, []string{m.Name, m.Role, m.Error, "", "", ""})
			continue
		}
		state, data, ends, disk := "ready", "as the spec", "none", ""
		if !m.Ready {
			state = "not ready"
		}
		switch {
		case m.Spec == "":
			data = none(m.UserData)
		case m.UserData != m.Spec:
			data = fmt.Sprintf("%s, spec: %s", none(m.UserData), m.Spec)
		}
		if end, ok := m.ends(); ok {
			ends = days(end.Sub(s.At))
		}
		if m.Disk != nil {
			disk = fmt.Sprintf("%s free of %s", size(m.Disk.Free), size(m.Disk.Size))
			if m.Disk.Full {
				disk = "FULL, " + disk
			}
		}
		rows = append(rows, []string{m.Name, m.Role, state, data, ends, disk})
	}
	return rows
}

// stepRows are the steps that did not end well, on every machine.
func (s *State) stepRows() [][]string {
	var rows [][]string
	for _, m := range s.Machines {
		for _, name := range m.unwell() {
			step := m.Steps[name]
			ago := s.At.Sub(time.UnixMilli(step.At)).Round(time.Second)
			rows = append(rows, []string{m.Name + " " + name, step.Status, fmt.Sprintf("%v ago", max(ago, 0)), step.Detail})
		}
	}
	return rows
}

// table writes rows below a head, aligned; nothing if there are none.
func table(b *strings.Builder, head []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	w.Flush()
	b.WriteString("\n")
	for line := range strings.Lines(text.String()) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// HistoryScreen is the cluster's history for people.
func HistoryScreen(events []Event) string {
	var rows [][]string
	for _, e := range events {
		rows = append(rows, []string{fmt.Sprint(e.Timeline), lsn(e.Position), e.At, e.Leader, e.Reason})
	}
	var b strings.Builder
	table(&b, []string{"timeline", "ended at", "when", "new leader", "why"}, rows)
	return strings.TrimPrefix(b.String(), "\n")
}

// lsn is a position in the WAL as PostgreSQL writes it.
func lsn(n int64) string { return fmt.Sprintf("%X/%X", uint64(n)>>32, uint32(n)) }
