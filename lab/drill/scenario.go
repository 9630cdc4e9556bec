// Package drill does to a cluster of the lab what scenarios say, under load,
// measures what its clients saw, and judges it.
package drill

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// Scenario is what is done to a cluster, and what must hold.
type Scenario struct {
	Name       string            `yaml:"-"` // its file's
	About      string            `yaml:"about,required"`
	Quick      bool              `yaml:"quick"`      // one of those that make test runs
	Durability []role.Durability `yaml:"durability"` // only with these; none: with all
	Steps      []string          `yaml:"do,required"`
	Hold       Hold              `yaml:"hold"`
	Alone      bool              `yaml:"alone"`     // not for the nemesis: more than the cluster survives by itself, or no fault
	Predicts   role.Fault        `yaml:"predicts"`  // the fault whose prediction the gap has to meet
	Do         []Step            `yaml:"-"`         // Steps, read
	Backup     bool              `yaml:"backup"`    // only for clusters that are backed up
	Agreement  bool              `yaml:"agreement"` // only for clusters with failover by agreement
	Long       bool              `yaml:"long"`      // only if it is asked for by name
	Settle     specfile.Duration `yaml:"settle"`    // how long to look at least, after the last step
}

// Hold is what must hold in every round. No acknowledged row is lost and no two
// nodes acknowledge writes at once, whatever the scenario: see Judge.
type Hold struct {
	GapText   string            `yaml:"gap"`       // as Bound reads it
	Gap       Bound             `yaml:"-"`         // without an acknowledged write, at most
	Arrivals  specfile.Duration `yaml:"arrivals"`  // without a client that connects anew and meets the leader, at most
	Leader    Fate              `yaml:"leader"`    // of the node that led before
	ReadOnly  int               `yaml:"read_only"` // writes that may meet a node which does not lead
	Whole     specfile.Duration `yaml:"whole"`     // until all nodes are what they were, after the last step
	Archived  specfile.Duration `yaml:"archived"`  // until the archive has all WAL of the round, without a hole, after the last step
	Dropped   bool              `yaml:"dropped"`   // the archive has a hole, which is reported, and a backup behind it
	Made      bool              `yaml:"made"`      // a backup that began in the round
	Converged bool              `yaml:"converged"` // in the end the leader says that the cluster is as the spec says
}

// Slower is what must hold on a host that takes so many times as long. A lease lasts
// as long on any.
func (h Hold) Slower(times float64) Hold {
	for _, most := range []*specfile.Duration{&h.Gap.More, &h.Arrivals, &h.Whole} {
		*most = specfile.Duration(float64(*most) * max(times, 1))
	}
	return h
}

// Fate is what becomes of the leader.
type Fate string

// The values of Fate; the zero value is either.
const (
	Stays   Fate = "stays"
	Changes Fate = "changes"
)

// Values are all of them.
func (Fate) Values() []string { return specfile.Values(Stays, Changes) }

// Bound is a time, which may be that of a leader's lease and more: 5s, ttl+4s.
type Bound struct {
	Lease bool
	More  specfile.Duration
}

// ParseBound refuses what is no time.
func ParseBound(text string) (b Bound, err error) {
	more, lease := strings.CutPrefix(text, "ttl+")
	b.Lease = lease
	if err := b.More.UnmarshalText([]byte(more)); err != nil {
		return b, fmt.Errorf("%w, or ttl+5s", err)
	}
	return b, nil
}

// Of is the bound with a lease of this length.
func (b Bound) Of(ttl time.Duration) time.Duration {
	if b.Lease {
		return ttl + time.Duration(b.More)
	}
	return time.Duration(b.More)
}

// Set says whether there is a bound.
func (b Bound) Set() bool { return b != Bound{} }

// Defaults are for what a file does not say.
func (s *Scenario) Defaults() {
	s.Settle = 3 * specfile.Second
	s.Hold.Whole = 90 * specfile.Second
	s.Hold.ReadOnly = -1
}

//go:embed scenarios/*.yaml
var files embed.FS

// All are the scenarios, by name.
func All() ([]Scenario, error) { return read(files) }

func read(from fs.FS) ([]Scenario, error) {
	names, err := fs.Glob(from, "scenarios/*.yaml")
	if err != nil {
		return nil, err
	}
	var all []Scenario
	for _, name := range names {
		text, err := fs.ReadFile(from, name)
		if err != nil {
			return nil, err
		}
		s, err := Read(name, text)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// Read reads one file, or says everything that is wrong with it.
func Read(name string, text []byte) (s Scenario, err error) {
	s.Name = strings.TrimSuffix(path.Base(name), ".yaml")
	s.Defaults()
	d := specfile.Parse(name, text)
	if errs, _ := d.Problems(); len(errs) > 0 {
		return s, errs
	}
	d.Root().Decode(&s)
	steps := d.Root().Key("do")
	for i, sentence := range s.Steps {
		step, err := ParseStep(sentence)
		if err != nil {
			steps.Index(i).Problem("%v", err)
			continue
		}
		s.Do = append(s.Do, step)
	}
	if len(s.Steps) == 0 {
		steps.Problem("a scenario does something (a list of steps: %s)", strings.Join(forms(), "; "))
	}
	if s.Hold.GapText != "" {
		if s.Hold.Gap, err = ParseBound(s.Hold.GapText); err != nil {
			d.Root().Key("hold").Key("gap").Problem("%v", err)
		}
	}
	if errs, _ := d.Problems(); len(errs) > 0 {
		return s, errs
	}
	return s, nil
}

// Unfit says why a scenario is not for a cluster; nil: it is for it.
func (s *Scenario) Unfit(c *role.Cluster) error {
	lost, _ := c.Outage(role.LeaderLost)
	switch {
	case s.Backup && !c.BacksUp():
		return fmt.Errorf("scenario %s is for clusters that are backed up (want backup.bucket in the spec)", s.Name)
	case s.Agreement && lost.Steady == 0:
		return fmt.Errorf("scenario %s is for clusters with failover by agreement (want roles.patroni.agreement.after in the spec)", s.Name)
	case len(s.Durability) > 0 && !slices.Contains(s.Durability, c.Durability):
		return fmt.Errorf("scenario %s is for durability %s (the spec has %s)", s.Name, strings.Join(specfile.Values(s.Durability...), " or "), c.Durability)
	}
	proxies := len(c.Offering(role.Proxy))
	if proxies < 2 && slices.ContainsFunc(s.Do, func(step Step) bool { return slices.Contains(step.On, OneProxy) }) {
		return fmt.Errorf("scenario %s is for clusters with two HAProxies or more (the spec has %d)", s.Name, proxies)
	}
	return nil
}

// slowsDisks says whether it has a step that not every host can do.
func (s *Scenario) slowsDisks() bool {
	return slices.ContainsFunc(s.Do, func(step Step) bool { return step.Writes > 0 })
}

// Pick are the scenarios of these names; with none named, all but the long ones.
func Pick(all []Scenario, names []string) ([]Scenario, error) {
	if len(names) == 0 {
		return slices.DeleteFunc(slices.Clone(all), func(s Scenario) bool { return s.Long }), nil
	}
	var known []string
	for _, s := range all {
		known = append(known, s.Name)
	}
	var picked []Scenario
	for _, name := range names {
		i := slices.Index(known, name)
		if i < 0 {
			if near := specfile.Nearest(name, known); near != "" {
				return nil, fmt.Errorf("there is no scenario %q (did you mean %s?)", name, near)
			}
			return nil, fmt.Errorf("there is no scenario %q (--list shows them)", name)
		}
		picked = append(picked, all[i])
	}
	return picked, nil
}
