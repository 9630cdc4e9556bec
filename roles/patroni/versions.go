package patroni

import (
	"strconv"
	"strings"
)

// advisory is a defect of Patroni that hurts a cluster as we build it.
type advisory struct {
	fixed  string // the first version without it
	breaks string
}

// known is from Patroni's release notes.
var known = []advisory{
	{"4.0.7", "does not know PostgreSQL 18, and does not enter failsafe mode when etcd is gone"},
	{"4.1.1", "cannot talk to etcd 3.5.28 and later once authentication is on"},
	{"4.1.4", "disarms the watchdog before the last backends have ended"},
}

// older compares the upstream part of a Debian version with a release.
func older(debian, release string) bool {
	upstream, _, _ := strings.Cut(debian, "-")
	a, b := strings.Split(upstream, "."), strings.Split(release, ".")
	for i := range b {
		if i >= len(a) {
			return true
		}
		x, errX := strconv.Atoi(a[i])
		y, _ := strconv.Atoi(b[i])
		if errX != nil {
			return false // a form that we do not know is no reason to warn
		}
		if x != y {
			return x < y
		}
	}
	return false
}
