package yc

import (
	"maps"
	"slices"
	"strings"

	"pgha-gen/generator/cloud"
)

// Change is an option of the command that creates a node's machine, or its
// data disk, whose value is not what it was. An empty value is that of an
// option that is not given.
type Change struct {
	Disk         bool // of the data disk
	Option       string
	Old, New     string
	WhileRunning string // the command that makes it so while the machine runs; empty: there is none
}

// Changes are those between two versions of a machine, by option, those of the
// machine first.
func Changes(p *cloud.Plan, old, new *cloud.Machine) ([]Change, error) {
	all := changes(false, machine(p, old), machine(p, new))
	for _, c := range changes(true, disk(p, old), disk(p, new)) {
		if c.Option == "--size" && c.Old != "" && c.New != "" && old.Data.Size < new.Data.Size {
			text, err := command([]string{"yc", "compute", "disk", "update", "--folder-id", p.Folder, "--name", new.Data.Name, "--size", c.New})
			if err != nil {
				return nil, err
			}
			c.WhileRunning = strings.ReplaceAll(text, " \\\n\t", " ")
		}
		all = append(all, c)
	}
	return all, nil
}

func changes(disk bool, old, new []string) []Change {
	before, after := options(old), options(new)
	union := maps.Clone(before)
	maps.Copy(union, after)
	var all []Change
	for _, option := range slices.Sorted(maps.Keys(union)) {
		if before[option] != after[option] {
			all = append(all, Change{Disk: disk, Option: option, Old: before[option], New: after[option]})
		}
	}
	return all
}

// options are the values of a command's options; that of one without is "yes".
func options(words []string) map[string]string {
	all := map[string]string{}
	for i, word := range words {
		switch {
		case !strings.HasPrefix(word, "--"):
		case i+1 < len(words) && !strings.HasPrefix(words[i+1], "--"):
			all[word] = variables.ReplaceAllString(words[i+1], "$$$1")
		default:
			all[word] = "yes"
		}
	}
	return all
}
