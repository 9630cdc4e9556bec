// Package etcd is the role of the machines that keep the cluster's state: who
// leads, and how Patroni is configured.
package etcd

import (
	"embed"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/spec"
)

// Name is the role's key in the spec.
const Name = "etcd"

// The ports of an etcd member; the field's standard ones.
const (
	ClientPort  = 2379
	PeerPort    = 2380
	MetricsPort = 2381
)

//go:embed bake.sh all:rootfs
var files embed.FS

//go:embed reference.yaml
var reference string

// Role is etcd's role.
func Role() *role.Role {
	return &role.Role{
		Name:         Name,
		Doc:          "etcd member: the distributed configuration store that Patroni elects its leader in.",
		Files:        files,
		Reference:    reference,
		Offers:       []role.Capability{role.DCS},
		Defects:      []role.Defects{defects},
		ReadsSecrets: true,
		New:          func(c *role.Cluster) role.Settings { return newSettings(c) },
	}
}

// Settings is roles.etcd in the spec.
type Settings struct {
	Version                 string            `yaml:"version"`
	Artifacts               Artifacts         `yaml:"artifacts"`
	HeartbeatInterval       spec.Duration     `yaml:"heartbeat_interval"`
	ElectionTimeout         spec.Duration     `yaml:"election_timeout"`
	AutoCompactionRetention spec.Duration     `yaml:"auto_compaction_retention"`
	QuotaBackendBytes       spec.Size         `yaml:"quota_backend_bytes"`
	Env                     map[string]string `yaml:"env"`
	role.Common[role.Machine, role.Node]
}

// Artifacts is what the bake downloads.
type Artifacts struct {
	Etcd Artifact `yaml:"etcd"`
}

// Artifact is a file to download. Its checksum holds wherever it comes from.
type Artifact struct {
	URL    string `yaml:"url"`
	SHA256 string `yaml:"sha256"`
}

func newSettings(c *role.Cluster) *Settings {
	s := &Settings{
		Version: "3.5.15",
		// Inside one region round trips take a few milliseconds. Measured on
		// 3.5.15, a lost leader costs 1.5-2.2 s with these and up to 8 s with
		// 1000/5000, which is longer than Patroni's retry_timeout under fast.
		HeartbeatInterval: 100 * spec.Millisecond,
		ElectionTimeout:   spec.Second,
		// Patroni rewrites a few keys every loop, so history is worthless soon.
		AutoCompactionRetention: spec.Hour,
		QuotaBackendBytes:       2 * spec.GiB,
		Env:                     map[string]string{},
	}
	s.Machine = role.Machine{
		Compute: role.Compute{
			Platform: "standard-v3", Cores: 2, CoreFraction: 100, Memory: 4 * spec.GiB,
			BootDisk: role.Disk{Type: role.SSD, Size: 10 * spec.GiB},
		},
		DataDisk: role.Disk{Type: role.SSD, Size: 10 * spec.GiB},
	}
	if c.Failover == role.Safe {
		s.HeartbeatInterval, s.ElectionTimeout = 250*spec.Millisecond, 2500*spec.Millisecond
	}
	return s
}

// DeriveDefaults implements role.DefaultsDeriver: an election timeout is ten
// heartbeats.
func (s *Settings) DeriveDefaults() {
	if h := s.HeartbeatInterval; h > 0 && h <= slowest {
		s.ElectionTimeout = 10 * h
	}
}

// slowest is the longest interval whose ten make an election timeout that etcd
// takes.
const slowest = 5 * spec.Second

// bake is the environment of bake.sh.
func (s *Settings) bake(arch role.Architecture) emit.Map {
	sum := s.Artifacts.Etcd.SHA256
	if sum == "" {
		sum = checksums[s.Version][arch]
	}
	return emit.Map{
		{Key: "ETCD_VERSION", Value: s.Version},
		{Key: "ETCD_URL", Value: upstream(s.Version, arch)},
		{Key: "ETCD_MIRROR", Value: s.Artifacts.Etcd.URL},
		{Key: "ETCD_SHA256", Value: sum},
	}
}

// upstream is where the project publishes a release.
func upstream(version string, arch role.Architecture) string {
	return fmt.Sprintf("https://github.com/etcd-io/etcd/releases/download/v%s/etcd-v%s-linux-%s.tar.gz", version, version, arch)
}

