// Package report makes a page, and figures, of what drills measured.
package report

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"slices"
	"strings"
	texttemplate "text/template"
	"time"

	"pgha-gen/generator/role"
	"pgha-gen/lab/drill"
	"pgha-gen/lab/workload"
)

// Row is a scenario on one kind of cluster, in figures. Times are seconds.
type Row struct {
	Scenario    string          `json:"scenario"`
	About       string          `json:"about"`
	Failover    role.Failover   `json:"failover"`
	Durability  role.Durability `json:"durability"`
	Rounds      int             `json:"rounds"`
	NotHeld     int             `json:"not_held"` // rounds
	Gap         float64         `json:"write_gap_median"`
	WorstGap    float64         `json:"write_gap_worst"`
	WorstRead   float64         `json:"read_gap_worst"`
	WorstArrive float64         `json:"arrival_gap_worst"`
	WorstWhole  float64         `json:"whole_worst"`
	Acked       int             `json:"acknowledged"`
	Lost        int             `json:"lost"`
	Ghosts      int             `json:"unacknowledged_present"`
	Two         float64         `json:"two_primaries"`
	InOrder     int             `json:"register_in_order"`     // rounds
	OutOfOrder  int             `json:"register_out_of_order"` // rounds
	Unkept      int             `json:"register_unkept"`       // rounds
	ReadOnly    int             `json:"read_only_writes"`
	Measured    []drill.Round   `json:"-"`
	Most        float64         `json:"write_gap_bound,omitempty"` // what the scenario allows
	Predicts    role.Fault      `json:"predicts,omitempty"`
	LeaderHolds drill.Fate      `json:"leader,omitempty"`
}

// Summary are the rows of all rounds, in the order in which their scenarios were
// first run.
func Summary(rounds []drill.Round, all []drill.Scenario) []Row {
	var rows []Row
	for _, r := range rounds {
		i := slices.IndexFunc(rows, func(row Row) bool {
			return row.Scenario == r.Scenario && row.Failover == r.Failover && row.Durability == r.Durability
		})
		if i < 0 {
			i = len(rows)
			row := Row{Scenario: r.Scenario, Failover: r.Failover, Durability: r.Durability}
			if s := slices.IndexFunc(all, func(s drill.Scenario) bool { return s.Name == r.Scenario }); s >= 0 {
				h := all[s].Hold
				row.About, row.Predicts, row.LeaderHolds = all[s].About, all[s].Predicts, h.Leader
				row.Most = h.Gap.Of(time.Duration(r.TTL * float64(time.Second))).Seconds()
			} else if r.Scenario == drill.NemesisName {
				row.About = fmt.Sprintf("faults drawn from all scenarios, by --seed %d", r.Seed)
			}
			rows = append(rows, row)
		}
		rows[i].Measured = append(rows[i].Measured, r)
	}
	for i := range rows {
		rows[i].count()
	}
	return rows
}

func (r *Row) count() {
	var gaps []float64
	for _, m := range r.Measured {
		gaps = append(gaps, m.Gap.Seconds)
		r.WorstGap = max(r.WorstGap, m.Gap.Seconds)
		r.WorstRead = max(r.WorstRead, m.ReadGap.Seconds)
		r.WorstArrive = max(r.WorstArrive, m.Arrival.Seconds)
		r.WorstWhole = max(r.WorstWhole, m.Whole)
		r.Acked += m.Acked
		r.Lost += len(m.Lost)
		r.Ghosts += m.Ghosts
		r.Two += m.Two
		r.ReadOnly += m.ReadOnly
		switch m.Register {
		case workload.InOrder:
			r.InOrder++
		case workload.OutOfOrder:
			r.OutOfOrder++
		case workload.Unkept:
			r.Unkept++
		}
		if len(m.Verdict) > 0 {
			r.NotHeld++
		}
	}
	r.Rounds = len(gaps)
	r.Gap = median(gaps)
}

func median(all []float64) float64 {
	slices.Sort(all)
	n := len(all)
	if n%2 == 1 {
		return all[n/2]
	}
	return (all[n/2-1] + all[n/2]) / 2
}

// Write writes report.html, report.md and report.json beside the rounds, and gives
// the page's path; "": there are no rounds.
func Write(results drill.Results) (string, error) {
	rounds, err := results.Load()
	if err != nil || len(rounds) == 0 {
		return "", err
	}
	all, err := drill.All()
	if err != nil {
		return "", err
	}
	rows := Summary(rounds, all)
	numbers, err := json.MarshalIndent(rows, "", " ")
	if err != nil {
		return "", err
	}
	page, err := Page(rows)
	if err != nil {
		return "", err
	}
	table, err := Table(rows)
	if err != nil {
		return "", err
	}
	file := func(name string) string { return filepath.Join(string(results), name) }
	err = errors.Join(
		os.WriteFile(file("report.json"), append(numbers, '\n'), 0o644),
		os.WriteFile(file("report.md"), table, 0o644),
		os.WriteFile(file("report.html"), page, 0o644))
	return file("report.html"), err
}

//go:embed figures.md
var figures string

