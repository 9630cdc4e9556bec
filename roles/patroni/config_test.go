package patroni

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
)

// keys are those of a mapping, sorted; twice if they are in it twice.
func keys(m emit.Map) []string {
	var all []string
	for _, p := range m {
		all = append(all, p.Key)
	}
	slices.Sort(all)
	return all
}

// fromDCS are the parameters that the bootstrap writes into etcd.
func fromDCS(t *testing.T, s *Settings) emit.Map {
	t.Helper()
	c := &role.Cluster{Durability: role.Quorum}
	return value(t, value(t, s.dcs(c), "postgresql").(emit.Map), "parameters").(emit.Map)
}

// Patroni takes those of its command line from etcd alone, and lets etcd change
// what the local configuration does not say: each parameter has one place.
func TestParametersHaveOnePlace(t *testing.T) {
	tests := []struct {
		name, reason string
		parameters   map[string]string
	}{
		{"none", "the sized ones", nil},
		{"of both kinds", "the spec's own go where the sized ones do", map[string]string{
			"max_connections": "500", "max_locks_per_transaction": "128", "track_commit_timestamp": "on", "work_mem": "64MB", "pg_stat_statements.max": "10000",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := &role.Cluster{Failover: role.Fast}
			s := newSettings(c)
			for k, v := range test.parameters {
				s.Parameters[k] = v
			}
			local, dcs := keys(s.local(c)), keys(fromDCS(t, s))
			for _, key := range keys(s.parameters()) {
				here, there := slices.Contains(local, key), slices.Contains(dcs, key)
				if here == there {
					t.Errorf("%s: %s is local: %v, in etcd: %v; want one of them", test.reason, key, here, there)
				}
				if there != slices.Contains(shared, key) {
					t.Errorf("%s: %s is in etcd: %v", test.reason, key, there)
				}
			}
			for what, list := range map[string][]string{"local": local, "etcd": dcs} {
				if diff := cmp.Diff(slices.Compact(slices.Clone(list)), list); diff != "" {
					t.Errorf("%s: said twice (%s, -want +got):\n%s", test.reason, what, diff)
				}
			}
			for _, key := range dcs {
				if slices.Contains(local, key) {
					t.Errorf("%s: Patroni ignores %s in the local configuration", test.reason, key)
				}
			}
		})
	}
}

// What runs programs or opens the server is said, so that etcd cannot say it.
func TestPinned(t *testing.T) {
	want := map[string]any{
		"archive_mode": "off", "archive_command": "/bin/true", "archive_library": "",
		"shared_preload_libraries": "", "session_preload_libraries": "", "local_preload_libraries": "",
		"ssl_passphrase_command": "", "external_pid_file": "", "logging_collector": false, "fsync": true, "full_page_writes": true,
		"hba_file": "/var/lib/postgresql/18/main/pg_hba.conf", "ident_file": "/var/lib/postgresql/18/main/pg_ident.conf",
		"unix_socket_directories": "/var/run/postgresql", "ssl": true, "ssl_ca_file": "/run/pgha/secrets/ca.crt",
		"ssl_cert_file": "/run/pgha/secrets/node.crt", "ssl_key_file": "/run/pgha/secrets/node.key",
		"ssl_min_protocol_version": "TLSv1.2", "password_encryption": "scram-sha-256",
	}
	tests := []struct {
		name, reason string
		change       func(*Settings)
		differs      map[string]any // nil: is not there
	}{
		{"defaults", "even where it is PostgreSQL's own default", func(*Settings) {}, nil},
		{"libraries", "the spec may say what etcd may not", func(s *Settings) { s.Parameters["shared_preload_libraries"] = "pg_stat_statements" },
			map[string]any{"shared_preload_libraries": "pg_stat_statements"}},
		{"archive", "and so with the archive", func(s *Settings) {
			s.Parameters["archive_mode"], s.Parameters["archive_command"] = "on", "push %p"
		}, map[string]any{"archive_mode": "on", "archive_command": "push %p"}},
		{"14", "PostgreSQL 14 has no archive_library", func(s *Settings) { s.PostgreSQL = 14 }, map[string]any{
			"archive_library": nil,
			"hba_file":        "/var/lib/postgresql/14/main/pg_hba.conf", "ident_file": "/var/lib/postgresql/14/main/pg_ident.conf",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := &role.Cluster{Failover: role.Fast}
			s := newSettings(c)
			test.change(s)
			local := s.local(c)
			for key, value := range want {
				if v, ok := test.differs[key]; ok {
					value = v
				}
				i := slices.IndexFunc(local, func(p emit.Pair) bool { return p.Key == key })
				switch {
				case i < 0 && value != nil:
					t.Errorf("%s: etcd may set %s", test.reason, key)
				case i >= 0 && local[i].Value != value:
					t.Errorf("%s: %s is %v, want %v", test.reason, key, local[i].Value, value)
				}
			}
		})
	}
}

