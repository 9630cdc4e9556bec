package haproxy

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"pgha-gen/generator/role"
	"pgha-gen/generator/spec"
)

var (
	packageForm = regexp.MustCompile(`^[0-9][A-Za-z0-9.+:~-]*$`)
	keywordForm = regexp.MustCompile(`^[a-z][a-z0-9.-]*( [a-z][a-z0-9.-]*)*$`)
)

// Check implements role.Settings.
func (s *Settings) Check(c *role.Cluster, at spec.Place) {
	if !c.Offers(role.Database) && spec.Known(at.Root().Key("roles").Key("patroni")) {
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
	s.checkHealthChecks(at.Key("check"))
	if c.Secrets.CA == "" {
		at.Warn("secrets.ca is missing, by which HAProxy verifies the nodes (run pgha-gen secrets generate, and what it says next, before you render)")
	}
	checkKeywords(at.Key("global"), s.Global, reservedGlobal)
	checkKeywords(at.Key("defaults"), s.DefaultsSection, reservedDefaults)
	s.checkExtra(at)
	if len(s.Members) == 1 {
		at.Key("nodes").Warn("one HAProxy: its loss cuts off all clients (want two, behind a network load balancer or as two hosts in the connection string)")
	}
	if s.Machine.Preemptible {
		at.Key("machine").Key("preemptible").Warn("the cloud stops preemptible machines without notice, at least once a day: clients are cut off")
	}
}

func (s *Settings) checkHealthChecks(at spec.Place) {
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
	} else if away := spec.Duration(s.Checks.Fall-1) * s.Checks.FastInter; away < 2500*spec.Millisecond {
		at.Key("fall").Warn("sessions end when Patroni is away for %s, and its restart takes up to 2500ms (raise fall or fastinter)", away)
	}
}

// What the raw overrides may not touch, and why: a keyword, or the words that a
// line starts with.
var (
	reservedGlobal = map[string]string{
		"user": "the package's user runs it", "group": "the package's group runs it", "uid": "the package's user runs it",
		"gid": "the package's group runs it", "chroot": "it is confined", "daemon": "systemd runs it",
		"master-worker": "systemd runs it", "pidfile": "systemd runs it", "nbproc": "HAProxy has threads",
		"stats":  "who reaches such a socket turns servers off; HAProxy has one, on the machine",
		"setenv": noEnv, "presetenv": noEnv, "resetenv": noEnv, "unsetenv": noEnv,
		"insecure-fork-wanted": noPrograms, "insecure-setuid-wanted": "it could become root", "setcap": "it could become root",
		"external-check": noPrograms, "ssl-engine": noPrograms, "ssl-provider": noPrograms, "ssl-provider-path": noPrograms,
		"ssl-server-verify": "none would take anybody for a node", "set-dumpable": "a core dump holds clients' data",
		"cluster-secret": "a spec holds no secrets", "server-state-file": startDown, "server-state-base": startDown,
	}
	reservedDefaults = map[string]string{
		"mode": "PostgreSQL is not HTTP", "maxconn": "use max_connections", "timeout client": "use idle_timeout",
		"timeout server": "use idle_timeout", "timeout check": "use check.timeout",
		"stats": "who reaches the port turns servers off, or reads of them", "option external-check": noPrograms,
		"external-check": noPrograms, "load-server-state-from-file": startDown,
	}
)

const (
	noEnv      = "the service's environment is systemd's"
	noPrograms = "HAProxy runs no program but itself"
	startDown  = "nodes count as down until they have been asked"
)

func checkKeywords(at spec.Place, given, reserved map[string]string) {
	for _, keyword := range slices.Sorted(maps.Keys(given)) {
		here := at.Key(keyword)
		line := words(keyword, given[keyword])
		if why := startsReserved(line, reserved); why != "" {
			here.KeyProblem("cannot be set here (%s)", why)
		} else if !keywordForm.MatchString(keyword) {
			here.KeyProblem("%q is no keyword (want one such as tune.bufsize or timeout queue)", keyword)
		} else if why := opens(line); why != "" {
			here.Problem("%s", why)
		}
		if strings.ContainsAny(given[keyword], "'\"\\#$") {
			here.Problem("%q holds quotes, a backslash, # or $ (arguments are plain words)", given[keyword])
		}
	}
}

// startsReserved says why a line may not start as it does; as HAProxy, it cares
// not where the spec splits keyword and arguments.
func startsReserved(line []string, reserved map[string]string) string {
	for n := 1; n <= min(2, len(line)); n++ {
		if why := reserved[strings.Join(line[:n], " ")]; why != "" {
			return why
		}
	}
	return ""
}

// opens says what a line opens, wherever it stands.
func opens(line []string) string {
	for i, word := range line {
		next := ""
		if i+1 < len(line) {
			next = line[i+1]
		}
		switch {
		case word == "verify" && next == "none":
			return "takes anybody for the server (want verify required, with a ca-file)"
		case (word == "ssl-min-ver" || word == "ssl-max-ver") && slices.Contains([]string{"SSLv3", "TLSv1.0", "TLSv1.1"}, next),
			slices.Contains([]string{"force-sslv3", "force-tlsv10", "force-tlsv11"}, word):
			return "lets in connections that can be read (want TLSv1.2 or later)"
		case strings.HasPrefix(word, "lua"):
			return "runs a program in HAProxy (there is none on the machines)"
		case word == "external-check":
			return "runs a program at each check (want option httpchk or tcp-check)"
		case word == "insecure-password" || word == "password" && line[0] == "user":
			return "holds a password (a spec holds no secrets)"
		}
	}
	return ""
}
