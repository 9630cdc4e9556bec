package etcd

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgha-gen/generator/spec"
)

// A kind says which values a variable takes: the empty text, or what is wrong
// with a value.
type kind func(value string) string

func number(value string) string {
	if n, err := strconv.ParseUint(value, 10, 32); err != nil || n == 0 {
		return "want a number from 1 on"
	}
	return ""
}

func duration(value string) string {
	if d, err := time.ParseDuration(value); err != nil || d <= 0 {
		return "want a duration such as 500ms or 1m"
	}
	return ""
}

func oneOf(values ...string) kind {
	return func(value string) string {
		if !slices.Contains(values, value) {
			return "want " + strings.Join(values, ", ")
		}
		return ""
	}
}

// tunable are the variables of etcd 3.5 that a spec may set (3.5.15,
// server/etcdmain/config.go): those that neither open the store, nor take away
// a guard, nor move what the boot looks for.
var tunable = map[string]kind{
	"ETCD_BACKEND_BATCH_INTERVAL":                            duration,
	"ETCD_BACKEND_BATCH_LIMIT":                               number,
	"ETCD_BACKEND_BBOLT_FREELIST_TYPE":                       oneOf("array", "map"),
	"ETCD_EXPERIMENTAL_BOOTSTRAP_DEFRAG_THRESHOLD_MEGABYTES": number,
	"ETCD_EXPERIMENTAL_COMPACTION_BATCH_LIMIT":               number,
	"ETCD_EXPERIMENTAL_COMPACT_HASH_CHECK_TIME":              duration,
	"ETCD_EXPERIMENTAL_CORRUPT_CHECK_TIME":                   duration,
	"ETCD_EXPERIMENTAL_DOWNGRADE_CHECK_TIME":                 duration,
	"ETCD_EXPERIMENTAL_SNAPSHOT_CATCHUP_ENTRIES":             number,
	"ETCD_EXPERIMENTAL_STOP_GRPC_SERVICE_ON_DEFRAG":          oneOf("true", "false"),
	"ETCD_EXPERIMENTAL_TXN_MODE_WRITE_WITH_SHARED_BUFFER":    oneOf("true", "false"),
	"ETCD_EXPERIMENTAL_WARNING_APPLY_DURATION":               duration,
	"ETCD_EXPERIMENTAL_WATCH_PROGRESS_NOTIFY_INTERVAL":       duration,
	"ETCD_GRPC_KEEPALIVE_INTERVAL":                           duration,
	"ETCD_GRPC_KEEPALIVE_MIN_TIME":                           duration,
	"ETCD_GRPC_KEEPALIVE_TIMEOUT":                            duration,
	"ETCD_INITIAL_ELECTION_TICK_ADVANCE":                     oneOf("true", "false"),
	"ETCD_LOG_LEVEL":                                         oneOf("debug", "info", "warn", "error", "panic", "fatal"),
	"ETCD_MAX_CONCURRENT_STREAMS":                            number,
	"ETCD_MAX_REQUEST_BYTES":                                 number,
	"ETCD_MAX_SNAPSHOTS":                                     number,
	"ETCD_MAX_TXN_OPS":                                       number,
	"ETCD_MAX_WALS":                                          number,
	"ETCD_METRICS":                                           oneOf("basic", "extensive"),
	"ETCD_RAFT_READ_TIMEOUT":                                 duration,
	"ETCD_RAFT_WRITE_TIMEOUT":                                duration,
	"ETCD_SNAPSHOT_COUNT":                                    number,
	"ETCD_SOCKET_REUSE_ADDRESS":                              oneOf("true", "false"),
	"ETCD_TLS_MIN_VERSION":                                   oneOf("TLS1.2", "TLS1.3"),
}

// Reasons that several variables share.
const (
	byBoot       = "it differs per machine, and the boot sets it"
	bySpec       = "it follows from the spec"
	byLockbox    = "certificates come from Lockbox"
	noDiscovery  = "the members are those of the spec"
	noProxy      = "a member is no proxy"
	oldAPI       = "the old API knows no certificates' rights, and Patroni does not use it"
	noAuthTokens = "who may do what is not for a spec to weaken"
	tracing      = "it sends each request to another machine, in clear"
	toJournal    = "logs go to the journal: a file would fill the disk"
	leases       = "Patroni's lease must last its whole time after a change of etcd's leader"
)

