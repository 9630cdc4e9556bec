package patroni

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"pgha-gen/generator/role"
	"pgha-gen/generator/spec"
)

var (
	// A name that needs no quotes anywhere: in SQL, pg_hba.conf, file names,
	// Lockbox entries.
	sqlName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)
	// Of a database, a dash, too: it is in quotes everywhere.
	databaseName = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,62}$`)
	packageForm  = regexp.MustCompile(`^[0-9][A-Za-z0-9.+:~-]*$`)
	urlForm      = regexp.MustCompile(`^https?://[^\s'"$]+$`)
)

// Check implements role.Settings.
func (s *Settings) Check(c *role.Cluster, at spec.Place) {
	if !c.Offers(role.DCS) && spec.Known(at.Root().Key("roles").Key("etcd")) {
		at.Problem("needs etcd (add roles.etcd: Patroni elects its leader there)")
	}
	s.checkMajor(at.Key("postgresql"))
	s.checkPackages(c, at)
	s.checkTimers(at)
	s.checkPreset(c, at)
	s.checkDurability(c, at)
	s.checkParameters(c, at.Key("parameters"))
	s.checkUsers(at)
	s.checkHBA(at.Key("pg_hba"))
	s.checkTags(at.Key("nodes"), c.Durability)
	s.checkConfig(at.Key("config"), "", s.Config)
	role.CheckPorts(
		role.PlacedPort{Number: s.Port, At: at.Key("port")},
		role.PlacedPort{Number: s.RESTPort, At: at.Key("rest_port")})
	if s.Machine.Preemptible {
		at.Key("machine").Key("preemptible").Warn("the cloud stops preemptible machines without notice, at least once a day: each time the leader's turn comes, a failover")
	}
}

// part is the role's part of the spec that at is in.
func part(at spec.Place) spec.Place { return at.Root().Key("roles").Key(Name) }

// knowsMajor says whether PostgreSQL's version is known.
func knowsMajor(at spec.Place) bool { return spec.Known(part(at).Key("postgresql")) }

