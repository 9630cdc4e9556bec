package haproxy

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

var keywordForm = regexp.MustCompile(`^[a-z][a-z0-9.-]*( [a-z][a-z0-9.-]*)*$`)

// Check implements role.Settings.
func (s *Settings) Check(c *role.Cluster, at specfile.Place) {
	if !c.Offers(role.Database) && specfile.Known(at.Root().Key("roles").Key("patroni")) {
		at.Problem("needs patroni (add roles.patroni: there is nothing to send clients to)")
	}
	role.CheckPackage(at.Key("version"), s.Version, "2.8.16-0ubuntu0.24.04.3")
	ports := at.Key("ports")
	placed := []role.PlacedPort{
		{Number: s.Ports.Primary, At: ports.Key("primary")},
		{Number: s.Ports.Replicas, At: ports.Key("replicas")},
		{Number: s.Ports.Stats, At: ports.Key("stats")},
	}
	if c.Balanced() || ports.Key("alive").Given() {
		placed = append(placed, role.PlacedPort{Number: s.Ports.Alive, At: ports.Key("alive")})
	}
	role.CheckPorts(placed...)
	if s.Ports.Alive > mostChecked {
		ports.Key("alive").Problem("port %d (want at most %d, where a load balancer can ask)", s.Ports.Alive, mostChecked)
	}
	if s.MaxReplicaLag < specfile.KiB {
		at.Key("max_replica_lag").Problem("%s (want at least 1kB: a replica is never exactly up to date)", s.MaxReplicaLag)
	}
	role.CheckRange(at.Key("max_connections"), s.MaxConnections, 10, 1_000_000, "%d (want 10 to 1000000)")
	// HAProxy's timers end at 2^31 ms, 24 days and some hours.
	role.CheckRange(at.Key("idle_timeout"), s.IdleTimeout, specfile.Minute, 24*24*specfile.Hour,
		"%s (want 1m to 576h; sessions that only wait for work should outlive it)")
	s.checkHealthChecks(at.Key("check"))
	if c.Secrets.CA == "" {
		at.Warn("secrets.ca is missing, by which HAProxy verifies the nodes (run pgha-gen secrets generate, and what it says next, before you render)")
	}
	checkKeywords(at.Key("global"), s.Global, rules().Global)
	checkKeywords(at.Key("defaults"), s.DefaultsSection, rules().Defaults)
	s.checkExtra(at)
	if len(s.Members) == 1 {
		at.Key("nodes").Warn("one HAProxy: its loss cuts off all clients (want two, behind a network load balancer or as two hosts in the connection string)")
	}
	if s.Machine.Preemptible {
		at.Key("machine").Key("preemptible").Warn("the cloud stops preemptible machines without notice, at least once a day: clients are cut off")
	}
}

// mostChecked is the last port that the cloud's load balancer asks (Network
// Load Balancer, health checks).
const mostChecked = 32767

func (s *Settings) checkHealthChecks(at specfile.Place) {
	for _, t := range []struct {
		key   string
		value specfile.Duration
	}{{"inter", s.Checks.Inter}, {"fastinter", s.Checks.FastInter}, {"downinter", s.Checks.DownInter}, {"timeout", s.Checks.Timeout}} {
		good := role.CheckRange(at.Key(t.key), t.value, 100*specfile.Millisecond, specfile.Minute, "%s (want 100ms to 1m)")
		if good && t.key == "inter" && t.value < specfile.Second {
			at.Key(t.key).Warn("a node has %s for the connection and its TLS handshake: a leader whose cores are all busy is taken for gone (want 1s)", t.value)
		}
	}
	role.CheckRange(at.Key("rise"), s.Checks.Rise, 1, 10, "%d (want 1 to 10)")
	good := role.CheckRange(at.Key("fall"), s.Checks.Fall, 1, 10, "%d (want 1 to 10)")
	if away := specfile.Duration(s.Checks.Fall-1) * s.Checks.FastInter; good && away < 2500*specfile.Millisecond {
		at.Key("fall").Warn("sessions end when Patroni is away for %s, and its restart takes up to 2500ms (raise fall or fastinter)", away)
	}
}

func checkKeywords(at specfile.Place, given, reserved map[string]string) {
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

// startsReserved says why a line may not start as it does. Like HAProxy, it
// does not mind where the spec splits keyword and arguments.
func startsReserved(line []string, reserved map[string]string) string {
	for n := 1; n <= min(2, len(line)); n++ {
		if why := reserved[strings.Join(line[:n], " ")]; why != "" {
			return why
		}
	}
	return ""
}

// opens says what a line lets in, runs or gives away, in whatever section it
// stands; empty: nothing.
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
