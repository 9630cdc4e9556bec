package patroni

import (
	"fmt"
	"strconv"
	"time"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

const (
	leastPgBackRest = "2.59"   // the first that runs a program for the key of its bucket
	soundPgBackRest = "2.59.3" // fixes weak subkeys and salts (its release notes)
)

// Where pgBackRest's configuration is: of the cluster's own backups, and of
// those that it is founded from.
const (
	backupFile  = "/etc/pgbackrest/pgbackrest.conf"
	restoreFile = "/etc/pgbackrest/restore.conf"
)

// stanza is pgBackRest's name for the cluster. Each has a path of its own, so
// all have the same.
const stanza = "main"

// The pass phrases that backups are encrypted with.
const (
	backupPassphrase  = "backup" + role.PassphraseSuffix
	restorePassphrase = "restore" + role.PassphraseSuffix
)

// archiveTimeout is how long a commit stays on the machine alone, in seconds,
// if nothing else fills its segment of WAL.
const archiveTimeout = 60

func passphrases(c *role.Cluster) []role.Secret {
	if !c.BacksUp() || c.Backup.Encryption == role.NoEncryption {
		return nil
	}
	all := []role.Secret{{File: backupPassphrase, Kind: role.Passphrase}}
	if restoresOther(c) {
		all = append(all, role.Secret{File: restorePassphrase, Kind: role.Passphrase,
			CopyOf: &role.SecretOf{Cluster: c.Restore.From, Entry: backupPassphrase}})
	}
	return all
}

// checkBackup warns of a cluster that nobody backs up.
func (s *Settings) checkBackup(c *role.Cluster, at specfile.Place) {
	parameters := at.Key("parameters")
	if !c.BacksUp() {
		if s.Parameters["archive_command"] == "" && s.Parameters["archive_library"] == "" {
			at.Root().Key("backup").Warn("nothing is backed up: a DROP TABLE is on every replica at once (give backup.bucket)")
		}
		return
	}
	for _, name := range []string{"archive_mode", "archive_command", "archive_library"} {
		if _, given := s.Parameters[name]; given {
			parameters.Key(name).Problem("%s is set by backup (leave it out, or backup.bucket)", name)
		}
	}
}

// restoresOther says whether the cluster is founded from backups that are not
// its own.
func restoresOther(c *role.Cluster) bool {
	return c.RestorePath() != "" && c.RestorePath() != c.BackupPath()
}

// archive are the parameters by which WAL is archived, or is not.
func archive(c *role.Cluster) emit.Map {
	if !c.BacksUp() {
		// A server that still runs with archive_mode on would keep all WAL.
		return emit.Map{{Key: "archive_mode", Value: "off"}, {Key: "archive_command", Value: "/bin/true"}}
	}
	return emit.Map{
		{Key: "archive_mode", Value: "on"},
		// pgBackRest refuses a command that does not have its name.
		{Key: "archive_command", Value: "/usr/lib/pgha/pgbackrest-push.sh %p"},
		{Key: "archive_timeout", Value: archiveTimeout},
	}
}

type backupConfig struct {
	path     string
	sections emit.Map
}

// backupFiles are pgBackRest's, as far as they are no secret.
func (s *Settings) backupFiles(c *role.Cluster) []backupConfig {
	if !c.BacksUp() {
		return nil
	}
	files := []backupConfig{{backupFile, append(s.repository(c, c.BackupPath()), emit.Pair{Key: stanza, Value: s.instance()})}}
	if path := c.RestorePath(); path != "" {
		files = append(files, backupConfig{restoreFile, emit.Map{
			s.repository(c, path)[0],
			{Key: "global:restore", Value: emit.Map{{Key: "delta", Value: true}}},
			{Key: stanza, Value: s.instance()},
		}})
	}
	return files
}

// foundedFrom is how Patroni bootstraps a cluster from backups, instead of initdb.
func foundedFrom(c *role.Cluster) emit.Map {
	if c.RestorePath() == "" {
		return nil
	}
	return emit.Map{
		{Key: "method", Value: "restore"},
		{Key: "restore", Value: emit.Map{
			{Key: "command", Value: "/usr/lib/pgha/restore.sh" + target(c.Restore)},
			{Key: "keep_existing_recovery_conf", Value: true},
			{Key: "no_params", Value: true},
		}},
	}
}

// replicas are how a replica is made: the first way that does it. Where backups
// are not encrypted, whoever may write to the bucket would say what replicas run.
// And PostgreSQL 14 does not say what WAL it keeps for a replica.
func (s *Settings) replicas(c *role.Cluster) emit.Map {
	copied := emit.Pair{Key: "basebackup", Value: []any{emit.Map{{Key: "checkpoint", Value: "fast"}}}}
	if !c.BacksUp() || c.Backup.Encryption == role.NoEncryption || s.PostgreSQL < 15 {
		return emit.Map{{Key: "create_replica_methods", Value: []any{"basebackup"}}, copied}
	}
	return emit.Map{
		{Key: "create_replica_methods", Value: []any{"pgbackrest", "basebackup"}},
		{Key: "pgbackrest", Value: emit.Map{{Key: "command", Value: "/usr/lib/pgha/clone.sh " + s.dataDir() + " /usr/lib/pgha/replica.py"}}},
		copied,
	}
}

// target is up to where a restore goes, as options of pgBackRest, for Patroni to
// split as a shell would. Without one it goes as far as the archive does.
func target(r role.Restore) string {
	kind, value := "", ""
	switch {
	case r.Time != "":
		// The one form from which pgBackRest finds the backup to begin with.
		t, _ := time.Parse(time.RFC3339Nano, r.Time) // checked
		kind, value = "time", t.UTC().Format("2006-01-02 15:04:05.999999+00")
	case r.LSN != "":
		kind, value = "lsn", r.LSN
	case r.Name != "":
		kind, value = "name", r.Name
	default:
		return ""
	}
	return fmt.Sprintf(" --type=%s '--target=%s' --target-action=promote", kind, value)
}

// repository is where backups are, and how they are made. The sections without
// the database.
func (s *Settings) repository(c *role.Cluster, path string) emit.Map {
	b := c.Backup
	return emit.Map{
		{Key: "global", Value: emit.Map{
			{Key: "repo1-type", Value: "s3"},
			{Key: "repo1-path", Value: path},
			{Key: "repo1-s3-bucket", Value: b.Bucket},
			{Key: "repo1-s3-endpoint", Value: b.Endpoint},
			{Key: "repo1-s3-region", Value: c.Cloud.Region},
			{Key: "repo1-s3-uri-style", Value: "path"},
			{Key: "repo1-s3-key-type", Value: "process"},
			{Key: "repo1-s3-process-cmd", Value: "/usr/lib/pgha/storage-key.sh"},
			{Key: "repo1-cipher-type", Value: string(b.Encryption)},
			{Key: "repo1-bundle", Value: true},
			{Key: "repo1-block", Value: true},
			{Key: "repo1-retention-full-type", Value: "time"},
			{Key: "repo1-retention-full", Value: b.Retention},
			{Key: "compress-type", Value: "zst"},
			{Key: "process-max", Value: max(1, s.Machine.Cores/2)},
			{Key: "start-fast", Value: true},
			// postgres may write there, and a reboot empties it: what it says of WAL
			// that was archived is found out again.
			{Key: "spool-path", Value: "/run/postgresql"},
			{Key: "lock-path", Value: "/run/postgresql/pgbackrest"},
			{Key: "log-level-file", Value: "off"},
			{Key: "log-level-console", Value: "info"},
			{Key: "log-timestamp", Value: false},
		}},
		{Key: "global:archive-push", Value: emit.Map{
			{Key: "archive-async", Value: true},
			{Key: "archive-push-queue-max", Value: fmt.Sprintf("%dMiB", s.queue(c)/specfile.MiB)},
			// PostgreSQL tries again. One that stops waits for the call that runs.
			{Key: "archive-timeout", Value: 5},
			{Key: "io-timeout", Value: 15},
			{Key: "log-level-console", Value: "warn"},
		}},
	}
}

// queue is how much WAL may wait for the archive.
func (s *Settings) queue(c *role.Cluster) specfile.Size {
	return s.Machine.DataDisk.Size / 100 * specfile.Size(c.Backup.QueueMax)
}

// backupEnv is what backup.py goes by. A backup that is not encrypted is proved by
// nobody: whoever writes to the bucket would say what the restored server runs.
func (s *Settings) backupEnv(c *role.Cluster) emit.Map {
	if !c.BacksUp() {
		return nil
	}
	proof := c.Backup.Schedule.Proof
	if c.Backup.Encryption == role.NoEncryption {
		proof = 0
	}
	return emit.Map{
		{Key: "PGHA_BACKUP_AT", Value: c.Backup.Schedule.At},
		{Key: "PGHA_BACKUP_FULL", Value: c.Backup.Schedule.Full},
		{Key: "PGHA_BACKUP_PROOF", Value: proof},
		{Key: "PGHA_BACKUP_QUEUE", Value: strconv.FormatInt(int64(s.queue(c)), 10)},
	}
}

// instance is the node's own PostgreSQL.
func (s *Settings) instance() emit.Map {
	return emit.Map{
		{Key: "pg1-path", Value: s.dataDir()},
		{Key: "pg1-port", Value: s.Port},
		{Key: "pg1-socket-path", Value: "/var/run/postgresql"},
	}
}