// refused are all others, and why.
var refused = map[string]string{
	"ETCD_ADVERTISE_CLIENT_URLS":                          byBoot,
	"ETCD_AUTH_TOKEN":                                     noAuthTokens,
	"ETCD_AUTH_TOKEN_TTL":                                 noAuthTokens,
	"ETCD_AUTO_COMPACTION_MODE":                           "use auto_compaction_retention, which is a time",
	"ETCD_AUTO_COMPACTION_RETENTION":                      "use auto_compaction_retention",
	"ETCD_AUTO_TLS":                                       byLockbox + ": one that etcd makes itself proves nothing",
	"ETCD_BCRYPT_COST":                                    noAuthTokens,
	"ETCD_CERT_FILE":                                      byLockbox,
	"ETCD_CIPHER_SUITES":                                  "etcd's own choice has no weak one",
	"ETCD_CLIENT_CERT_ALLOWED_HOSTNAME":                   byLockbox + ": each that the authority signed for this cluster is good",
	"ETCD_CLIENT_CERT_AUTH":                               "without it, who reaches etcd decides who leads",
	"ETCD_CLIENT_CERT_FILE":                               byLockbox,
	"ETCD_CLIENT_CRL_FILE":                                "there is no such file on the machines",
	"ETCD_CLIENT_KEY_FILE":                                byLockbox,
	"ETCD_CONFIG_FILE":                                    "with it, etcd ignores every variable",
	"ETCD_CORS":                                           "it lets web pages of others ask etcd",
	"ETCD_DATA_DIR":                                       "it is on the data disk",
	"ETCD_DISCOVERY":                                      noDiscovery,
	"ETCD_DISCOVERY_FALLBACK":                             noDiscovery,
	"ETCD_DISCOVERY_PROXY":                                noDiscovery,
	"ETCD_DISCOVERY_SRV":                                  noDiscovery,
	"ETCD_DISCOVERY_SRV_NAME":                             noDiscovery,
	"ETCD_ELECTION_TIMEOUT":                               "use election_timeout",
	"ETCD_ENABLE_GRPC_GATEWAY":                            "Patroni speaks to etcd through the gateway",
	"ETCD_ENABLE_LOG_ROTATION":                            toJournal,
	"ETCD_ENABLE_PPROF":                                   "it shows etcd's memory to its clients",
	"ETCD_ENABLE_V2":                                      oldAPI,
	"ETCD_EXPERIMENTAL_COMPACT_HASH_CHECK_ENABLED":        "it is on: it finds a member whose data differs",
	"ETCD_EXPERIMENTAL_DISTRIBUTED_TRACING_ADDRESS":       tracing,
	"ETCD_EXPERIMENTAL_DISTRIBUTED_TRACING_INSTANCE_ID":   tracing,
	"ETCD_EXPERIMENTAL_DISTRIBUTED_TRACING_SAMPLING_RATE": tracing,
	"ETCD_EXPERIMENTAL_DISTRIBUTED_TRACING_SERVICE_NAME":  tracing,
	"ETCD_EXPERIMENTAL_ENABLE_DISTRIBUTED_TRACING":        tracing,
	"ETCD_EXPERIMENTAL_ENABLE_LEASE_CHECKPOINT":           leases,
	"ETCD_EXPERIMENTAL_ENABLE_LEASE_CHECKPOINT_PERSIST":   leases,
	"ETCD_EXPERIMENTAL_ENABLE_V2V3":                       oldAPI,
	"ETCD_EXPERIMENTAL_INITIAL_CORRUPT_CHECK":             "it is on: it keeps a member with damaged data from serving",
	"ETCD_EXPERIMENTAL_MEMORY_MLOCK":                      "the service may not lock memory, and would not start",
	"ETCD_EXPERIMENTAL_PEER_SKIP_CLIENT_SAN_VERIFICATION": "it lets a peer's certificate be used from any address",
	"ETCD_FORCE_NEW_CLUSTER":                              "each start would make a cluster of one member, and the others' data would be lost",
	"ETCD_HEARTBEAT_INTERVAL":                             "use heartbeat_interval",
	"ETCD_HOST_WHITELIST":                                 "it is for an etcd without TLS",
	"ETCD_INITIAL_ADVERTISE_PEER_URLS":                    byBoot,
	"ETCD_INITIAL_CLUSTER":                                bySpec,
	"ETCD_INITIAL_CLUSTER_STATE":                          "the boot decides whether a member is new",
	"ETCD_INITIAL_CLUSTER_TOKEN":                          bySpec,
	"ETCD_KEY_FILE":                                       byLockbox,
	"ETCD_LISTEN_CLIENT_HTTP_URLS":                        "it opens the store to who has no certificate",
	"ETCD_LISTEN_CLIENT_URLS":                             byBoot,
	"ETCD_LISTEN_METRICS_URLS":                            byBoot + ": access.monitoring says who may read",
	"ETCD_LISTEN_PEER_URLS":                               byBoot,
	"ETCD_LOGGER":                                         "etcd 3.5 has no other than zap",
	"ETCD_LOG_OUTPUTS":                                    toJournal,
	"ETCD_LOG_ROTATION_CONFIG_JSON":                       toJournal,
	"ETCD_NAME":                                           byBoot,
	"ETCD_PEER_AUTO_TLS":                                  byLockbox + ": one that etcd makes itself proves nothing",
	"ETCD_PEER_CERT_ALLOWED_CN":                           "without it, each certificate of the authority makes a peer",
	"ETCD_PEER_CERT_ALLOWED_HOSTNAME":                     "peers are known by their common name",
	"ETCD_PEER_CERT_FILE":                                 byLockbox,
	"ETCD_PEER_CLIENT_CERT_AUTH":                          "without it, who reaches a member can become one",
	"ETCD_PEER_CLIENT_CERT_FILE":                          byLockbox,
	"ETCD_PEER_CLIENT_KEY_FILE":                           byLockbox,
	"ETCD_PEER_CRL_FILE":                                  "there is no such file on the machines",
	"ETCD_PEER_KEY_FILE":                                  byLockbox,
	"ETCD_PEER_TRUSTED_CA_FILE":                           byLockbox,
	"ETCD_PRE_VOTE":                                       "it is on: without it, a member that comes back unseats the leader",
	"ETCD_PROXY":                                          noProxy,
	"ETCD_PROXY_DIAL_TIMEOUT":                             noProxy,
	"ETCD_PROXY_FAILURE_WAIT":                             noProxy,
	"ETCD_PROXY_READ_TIMEOUT":                             noProxy,
	"ETCD_PROXY_REFRESH_INTERVAL":                         noProxy,
	"ETCD_PROXY_WRITE_TIMEOUT":                            noProxy,
	"ETCD_QUOTA_BACKEND_BYTES":                            "use quota_backend_bytes",
	"ETCD_SELF_SIGNED_CERT_VALIDITY":                      byLockbox,
	"ETCD_SOCKET_REUSE_PORT":                              "another process could take etcd's port",
	"ETCD_STRICT_RECONFIG_CHECK":                          "it is on: without it, a change of members can lose the quorum",
	"ETCD_TLS_MAX_VERSION":                                "it would hold connections at an older TLS",
	"ETCD_TRUSTED_CA_FILE":                                byLockbox,
	"ETCD_UNSAFE_NO_FSYNC":                                "a power cut would lose what etcd acknowledged",
	"ETCD_UNSUPPORTED_ARCH":                               "amd64 and arm64 need it not",
	"ETCD_V2_DEPRECATION":                                 oldAPI,
	"ETCD_VERSION":                                        "etcd would print it and end",
	"ETCD_WAL_DIR":                                        "it is on the data disk: the boot looks for it there",
}

