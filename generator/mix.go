package generator

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	"pgha-gen/generator/emit"
)

// absent stands for a value that a version of a spec does not have.
type absent struct{}

func isAbsent(v any) bool {
	_, ok := v.(absent)
	return ok
}

// mix lays of a new version of a spec over an old one what take chooses. It is
// asked at each difference, with the key; all that it takes gives the new
// version. A role, or a list's item with a name, comes and goes as a whole, and
// so does a list of anything else. Where the items of a list are only in
// another order, it is asked with their names.
func mix(key string, old, new any, take func(key string, old, new any) bool) any {
	switch was := old.(type) {
	case emit.Map:
		if is, ok := new.(emit.Map); ok {
			return mixMaps(key, was, is, take)
		}
	case []any:
		if is, ok := new.([]any); ok && len(was)+len(is) > 0 && areNamed(was) && areNamed(is) {
			return mixLists(key, was, is, take)
		}
	}
	if reflect.DeepEqual(old, new) || !take(key, old, new) {
		return old
	}
	return new
}

func mixMaps(above string, old, new emit.Map, take func(key string, old, new any) bool) emit.Map {
	mixed := emit.Map{}
	for _, p := range old {
		value := mix(keyBelow(above, p.Key), p.Value, valueOf(new, p.Key), take)
		if !isAbsent(value) {
			mixed = append(mixed, emit.Pair{Key: p.Key, Value: value})
		}
	}
	for _, p := range new {
		if isAbsent(valueOf(old, p.Key)) && take(keyBelow(above, p.Key), absent{}, p.Value) {
			mixed = append(mixed, p)
		}
	}
	return mixed
}

func mixLists(key string, old, new []any, take func(key string, old, new any) bool) []any {
	mixed := map[string]any{} // by name
	for _, item := range old {
		n := nameOf(item)
		mixed[n] = mix(key+"["+n+"]", item, named(new, n), take)
	}
	both := func(name string) bool {
		return !isAbsent(named(old, name)) && !isAbsent(named(new, name))
	}
	before, after := slices.DeleteFunc(namesOf(old), not(both)), slices.DeleteFunc(namesOf(new), not(both))
	order := namesOf(old)
	if !slices.Equal(before, after) && take(key, before, after) {
		// Those that only the old version has stay behind the others.
		order = slices.Concat(after, slices.DeleteFunc(order, both))
	}
	for i, item := range new {
		n := nameOf(item)
		if _, ok := mixed[n]; ok || !take(key+"["+n+"]", absent{}, item) {
			continue
		}
		mixed[n] = item
		at := 0 // behind the nearest of those before it
		for _, earlier := range new[:i] {
			at = max(at, slices.Index(order, nameOf(earlier))+1)
		}
		order = slices.Insert(order, at, n)
	}
	var list []any
	for _, n := range order {
		if !isAbsent(mixed[n]) {
			list = append(list, mixed[n])
		}
	}
	if list == nil {
		list = []any{}
	}
	return list
}

func not(f func(string) bool) func(string) bool { return func(s string) bool { return !f(s) } }

func valueOf(m emit.Map, key string) any {
	for _, p := range m {
		if p.Key == key {
			return p.Value
		}
	}
	return absent{}
}

// nameOf is the name of a list's item; empty: it has none.
func nameOf(item any) string {
	m, _ := item.(emit.Map)
	name, _ := valueOf(m, "name").(string)
	return name
}

func namesOf(list []any) []string {
	names := make([]string, len(list))
	for i, item := range list {
		names[i] = nameOf(item)
	}
	return names
}

func named(list []any, name string) any {
	if i := slices.Index(namesOf(list), name); i >= 0 {
		return list[i]
	}
	return absent{}
}

// areNamed says whether each item of a list has a name of its own.
func areNamed(list []any) bool {
	names := namesOf(list)
	slices.Sort(names)
	return !slices.Contains(names, "") && len(slices.Compact(names)) == len(list)
}

// keyBelow is the key of a mapping's entry, as specfile.Place writes it.
func keyBelow(above, key string) string {
	if quoted := strconv.Quote(key); quoted != `"`+key+`"` || strings.ContainsAny(key, " .:[]") {
		key = quoted
	}
	if above == "" {
		return key
	}
	return above + "." + key
}
