package specfile

import (
	"reflect"
	"strings"

	"pgha-gen/generator/emit"
)

// Schema is the JSON Schema (2020-12) of what Decode accepts into a value
// like v, or like what v points to. describe gives the sentence for the key
// at a path ("a.b[].c"), or "". The schema knows shapes; meaning is checked
// by pgha-gen validate alone.
func Schema(v any, describe func(path string) string) emit.Map {
	return schemaOf(reflect.Indirect(reflect.ValueOf(v)).Type(), "", describe)
}

func schemaOf(t reflect.Type, path string, describe func(string) string) emit.Map {
	if e, ok := reflect.Zero(t).Interface().(Enum); ok {
		return emit.Map{{Key: "enum", Value: e.Values()}}
	}
	if form, ok := forms[t]; ok {
		return typed("string", form.schema)
	}
	switch t.Kind() {
	case reflect.Struct:
		return structSchema(t, path, describe)
	case reflect.Slice:
		return typed("array", emit.Pair{Key: "items", Value: schemaOf(t.Elem(), path+"[]", describe)})
	case reflect.Map:
		if t.Elem().Kind() == reflect.Interface {
			return typed("object")
		}
		return typed("object", emit.Pair{Key: "additionalProperties", Value: schemaOf(t.Elem(), path+".*", describe)})
	case reflect.Int:
		return typed("integer")
	case reflect.Bool:
		return typed("boolean")
	}
	// Text that looks like a number is text to us, and a number to a schema.
	return typed([]string{"string", "number", "boolean"})
}

func structSchema(t reflect.Type, path string, describe func(string) string) emit.Map {
	properties := emit.Map{}
	var required []string
	for _, f := range fieldsOf(t) {
		at := strings.TrimPrefix(path+"."+f.name, ".")
		property := emit.Map{}
		if text := describe(at); text != "" {
			property = property.Set("description", text)
		}
		if f.typ != deferred {
			property = append(property, schemaOf(f.typ, at, describe)...)
		}
		properties = properties.Set(f.name, property)
		if f.required {
			required = append(required, f.name)
		}
	}
	m := typed("object", emit.Pair{Key: "properties", Value: properties}, emit.Pair{Key: "additionalProperties", Value: false})
	if len(required) > 0 {
		m = m.Set("required", required)
	}
	return m
}

func typed(t any, more ...emit.Pair) emit.Map {
	return append(emit.Map{{Key: "type", Value: t}}, more...)
}
