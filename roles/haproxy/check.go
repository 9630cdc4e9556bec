package haproxy

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"pgha-gen/generator/role"
	"pgha-gen/generator/spec"
	"pgha-gen/roles/patroni"
)

var (
	packageForm = regexp.MustCompile(`^[0-9][A-Za-z0-9.+:~-]*$`)
	keywordForm = regexp.MustCompile(`^[a-z][a-z0-9.-]*( [a-z][a-z0-9.-]*)*$`)
)

// Check implements role.Settings.
func (s *Settings) Check(c *role.Cluster, at spec.Place) {
	if c.Part(patroni.Name) == nil {
		at.Problem("needs patroni (add roles.patroni: there is nothing to send clients to)")
	}
	if s.Version != "" && !packageForm.MatchString(s.Version) {
		at.Key("version").Problem("%q is no Debian version (want one such as 2.8.16-0ubuntu0.24.04.3)", s.Version)
	}
	ports := at.Key("ports")
	role.CheckPorts(
		role.PlacedPort{Number: s.Ports.Primary, At: ports.Key("primary")},
		role.PlacedPort{Number: s.Ports.Replicas, At: ports.Key("replicas")},
		role.PlacedPort{Number: s.Ports.Stats, At: ports.Key("stats")})
	if s.MaxReplicaLag < spec.KiB {
		at.Key("max_replica_lag").Problem("%s (want at least 1kB: a replica is never exactly up to date)", s.MaxReplicaLag)
	}
	if s.MaxConnections < 10 || s.MaxConnections > 1_000_000 {
		at.Key("max_connections").Problem("%d (want 10 to 1000000)", s.MaxConnections)
	}
	// HAProxy's timers end at 2^31 ms, 24 days and some hours.
	if s.IdleTimeout < spec.Minute || s.IdleTimeout > 24*24*spec.Hour {
		at.Key("idle_timeout").Problem("%s (want 1m to 576h; sessions that only wait for work should outlive it)", s.IdleTimeout)
	}
	s.checkChecks(at.Key("check"))
	if c.Secrets.CA == "" {
		at.Warn("secrets.ca is missing, by which HAProxy verifies the nodes (run pgha-gen secrets generate, and what it says next, before you render)")
	}
	checkKeywords(at.Key("global"), s.Global, reservedGlobal)
	checkKeywords(at.Key("defaults"), s.DefaultsSection, reservedDefaults)
	if len(s.Members) == 1 {
		at.Key("nodes").Warn("one HAProxy: its loss cuts off all clients (want two, behind a network load balancer or as two hosts in the connection string)")
	}
	if s.Machine.Preemptible {
		at.Key("machine").Key("preemptible").Warn("the cloud stops preemptible machines without notice, at least once a day: clients are cut off")
	}
}

func (s *Settings) checkChecks(at spec.Place) {
	for _, t := range []struct {
		key   string
		value spec.Duration
	}{{"inter", s.Checks.Inter}, {"fastinter", s.Checks.FastInter}, {"downinter", s.Checks.DownInter}, {"timeout", s.Checks.Timeout}} {
		if t.value < 100*spec.Millisecond || t.value > spec.Minute {
			at.Key(t.key).Problem("%s (want 100ms to 1m)", t.value)
		}
	}
	if s.Checks.Rise < 1 || s.Checks.Rise > 10 {
		at.Key("rise").Problem("%d (want 1 to 10)", s.Checks.Rise)
	}
	if s.Checks.Fall < 1 || s.Checks.Fall > 10 {
		at.Key("fall").Problem("%d (want 1 to 10)", s.Checks.Fall)
	}
	if s.Checks.Fall > s.Checks.Rise {
		at.Key("fall").Warn("fall %d above rise %d: after a switchover both leaders count as up for a while, and some writers meet a replica", s.Checks.Fall, s.Checks.Rise)
	}
}

// What the raw overrides may not touch, and why.
var (
	reservedGlobal = map[string]string{
		"user": "the package's user runs it", "group": "the package's group runs it", "chroot": "it is confined",
		"daemon": "systemd runs it", "nbproc": "HAProxy has threads",
	}
	reservedDefaults = map[string]string{
		"mode": "PostgreSQL is not HTTP", "maxconn": "use max_connections", "timeout client": "use idle_timeout",
		"timeout server": "use idle_timeout", "timeout check": "use check.timeout",
	}
)

func checkKeywords(at spec.Place, given, reserved map[string]string) {
	for _, keyword := range slices.Sorted(maps.Keys(given)) {
		here := at.Key(keyword)
		if why, ok := reserved[keyword]; ok {
			here.KeyProblem("cannot be set here (%s)", why)
		} else if !keywordForm.MatchString(keyword) {
			here.KeyProblem("%q is no keyword (want one such as tune.bufsize or timeout queue)", keyword)
		}
		if strings.ContainsAny(given[keyword], "'\"\\#$") {
			here.Problem("%q holds quotes, a backslash, # or $ (arguments are plain words)", given[keyword])
		}
	}
}
