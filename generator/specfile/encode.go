package specfile

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"pgha-gen/generator/emit"
)

// Encode is the reverse of Decode: the value as emit writes it, every default
// included, keys in the order of the struct's fields, those of maps sorted.
// Reading what is written gives the same value again; an address
// without a value, which cannot be written, is left out.
func Encode(v any) any { return encode(reflect.ValueOf(v)) }

func encode(v reflect.Value) any {
	if _, ok := forms[v.Type()]; ok {
		return fmt.Sprint(v.Interface()) // what their UnmarshalText reads
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return encode(v.Elem())
	case reflect.Struct:
		m := emit.Map{}
		for _, f := range fieldsOf(v.Type()) {
			value := v.FieldByIndex(f.index)
			if f.typ == deferred || value.Type() == reflect.TypeFor[netip.Addr]() && value.IsZero() {
				continue
			}
			m = append(m, emit.Pair{Key: f.name, Value: encode(value)})
		}
		return m
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = encode(v.Index(i))
		}
		return list
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		m := emit.Map{}
		for _, k := range keys {
			m = append(m, emit.Pair{Key: k.String(), Value: encode(v.MapIndex(k))})
		}
		return m
	case reflect.String:
		return v.String()
	case reflect.Int:
		return int(v.Int())
	case reflect.Bool:
		return v.Bool()
	case reflect.Float64:
		return v.Float()
	}
	panic(fmt.Sprintf("internal error: spec cannot encode %s", v.Type()))
}