// Plan implements role.Settings. A machine has two certificates: the
// server's has no common name (the gRPC gateway dials the server with it, as a
// client), the peer's has peerName for one, without which no other certificate
// of the same authority, say a Patroni node's, makes anybody an etcd peer.
//
// Who the member is comes at boot; initial-cluster-state stays new for ever, and
// is overruled at boot when the member joins a cluster that exists.
func (s *Settings) Plan(c *role.Cluster) (*role.Plan, error) {
	environment, err := emit.Env(s.environment(c))
	if err != nil {
		return nil, err
	}
	offer := &role.DCSOffer{}
	for _, n := range s.Members {
		offer.Endpoints = append(offer.Endpoints, n.Host(c)+":"+strconv.Itoa(ClientPort))
	}
	members := c.Sources(s.Members)
	n := len(s.Members)
	return &role.Plan{
		Bake:     s.bake(c.Images.Architecture),
		Requires: []string{"etcd>=3.5.0", "etcd<3.6"},
		Exact:    []string{"etcd=" + s.Version},

		Unit:       "etcd.service",
		User:       "etcd",
		DataMount:  "/var/lib/etcd",
		Bootstraps: true,
		Secrets: []role.Secret{
			{File: "ca.crt", Kind: role.CA},
			{File: "server.crt", PerNode: true, Kind: role.Certificate},
			{File: "server.key", PerNode: true, Kind: role.Key},
			{File: "peer.crt", PerNode: true, Kind: role.Certificate, CommonName: peerName(c)},
			{File: "peer.key", PerNode: true, Kind: role.Key},
		},
		Ports: []role.Port{
			{Number: ClientPort, For: "Patroni, the other members, operators, with a client certificate",
				From: slices.Concat(c.Sources(c.Using(role.DCS)), members, role.Networks(c.Access.Operators))},
			{Number: PeerPort, For: "the other etcd members, with a peer certificate", From: members},
			{Number: MetricsPort, For: "monitoring: /metrics, /health (plain HTTP, no data)", From: role.Networks(c.Access.Monitoring)},
		},
		Files: []cloudinit.File{{Path: "/etc/etcd/etcd.env", Data: environment}},

		Expect: []role.Expectation{
			{What: "etcd members that may be lost", Then: fmt.Sprintf("%d of %d", (n-1)/2, n)},
			{What: "etcd leader lost", Then: fmt.Sprintf("another leads after about %g to %g s (election timeout %s)",
				s.ElectionTimeout.Seconds(), (2*s.ElectionTimeout + s.HeartbeatInterval).Seconds(), s.ElectionTimeout)},
		},
		Fixed: []role.FixedKey{
			{Key: "roles.etcd.nodes", Only: "a member that is taken out stays a voter; one that is added joins when its machine is created"},
		},

		DCS: offer,
	}, nil
}

// peerName is the common name of a cluster's peer certificates.
func peerName(c *role.Cluster) string { return c.Name + "-etcd-peer" }

const (
	dataDir = "/var/lib/etcd/data"
	secrets = "/run/pgha/secrets/"
)

func (s *Settings) environment(c *role.Cluster) emit.Map {
	var initial []string
	for _, n := range s.Members {
		initial = append(initial, fmt.Sprintf("%s=https://%s:%d", n.Name, n.Host(c), PeerPort))
	}
	env := emit.Map{
		{Key: "ETCD_DATA_DIR", Value: dataDir},
		{Key: "ETCD_INITIAL_CLUSTER", Value: strings.Join(initial, ",")},
		{Key: "ETCD_INITIAL_CLUSTER_STATE", Value: "new"},
		{Key: "ETCD_INITIAL_CLUSTER_TOKEN", Value: c.Token()},
		{Key: "ETCD_HEARTBEAT_INTERVAL", Value: milliseconds(s.HeartbeatInterval)},
		{Key: "ETCD_ELECTION_TIMEOUT", Value: milliseconds(s.ElectionTimeout)},
		{Key: "ETCD_AUTO_COMPACTION_MODE", Value: "periodic"},
		{Key: "ETCD_AUTO_COMPACTION_RETENTION", Value: s.AutoCompactionRetention.String()},
		{Key: "ETCD_QUOTA_BACKEND_BYTES", Value: int(s.QuotaBackendBytes)},
		{Key: "ETCD_CLIENT_CERT_AUTH", Value: true},
		{Key: "ETCD_TRUSTED_CA_FILE", Value: secrets + "ca.crt"},
		{Key: "ETCD_CERT_FILE", Value: secrets + "server.crt"},
		{Key: "ETCD_KEY_FILE", Value: secrets + "server.key"},
		{Key: "ETCD_PEER_CLIENT_CERT_AUTH", Value: true},
		{Key: "ETCD_PEER_TRUSTED_CA_FILE", Value: secrets + "ca.crt"},
		{Key: "ETCD_PEER_CERT_FILE", Value: secrets + "peer.crt"},
		{Key: "ETCD_PEER_KEY_FILE", Value: secrets + "peer.key"},
		{Key: "ETCD_PEER_CERT_ALLOWED_CN", Value: peerName(c)},
		// All off by default upstream, and "both worth enabling"
		// (op-guide/data_corruption.md). Names as of 3.5.
		{Key: "ETCD_EXPERIMENTAL_INITIAL_CORRUPT_CHECK", Value: true},
		{Key: "ETCD_EXPERIMENTAL_COMPACT_HASH_CHECK_ENABLED", Value: true},
		{Key: "ETCD_LOGGER", Value: "zap"},
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		env = env.Set(name, s.Env[name])
	}
	return env
}

