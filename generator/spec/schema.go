package spec

import (
	"encoding"
	"net/netip"
	"reflect"

	"pgha-gen/generator/emit"
)

// Schema is the JSON Schema (2020-12) of what Decode accepts into a value like
// v, or like what v points to. describe gives the sentence for the key at a path ("a.b[].c"), or
// "". The schema knows shapes; meaning is checked by pgha-gen validate alone.
func Schema(v any, describe func(path string) string) emit.Map {
	return schemaOf(reflect.Indirect(reflect.ValueOf(v)).Type(), "", describe)
}

func schemaOf(t reflect.Type, path string, describe func(string) string) emit.Map {
	value := reflect.New(t)
	if e, ok := value.Elem().Interface().(Enum); ok {
		var values []any
		for _, s := range e.Values() {
			values = append(values, s)
		}
		return emit.Map{{Key: "enum", Value: values}}
	}
	switch value.Interface().(type) {
	case *Size:
		return emit.Map{{Key: "type", Value: "string"}, {Key: "pattern", Value: sizeForm.String()}}
	case *Duration:
		return emit.Map{{Key: "type", Value: "string"}, {Key: "pattern", Value: durationForm.String()}}
	case *netip.Addr:
		return emit.Map{{Key: "type", Value: "string"}, {Key: "anyOf", Value: []any{
			emit.Map{{Key: "format", Value: "ipv4"}}, emit.Map{{Key: "format", Value: "ipv6"}},
		}}}
	case *netip.Prefix:
		return emit.Map{{Key: "type", Value: "string"}, {Key: "pattern", Value: `^[0-9A-Fa-f.:]+/\d{1,3}$`}}
	case encoding.TextUnmarshaler:
		return emit.Map{{Key: "type", Value: "string"}}
	}
	switch t.Kind() {
	case reflect.Struct:
		properties, required := emit.Map{}, []any{}
		for _, f := range fieldsOf(t) {
			at := f.name
			if path != "" {
				at = path + "." + f.name
			}
			property := emit.Map{}
			if text := describe(at); text != "" {
				property = append(property, emit.Pair{Key: "description", Value: text})
			}
			if f.typ != reflect.TypeFor[Elsewhere]() {
				property = append(property, schemaOf(f.typ, at, describe)...)
			}
			properties = append(properties, emit.Pair{Key: f.name, Value: property})
			if f.required {
				required = append(required, f.name)
			}
		}
		m := emit.Map{{Key: "type", Value: "object"}, {Key: "properties", Value: properties}, {Key: "additionalProperties", Value: false}}
		if len(required) > 0 {
			m = append(m, emit.Pair{Key: "required", Value: required})
		}
		return m
	case reflect.Slice:
		return emit.Map{{Key: "type", Value: "array"}, {Key: "items", Value: schemaOf(t.Elem(), path+"[]", describe)}}
	case reflect.Map:
		m := emit.Map{{Key: "type", Value: "object"}}
		if t.Elem().Kind() != reflect.Interface {
			m = append(m, emit.Pair{Key: "additionalProperties", Value: schemaOf(t.Elem(), path+".*", describe)})
		}
		return m
	case reflect.Int:
		return emit.Map{{Key: "type", Value: "integer"}}
	case reflect.Bool:
		return emit.Map{{Key: "type", Value: "boolean"}}
	}
	// Text that looks like a number is text to us, and a number to a schema.
	return emit.Map{{Key: "type", Value: []any{"string", "number", "boolean"}}}
}
