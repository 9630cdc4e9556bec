// Package effect knows how a change of a running machine's files takes effect,
// by the lists that its image has.
package effect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Effect is how a change takes effect.
type Effect string

// The effects, as packer/rootfs/usr/lib/pgha/effects/base.list explains them.
const (
	Reload    Effect = "reload"
	Dynamic   Effect = "dynamic"
	Rolling   Effect = "rolling"
	Restart   Effect = "restart"
	Boot      Effect = "boot"
	Bootstrap Effect = "bootstrap"
	Machine   Effect = "machine"
	Refused   Effect = "refused"
)

// Effects are all of them.
func Effects() []Effect {
	return []Effect{Reload, Dynamic, Rolling, Restart, Boot, Bootstrap, Machine, Refused}
}

// Taken says whether a running machine takes such a change over.
func (e Effect) Taken() bool { return e != Machine && e != Refused }

// Rule is a line of a list: it covers a key of the files of a path, and all
// keys below it.
type Rule struct {
	Path   string // * stands for any characters but a slash
	Key    string // a variable, or a dotted key in which * is any one step; empty: the whole file
	Effect Effect
	What   string // what happens, if there is more to say
}

// Rules are in the order in which they count: the first that covers a key.
type Rules []Rule

// Parse reads a list; name is for messages. It says the first line that is no
// rule.
func Parse(name string, text []byte) (Rules, error) {
	var rules Rules
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		where, rest, _ := strings.Cut(line, " ")
		word, what, _ := strings.Cut(strings.TrimSpace(rest), " ")
		if !slices.Contains(Effects(), Effect(word)) {
			return nil, fmt.Errorf("%s:%d: %q is no effect (want one of %q)", name, number, word, Effects())
		}
		file, key, _ := strings.Cut(where, "#")
		if _, err := path.Match(file, ""); err != nil || !strings.HasPrefix(file, "/") {
			return nil, fmt.Errorf("%s:%d: %q is no absolute path", name, number, file)
		}
		rules = append(rules, Rule{file, key, Effect(word), strings.TrimSpace(what)})
	}
	return rules, nil
}

// Covers says whether the rule is about a key of a file.
func (r Rule) Covers(file, key string) bool {
	if found, err := path.Match(r.Path, file); err != nil || !found {
		return false
	}
	if r.Key == "" {
		return true
	}
	want, given := strings.Split(r.Key, "."), strings.Split(key, ".")
	if len(given) < len(want) {
		return false
	}
	for i, step := range want {
		if step != "*" && step != given[i] {
			return false
		}
	}
	return true
}

// Of is the rule that counts for a key of a file.
func (rules Rules) Of(file, key string) (Rule, bool) {
	i := slices.IndexFunc(rules, func(r Rule) bool { return r.Covers(file, key) })
	if i < 0 {
		return Rule{}, false
	}
	return rules[i], true
}

// Change is a key of a file that is not what it was, and the rule for it.
type Change struct {
	File, Key string // Key is empty for a file that has none
	Rule
}

// Changes are those between two sets of files, by path and key. A key that no
// rule is about is an error.
func (rules Rules) Changes(old, new map[string][]byte) ([]Change, error) {
	paths := map[string]bool{}
	for _, files := range []map[string][]byte{old, new} {
		for file := range files {
			paths[file] = true
		}
	}
	var all []Change
	for _, file := range slices.Sorted(maps.Keys(paths)) {
		changed, err := changed(file, old, new)
		if err != nil {
			return nil, err
		}
		for _, key := range changed {
			rule, ok := rules.Of(file, key)
			if !ok {
				return nil, fmt.Errorf("no effects list has a line for %s", Name(file, key))
			}
			all = append(all, Change{file, key, rule})
		}
	}
	return all, nil
}

// Name is how messages and lists call a key of a file.
func Name(file, key string) string {
	if key == "" {
		return file
	}
	return file + "#" + key
}

// changed are the keys of a file that differ; an empty one if only the way
// differs in which it is written.
func changed(file string, old, new map[string][]byte) ([]string, error) {
	before, had := old[file]
	after, has := new[file]
	if had == has && bytes.Equal(before, after) {
		return nil, nil
	}
	values := [2]map[string]any{{}, {}}
	for i, data := range [][]byte{before, after} {
		if !(had && i == 0 || has && i == 1) {
			continue
		}
		var err error
		if values[i], err = Keys(file, data); err != nil {
			return nil, err
		}
	}
	union := maps.Clone(values[0])
	maps.Copy(union, values[1])
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(union)) {
		a, inOld := values[0][key]
		b, inNew := values[1][key]
		if inOld != inNew || !reflect.DeepEqual(a, b) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return []string{""}, nil
	}
	return keys, nil
}

// Keys are the values of a file, by variable or dotted key; a list is one
// value. A file without keys has one value, of the empty key.
func Keys(file string, data []byte) (map[string]any, error) {
	found := map[string]any{}
	var value any
	var err error
	switch path.Ext(file) {
	case ".env":
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSuffix(line, "\n"); line != "" && !strings.HasPrefix(line, "#") {
				name, value, _ := strings.Cut(line, "=")
				found[name] = value
			}
		}
		return found, nil
	case ".yml":
		err = yaml.Unmarshal(data, &value)
	case ".json":
		err = json.Unmarshal(data, &value)
	default:
		value = string(data)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", file, err)
	}
	flatten(found, "", value)
	return found, nil
}

func flatten(found map[string]any, above string, value any) {
	m, ok := value.(map[string]any)
	if !ok || len(m) == 0 {
		found[above] = value
		return
	}
	for key, inner := range m {
		if above != "" {
			key = above + "." + key
		}
		flatten(found, key, inner)
	}
}