var (
	versionForm = regexp.MustCompile(`^3\.5\.(0|[1-9]\d?)$`)
	sha256Form  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	urlForm     = regexp.MustCompile(`^https?://[^\s'"$]+$`)
	envForm     = regexp.MustCompile(`^ETCD_[A-Z0-9_]+$`)
	secretForm  = regexp.MustCompile(`PASSWORD|PASSWD|SECRET|TOKEN`)
)

// Check implements role.Settings.
func (s *Settings) Check(c *role.Cluster, at spec.Place) {
	s.checkMembers(at.Key("nodes"))
	s.checkVersion(c, at)
	s.checkTimers(at)
	if q := s.QuotaBackendBytes; q < 100*spec.MiB || q > 8*spec.GiB {
		at.Key("quota_backend_bytes").Problem("%s (want 100MB to 8GB, where etcd's own advice ends)", q)
	}
	if r := s.AutoCompactionRetention; r < 5*spec.Minute || r > 72*spec.Hour {
		at.Key("auto_compaction_retention").Problem("%s keeps too little or too much history (want 5m to 72h)", r)
	}
	s.checkEnv(at.Key("env"))
	if s.Machine.Preemptible {
		at.Key("machine").Key("preemptible").Problem("an etcd member cannot be preemptible (the cloud stops it without notice, at least once a day)")
	}
}

func (s *Settings) checkMembers(at spec.Place) {
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

func (s *Settings) checkVersion(c *role.Cluster, at spec.Place) {
	version, artifact := at.Key("version"), at.Key("artifacts").Key("etcd")
	if !versionForm.MatchString(s.Version) {
		version.Problem("%q is no version that is supported (want 3.5.x, such as 3.5.15)", s.Version)
		return
	}
	known := checksums[s.Version][c.Images.Architecture]
	switch sum := s.Artifacts.Etcd.SHA256; {
	case sum != "" && !sha256Form.MatchString(sum):
		artifact.Key("sha256").Problem("%q is no checksum (want 64 hexadecimal digits)", sum)
	case !spec.Known(version, artifact.Key("sha256"), at.Root().Key("images").Key("architecture")):
	case sum != "" && known != "" && sum != known:
		artifact.Key("sha256").Problem("%.12s… is not the checksum of etcd %s on %s, which is %.12s… (leave it out)", sum, s.Version, c.Images.Architecture, known)
	case sum == "" && known == "":
		version.Problem("no checksum is known for etcd %s on %s (give it as artifacts.etcd.sha256)", s.Version, c.Images.Architecture)
	}
	if u := s.Artifacts.Etcd.URL; u != "" && !urlForm.MatchString(u) {
		artifact.Key("url").Problem("%q is no URL (want http:// or https://)", u)
	}
	for _, advice := range defects.Of(s.Version) {
		version.Warn("etcd %s %s", s.Version, advice)
	}
}

func (s *Settings) checkTimers(at spec.Place) {
	heartbeat, election := s.HeartbeatInterval, s.ElectionTimeout
	interval := at.Key("heartbeat_interval").Or(at.Root().Key("failover"))
	if heartbeat < 10*spec.Millisecond || heartbeat > slowest {
		at.Key("heartbeat_interval").Problem("%s (want 10ms to 5s; 100ms inside one region)", heartbeat)
		return
	}
	switch {
	case election < 5*heartbeat && spec.Known(interval):
		at.Key("election_timeout").Problem("%s is under five heartbeats of %s (etcd refuses to start; want ten)", election, heartbeat)
	case election > 50*spec.Second:
		at.Key("election_timeout").Problem("%s (want at most 50s, etcd's limit)", election)
	}
}

func milliseconds(d spec.Duration) int { return int(d / spec.Millisecond) }
