package etcd

import (
	"maps"
	"regexp"
	"slices"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

var (
	versionForm = regexp.MustCompile(`^3\.5\.(0|[1-9]\d?)$`)
	sha256Form  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Check implements role.Settings.
func (s *Settings) Check(c *role.Cluster, at specfile.Place) {
	s.checkMembers(at.Key("nodes"))
	s.checkVersion(c, at)
	s.checkTimers(at)
	role.CheckRange(at.Key("quota_backend_bytes"), s.QuotaBackendBytes, 100*specfile.MiB, 8*specfile.GiB,
		"%s (want 100MB to 8GB, where etcd's own advice ends)")
	role.CheckRange(at.Key("auto_compaction_retention"), s.AutoCompactionRetention, 5*specfile.Minute, 72*specfile.Hour,
		"%s keeps too little or too much history (want 5m to 72h)")
	s.checkEnv(at.Key("env"))
	if s.Machine.Preemptible {
		at.Key("machine").Key("preemptible").Problem("an etcd member cannot be preemptible (the cloud stops it without notice, at least once a day)")
	}
}

func (s *Settings) checkMembers(at specfile.Place) {
	n := len(s.Members)
	switch {
	case n == 0:
		return // said already
	case n > 7:
		at.Problem("%d members (want 1, 3, 5 or 7: each one more slows every write)", n)
	case n%2 == 0:
		at.Problem("%d members (want 1, 3, 5 or 7: %d survive no more losses than %d)", n, n, n-1)
	case n == 1:
		at.Warn("one member: its loss stops every failover (want 3)")
	}
	zones := map[string]int{}
	for _, m := range s.Members {
		zones[m.Zone]++
	}
	for _, zone := range slices.Sorted(maps.Keys(zones)) {
		if count := zones[zone]; n > 1 && count > n/2 {
			at.Warn("%d of %d members are in zone %s: losing the zone loses the quorum (spread them over three zones)", count, n, zone)
		}
	}
}

func (s *Settings) checkVersion(c *role.Cluster, at specfile.Place) {
	version, artifact := at.Key("version"), at.Key("artifacts").Key("etcd")
	if !versionForm.MatchString(s.Version) {
		version.Problem("%q is no version that is supported (want 3.5.x, such as 3.5.15)", s.Version)
		return
	}
	known := checksums[s.Version][c.Images.Architecture]
	switch sum := s.Artifacts.Etcd.SHA256; {
	case sum != "" && !sha256Form.MatchString(sum):
		artifact.Key("sha256").Problem("%q is no checksum (want 64 hexadecimal digits)", sum)
	case !specfile.Known(version, artifact.Key("sha256"), at.Root().Key("images").Key("architecture")):
	case sum != "" && known != "" && sum != known:
		artifact.Key("sha256").Problem("%.12s… is not the checksum of etcd %s on %s, which is %.12s… (leave it out)", sum, s.Version, c.Images.Architecture, known)
	case sum == "" && known == "":
		version.Problem("no checksum is known for etcd %s on %s (give it as artifacts.etcd.sha256)", s.Version, c.Images.Architecture)
	}
	role.CheckURL(artifact.Key("url"), s.Artifacts.Etcd.URL)
	for _, advice := range defects.Of(s.Version) {
		version.Warn("etcd %s %s", s.Version, advice)
	}
}

func (s *Settings) checkTimers(at specfile.Place) {
	heartbeat, election := s.HeartbeatInterval, s.ElectionTimeout
	interval := at.Key("heartbeat_interval").Or(at.Root().Key("failover"))
	if !role.CheckRange(at.Key("heartbeat_interval"), heartbeat, 10*specfile.Millisecond, slowest, "%s (want 10ms to 5s; 100ms inside one region)") {
		return
	}
	switch {
	case election < 5*heartbeat && specfile.Known(interval):
		at.Key("election_timeout").Problem("%s is under five heartbeats of %s (etcd refuses to start; want ten)", election, heartbeat)
	case election > 50*specfile.Second:
		at.Key("election_timeout").Problem("%s (want at most 50s, etcd's limit)", election)
	}
}