func (s *Settings) checkMajor(at spec.Place) {
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

// tooOld is what the distribution of an image family has.
var tooOld = map[string]string{
	"ubuntu-2404-lts":         "Ubuntu 24.04 has Patroni 3.2",
	"ubuntu-2404-lts-oslogin": "Ubuntu 24.04 has Patroni 3.2",
	"debian-12":               "Debian 12 has Patroni 3.0 and PostgreSQL 15",
}

func (s *Settings) checkPackages(c *role.Cluster, at spec.Place) {
	for _, p := range []struct{ key, version string }{{"postgresql", s.Packages.PostgreSQL}, {"patroni", s.Packages.Patroni}} {
		if p.version != "" && !packageForm.MatchString(p.version) {
			at.Key("packages").Key(p.key).Problem("%q is no Debian version (want one such as 18.6-1.pgdg24.04+2)", p.version)
		}
	}
	if v := s.Packages.PostgreSQL; knowsMajor(at) && packageForm.MatchString(v) && !strings.HasPrefix(v, strconv.Itoa(s.PostgreSQL)+".") {
		at.Key("packages").Key("postgresql").Problem("%q is no version of PostgreSQL %d (want %d.…, or another roles.patroni.postgresql)", v, s.PostgreSQL, s.PostgreSQL)
	}
	if m := s.APT.Mirror; m != "" && !urlForm.MatchString(m) {
		at.Key("apt").Key("mirror").Problem("%q is no URL (want http:// or https://)", m)
	}
	images := at.Root().Key("images")
	if old := tooOld[c.Images.Base.Family]; old != "" && s.APT.Repository == Distribution && c.Images.Builder == role.Yandex && c.Images.Base.ImageID == "" &&
		spec.Known(images.Key("builder"), images.Key("base").Key("family"), images.Key("base").Key("image_id")) {
		at.Key("apt").Key("repository").Problem("%s, and the nodes need %s (want pgdg)", old, leastPatroni)
	}
	if v := s.Packages.Patroni; packageForm.MatchString(v) && older(v, leastPatroni) {
		at.Key("packages").Key("patroni").Problem("Patroni %s (want %s or later: the machines refuse an older one)", v, leastPatroni)
	} else if v != "" {
		for _, advice := range defects.Of(v) {
			at.Key("packages").Key("patroni").Warn("Patroni %s %s", v, advice)
		}
	}
}

// said is the first of these keys that the file has: where several clash, a person
// looks for what he wrote, not for a default.
func said(at spec.Place, keys ...string) spec.Place {
	for _, key := range keys {
		if at.Key(key).Given() {
			return at.Key(key)
		}
	}
	return at.Key(keys[0])
}

func (s *Settings) checkTimers(at spec.Place) {
	if s.TTL < 20 || s.TTL > 600 {
		at.Key("ttl").Problem("ttl %d (Patroni's minimum is 20; want at most 600 s)", s.TTL)
	}
	loop, retry := s.LoopWait >= 1 && s.LoopWait <= 600, s.RetryTimeout >= 3 && s.RetryTimeout <= 300
	if !loop {
		at.Key("loop_wait").Problem("loop_wait %d (Patroni's minimum is 1; want at most 600 s)", s.LoopWait)
	}
	if !retry {
		at.Key("retry_timeout").Problem("retry_timeout %d (Patroni's minimum is 3; want at most 300 s)", s.RetryTimeout)
	}
	failover := at.Root().Key("failover")
	known := spec.Known(at.Key("ttl").Or(failover), at.Key("loop_wait").Or(failover), at.Key("retry_timeout").Or(failover))
	if need := s.LoopWait + 2*s.RetryTimeout; known && s.TTL >= 20 && loop && retry && need > s.TTL {
		said(at, "ttl", "retry_timeout", "loop_wait").Problem("ttl %d is under loop_wait + 2*retry_timeout = %d + 2*%d (want at least %d: a leader must not lose its lease while it still tries to renew it)",
			s.TTL, s.LoopWait, s.RetryTimeout, need)
	}
	if s.PrimaryStartTimeout < 0 || s.PrimaryStartTimeout > 3600 {
		at.Key("primary_start_timeout").Problem("%d (want 0, at once, to 3600 s)", s.PrimaryStartTimeout)
	}
	if s.MaximumLagOnFailover < spec.MiB/16 {
		at.Key("maximum_lag_on_failover").Problem("%s (want at least 64kB: a replica is never exactly up to date)", s.MaximumLagOnFailover)
	}
}

// checkPreset warns of timers that the file gives and failover has otherwise.
func (s *Settings) checkPreset(c *role.Cluster, at spec.Place) {
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

func (s *Settings) checkDurability(c *role.Cluster, at spec.Place) {
	sync, leaders := 0, 0
	for _, m := range s.Members {
		if !m.Tags.NoSync && m.Tags.SyncPriority > 0 {
			sync++
		}
		if m.Tags.leads() {
			leaders++
		}
	}
	switch n := len(s.Members); {
	case n == 0:
		return // said already
	case leaders == 0:
		at.Key("nodes").Problem("no node may lead (take nofailover, or failover_priority 0, away from two)")
	case n > 1 && leaders == 1:
		at.Key("nodes").Warn("only one node may lead: there is no failover (take nofailover, or failover_priority 0, away from another)")
	case n == 1:
		at.Key("nodes").Warn("one node: its loss is an outage (want 3)")
	}
	if c.Durability == role.Async || !spec.Known(at.Root().Key("durability")) {
		return
	}
	switch {
	case sync < 2:
		at.Key("nodes").Problem("durability %s needs two nodes that may be synchronous, have %d (add nodes, or choose durability async)", c.Durability, sync)
	case sync == 2 && c.Durability == role.Strict:
		at.Key("nodes").Warn("durability strict with two synchronous nodes: while either is down, every write waits (want 3)")
	}
}

func (s *Settings) checkUsers(at spec.Place) {
	databases := map[string]bool{}
	for i, d := range s.Databases {
		here := at.Key("databases").Index(i)
		if !databaseName.MatchString(d.Name) {
			here.Key("name").Problem("%q cannot be a database's name (want a to z, 0 to 9, _ and -, a letter or _ first, at most 63 characters)", d.Name)
		}
		checkUser(here.Key("owner"), d.Owner)
		switch {
		case databases[d.Name]:
			here.Key("name").Problem("database %q is listed twice (keep one)", d.Name)
		case slices.Contains([]string{"postgres", "template0", "template1", "all", "replication", "sameuser", "samerole"}, d.Name):
			here.Key("name").Problem("%q is PostgreSQL's own (choose another name)", d.Name)
		}
		databases[d.Name] = true
	}
	users := map[string]bool{}
	for i, u := range s.Users {
		here := at.Key("users").Index(i)
		checkUser(here.Key("name"), u.Name)
		if users[u.Name] {
			here.Key("name").Problem("user %q is listed twice (keep one)", u.Name)
		}
		users[u.Name] = true
		for j, d := range u.Databases {
			if !databases[d] && spec.Known(at.Key("databases").Each("name")...) {
				here.Key("databases").Index(j).Problem("unknown database %q (list it in databases)", d)
			}
		}
	}
	s.checkMembers(at.Key("users"))
}

func checkName(at spec.Place, name string) {
	if !sqlName.MatchString(name) {
		at.Problem("%q is no name that needs no quotes (want a to z, 0 to 9 and _, no digit first, at most 63 characters)", name)
	}
}

func checkUser(at spec.Place, user string) {
	checkName(at, user)
	// No role can be called public or none, quoted or not (gram.y, RoleSpec).
	if slices.Contains([]string{Superuser, ReplicationUser, RewindUser, "public", "none"}, user) || strings.HasPrefix(user, "pg_") {
		at.Problem("%q is PostgreSQL's or Patroni's own (choose another name)", user)
	}
}

func (t Tags) leads() bool { return !t.NoFailover && t.FailoverPriority > 0 }

func (s *Settings) checkTags(at spec.Place, durability role.Durability) {
	names := map[string]bool{}
	follows := map[string][]string{}
	for _, m := range s.Members {
		names[m.Name] = true
		if from := m.Tags.ReplicateFrom; from != "" && from != m.Name {
			follows[m.Name] = []string{from}
		}
	}
	circles := circles(follows)
	for i, m := range s.Members {
		tags := at.Index(i).Key("tags")
		if m.Tags.NoFailover && m.Tags.FailoverPriority > 1 {
			tags.Key("failover_priority").Problem("%d contradicts nofailover (keep one)", m.Tags.FailoverPriority)
		}
		if m.Tags.NoSync && m.Tags.SyncPriority > 1 {
			tags.Key("sync_priority").Problem("%d contradicts nosync (keep one)", m.Tags.SyncPriority)
		}
		if m.Tags.FailoverPriority < 0 {
			tags.Key("failover_priority").Problem("%d (want 0, never, or more: the highest leads first)", m.Tags.FailoverPriority)
		}
		if m.Tags.SyncPriority < 0 {
			tags.Key("sync_priority").Problem("%d (want 0, never, or more: the highest is chosen first)", m.Tags.SyncPriority)
		}
		if durability == role.Quorum && m.Tags.FailoverPriority > 1 && !m.Tags.NoFailover {
			tags.Key("failover_priority").Warn("Patroni does not honour it with durability quorum (want sync or strict)")
		}
		switch from := m.Tags.ReplicateFrom; {
		case from == "":
		case from == m.Name:
			tags.Key("replicatefrom").Problem("a node cannot replicate from itself (name another, or leave it out)")
		case !names[from] && spec.Known(at.Each("name")...):
			tags.Key("replicatefrom").Problem("unknown node %q (want one of this list)", from)
		default:
			if way := circles[edge{m.Name, from}]; way != nil {
				tags.Key("replicatefrom").Problem("a circle: %s (none of them would get anything from the leader)", chain(m.Name, "follows", way))
			}
		}
	}
}
