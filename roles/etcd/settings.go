package etcd

import (
	"fmt"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// Settings is roles.etcd in the spec.
type Settings struct {
	Version                 string            `yaml:"version"`
	Artifacts               Artifacts         `yaml:"artifacts"`
	HeartbeatInterval       specfile.Duration `yaml:"heartbeat_interval"`
	ElectionTimeout         specfile.Duration `yaml:"election_timeout"`
	AutoCompactionRetention specfile.Duration `yaml:"auto_compaction_retention"`
	QuotaBackendBytes       specfile.Size     `yaml:"quota_backend_bytes"`
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
		HeartbeatInterval: 100 * specfile.Millisecond,
		ElectionTimeout:   specfile.Second,
		// Patroni rewrites a few keys every loop, so history is worthless
		// soon.
		AutoCompactionRetention: specfile.Hour,
		QuotaBackendBytes:       2 * specfile.GiB,
		Env:                     map[string]string{},
	}
	s.Machine = role.Machine{
		Compute:  role.NewCompute(2, 4*specfile.GiB, 10*specfile.GiB),
		DataDisk: role.Disk{Type: role.SSD, Size: 10 * specfile.GiB},
	}
	if c.Failover == role.Safe {
		s.HeartbeatInterval, s.ElectionTimeout = 250*specfile.Millisecond, 2500*specfile.Millisecond
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

// slowest is the longest interval whose ten make an election timeout that
// etcd takes.
const slowest = 5 * specfile.Second

// UseArchive makes a bake take etcd from the archive at this URL, as
// artifacts.etcd does. Refused: another version than the spec's.
func (s *Settings) UseArchive(version, url, sha256 string) error {
	if version != s.Version {
		return fmt.Errorf("the archive has etcd %s, the spec wants %s", version, s.Version)
	}
	s.Artifacts.Etcd = Artifact{URL: url, SHA256: sha256}
	return nil
}
