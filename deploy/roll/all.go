package roll

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pgha-gen/deploy/operate"
	"pgha-gen/deploy/yandex"
	"pgha-gen/generator/cloud"
)

// Roll is the plan of all machines that do not run the newest image, or are
// otherwise not as the spec has them; with a role named, of that role's. What is
// not there or not well comes first, so that a second run completes the first;
// then one after the other in operate's Order. Only what the first of them would
// be refused for is known now.
func (c *Cluster) Roll(ctx context.Context, role string) (*Plan, error) {
	found, err := yandex.Look(ctx, c.API, c.Plan)
	if err != nil {
		return nil, err
	}
	s := c.Running.Look(ctx)
	if err := s.Silent(); err != nil {
		return nil, err
	}
	var all []step
	for _, m := range c.Plan.Machines {
		if role != "" && m.Role != role {
			continue
		}
		one, err := c.step(found, s, m)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	slices.SortStableFunc(all, func(a, b step) int { return a.order - b.order })
	p := &Plan{}
	for _, one := range all {
		p.Lines = append(p.Lines, one.says)
		if one.verb != keep {
			p.turns = append(p.turns, turn{name: one.name, await: one.verb == await})
		}
	}
	for i, t := range p.turns {
		if t.await {
			continue
		}
		before, err := s.PlanReplace(t.name, false)
		switch {
		case err != nil && i == 0:
			return nil, err
		case err == nil:
			for _, note := range before.Notes {
				if !slices.Contains(p.Notes, note) {
					p.Notes = append(p.Notes, note)
				}
			}
		}
	}
	return p, nil
}

// The verbs of a step.
const (
	keep = iota
	await
	create
	replace
)

// step is what becomes of a machine.
type step struct {
	name  string
	verb  int
	order int
	says  string
}

func (c *Cluster) step(found *yandex.Found, s *operate.State, m *cloud.Machine) (step, error) {
	why, missing := yandex.Outdated(found, m, c.World.UserData[m.Role])
	lacks := s.Lacks(m.Name)
	if len(why) > 0 {
		lacks = s.Unwell(m.Name)
	}
	one := step{name: m.Name, order: 10 + s.Order(m.Name)}
	say := func(verb int, order int, word, text string) {
		one.verb, one.order = verb, order
		one.says = strings.TrimSuffix(fmt.Sprintf("%-7s  %s: %s", word, m.Name, text), ": ")
	}
	switch {
	case missing && m.Data != nil && found.Disks[m.Data.Name] == nil:
		return one, fmt.Errorf("machine %s is not there, nor is its data disk (if the node is new: pgha-cloud refresh, then pgha-cloud deploy; else pgha-cloud replace %s)", m.Name, m.Name)
	case missing:
		say(create, 0, "create", "it is not there")
	case len(why) > 0 && lacks != "":
		say(replace, 1, "replace", strings.Join(append(why, lacks), ", "))
	case len(why) > 0 && s.Leads(m.Name):
		say(replace, one.order, "replace", strings.Join(why, ", ")+"; it leads, and hands over first")
	case len(why) > 0:
		say(replace, one.order, "replace", strings.Join(why, ", "))
	case lacks != "":
		say(await, 2, "wait", lacks)
	default:
		say(keep, one.order, "keep", "")
	}
	if one.verb == create || one.verb == replace {
		if _, err := yandex.NewReplacement(c.Plan, found, m, false); err != nil {
			return one, err
		}
	}
	return one, nil
}
