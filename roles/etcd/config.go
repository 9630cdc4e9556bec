package etcd

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

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

// peerName is the common name of a cluster's peer certificates.
func peerName(c *role.Cluster) string { return c.Name + "-etcd-peer" }

func milliseconds(d specfile.Duration) int { return int(d / specfile.Millisecond) }
