// Package emit is the only place where values become text that another program reads.
package emit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Pair is one entry of a Map.
type Pair struct {
	Key   string
	Value any
}

// Map is a mapping that is written in the order in which it was made.
type Map []Pair

// check refuses, with its path, the first value that YAML or JSON would not give back as it is.
func check(at string, v any) error {
	switch v := v.(type) {
	case nil, bool, int, int64:
		return nil
	case string:
		if !utf8.ValidString(v) {
			return fmt.Errorf("%s: %q is not UTF-8: write it in base64", where(at), v)
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%s: %v is not a number that every reader knows", where(at), v)
		}
	case []string:
		for i, item := range v {
			if err := check(fmt.Sprintf("%s[%d]", at, i), item); err != nil {
				return err
			}
		}
	case []any:
		for i, item := range v {
			if err := check(fmt.Sprintf("%s[%d]", at, i), item); err != nil {
				return err
			}
		}
	case Map:
		seen := make(map[string]bool, len(v))
		for _, p := range v {
			inner := strings.TrimPrefix(at+"."+p.Key, ".")
			if !utf8.ValidString(p.Key) {
				return fmt.Errorf("%s: key %q is not UTF-8", where(at), p.Key)
			}
			if seen[p.Key] {
				return fmt.Errorf("%s: duplicate key", inner)
			}
			seen[p.Key] = true
			if err := check(inner, p.Value); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("%s: cannot write a %T: want Map, []any, []string, string, bool, int, int64, float64 or nil", where(at), v)
	}
	return nil
}

func where(at string) string {
	if at == "" {
		return "document"
	}
	return at
}

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

// onlyOf reports whether s has no other bytes than ASCII letters, digits and those of punctuation.
func onlyOf(s, punctuation string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') && strings.IndexByte(punctuation, c) < 0 {
			return false
		}
	}
	return true
}

// isEnvName reports whether s is [A-Z_][A-Z0-9_]*.
func isEnvName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('A' <= c && c <= 'Z' || c == '_' || i > 0 && '0' <= c && c <= '9') {
			return false
		}
	}
	return s != ""
}
