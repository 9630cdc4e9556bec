package patroni

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/spec"
)

const secretsDir = "/run/pgha/secrets/"

// config is /etc/patroni/config.yml, and bootstrap what the node has beside it
// while it may bootstrap the cluster. Who the node is, and every password, come as
// environment at boot, which wins over the file (Patroni's docs,
// ENVIRONMENT.rst). What is here wins over etcd (dynamic_configuration.rst), but
// for what all nodes must have alike: that is in bootstrap, and frozen there.
func (s *Settings) config(c *role.Cluster) (config, bootstrap emit.Map, err error) {
	hba, err := s.hba(c)
	if err != nil {
		return nil, nil, err
	}
	config = emit.Map{
		{Key: "scope", Value: c.Name},
		{Key: "namespace", Value: "/service/"},
		{Key: "log", Value: emit.Map{{Key: "level", Value: "INFO"}}},
		{Key: "etcd3", Value: emit.Map{
			{Key: "hosts", Value: texts(c.DCS().Endpoints)},
			{Key: "protocol", Value: "https"},
			{Key: "cacert", Value: secretsDir + "ca.crt"},
			{Key: "cert", Value: secretsDir + "node.crt"},
			{Key: "key", Value: secretsDir + "node.key"},
		}},
		{Key: "restapi", Value: emit.Map{
			{Key: "certfile", Value: secretsDir + "node.crt"},
			{Key: "keyfile", Value: secretsDir + "node.key"},
			{Key: "cafile", Value: secretsDir + "ca.crt"},
			// Reading needs no client certificate, so HAProxy needs none; what
			// changes something needs one, a password, and to be a member. No
			// allowlist beside that: /failsafe is for members, and would be
			// refused to all who are not in it (Patroni 4.0.0 and later).
			{Key: "verify_client", Value: "optional"},
			{Key: "allowlist_include_members", Value: true},
			{Key: "authentication", Value: emit.Map{{Key: "username", Value: RESTUser}}},
			{Key: "server_tokens", Value: "ProductOnly"},
			// A connection that says nothing holds a thread. The firewall lets
			// one source hold restConnections of them.
			{Key: "thread_pool_size", Value: 8 * restConnections},
			{Key: "request_queue_size", Value: 128},
		}},
		{Key: "ctl", Value: emit.Map{
			{Key: "cacert", Value: secretsDir + "ca.crt"},
			{Key: "certfile", Value: secretsDir + "node.crt"},
			{Key: "keyfile", Value: secretsDir + "node.key"},
		}},
		{Key: "bootstrap", Value: emit.Map{
			{Key: "dcs", Value: s.dcs(c)},
			{Key: "initdb", Value: s.initdb()},
			{Key: "post_bootstrap", Value: "/usr/lib/pgha/post-bootstrap.sh"},
		}},
		{Key: "postgresql", Value: emit.Map{
			{Key: "bin_dir", Value: fmt.Sprintf("/usr/lib/postgresql/%d/bin", s.PostgreSQL)},
			{Key: "bin_name", Value: emit.Map{
				{Key: "postgres", Value: "/usr/lib/pgha/postgres.sh"},
				{Key: "pg_basebackup", Value: "/usr/lib/pgha/pg_basebackup.sh"},
				{Key: "pg_rewind", Value: "/usr/lib/pgha/pg_rewind.sh"},
			}},
			{Key: "data_dir", Value: s.dataDir()},
			{Key: "pgpass", Value: "/run/patroni/pgpass"},
			// Both over the socket: a node's own address need not be in its
			// certificate.
			{Key: "use_unix_socket", Value: true},
			{Key: "use_unix_socket_repl", Value: true},
			{Key: "authentication", Value: emit.Map{
				{Key: "superuser", Value: authentication(Superuser)},
				{Key: "replication", Value: authentication(ReplicationUser)},
				{Key: "rewind", Value: authentication(RewindUser)},
			}},
			{Key: "create_replica_methods", Value: []any{"basebackup"}},
			{Key: "basebackup", Value: []any{emit.Map{{Key: "checkpoint", Value: "fast"}}}},
			{Key: "use_pg_rewind", Value: true},
			{Key: "remove_data_directory_on_rewind_failure", Value: s.RecloneOnRewindFailure},
			{Key: "remove_data_directory_on_diverged_timelines", Value: s.RecloneOnRewindFailure},
			// What runs programs shall not come from etcd: here and empty, so
			// that it cannot.
			{Key: "callbacks", Value: emit.Map{}},
			{Key: "pre_promote", Value: ""},
			{Key: "before_stop", Value: ""},
			{Key: "recovery_conf", Value: emit.Map{}},
			{Key: "rewind", Value: []any{}},
			{Key: "parameters", Value: s.local()},
			{Key: "pg_hba", Value: texts(hba)},
			{Key: "pg_ident", Value: []any{"# No user is another one here."}}, // Patroni wants a line
		}},
		{Key: "watchdog", Value: emit.Map{
			{Key: "mode", Value: string(s.Watchdog)},
			{Key: "device", Value: "/dev/watchdog"},
			{Key: "safety_margin", Value: 5},
		}},
	}
	config = merge(config, s.Config)
	i := slices.IndexFunc(config, func(p emit.Pair) bool { return p.Key == "bootstrap" })
	bootstrap = emit.Map{config[i]}
	return slices.Delete(config, i, i+1), bootstrap, nil
}

