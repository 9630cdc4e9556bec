package specfile

import (
	"encoding"
	"errors"
	"fmt"
	"iter"
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

// Enum is a text type with a fixed set of values; the zero value need not be
// one.
type Enum interface{ Values() []string }

// Deferred is the type of a field whose part of the document is read by
// somebody else.
type Deferred struct{}

// Text is text that may have several lines; a plain string has one.
type Text string

// Values are the values of an Enum as texts.
func Values[E ~string](all ...E) []string {
	texts := make([]string, len(all))
	for i, value := range all {
		texts[i] = string(value)
	}
	return texts
}

// Decode puts what is written at p over the value that into points to: what
// is not written keeps the value it has, so defaults are put in before. Every
// mismatch of shape is reported at its place and leaves that value alone.
//
// Shapes: structs by yaml tags (`yaml:"name"`, `yaml:"name,required"`,
// embedded structs inline), slices, string, Text, int, bool, Size, Duration,
// netip.Addr, netip.Prefix, Enum types, map[string]string, map[string]any.
// Other Go types are a mistake of the program and panic. The document must
// have no problem of form: what Parse reports is not looked for again.
func (p Place) Decode(into any) {
	_, node, depth := p.find()
	if depth == len(p.path) {
		p.decode(node, reflect.ValueOf(into).Elem())
	}
}

// Keys are the keys of the mapping at p, in file order; none if something
// else is there, which is reported.
func (p Place) Keys() []string {
	_, node, depth := p.find()
	if depth != len(p.path) || p.null(node) || !p.is(node, yaml.MappingNode, "a mapping") {
		return nil
	}
	var keys []string
	for key := range pairs(node) {
		keys = append(keys, key.Value)
	}
	return keys
}

// Unknown reports at the key itself that it is none of the known ones.
func (p Place) Unknown(what string, known []string) {
	key := p.path[len(p.path)-1].key
	near := Nearest(key, known)
	switch {
	case oddBlank(key) > 0:
		p.KeyProblem("unknown %s (it holds a blank that is not the usual one, such as a no-break space: write it anew)", what)
	case near != "":
		p.KeyProblem("unknown %s (did you mean %s?)", what, near)
	default:
		p.KeyProblem("unknown %s (known: %s)", what, strings.Join(known, ", "))
	}
	if p.up().Key(near).Given() {
		near = "" // so any other
	}
	p.up().lacks(near)
}

func (p Place) decode(n *yaml.Node, v reflect.Value) {
	if v.Kind() == reflect.Interface {
		if x := p.plain(n); x != nil {
			v.Set(reflect.ValueOf(x))
		}
		return
	}
	if v.Type() == deferred || p.null(n) {
		return
	}
	if form, ok := forms[v.Type()]; ok {
		p.decodeText(n, v, form.want)
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
		if i, err := decimal(n.Value); err == nil && bare(n) {
			v.SetInt(int64(i))
		} else {
			p.mismatch("a whole number", n)
		}
	case reflect.Bool:
		if bare(n) && (n.Value == "true" || n.Value == "false") {
			v.SetBool(n.Value == "true")
		} else {
			p.mismatch("true or false", n)
		}
	default:
		panic(fmt.Sprintf("internal error: spec cannot decode into %s", v.Type()))
	}
}

// null reports a key without a value.
func (p Place) null(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!null" {
		return false
	}
	p.wrongShape("has no value (give one, or leave it out)")
	return true
}

// is says whether the node has this kind, and reports one that has not.
func (p Place) is(n *yaml.Node, kind yaml.Kind, want string) bool {
	if n.Kind != kind {
		p.mismatch(want, n)
	}
	return n.Kind == kind
}

// bare says whether the node is a word that stands in no quotes.
func bare(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Style == 0 }

// pairs are the keys of a mapping and their values.
func pairs(n *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i], n.Content[i+1]) {
				return
			}
		}
	}
}

// decimal reads a number that every reader of YAML takes for the same one:
// 010 is eight to some and ten to others.
func decimal(s string) (int, error) {
	i, err := strconv.Atoi(s)
	if err != nil || strconv.Itoa(i) != s {
		return 0, strconv.ErrSyntax
	}
	return i, nil
}

