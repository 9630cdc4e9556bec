package spec

import (
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/agext/levenshtein"
	"gopkg.in/yaml.v3"
)

// Defaulter is a list item whose fields are not all zero before it is read.
type Defaulter interface{ Defaults() }

// Enum is a text type with a fixed set of values; the zero value need not be one.
type Enum interface{ Values() []string }

// Checker is a text type that knows its own form.
type Checker interface{ CheckText() error }

// Elsewhere is the type of a field whose part of the document is read by
// somebody else.
type Elsewhere struct{}

// Text is text that may have several lines; a plain string has one.
type Text string

// Decode puts what is written at p over the value that into points to: what is
// not written keeps the value it has, so defaults are put in before. Every
// mismatch of shape is reported at its place and leaves that value alone.
//
// Shapes: structs by yaml tags (`yaml:"name"`, `yaml:"name,required"`, embedded
// structs inline), slices, string, Text, int, bool, types with UnmarshalText,
// Enum and Checker types, map[string]string, map[string]any. Other Go types are
// a mistake of the program and panic.
func (p Place) Decode(into any) {
	_, node, depth := p.find()
	if depth != len(p.path) {
		return
	}
	p.decode(node, reflect.ValueOf(into).Elem())
}

// Keys are the keys of the mapping at p, in file order; none if there is no
// mapping, which is reported.
func (p Place) Keys() []string {
	_, node, depth := p.find()
	if depth != len(p.path) {
		return nil
	}
	if node.Kind != yaml.MappingNode {
		p.mismatch("a mapping", node)
		return nil
	}
	var keys []string
	for i := 0; i+1 < len(node.Content); i += 2 {
		if k := node.Content[i]; k.Kind == yaml.ScalarNode && !slices.Contains(keys, k.Value) {
			keys = append(keys, k.Value)
		}
	}
	return keys
}

// Unknown reports at the key itself that it is none of the known ones.
func (p Place) Unknown(what string, known []string) {
	key, value, _ := p.find()
	if key == nil {
		key = value
	}
	last := p.path[len(p.path)-1].key
	text := "unknown " + what
	if near := nearest(last, known); near != "" {
		text += " (did you mean " + near + "?)"
	} else {
		text += " (known: " + strings.Join(known, ", ") + ")"
	}
	p.doc.add(key, p.String(), false, text)
}

func (p Place) decode(n *yaml.Node, v reflect.Value) {
	if n.Kind == yaml.AliasNode {
		return // reported already
	}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		p.Problem("has no value (give one, or leave the key out)")
		return
	}
	switch target := v.Addr().Interface().(type) {
	case *Elsewhere:
		return
	case encoding.TextUnmarshaler:
		p.decodeText(n, v, target)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		p.decodeStruct(n, v)
	case reflect.Slice:
		p.decodeSlice(n, v)
	case reflect.Map:
		p.decodeMap(n, v)
	case reflect.String:
		p.decodeString(n, v)
	case reflect.Int:
		i, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || n.Style != 0 || err != nil || n.Value[0] == '+' {
			p.mismatch("a whole number", n)
			return
		}
		v.SetInt(int64(i))
	case reflect.Bool:
		if n.Kind != yaml.ScalarNode || n.Style != 0 || n.Value != "true" && n.Value != "false" {
			p.mismatch("true or false", n)
			return
		}
		v.SetBool(n.Value == "true")
	default:
		panic(fmt.Sprintf("internal error: spec cannot decode into %s", v.Type()))
	}
}

func (p Place) decodeText(n *yaml.Node, v reflect.Value, target encoding.TextUnmarshaler) {
	want := "text"
	switch target.(type) {
	case *netip.Addr:
		want = "an IP address such as 10.128.0.11"
	case *netip.Prefix:
		want = "a network such as 10.128.0.0/24"
	}
	if n.Kind != yaml.ScalarNode {
		p.mismatch(want, n)
		return
	}
	fresh := reflect.New(v.Type())
	if err := fresh.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value)); err != nil {
		if want != "text" {
			p.mismatch(want, n)
		} else {
			p.Problem("%v", err)
		}
		return
	}
	v.Set(fresh.Elem())
}

func (p Place) decodeString(n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		p.mismatch("text", n)
		return
	}
	// What was typed is what is meant: 18, 1.10 and no are text here.
	_, lines := v.Interface().(Text)
	for _, r := range n.Value {
		if unicode.IsControl(r) && !(lines && (r == '\n' || r == '\t')) {
			p.Problem("want text on one line, have control character %q", r)
			return
		}
	}
	fresh := reflect.New(v.Type()).Elem()
	fresh.SetString(n.Value)
	if e, ok := fresh.Interface().(Enum); ok && !slices.Contains(e.Values(), n.Value) {
		text := fmt.Sprintf("want one of %s, have %q", strings.Join(e.Values(), ", "), n.Value)
		if near := nearest(n.Value, e.Values()); near != "" {
			text += " (did you mean " + near + "?)"
		}
		p.Problem("%s", text)
		return
	}
	if c, ok := fresh.Interface().(Checker); ok {
		if err := c.CheckText(); err != nil {
			p.Problem("%v", err)
			return
		}
	}
	v.Set(fresh)
}

