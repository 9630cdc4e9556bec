// Package timeline shows when each machine ended each step of its boot, as
// text and as a picture.
package timeline

import (
	"fmt"
	"strings"
	"time"
)

// Timeline is a boot of several machines at once.
type Timeline struct {
	Title string
	Start time.Time // power-on
	Lanes []Lane
	Marks []Mark
}

// Lane is one machine: its steps in the order of their times.
type Lane struct {
	Name  string
	Steps []Step
}

// Step is an event of a boot. With status ok or fail a step ended then; with
// wait it began to wait for what the detail says; with warn no step ended.
type Step struct {
	Name, Status, Detail string
	At                   time.Time
}

// Mark is a moment that concerns all.
type Mark struct {
	Name string
	At   time.Time
}

// Text is a line for each event, in seconds since the start, machine by
// machine.
func (t Timeline) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nseconds since power-on\n", t.Title)
	for _, l := range t.Lanes {
		fmt.Fprintf(&b, "\n%s\n", l.Name)
		for _, s := range l.Steps {
			line := fmt.Sprintf("%8.3f  %-12s %-4s %s", t.seconds(s.At), s.Name, s.Status, s.Detail)
			fmt.Fprintln(&b, strings.TrimRight(line, " "))
		}
	}
	if len(t.Marks) > 0 {
		fmt.Fprintln(&b)
	}
	for _, m := range t.Marks {
		fmt.Fprintf(&b, "%8.3f  %s\n", t.seconds(m.At), m.Name)
	}
	return b.String()
}

func (t Timeline) seconds(at time.Time) float64 { return at.Sub(t.Start).Seconds() }