func (p Place) decodeText(n *yaml.Node, v reflect.Value, want string) {
	if !p.is(n, yaml.ScalarNode, want) {
		return
	}
	fresh := reflect.New(v.Type())
	err := fresh.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value))
	switch fresh.Interface().(type) {
	case *netip.Addr, *netip.Prefix: // whose errors speak to programmers
		if err != nil {
			p.mismatch(want, n)
			return
		}
	}
	if err != nil {
		p.wrongShape("%v", err)
		return
	}
	v.Set(fresh.Elem())
}

func (p Place) decodeString(n *yaml.Node, v reflect.Value) {
	if !p.is(n, yaml.ScalarNode, "text") {
		return
	}
	// What was typed is what is meant: 18, 1.10 and no are text here.
	_, lines := v.Interface().(Text)
	if err := printable(n.Value, lines); err != nil {
		p.wrongShape("%v", err)
		return
	}
	if e, ok := v.Interface().(Enum); ok && !slices.Contains(e.Values(), n.Value) {
		text := fmt.Sprintf("want one of %s, have %q", strings.Join(e.Values(), ", "), n.Value)
		if near := Nearest(n.Value, e.Values()); near != "" {
			text += " (did you mean " + near + "?)"
		}
		p.wrongShape("%s", text)
		return
	}
	v.SetString(n.Value)
}

// printable refuses the characters that some reader of our files does not
// take.
func printable(s string, lines bool) error {
	for _, r := range s {
		switch {
		case lines && (r == '\n' || r == '\t'):
		case r == '\n':
			return errors.New("want text on one line, have several")
		case r == '\t':
			return errors.New("want text, have a tab in it (write blanks)")
		case unicode.IsControl(r) || unicode.Is(unicode.Noncharacter_Code_Point, r):
			return fmt.Errorf("want text, have the character %U in it", r)
		}
	}
	return nil
}

func (p Place) decodeSlice(n *yaml.Node, v reflect.Value) {
	if !p.is(n, yaml.SequenceNode, "a list") {
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
	if !p.is(n, yaml.MappingNode, "a mapping") {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for k, c := range pairs(n) {
		value := reflect.New(v.Type().Elem()).Elem()
		p.Key(k.Value).decode(c, value)
		v.SetMapIndex(reflect.ValueOf(k.Value), value)
	}
}

func (p Place) decodeStruct(n *yaml.Node, v reflect.Value) {
	if !p.is(n, yaml.MappingNode, "a mapping") {
		return
	}
	fields := fieldsOf(v.Type())
	for k, c := range pairs(n) {
		at := p.Key(k.Value)
		if f, ok := fields.named(k.Value); ok {
			at.decode(c, v.FieldByIndex(f.index))
		} else {
			at.Unknown("key", fields.names())
		}
	}
	for _, f := range fields {
		if f.required && !p.Key(f.name).Given() {
			p.Key(f.name).report("missing (it has no default)")
			p.lacks(f.name)
		}
	}
}

// plain is a node as nil, string, bool, int, float64, []any or
// map[string]any.
func (p Place) plain(n *yaml.Node) any {
	switch n.Kind {
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, c := range n.Content {
			list[i] = p.Index(i).plain(c)
		}
		return list
	case yaml.MappingNode:
		m := map[string]any{}
		for k, c := range pairs(n) {
			m[k.Value] = p.Key(k.Value).plain(c)
		}
		return m
	}
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		if i, err := decimal(n.Value); err == nil {
			return i
		}
		if f, err := strconv.ParseFloat(n.Value, 64); err == nil && f-f == 0 && n.Tag == "!!float" {
			return f
		}
		p.wrongShape("want a decimal number, have %q (quote it if it is text)", n.Value)
		return nil
	}
	if err := printable(n.Value, true); err != nil {
		p.wrongShape("%v", err)
	}
	return n.Value // a date, too, is what was typed
}

// mismatch says what was wanted and what is there, in the user's words.
func (p Place) mismatch(want string, n *yaml.Node) {
	have := strconv.Quote(n.Value)
	switch n.Kind {
	case yaml.SequenceNode:
		have = "a list"
	case yaml.MappingNode:
		have = "a mapping"
	default:
		if n.Style != 0 {
			have = "the text " + have
		}
	}
	p.wrongShape("want %s, have %s", want, have)
}

// Nearest is the known word that s was probably meant to be, or "".
func Nearest(s string, known []string) string {
	best, distance := "", (len(s)+5)/3
	for _, k := range known {
		if d := levenshtein.Distance(s, k, nil); d < distance {
			best, distance = k, d
		}
	}
	return best
}