// checkEnv takes what is tunable, and says of all else why not.
func (s *Settings) checkEnv(at spec.Place) {
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		here := at.Key(name)
		takes, ok := tunable[name]
		why, known := refused[name]
		switch {
		case ok:
			if wrong := takes(s.Env[name]); wrong != "" {
				here.Problem("%q (%s)", s.Env[name], wrong)
			}
		case known:
			here.KeyProblem("cannot be set here (%s)", why)
		case !envForm.MatchString(name):
			here.KeyProblem("%q is no etcd variable (want one such as ETCD_SNAPSHOT_COUNT)", name)
		case secretForm.MatchString(name):
			here.KeyProblem("a spec holds no secrets (etcd is asked with certificates, which come from Lockbox)")
		default:
			like := "want one such as ETCD_SNAPSHOT_COUNT"
			if near := nearest(name); near != "" {
				like = "did you mean " + near + "?"
			}
			here.KeyProblem("unknown variable of etcd 3.5 (%s)", like)
		}
	}
}

// nearest is the variable that was probably meant, if there is one. What all
// begin with says nothing.
func nearest(name string) string {
	const prefix = "ETCD_"
	var known []string
	for _, variable := range slices.Concat(slices.Sorted(maps.Keys(tunable)), slices.Sorted(maps.Keys(refused))) {
		known = append(known, strings.TrimPrefix(variable, prefix))
	}
	near := spec.Nearest(strings.TrimPrefix(name, prefix), known)
	if near == "" {
		return ""
	}
	return prefix + near
}
