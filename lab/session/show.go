//go:build linux

package session

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"pgha-gen/lab/client"
)

// Table shows every machine with its newest step, and the seconds from
// power-on to it, in lines of at most this width; 0: of any.
func (r Record) Table(width int) string {
	rows := [][]string{{"machine", "role", "address", "seconds", "step"}}
	for _, m := range r.Machines {
		rows = append(rows, []string{m.Name, m.Role, m.Address.String(), r.seconds(m), step(m)})
	}
	return format(rows, width)
}

// Doing is what is being done before there are machines, and for how long;
// empty: nothing.
func (r Record) Doing(now time.Time) string {
	if len(r.Progress) == 0 || r.Progress[len(r.Progress)-1].Result != "" {
		return ""
	}
	p := r.Progress[len(r.Progress)-1]
	return fmt.Sprintf("%s: %d s", p.What, int(now.Sub(p.Began).Seconds()))
}

// Status is Table with what the cluster says of its members.
func (r Record) Status(members []client.Member, width int) string {
	views := map[string]string{}
	for _, m := range members {
		view := strings.ReplaceAll(m.Role, "_", " ")
		if m.State != "running" && m.State != "streaming" {
			view += ", " + m.State
		}
		switch m.Lag {
		case "":
		case "unknown":
			view += ", lag unknown"
		default:
			view += ", lag " + m.Lag + " B"
		}
		views[m.Name] = view
	}
	rows := [][]string{{"machine", "role", "address", "member", "seconds", "step"}}
	for _, m := range r.Machines {
		view := views[m.Name]
		if view == "" {
			view = "-"
		}
		rows = append(rows, []string{m.Name, m.Role, m.Address.String(), view, r.seconds(m), step(m)})
	}
	return format(rows, width)
}

// Trouble is what keeps a lab from being as it should: in one sentence, or
// nothing.
func (r Record) Trouble(members []client.Member) string {
	var unready []string
	for _, m := range r.Machines {
		if !m.Ready() {
			unready = append(unready, m.Name)
		}
	}
	switch {
	case len(r.Machines) == 0:
		return "there are no machines yet"
	case len(unready) > 0:
		return "not ready: " + strings.Join(unready, ", ")
	}
	leaders := 0
	for _, m := range members {
		switch {
		case m.State != "running" && m.State != "streaming":
			return fmt.Sprintf("%s is %s", m.Name, m.State)
		case m.Role == "leader":
			leaders++
		}
	}
	if leaders != 1 {
		return fmt.Sprintf("the cluster has %d leaders", leaders)
	}
	return ""
}

func (r Record) seconds(m Machine) string {
	last := m.Last()
	if last.At.IsZero() {
		return "-"
	}
	return fmt.Sprintf("%.1f", last.At.Sub(r.PoweredOn).Seconds())
}

func step(m Machine) string {
	last := m.Last()
	switch {
	case m.Off:
		return "off"
	case last.Name == "":
		return "powered on"
	}
	return strings.TrimSpace(last.Name + " " + last.Status + " " + last.Detail)
}

// format aligns columns; those of numbers to the right.
func format(rows [][]string, width int) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			switch {
			case rows[0][i] == "seconds":
				line.WriteString(pad + cell + "  ")
			case i == len(row)-1:
				line.WriteString(cell)
			default:
				line.WriteString(cell + pad + "  ")
			}
		}
		b.WriteString(cut(line.String(), width) + "\n")
	}
	return b.String()
}

func cut(line string, width int) string {
	if width <= 0 || utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:max(0, width-1)]) + "…"
}

// Lines gives what is in r and was not in before, as lines in the order of
// their times: what happened.
func (r Record) Lines(before Record) []string {
	var lines []string
	for i, p := range r.Progress {
		if p.Result != "" && (i >= len(before.Progress) || before.Progress[i].Result == "") {
			lines = append(lines, p.What+": "+p.Result)
		}
	}
	if before.PoweredOn.IsZero() && !r.PoweredOn.IsZero() {
		lines = append(lines, fmt.Sprintf("power-on of %d machines", len(r.Machines)))
	}
	type event struct {
		at   time.Time
		line string
	}
	var events []event
	for i, m := range r.Machines {
		known := 0
		if i < len(before.Machines) {
			known = min(len(before.Machines[i].Steps), len(m.Steps))
		}
		for _, s := range m.Steps[known:] {
			events = append(events, event{s.At, fmt.Sprintf("%5.1f s  %s %s %s %s", s.At.Sub(r.PoweredOn).Seconds(), m.Name, s.Name, s.Status, s.Detail)})
		}
	}
	if before.FirstWrite.IsZero() && !r.FirstWrite.IsZero() {
		events = append(events, event{r.FirstWrite, fmt.Sprintf("%5.1f s  a write is acknowledged", r.FirstWrite.Sub(r.PoweredOn).Seconds())})
	}
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	for _, e := range events {
		lines = append(lines, strings.TrimRight(e.line, " "))
	}
	return lines
}
