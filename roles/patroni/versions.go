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

// known is from Patroni's release notes, the worst first.
var known = []advisory{
	{"4.1.4", "disarms the watchdog before the last backends have ended"},
	{"4.0.7", "does not enter failsafe mode when etcd is gone"},
	{"4.0.7", "does not know PostgreSQL 18"},
	{"4.1.1", "cannot talk to etcd 3.5.28 and later once authentication is on"},
}

// advisories are the defects that a version has, and at the end what to do.
func advisories(version string) []string {
	var advice []string
	best := "0"
	for _, a := range known {
		if older(version, a.fixed) {
			advice = append(advice, a.breaks+" (fixed in "+a.fixed+")")
			if older(best, a.fixed) {
				best = a.fixed
			}
		}
	}
	if len(advice) == 0 {
		return nil
	}
	return append(advice, "should give way to "+best+" or later, which has none of these (a new cluster: change or leave out "+
		"packages.patroni; one that runs: first the replicas, then switch over, then the node that led)")
}

// lastFix is the day of each major version's last fixes
// (https://www.postgresql.org/support/versioning/).
var lastFix = map[int]string{14: "2026-11-12", 15: "2027-11-11", 16: "2028-11-09", 17: "2029-11-08", 18: "2030-11-14"}

// lastOver is the newest major version whose day has gone by, as of this
// program; it has no clock.
const lastOver = 14

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
