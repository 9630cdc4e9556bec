package patroni

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// shared are the parameters that all nodes must have alike, so that Patroni
// takes them from etcd alone (ConfigHandler.CMDLINE_OPTIONS in Patroni 4.1).
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

// local are the parameters of this node: all that need not be alike, and
// those that run programs or open the server, which are said even where they
// are PostgreSQL's own defaults, so that etcd cannot change them.
func (s *Settings) local(c *role.Cluster) emit.Map {
	p := slices.Concat(archive(c), emit.Map{
		{Key: "shared_preload_libraries", Value: ""},
		{Key: "session_preload_libraries", Value: ""},
		{Key: "local_preload_libraries", Value: ""},
		{Key: "ssl_passphrase_command", Value: ""},
		{Key: "external_pid_file", Value: ""},
		{Key: "logging_collector", Value: false},
		{Key: "fsync", Value: true},
		{Key: "full_page_writes", Value: true},
	})
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

// tuned are PostgreSQL's parameters for the machine and the workload, by
// pgtune's rules for Linux and SSDs, and those that keep a cluster healthy.
func (s *Settings) tuned() emit.Map {
	memory, cores := s.Machine.Memory, s.Machine.Cores
	connections := map[Workload]int{Web: 200, OLTP: 300, DW: 40, Mixed: 100}[s.Workload]
	minWAL := map[Workload]specfile.Size{Web: specfile.GiB, OLTP: 2 * specfile.GiB, DW: 4 * specfile.GiB, Mixed: specfile.GiB}[s.Workload]
	// pgtune does not know the disk; WAL must not fill a small one.
	maxWAL := min(4*minWAL, s.Machine.DataDisk.Size/8)
	minWAL = min(minWAL, maxWAL/2)

	shared := memory / 4
	maintenance := memory / 16
	if s.Workload == DW {
		maintenance = memory / 8
	}
	maintenance = min(maintenance, 8*specfile.GiB)

	workers := 8
	if cores >= 4 {
		workers = cores
	}
	// A query may use work_mem several times over; three is pgtune's guess.
	work := (memory - shared) / specfile.Size((s.maxConnections(connections)+workers)*3)
	if s.Workload == DW || s.Workload == Mixed {
		work /= 2
	}
	work = max(work, 4*specfile.MiB)

	p := emit.Map{
		{Key: "max_connections", Value: connections},
		// Whoever may reach the server can open connections and say nothing;
		// the superuser gets in all the same.
		{Key: "superuser_reserved_connections", Value: 5},
		{Key: "authentication_timeout", Value: "10s"},
		{Key: "shared_buffers", Value: megabytes(shared)},
		{Key: "effective_cache_size", Value: megabytes(memory * 3 / 4)},
		{Key: "maintenance_work_mem", Value: megabytes(maintenance)},
		{Key: "work_mem", Value: kilobytes(work)},
		{Key: "huge_pages", Value: "try"},
		{Key: "min_wal_size", Value: megabytes(minWAL)},
		{Key: "max_wal_size", Value: megabytes(maxWAL)},
		{Key: "checkpoint_completion_target", Value: 0.9},
		{Key: "checkpoint_timeout", Value: "15min"},
		{Key: "default_statistics_target", Value: map[bool]int{true: 500, false: 100}[s.Workload == DW]},
		{Key: "random_page_cost", Value: 1.1},
		{Key: "effective_io_concurrency", Value: 200},
		{Key: "max_worker_processes", Value: workers},
		{Key: "max_parallel_workers", Value: workers},
		{Key: "max_parallel_workers_per_gather", Value: min((cores+1)/2, 4)},
		{Key: "max_parallel_maintenance_workers", Value: min((cores+1)/2, 4)},
		{Key: "jit", Value: s.Workload == DW},
		{Key: "wal_level", Value: "replica"},
		{Key: "wal_log_hints", Value: true},
		{Key: "max_wal_senders", Value: s.senders()},
		{Key: "max_replication_slots", Value: s.senders()},
		{Key: "wal_keep_size", Value: "128MB"},
		// A replica that is gone must not fill the leader's disk with WAL.
		{Key: "max_slot_wal_keep_size", Value: megabytes(s.Machine.DataDisk.Size / 4)},
		{Key: "hot_standby_feedback", Value: false},
		// A leader that was started anew acknowledges nothing before a replica is
		// back, which PostgreSQL's own 5s would delay.
		{Key: "wal_retrieve_retry_interval", Value: "500ms"},
		// A replica that the leader does not reach holds commits up, until it is given up:
		// after a lease, as a leader is. PostgreSQL's own is 60 s.
		{Key: "wal_sender_timeout", Value: fmt.Sprintf("%ds", min(s.TTL, 60))},
		{Key: "wal_receiver_timeout", Value: fmt.Sprintf("%ds", min(s.TTL, 60))},
		// The cloud drops idle connections after 180 s.
		{Key: "tcp_keepalives_idle", Value: 60},
		{Key: "tcp_keepalives_interval", Value: 10},
		{Key: "tcp_keepalives_count", Value: 6},
		{Key: "log_line_prefix", Value: "%m [%p] %q%u@%d %h "},
		{Key: "log_connections", Value: true},
		{Key: "log_lock_waits", Value: true},
		{Key: "log_autovacuum_min_duration", Value: "1min"},
		{Key: "log_temp_files", Value: "64MB"},
		{Key: "idle_in_transaction_session_timeout", Value: "10min"},
	}
	if s.PostgreSQL >= 14 {
		// After a crash PostgreSQL flushes each file by itself, which takes long with many;
		// the data disk is its own.
		p = p.Set("recovery_init_sync_method", "syncfs")
	}
	if s.PostgreSQL >= 15 {
		p = p.Set("wal_compression", "lz4")
	}
	if s.PostgreSQL >= 18 {
		// io_uring is faster where the kernel lets it be, and does not start
		// where it does not.
		p = p.Set("io_method", "worker").Set("io_workers", min(max(3, cores/4), 32))
	}
	return p
}

// maxConnections is what the spec asks for, if it does: work_mem depends on
// it.
func (s *Settings) maxConnections(tuned int) int {
	if n, ok := scalar(s.Parameters["max_connections"]).(int); ok && n > 0 {
		return n
	}
	return tuned
}

// parameter is the value of one, or nil.
func (s *Settings) parameter(name string) any {
	for _, p := range s.parameters() {
		if p.Key == name {
			return p.Value
		}
	}
	return nil
}

// connections is PostgreSQL's max_connections.
func (s *Settings) connections() int {
	if n, ok := s.parameter("max_connections").(int); ok {
		return n
	}
	return 100 // PostgreSQL's own
}

// clientConnections are those of max_connections that clients can have: the
// rest is the superuser's, for Patroni itself and for who repairs a node.
func (s *Settings) clientConnections() int { return max(1, s.connections()-10) }

// senders is how many may follow a node: each of the others twice while it is
// copied, and some more. It goes by steps, so that hardly any node that is added
// makes a restart of PostgreSQL necessary.
func (s *Settings) senders() int {
	const step = 20
	return (2*len(s.Members) + 4 + step - 1) / step * step
}

// hugePages is how many of 2 MiB PostgreSQL needs for its shared memory: the
// buffers, and for what it keeps about them and its connections a twentieth
// of them and 200 MB. 0 if the spec wants none.
func (s *Settings) hugePages() int {
	wanted := strings.ToLower(fmt.Sprint(s.parameter("huge_pages")))
	shared, err := bufferSize(fmt.Sprint(s.parameter("shared_buffers")))
	if err != nil || slices.Contains([]string{"off", "false", "no", "0"}, wanted) {
		return 0
	}
	return int((shared + shared/20 + 200*specfile.MiB) / (2 * specfile.MiB))
}

func megabytes(s specfile.Size) string { return fmt.Sprintf("%dMB", max(s/specfile.MiB, 1)) }
func kilobytes(s specfile.Size) string { return fmt.Sprintf("%dkB", max(s/specfile.KiB, 1)) }

// scalar is a parameter as people wrote it: whole numbers as numbers.
func scalar(s string) any {
	if n, err := strconv.Atoi(s); err == nil && strconv.Itoa(n) == s {
		return n
	}
	return s
}