// restConnections is how many connections to the REST API one address may hold:
// HAProxy and each Patroni node need a few at a time.
const restConnections = 16

// shared are the parameters that all nodes must have alike, so that Patroni takes
// them from etcd alone (ConfigHandler.CMDLINE_OPTIONS in Patroni 4.1).
var shared = []string{
	"max_connections", "max_locks_per_transaction", "max_prepared_transactions", "max_replication_slots",
	"max_wal_senders", "max_worker_processes", "track_commit_timestamp", "wal_keep_size", "wal_level", "wal_log_hints",
}

// parameters are PostgreSQL's: sized, and as the spec says.
func (s *Settings) parameters() emit.Map {
	p := s.tuned()
	for _, key := range slices.Sorted(maps.Keys(s.Parameters)) {
		p = p.Set(key, scalar(s.Parameters[key]))
	}
	return p
}

// local are the parameters of this node: all that need not be alike, and those
// that run programs or open the server, which are said even where they are
// PostgreSQL's own defaults, so that etcd cannot change them.
func (s *Settings) local() emit.Map {
	p := emit.Map{
		{Key: "archive_mode", Value: false},
		{Key: "archive_command", Value: ""},
		{Key: "shared_preload_libraries", Value: ""},
		{Key: "session_preload_libraries", Value: ""},
		{Key: "local_preload_libraries", Value: ""},
		{Key: "ssl_passphrase_command", Value: ""},
		{Key: "external_pid_file", Value: ""},
		{Key: "logging_collector", Value: false},
		{Key: "fsync", Value: true},
		{Key: "full_page_writes", Value: true},
	}
	if s.PostgreSQL >= 15 {
		p = append(p, emit.Pair{Key: "archive_library", Value: ""})
	}
	for _, pair := range s.parameters() {
		if !slices.Contains(shared, pair.Key) {
			p = p.Set(pair.Key, pair.Value)
		}
	}
	return append(p, emit.Map{
		{Key: "hba_file", Value: s.dataDir() + "/pg_hba.conf"},
		{Key: "ident_file", Value: s.dataDir() + "/pg_ident.conf"},
		{Key: "unix_socket_directories", Value: "/var/run/postgresql"},
		{Key: "ssl", Value: true},
		{Key: "ssl_ca_file", Value: secretsDir + "ca.crt"},
		{Key: "ssl_cert_file", Value: secretsDir + "node.crt"},
		{Key: "ssl_key_file", Value: secretsDir + "node.key"},
		{Key: "ssl_min_protocol_version", Value: "TLSv1.2"},
		{Key: "password_encryption", Value: "scram-sha-256"},
	}...)
}

func (s *Settings) dataDir() string {
	return "/var/lib/postgresql/" + strconv.Itoa(s.PostgreSQL) + "/main"
}

// authentication is how Patroni connects to the other nodes: verified TLS, always.
func authentication(user string) emit.Map {
	return emit.Map{
		{Key: "username", Value: user},
		{Key: "sslmode", Value: "verify-full"},
		{Key: "sslrootcert", Value: secretsDir + "ca.crt"},
	}
}

// initdb picks the collation that PostgreSQL itself brings (from 17 on): the
// order of text then does not change with the image's C library.
func (s *Settings) initdb() []any {
	options := []any{
		emit.Map{{Key: "encoding", Value: "UTF8"}},
		emit.Map{{Key: "locale", Value: "C.UTF-8"}},
	}
	if s.PostgreSQL >= 17 {
		options = append(options,
			emit.Map{{Key: "locale-provider", Value: "builtin"}},
			emit.Map{{Key: "builtin-locale", Value: "C.UTF-8"}})
	}
	return append(options, "data-checksums")
}

// primaryStopTimeout is how long, in seconds, PostgreSQL may take to stop before
// the lease is given up: the cloud cuts the power of a machine 30 s after it
// asked it to stop.
const primaryStopTimeout = 12

