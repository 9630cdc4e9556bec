package demo

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Edit puts a spec that has only what differs over base, line by line, so that
// comments and mistakes stay as they are written. A key that both have with a
// mapping is gone into. Any other takes the place of that of base, or if base has
// none, stands behind the key before it, or first in its mapping. "-key:" takes
// one away, and fails the test if there is none.
func Edit(t testing.TB, base, edit string) string {
	t.Helper()
	text, err := merge(lines(base), lines(edit))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(text, "\n") + "\n"
}

func lines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }

func merge(base, edit []string) ([]string, error) {
	if indent(base[0]) != indent(edit[0]) {
		return nil, fmt.Errorf("cannot put %q among keys of another indent", edit[0])
	}
	have := entries(base)
	next := 0
	for _, e := range entries(edit) {
		name, remove := strings.CutPrefix(e.key, "-")
		i := slices.IndexFunc(have, func(h entry) bool { return h.key == name })
		switch {
		case remove && i < 0:
			return nil, fmt.Errorf("cannot take away %s: it is not there", name)
		case remove:
			have = slices.Delete(have, i, i+1)
			next = i
		case i < 0:
			have = slices.Insert(have, next, e)
			next++
		default:
			if e.isMapping() && have[i].isMapping() {
				below, err := merge(have[i].text[1:], e.text[1:])
				if err != nil {
					return nil, err
				}
				e.text = append(e.text[:1:1], below...)
			}
			have[i], next = e, i+1
		}
	}
	var all []string
	for _, h := range have {
		all = append(all, h.text...)
	}
	return all, nil
}

// entry is a key's line and the deeper ones below it.
type entry struct {
	key  string
	text []string
}

// entries are those of one mapping: the first line has its indent.
func entries(text []string) []entry {
	depth := indent(text[0])
	var all []entry
	for _, line := range text {
		if len(all) > 0 && (len(line) <= depth || line[depth] == ' ') {
			last := &all[len(all)-1]
			last.text = append(last.text, line)
			continue
		}
		key, _, _ := strings.Cut(line, ":")
		all = append(all, entry{strings.TrimSpace(key), []string{line}})
	}
	return all
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// isMapping says whether there are keys below this one.
func (e entry) isMapping() bool {
	_, value, _ := strings.Cut(e.text[0], ":")
	value, _, _ = strings.Cut(value, "#")
	return strings.TrimSpace(value) == "" && len(e.text) > 1 && !strings.HasPrefix(strings.TrimSpace(e.text[1]), "- ")
}