// Table is the rows as Markdown: for documentation.
func Table(rows []Row) ([]byte, error) {
	t, err := texttemplate.New("figures").Funcs(texttemplate.FuncMap{
		"figure":    figure,
		"predicted": predicted,
		"date":      func(t time.Time) string { return t.Format(time.DateOnly) },
		"join":      strings.Join,
	}).Parse(figures)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, view(rows))
	return b.Bytes(), err
}

// figure is a number of seconds with as many digits as it is worth.
func figure(seconds float64) string {
	if seconds < 10 {
		return fmt.Sprintf("%.2f", seconds)
	}
	return fmt.Sprintf("%.1f", seconds)
}

// predicted is what the spec's timers give for these rounds.
func predicted(rounds []drill.Round) string {
	var all []string
	for _, r := range rounds {
		switch p := r.Foretold; {
		case p == nil:
		case p.Most < 0:
			once(&all, "any")
		default:
			once(&all, fmt.Sprintf("%.3g to %.3g", p.Least, p.Most))
		}
	}
	return strings.Join(all, ", ")
}

//go:embed page.html
var text string

// Page is a page of HTML that needs nothing else.
func Page(rows []Row) ([]byte, error) {
	t, err := template.New("page").Funcs(template.FuncMap{
		"seconds": func(s float64) string { return fmt.Sprintf("%.2f", s) },
		"tenths":  func(s float64) string { return fmt.Sprintf("%.1f", s) },
		"px":      func(s float64) string { return fmt.Sprintf("%.1f", s) },
		"add":     func(a, b float64) float64 { return a + b },
		"date":    func(t time.Time) string { return t.Format("2006-01-02 15:04") },
		"join":    strings.Join,
	}).Parse(text)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, view(rows))
	return b.Bytes(), err
}

// page is what the template shows.
type page struct {
	Rows     []section
	Kinds    []string // failover and durability
	From, To time.Time
	Rounds   int
	NotHeld  int
	Acked    int
	Lost     int
	Two      float64
	Slow     float64 // how many times as long as usual the slowest host took; 0: none was slow
	Specs    []string
	Images   []string
	Axis     []tick
	Width    float64 // of the distributions
}

// section is a row with its drawings.
type section struct {
	Row
	Dots  []dot
	Bound float64 // where the allowed gap is on the axis; 0: off it
	Show  timeline
}

type dot struct {
	X    float64
	Bad  bool
	Text string
}

type tick struct {
	X    float64
	Text string
}

const stripWidth = 230.0

func view(rows []Row) page {
	p := page{Width: stripWidth}
	longest := 1.0
	for _, r := range rows {
		longest = max(longest, r.WorstGap)
	}
	scale := func(s float64) float64 { return 6 + s/longest*(stripWidth-12) }
	for _, step := range ticks(longest, 6) {
		p.Axis = append(p.Axis, tick{scale(step), fmt.Sprintf("%g", step)})
	}
	for _, r := range rows {
		s := section{Row: r, Show: draw(worst(r.Measured))}
		if r.Most > 0 && r.Most <= longest {
			s.Bound = scale(r.Most)
		}
		for _, m := range r.Measured {
			s.Dots = append(s.Dots, dot{scale(m.Gap.Seconds), len(m.Verdict) > 0, fmt.Sprintf("round %d: %.2f s", m.Round, m.Gap.Seconds)})
			if p.From.IsZero() || m.At.Before(p.From) {
				p.From = m.At
			}
			if m.At.After(p.To) {
				p.To = m.At
			}
			once(&p.Kinds, fmt.Sprintf("failover %s, durability %s", m.Failover, m.Durability))
			once(&p.Specs, m.Spec)
			if m.Slow() {
				p.Slow = max(p.Slow, m.Slowness)
			}
			for role, digest := range m.Images {
				once(&p.Images, role+" "+digest)
			}
		}
		p.Rounds += r.Rounds
		p.NotHeld += r.NotHeld
		p.Acked += r.Acked
		p.Two += r.Two
		p.Lost += r.Lost
		p.Rows = append(p.Rows, s)
	}
	slices.Sort(p.Images)
	return p
}

func once(all *[]string, text string) {
	if !slices.Contains(*all, text) {
		*all = append(*all, text)
	}
}

// worst is the round that is drawn: one in which something did not hold, or else
// the one with the longest gap.
func worst(rounds []drill.Round) drill.Round {
	return slices.MaxFunc(rounds, func(a, b drill.Round) int {
		if n := min(len(a.Verdict), 1) - min(len(b.Verdict), 1); n != 0 {
			return n
		}
		return int(1000 * (a.Gap.Seconds - b.Gap.Seconds))
	})
}

// ticks are some round numbers up to the longest.
func ticks(longest float64, want int) []float64 {
	step := 0.1
	for i := 0; longest/step > float64(want); i++ {
		step *= []float64{2, 2.5, 2}[i%3]
	}
	var all []float64
	for s := 0.0; s <= longest; s += step {
		all = append(all, float64(int(s*100+0.5))/100)
	}
	return all
}
