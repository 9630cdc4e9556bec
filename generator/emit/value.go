// Package emit is the only place where values become text that another
// program reads.
package emit

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Pair is one entry of a Map.
type Pair struct {
	Key   string
	Value any
}

// Map is a mapping that is written in the order in which it was made.
type Map []Pair

// Set is m with the key at value: replaced in its place, or added at the end.
func (m Map) Set(key string, value any) Map {
	for i := range m {
		if m[i].Key == key {
			m[i].Value = value
			return m
		}
	}
	return append(m, Pair{Key: key, Value: value})
}

// node is what YAML and JSON are written from. Refused, with its path, is the
// first value that one of them would not give back as it is.
//
// Every scalar has an explicit style: left to choose, the encoder writes text
// that begins with a blank line so that it cannot be read back
// (https://github.com/go-yaml/yaml/issues/643), and "=" and "<<" bare.
func node(at string, v any) (*yaml.Node, error) {
	switch v := v.(type) {
	case nil:
		return plain("!!null", "null"), nil
	case bool:
		return plain("!!bool", strconv.FormatBool(v)), nil
	case int:
		return plain("!!int", strconv.Itoa(v)), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%s: %v is not a number that every reader knows", where(at), v)
		}
		return plain("!!float", float(v)), nil
	case string:
		if !utf8.ValidString(v) {
			return nil, fmt.Errorf("%s: %q is not UTF-8: write it in base64", where(at), v)
		}
		return text(v), nil
	case []string:
		items := make([]any, len(v))
		for i, item := range v {
			items[i] = item
		}
		return node(at, items)
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for i, item := range v {
			inner, err := node(at+"["+strconv.Itoa(i)+"]", item)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, inner)
		}
		return n, nil
	case Map:
		return mapping(at, v)
	}
	return nil, fmt.Errorf("%s: cannot write a %T: want Map, []any, []string, string, bool, int, float64 or nil", where(at), v)
}

func mapping(at string, m Map) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	seen := make(map[string]bool, len(m))
	for _, p := range m {
		inner := strings.TrimPrefix(at+"."+p.Key, ".")
		if !utf8.ValidString(p.Key) {
			return nil, fmt.Errorf("%s: key %q is not UTF-8", where(at), p.Key)
		}
		if seen[p.Key] {
			return nil, fmt.Errorf("%s: duplicate key", inner)
		}
		seen[p.Key] = true
		value, err := node(inner, p.Value)
		if err != nil {
			return nil, err
		}
		n.Content = append(n.Content, word(p.Key), value)
	}
	return n, nil
}

func where(at string) string { return cmp.Or(at, "document") }

// float writes a checked number so that YAML 1.1 reads a float too: it asks
// for a dot, and for a sign in the exponent.
func float(f float64) string {
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e15) {
		format = 'e'
	}
	s := strconv.FormatFloat(f, format, -1, 64)
	if strings.Contains(s, ".") {
		return s
	}
	mantissa, exponent, found := strings.Cut(s, "e")
	if !found {
		return s + ".0"
	}
	return mantissa + ".0e" + exponent
}

// checkLine refuses what cannot stand in a file of lines: line breaks and all
// other control characters, and bytes that are not UTF-8.
func checkLine(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%q is not UTF-8", s)
	}
	if i := strings.IndexFunc(s, unicode.IsControl); i >= 0 {
		r, _ := utf8.DecodeRuneInString(s[i:])
		return fmt.Errorf("%q holds the control character %U, which cannot be written in one line", s, r)
	}
	return nil
}

// onlyOf says whether s has no other bytes than ASCII letters, digits and
// those of punctuation.
func onlyOf(s, punctuation string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') && strings.IndexByte(punctuation, c) < 0 {
			return false
		}
	}
	return true
}