func TestHugePages(t *testing.T) {
	tests := []struct {
		name, reason string
		parameters   map[string]string
		want         int
	}{
		{"sized", "4096 MB, a twentieth, and 200 MB: 4500.8 MB in pages of 2", nil, 2250},
		{"own size", "1 GB: 1075.2 + 200 MB", map[string]string{"shared_buffers": "1GB"}, 637},
		{"in MB", "512 MB: 537.6 + 200 MB", map[string]string{"shared_buffers": "512MB"}, 368},
		{"on", "PostgreSQL does not start without them", map[string]string{"huge_pages": "on"}, 2250},
		{"off", "what is reserved could be used by nobody else", map[string]string{"huge_pages": "off"}, 0},
		{"no", "PostgreSQL's other word for it", map[string]string{"huge_pages": "No"}, 0},
		{"yes", "PostgreSQL's other word for on: without them it would not start", map[string]string{"huge_pages": "yes"}, 2250},
		{"in pages", "a number alone is in pages of 8 kB: 128 MB", map[string]string{"shared_buffers": "16384"}, 167},
		{"fraction", "1.5 GB: 1612.8 + 200 MB", map[string]string{"shared_buffers": "1.5 GB"}, 906},
		{"no size", "PostgreSQL refuses it, and nothing is reserved", map[string]string{"shared_buffers": "much"}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := &role.Cluster{Failover: role.Fast}
			s := newSettings(c)
			for k, v := range test.parameters {
				s.Parameters[k] = v
			}
			if got := s.hugePages(); got != test.want {
				t.Errorf("%s: got %d, want %d", test.reason, got, test.want)
			}
		})
	}
}

// A replica comes from the newest backup where nobody but the cluster can have
// written that, and from another node otherwise.
func TestReplicaMethods(t *testing.T) {
	for _, test := range []struct {
		name, reason string
		backup       role.Backup
		postgresql   int
		want         []any
	}{
		{"no backups", "there is nothing to restore", role.Backup{}, 18, []any{"basebackup"}},
		{"backups", "the leader is spared", role.Backup{Bucket: "b", Encryption: role.AES256CBC}, 18, []any{"pgbackrest", "basebackup"}},
		{"in clear", "whoever writes to the bucket would say what replicas run", role.Backup{Bucket: "b", Encryption: role.NoEncryption}, 18, []any{"basebackup"}},
		{"PostgreSQL 14", "it does not say what WAL it keeps for a replica", role.Backup{Bucket: "b", Encryption: role.AES256CBC}, 14, []any{"basebackup"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &role.Cluster{Failover: role.Fast, Backup: test.backup}
			s := newSettings(c)
			s.PostgreSQL = test.postgresql
			got := s.replicas(c)
			if diff := cmp.Diff(test.want, value(t, got, "create_replica_methods")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
			if slices.Contains(keys(got), "pgbackrest") != slices.Contains(test.want, any("pgbackrest")) {
				t.Errorf("%s: etcd would say what the way to make a replica is", test.reason)
			}
		})
	}
}

func TestProofDays(t *testing.T) {
	for _, test := range []struct {
		name, reason string
		encryption   role.Encryption
		want         any
	}{
		{"encrypted", "as the spec says", role.AES256CBC, 7},
		{"in clear", "whoever writes to the bucket would say what the restored server runs", role.NoEncryption, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &role.Cluster{Failover: role.Fast, Backup: role.Backup{Bucket: "b", Encryption: test.encryption, Schedule: role.BackupSchedule{Proof: 7}}}
			if diff := cmp.Diff(test.want, value(t, newSettings(c).backupEnv(c), "PGHA_BACKUP_PROOF")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}
