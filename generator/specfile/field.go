package specfile

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"pgha-gen/generator/emit"
)

// field is one key of a struct.
type field struct {
	name     string
	index    []int
	typ      reflect.Type
	required bool
}

type fields []field

// fieldsOf lists the keys of a struct in the order of its fields, those of
// embedded structs in their place.
func fieldsOf(t reflect.Type) fields {
	var all fields
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name != "" && name != "-" {
			all = append(all, field{name, f.Index, f.Type, options == "required"})
		}
	}
	return all
}

func (fs fields) named(name string) (field, bool) {
	i := slices.IndexFunc(fs, func(f field) bool { return f.name == name })
	if i < 0 {
		return field{}, false
	}
	return fs[i], true
}

func (fs fields) names() []string {
	all := make([]string, len(fs))
	for i, f := range fs {
		all[i] = f.name
	}
	return all
}

var deferred = reflect.TypeFor[Deferred]()

// forms are the types that are read by their UnmarshalText: how a problem
// names what is wanted, and their schema.
var forms = map[reflect.Type]struct {
	want   string
	schema emit.Pair
}{
	reflect.TypeFor[Size]():         {sizeWanted, emit.Pair{Key: "pattern", Value: sizeForm.String()}},
	reflect.TypeFor[Duration]():     {durationWanted, emit.Pair{Key: "pattern", Value: durationForm.String()}},
	reflect.TypeFor[netip.Prefix](): {"a network such as 10.128.0.0/24", emit.Pair{Key: "pattern", Value: `^[0-9A-Fa-f.:]+/\d{1,3}$`}},
	reflect.TypeFor[netip.Addr](): {"an IP address such as 10.128.0.11", emit.Pair{Key: "anyOf", Value: []any{
		emit.Map{{Key: "format", Value: "ipv4"}}, emit.Map{{Key: "format", Value: "ipv6"}},
	}}},
}
