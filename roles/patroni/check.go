package patroni

import (
	"regexp"
	"strconv"
	"strings"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

var (
	// A name that needs no quotes anywhere: in SQL, pg_hba.conf, file names,
	// Lockbox entries.
	sqlName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)
	// Of a database, a dash, too: it is in quotes everywhere.
	databaseName = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,62}$`)
)

// Check implements role.Settings.
func (s *Settings) Check(c *role.Cluster, at specfile.Place) {
	if !c.Offers(role.DCS) && specfile.Known(at.Root().Key("roles").Key("etcd")) {
		at.Problem("needs etcd (add roles.etcd: Patroni elects its leader there)")
	}
	s.checkMajor(at.Key("postgresql"))
	s.checkPackages(c, at)
	s.checkTimers(at)
	s.checkPreset(c, at)
	s.checkDurability(c, at)
	s.checkAgreement(c, at)
	s.checkParameters(c, at.Key("parameters"))
	s.checkUsers(c, at)
	s.checkHBA(at.Key("pg_hba"))
	s.checkTags(at.Key("nodes"), c.Durability)
	s.checkConfig(at.Key("config"), "", s.Config)
	s.checkOperators(c, at)
	s.checkBackup(c, at)
	role.CheckPorts(
		role.PlacedPort{Number: s.Port, At: at.Key("port")},
		role.PlacedPort{Number: s.RESTPort, At: at.Key("rest_port")})
	if s.Machine.Preemptible {
		at.Key("machine").Key("preemptible").Warn("the cloud stops preemptible machines without notice, at least once a day: each time the leader's turn comes, a failover")
	}
}

// checkPgBackRest looks at the version that the spec pins.
func (s *Settings) checkPgBackRest(c *role.Cluster, at specfile.Place) {
	v := s.Packages.PgBackRest
	switch {
	case !role.CheckPackage(at, v, "2.60.0-1.pgdg24.04+1") || v == "" || !c.BacksUp():
	case older(v, leastPgBackRest):
		at.Problem("pgBackRest %s (want %s or later: an older one needs a key that does not end)", v, leastPgBackRest)
	case older(v, soundPgBackRest) && c.Backup.Encryption != role.NoEncryption:
		at.Warn("pgBackRest %s may encrypt with a weak key if the machine's random numbers fail (fixed in %s)", v, soundPgBackRest)
	}
}

// checkOperators warns where the REST API cannot tell where operators are: with
// no addresses of the nodes it has no list of sources.
func (s *Settings) checkOperators(c *role.Cluster, at specfile.Place) {
	operators := at.Root().Key("access").Key("operators")
	if len(c.Access.Operators) > 0 && s.reachedBy() == byName && specfile.Known(operators, at.Key("nodes")) {
		operators.Warn("the nodes of roles.patroni have no addresses, so that an operator's certificate and password are good for Patroni from HAProxy's machines and access.monitoring, too (give the nodes addresses)")
	}
}

// part is the role's part of the spec that at is in.
func part(at specfile.Place) specfile.Place { return at.Root().Key("roles").Key(Name) }

// knowsMajor says whether PostgreSQL's version is known.
func knowsMajor(at specfile.Place) bool { return specfile.Known(part(at).Key("postgresql")) }

func (s *Settings) checkMajor(at specfile.Place) {
	end := lastFix[s.PostgreSQL]
	switch {
	case end == "":
		at.Problem("PostgreSQL %d (want 14 to 18)", s.PostgreSQL)
	case s.PostgreSQL <= lastOver:
		at.Warn("PostgreSQL %d has had no fixes since %s (want %d or later)", s.PostgreSQL, end, lastOver+2)
	case s.PostgreSQL == lastOver+1:
		at.Warn("PostgreSQL %d gets no more fixes after %s (want %d or later)", s.PostgreSQL, end, lastOver+2)
	}
}

// tooOld are the image families whose distribution has too old a Patroni, and
// what it has.
var tooOld = map[string]string{
	"ubuntu-2404-lts":         "Ubuntu 24.04 has Patroni 3.2",
	"ubuntu-2404-lts-oslogin": "Ubuntu 24.04 has Patroni 3.2",
	"debian-12":               "Debian 12 has Patroni 3.0 and PostgreSQL 15",
}

func (s *Settings) checkPackages(c *role.Cluster, at specfile.Place) {
	const like = "18.6-1.pgdg24.04+2"
	server, packages := s.Packages.PostgreSQL, at.Key("packages")
	if role.CheckPackage(packages.Key("postgresql"), server, like) && server != "" && knowsMajor(at) &&
		!strings.HasPrefix(server, strconv.Itoa(s.PostgreSQL)+".") {
		packages.Key("postgresql").Problem("%q is no version of PostgreSQL %d (want %d.…, or another roles.patroni.postgresql)", server, s.PostgreSQL, s.PostgreSQL)
	}
	s.checkPgBackRest(c, packages.Key("pgbackrest"))
	role.CheckURL(at.Key("apt").Key("mirror"), s.APT.Mirror)
	images := at.Root().Key("images")
	if old := tooOld[c.Images.Base.Family]; old != "" && s.APT.Repository == Distribution && c.Images.Builder == role.Yandex && c.Images.Base.ImageID == "" &&
		specfile.Known(images.Key("builder"), images.Key("base").Key("family"), images.Key("base").Key("image_id")) {
		at.Key("apt").Key("repository").Problem("%s, and the nodes need %s (want pgdg)", old, leastPatroni)
	}
	v, here := s.Packages.Patroni, packages.Key("patroni")
	switch {
	case !role.CheckPackage(here, v, like):
	case older(v, leastPatroni):
		here.Problem("Patroni %s (want %s or later: the machines refuse an older one)", v, leastPatroni)
	default:
		for _, advice := range defects.Of(v) {
			here.Warn("Patroni %s %s", v, advice)
		}
	}
}

func (s *Settings) checkTimers(at specfile.Place) {
	role.CheckRange(at.Key("ttl"), s.TTL, 20, 600, "ttl %d (Patroni's minimum is 20; want at most 600 s)")
	loop := role.CheckRange(at.Key("loop_wait"), s.LoopWait, 1, 600, "loop_wait %d (Patroni's minimum is 1; want at most 600 s)")
	retry := role.CheckRange(at.Key("retry_timeout"), s.RetryTimeout, 3, 300, "retry_timeout %d (Patroni's minimum is 3; want at most 300 s)")
	failover := at.Root().Key("failover")
	known := specfile.Known(at.Key("ttl").Or(failover), at.Key("loop_wait").Or(failover), at.Key("retry_timeout").Or(failover))
	if need := s.LoopWait + 2*s.RetryTimeout; known && s.TTL >= 20 && loop && retry && need > s.TTL {
		said(at, "ttl", "retry_timeout", "loop_wait").Problem("ttl %d is under loop_wait + 2*retry_timeout = %d + 2*%d (want at least %d: a leader must not lose its lease while it still tries to renew it)",
			s.TTL, s.LoopWait, s.RetryTimeout, need)
	}
	role.CheckRange(at.Key("primary_start_timeout"), s.PrimaryStartTimeout, 0, 3600, "%d (want 0, at once, to 3600 s)")
	if s.MaximumLagOnFailover < specfile.MiB/16 {
		at.Key("maximum_lag_on_failover").Problem("%s (want at least 64kB: a replica is never exactly up to date)", s.MaximumLagOnFailover)
	}
}

// said is the first of these keys that the file has. Where several clash,
// people look for what they wrote, not for a default.
func said(at specfile.Place, keys ...string) specfile.Place {
	for _, key := range keys {
		if at.Key(key).Given() {
			return at.Key(key)
		}
	}
	return at.Key(keys[0])
}

// checkPreset warns of timers that the file gives and failover has otherwise.
func (s *Settings) checkPreset(c *role.Cluster, at specfile.Place) {
	t := presets[c.Failover]
	for _, timer := range []struct {
		key           string
		given, preset int
	}{
		{"ttl", s.TTL, t.ttl}, {"loop_wait", s.LoopWait, t.loopWait},
		{"retry_timeout", s.RetryTimeout, t.retryTimeout}, {"primary_start_timeout", s.PrimaryStartTimeout, t.primaryStart},
	} {
		if timer.given != timer.preset {
			at.Key(timer.key).Warn("%d wins over failover %s, which has %d (leave it out to have what failover says)", timer.given, c.Failover, timer.preset)
		}
	}
}
