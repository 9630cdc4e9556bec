package report

import (
	"fmt"
	"slices"
	"strings"

	"pgha-gen/lab/drill"
)

// timeline is a round, drawn: a lane for each node that acknowledged writes, one
// for writers and one for readers, and a line for each step.
type timeline struct {
	drill.Round
	Width, Height, Left float64
	Lanes               []lane
	Steps               []mark
	Axis                []tick
	Bottom              float64
	Said                []drill.Event // the boot protocol's lines
}

type lane struct {
	Name string
	Y    float64
	Bars []bar
}

type bar struct {
	X, Width float64
	Kind     string // of its colour
	Text     string
}

type mark struct {
	X, Y   float64
	Number int
	Text   string
	At     float64
}

const (
	wide    = 960.0
	left    = 110.0
	laneGap = 26.0
	top     = 34.0
)

func draw(r drill.Round) timeline {
	t := timeline{Round: r, Width: wide, Left: left}
	end := max(r.Long, 1)
	x := func(s float64) float64 { return left + min(max(s, 0), end)/end*(wide-left-16) }
	var nodes []string
	for _, reign := range r.Reigns {
		once(&nodes, reign.Node)
	}
	slices.Sort(nodes)
	for _, name := range nodes {
		l := lane{Name: name}
		for _, reign := range r.Reigns {
			if reign.Node == name {
				l.Bars = append(l.Bars, bar{x(reign.From), max(x(reign.To)-x(reign.From), 2), "leads",
					fmt.Sprintf("%s acknowledged writes from %.1f to %.1f s", name, reign.From, reign.To)})
			}
		}
		t.Lanes = append(t.Lanes, l)
	}
	for _, clients := range []struct {
		name, kind string
		gap        drill.Window
	}{{"writers", "writes", r.Gap}, {"newcomers", "writes", r.Arrival}, {"readers", "reads", r.ReadGap}} {
		from, to := x(clients.gap.From), x(clients.gap.From+clients.gap.Seconds)
		t.Lanes = append(t.Lanes, lane{Name: clients.name, Bars: []bar{
			{x(0), from - x(0), clients.kind, clients.name + " were answered"},
			{from, max(to-from, 1), "gap", fmt.Sprintf("%s had no answer for %.2f s", clients.name, clients.gap.Seconds)},
			{to, x(end) - to, clients.kind, clients.name + " were answered"},
		}})
	}
	for i := range t.Lanes {
		t.Lanes[i].Y = top + float64(i)*laneGap
	}
	t.Bottom = top + float64(len(t.Lanes))*laneGap
	t.Height = t.Bottom + 22
	for _, step := range ticks(end, 10) {
		t.Axis = append(t.Axis, tick{x(step), fmt.Sprintf("%g", step)})
	}
	for _, e := range r.Events {
		if e.Node != "" {
			t.Said = append(t.Said, e)
			continue
		}
		if strings.HasPrefix(e.Text, "wait ") {
			continue // the next step's moment says it
		}
		m := mark{X: x(e.At), Y: 14, Number: len(t.Steps) + 1, Text: e.Text, At: e.At}
		if n := len(t.Steps); n > 0 && m.X-t.Steps[n-1].X < 16 && t.Steps[n-1].Y == 14 {
			m.Y = 28 // beside its neighbour
		}
		t.Steps = append(t.Steps, m)
	}
	return t
}