// dcs is written once, when the cluster is bootstrapped, and shared by all nodes.
func (s *Settings) dcs(c *role.Cluster) emit.Map {
	m := emit.Map{
		{Key: "ttl", Value: s.TTL},
		{Key: "loop_wait", Value: s.LoopWait},
		{Key: "retry_timeout", Value: s.RetryTimeout},
		{Key: "primary_start_timeout", Value: s.PrimaryStartTimeout},
		{Key: "primary_stop_timeout", Value: primaryStopTimeout},
		{Key: "maximum_lag_on_failover", Value: int(s.MaximumLagOnFailover)},
		{Key: "check_timeline", Value: true},
		// Without it, losing etcd's quorum stops writes on a healthy leader.
		{Key: "failsafe_mode", Value: true},
	}
	switch c.Durability {
	case role.Async:
		m = append(m, emit.Pair{Key: "synchronous_mode", Value: false})
	case role.Sync:
		m = append(m, emit.Pair{Key: "synchronous_mode", Value: true}, emit.Pair{Key: "synchronous_node_count", Value: 1})
	case role.Strict:
		m = append(m, emit.Pair{Key: "synchronous_mode", Value: true}, emit.Pair{Key: "synchronous_mode_strict", Value: true},
			emit.Pair{Key: "synchronous_node_count", Value: 1})
	case role.Quorum:
		m = append(m, emit.Pair{Key: "synchronous_mode", Value: "quorum"}, emit.Pair{Key: "synchronous_node_count", Value: 1})
	}
	parameters := slices.DeleteFunc(s.parameters(), func(p emit.Pair) bool { return !slices.Contains(shared, p.Key) })
	return append(m, emit.Pair{Key: "postgresql", Value: emit.Map{
		{Key: "use_slots", Value: true},
		{Key: "parameters", Value: parameters},
	}})
}

// scalar is a parameter as people wrote it: whole numbers as numbers.
func scalar(s string) any {
	if n, err := strconv.Atoi(s); err == nil && strconv.Itoa(n) == s {
		return n
	}
	return s
}

// hba lets in, over TLS alone, who must get in: the other nodes for replication
// and rewind, and the application's users, each to its databases, from the
// clients' networks and from the proxies, which clients are seen as.
func (s *Settings) hba(c *role.Cluster) ([]string, error) {
	var records [][]string
	add := func(words ...string) { records = append(records, words) }
	add("local", "all", emit.HBAName(Superuser), "peer")
	add("local", "replication", emit.HBAName(ReplicationUser), "scram-sha-256")
	add("local", "all", "all", "scram-sha-256")
	for _, m := range s.Members {
		add("hostssl", "replication", emit.HBAName(ReplicationUser), source(c, m.Node), "scram-sha-256")
		add("hostssl", "postgres", emit.HBAName(RewindUser), source(c, m.Node), "scram-sha-256")
	}
	var clients []string
	for _, n := range c.Using(role.Database) {
		clients = append(clients, source(c, n))
	}
	for _, p := range c.Access.Clients {
		clients = append(clients, p.String())
	}
	for _, u := range s.applicationUsers() {
		for _, d := range u.Databases {
			for _, client := range clients {
				add("hostssl", emit.HBAName(d), emit.HBAName(u.Name), client, "scram-sha-256")
			}
		}
	}
	var lines []string
	for _, r := range records {
		line, err := emit.HBA(r...)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	lines = append(lines, s.HBA...)
	return append(lines, "host all all all reject"), nil
}

// source is a node as pg_hba.conf wants it: a network of one address, or its
// name, which PostgreSQL looks up in both directions.
func source(c *role.Cluster, n role.Node) string {
	if n.Address.IsValid() {
		return n.Address.String() + "/32"
	}
	return c.FQDN(n.Name)
}

// merge lays the raw overrides of the spec over our configuration: mappings are
// merged, everything else is replaced, null removes a key.
func merge(base emit.Map, over map[string]any) emit.Map {
	for _, key := range slices.Sorted(maps.Keys(over)) {
		value := over[key]
		inner, isMap := value.(map[string]any)
		i := slices.IndexFunc(base, func(p emit.Pair) bool { return p.Key == key })
		switch {
		case i < 0 && value != nil:
			base = append(base, emit.Pair{Key: key, Value: spec.Encode(value)})
		case i < 0:
		case value == nil:
			base = slices.Delete(base, i, i+1)
		default:
			if old, ok := base[i].Value.(emit.Map); ok && isMap {
				base[i].Value = merge(old, inner)
			} else {
				base[i].Value = spec.Encode(value)
			}
		}
	}
	return base
}

func texts(list []string) []any {
	all := make([]any, len(list))
	for i, s := range list {
		all[i] = s
	}
	return all
}
