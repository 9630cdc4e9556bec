package manifest

import (
	"cmp"
	"strings"
)

// compare orders two Debian versions, as deb-version(7) has it: -1, 0 or 1.
func compare(a, b string) int {
	epochA, a := epoch(a)
	epochB, b := epoch(b)
	if order := piece(epochA, epochB); order != 0 {
		return order
	}
	upstreamA, revisionA := revision(a)
	upstreamB, revisionB := revision(b)
	if order := piece(upstreamA, upstreamB); order != 0 {
		return order
	}
	return piece(revisionA, revisionB)
}

func epoch(v string) (epoch, rest string) {
	if before, after, found := strings.Cut(v, ":"); found {
		return before, after
	}
	return "", v
}

func revision(v string) (upstream, revision string) {
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		return v[:i], v[i+1:]
	}
	return v, ""
}

// piece compares in turns what is no digit, and numbers of any length.
func piece(a, b string) int {
	for a != "" || b != "" {
		for a != "" && !digit(a[0]) || b != "" && !digit(b[0]) {
			if order := cmp.Compare(weight(a), weight(b)); order != 0 {
				return order
			}
			a, b = a[1:], b[1:]
		}
		var numberA, numberB string
		numberA, a = number(a)
		numberB, b = number(b)
		if order := cmp.Or(cmp.Compare(len(numberA), len(numberB)), cmp.Compare(numberA, numberB)); order != 0 {
			return order
		}
	}
	return 0
}

// weight is of the first byte: a tilde is before the end, the end and digits
// before letters, and letters before all else.
func weight(s string) int {
	switch {
	case s == "" || digit(s[0]):
		return 0
	case s[0] == '~':
		return -1
	case 'a' <= s[0]|0x20 && s[0]|0x20 <= 'z':
		return int(s[0])
	}
	return int(s[0]) + 256
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// number is what s starts with, without leading zeros, and what follows.
func number(s string) (digits, rest string) {
	rest = strings.TrimLeft(s, "0123456789")
	return strings.TrimLeft(s[:len(s)-len(rest)], "0"), rest
}
