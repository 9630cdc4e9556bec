package spec

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"pgha-gen/generator/emit"
)

// Encode is the reverse of Decode: the value as emit writes it, every default
// included, keys in the order of the struct's fields, those of maps sorted.
// Reading what is written gives the same value again; an address or other text
// type without a value, which cannot be written, is left out.
func Encode(v any) any { return encode(reflect.ValueOf(v)) }

func encode(v reflect.Value) any {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err != nil {
			panic("internal error: " + err.Error()) // our own types do not fail
		}
		return string(text)
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
			if f.typ == reflect.TypeFor[Elsewhere]() || unset(value) {
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
		slices.SortFunc(keys, func(a, b reflect.Value) int {
			if a.String() < b.String() {
				return -1
			}
			return 1
		})
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

// unset says whether v is an address that was not given.
func unset(v reflect.Value) bool {
	a, ok := v.Interface().(netip.Addr)
	return ok && !a.IsValid()
}