func (p Place) decodeSlice(n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		p.mismatch("a list", n)
		return
	}
	items := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		item := items.Index(i)
		if d, ok := item.Addr().Interface().(Defaulter); ok {
			d.Defaults()
		}
		p.Index(i).decode(c, item)
	}
	v.Set(items)
}

func (p Place) decodeMap(n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		p.mismatch("a mapping", n)
		return
	}
	m := reflect.MakeMap(v.Type())
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, c := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			continue // reported already
		}
		at := p.Key(k.Value)
		value := reflect.New(v.Type().Elem()).Elem()
		if value.Kind() == reflect.Interface {
			if x, err := plain(c); err != nil {
				at.Problem("%v", err)
			} else if x != nil {
				value.Set(reflect.ValueOf(x))
			}
		} else {
			at.decode(c, value)
		}
		m.SetMapIndex(reflect.ValueOf(k.Value), value)
	}
	v.Set(m)
}

func (p Place) decodeStruct(n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		p.mismatch("a mapping", n)
		return
	}
	fields := fieldsOf(v.Type())
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		if n.Content[i].Kind != yaml.ScalarNode || seen[key] {
			continue // reported already
		}
		seen[key] = true
		at := p.Key(key)
		f, ok := lookup(fields, key)
		if !ok {
			at.Unknown("key", names(fields))
			continue
		}
		at.decode(n.Content[i+1], v.FieldByIndex(f.index))
	}
	for _, f := range fields {
		if f.required && !seen[f.name] {
			p.Key(f.name).Problem("missing (it has no default)")
		}
	}
}

// field is one key of a struct.
type field struct {
	name     string
	index    []int
	typ      reflect.Type
	required bool
}

// fieldsOf lists the keys of a struct in the order of its fields, those of
// embedded structs in their place.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			for _, in := range fieldsOf(f.Type) {
				in.index = append([]int{i}, in.index...)
				fields = append(fields, in)
			}
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		fields = append(fields, field{name, []int{i}, f.Type, options == "required"})
	}
	return fields
}

func lookup(fields []field, name string) (field, bool) {
	i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
	if i < 0 {
		return field{}, false
	}
	return fields[i], true
}

func names(fields []field) []string {
	all := make([]string, len(fields))
	for i, f := range fields {
		all[i] = f.name
	}
	return all
}

// plain is a node as nil, string, bool, int, float64, []any or map[string]any.
func plain(n *yaml.Node) (any, error) {
	switch n.Kind {
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, c := range n.Content {
			x, err := plain(c)
			if err != nil {
				return nil, err
			}
			list[i] = x
		}
		return list, nil
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			x, err := plain(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			m[n.Content[i].Value] = x
		}
		return m, nil
	case yaml.AliasNode:
		return nil, nil // reported already
	}
	switch n.Tag {
	case "!!null":
		return nil, nil
	case "!!bool":
		return n.Value == "true" || n.Value == "True" || n.Value == "TRUE", nil
	case "!!int":
		i, err := strconv.Atoi(n.Value)
		if err != nil {
			return nil, fmt.Errorf("want a decimal number, have %q (quote it if it is text)", n.Value)
		}
		return i, nil
	case "!!float":
		f, err := strconv.ParseFloat(n.Value, 64)
		if err != nil || f-f != 0 {
			return nil, fmt.Errorf("want a decimal number, have %q (quote it if it is text)", n.Value)
		}
		return f, nil
	case "!!str", "!!timestamp":
		for _, r := range n.Value {
			if unicode.IsControl(r) && r != '\n' && r != '\t' {
				return nil, fmt.Errorf("control character %q in text", r)
			}
		}
		return n.Value, nil
	}
	return nil, errors.New("a value of type " + n.Tag + " (want text, a number, true or false, a list or a mapping)")
}

// mismatch says what was wanted and what is there, in the user's words.
func (p Place) mismatch(want string, n *yaml.Node) {
	have := strconv.Quote(n.Value)
	switch n.Kind {
	case yaml.SequenceNode:
		have = "a list"
	case yaml.MappingNode:
		have = "a mapping"
	}
	p.Problem("want %s, have %s", want, have)
}

// nearest is the known word that s was probably meant to be, or "".
func nearest(s string, known []string) string {
	best, distance := "", len(s)/3+2
	for _, k := range known {
		if d := levenshtein.Distance(s, k, nil); d < distance {
			best, distance = k, d
		}
	}
	return best
}
