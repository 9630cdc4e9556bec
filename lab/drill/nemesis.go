package drill

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Nemesis draws what it does from the steps of all scenarios, for a time. The
// same seed draws the same.
type Nemesis struct {
	Seed uint64
	Long time.Duration
}

// NemesisName is the scenario of its rounds.
const NemesisName = "nemesis"

// faults are the steps of scenarios that a nemesis may draw.
func faults(all []Scenario) []Step {
	var found []Step
	known := map[string]bool{}
	for _, s := range all {
		if s.Alone {
			continue
		}
		for _, step := range s.Do {
			if undoes(step.Form) || known[step.Sentence] {
				continue
			}
			known[step.Sentence] = true
			found = append(found, step)
		}
	}
	return found
}

// undoes says whether a step only ends another one, or waits: the nemesis does
// that in its own way.
func undoes(form string) bool {
	verb, _, _ := strings.Cut(form, " ")
	switch verb {
	case "start", "plug", "heal", "thaw", "resume", "empty", "bring", "wait":
		return true
	}
	return false
}

// Draw are the scenarios of a nemesis, one after the other: one to three faults,
// at moments of their own. What they did is undone after each of them.
func (n Nemesis) Draw(all []Scenario) func() (Scenario, error) {
	random := rand.New(rand.NewPCG(n.Seed, 0))
	pool := faults(all)
	number := 0
	return func() (s Scenario, err error) {
		if len(pool) == 0 {
			return s, fmt.Errorf("the scenarios have no fault that a nemesis could draw")
		}
		number++
		s.Name = NemesisName
		s.Defaults()
		for range 1 + random.IntN(3) {
			fault := pool[random.IntN(len(pool))]
			wait := time.Duration(100+random.IntN(12000)) * time.Millisecond
			// A disk lost beside another fault is more than any durability
			// survives: it may be the second copy of a row.
			lost := strings.HasSuffix(fault.Form, "without disk")
			if lost {
				s.Do = nil
			}
			pause, err := ParseStep(fmt.Sprintf("wait %dms", wait.Milliseconds()))
			if err != nil {
				return s, err
			}
			s.Do = append(s.Do, fault, pause)
			if lost {
				break
			}
		}
		return s, nil
	}
}
