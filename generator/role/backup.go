package role

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"pgha-gen/generator/specfile"
)

// Backup says where a database's backups and the archive of its log are, and
// how many of them.
type Backup struct {
	Bucket string `yaml:"bucket"` // of object storage; empty: there are no backups
	// Whether the cluster makes it; see Cluster.CreatesBucket.
	CreateBucket bool   `yaml:"create_bucket"`
	Endpoint     string `yaml:"endpoint"`
	// The folder in the bucket. Empty: the cluster's token.
	Prefix     string         `yaml:"prefix"`
	Schedule   BackupSchedule `yaml:"schedule"`
	Retention  int            `yaml:"retention"` // days that one can go back
	Encryption Encryption     `yaml:"encryption"`
	// How much of the data disk the log may fill that waits for the archive,
	// in percent. What comes above it is not archived.
	QueueMax int `yaml:"queue_max"`
}

// BackupSchedule says when backups begin.
type BackupSchedule struct {
	At    string `yaml:"at"`    // hours and minutes, in UTC
	Full  int    `yaml:"full"`  // days between two full ones; on each other day there is one of what changed
	Proof int    `yaml:"proof"` // days after which the newest one is restored beside and checked; 0: never
}

// Encryption is how backups are encrypted before they leave the machine.
type Encryption string

// The values of Encryption; pgBackRest's words.
const (
	AES256CBC    Encryption = "aes-256-cbc"
	NoEncryption Encryption = "none"
)

// Values are all of them.
func (Encryption) Values() []string { return specfile.Values(AES256CBC, NoEncryption) }

// Restore founds a cluster from the backup of another one. It counts once, when
// the cluster is bootstrapped.
type Restore struct {
	From   string `yaml:"from"`   // the name of that cluster, of the same folder; empty: nothing is restored
	Prefix string `yaml:"prefix"` // the folder of its backups; empty: that of a cluster of this name
	// Up to where; one of them at most. None: as far as the archive goes.
	Time string `yaml:"time"`
	LSN  string `yaml:"lsn"`
	Name string `yaml:"name"` // of a restore point
}

func defaultBackup() Backup {
	return Backup{
		CreateBucket: true, Endpoint: CloudStorage,
		Schedule:  BackupSchedule{At: "01:00", Full: 7, Proof: 7},
		Retention: 14, Encryption: AES256CBC, QueueMax: 25,
	}
}

// CloudStorage is the cloud's own object storage.
const CloudStorage = "storage.yandexcloud.net"

// CreatesBucket says whether the bucket is the cluster's own, and made with it.
// One that has the backups of another cluster is there already.
func (c *Cluster) CreatesBucket() bool {
	return c.BacksUp() && c.Backup.CreateBucket && c.Backup.Endpoint == CloudStorage &&
		(c.Restore.From == "" || c.Restore.From == c.Name)
}

// BacksUp says whether the cluster's database is backed up.
func (c *Cluster) BacksUp() bool { return c.Backup.Bucket != "" }

// BackupPath is the folder of the cluster's backups in its bucket.
func (c *Cluster) BackupPath() string { return backupPath(c.Backup.Prefix, c.Token()) }

// RestorePath is the folder of the backups that the cluster is founded from;
// empty if there is none.
func (c *Cluster) RestorePath() string {
	if c.Restore.From == "" {
		return ""
	}
	return backupPath(c.Restore.Prefix, token(c.Cloud.FolderID, c.Restore.From))
}

func backupPath(prefix, token string) string {
	if prefix == "" {
		prefix = token
	}
	return "/" + prefix
}

var (
	// S3's names that are a label of a host's name, too.
	bucketName   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`)
	endpointName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$`)
	prefixForm   = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$`)
	lsnForm      = regexp.MustCompile(`^[0-9A-F]{1,8}/[0-9A-F]{1,8}$`)
	// PostgreSQL takes any name; this one needs no quotes.
	restorePoint = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,62}$`)
)

func (c *Cluster) checkBackup(at specfile.Place) {
	b := c.Backup
	if b.Bucket != "" && !bucketName.MatchString(b.Bucket) {
		at.Key("bucket").Problem("%q is no name of a bucket (want 3 to 63 of a to z, 0 to 9 and -)", b.Bucket)
	}
	if !endpointName.MatchString(b.Endpoint) {
		at.Key("endpoint").Problem("%q is no host name (want one such as storage.yandexcloud.net)", b.Endpoint)
	}
	checkPrefix(at.Key("prefix"), b.Prefix)
	schedule := at.Key("schedule")
	if t, err := time.Parse("15:04", b.Schedule.At); err != nil || t.Format("15:04") != b.Schedule.At {
		schedule.Key("at").Problem("%q is no time of the day (want one such as 01:00, in UTC)", b.Schedule.At)
	}
	CheckRange(schedule.Key("full"), b.Schedule.Full, 1, 60, "%d days between two full backups (want 1 to 60)")
	if CheckRange(schedule.Key("proof"), b.Schedule.Proof, 0, 60, "%d days between two proofs (want 1 to 60, or 0: never)") && c.BacksUp() && b.Schedule.Proof == 0 {
		schedule.Key("proof").Warn("no backup is ever restored to see whether it can be (give the days between two proofs)")
	}
	CheckRange(at.Key("retention"), b.Retention, 1, 3650, "%d days (want 1 to 3650)")
	if CheckRange(at.Key("queue_max"), b.QueueMax, 1, 80, "%d percent of the data disk (want 1 to 80: PostgreSQL needs the rest)") && b.QueueMax > 50 {
		at.Key("queue_max").Warn("while object storage is away, WAL may fill %d percent of the data disk (want 50 at most: the data needs room, too)", b.QueueMax)
	}
	if c.BacksUp() && b.Encryption == NoEncryption {
		at.Key("encryption").Warn("whoever reads the bucket reads every row, and no backup is proved (leave it out)")
	}
}

func checkPrefix(at specfile.Place, prefix string) {
	if prefix != "" && (!prefixForm.MatchString(prefix) || len(prefix) > 200) {
		at.Problem("%q is no folder in a bucket (want names of A to Z, a to z, 0 to 9, ., _ and -, with / between them, at most 200 characters)", prefix)
	}
}

func (c *Cluster) checkRestore(at specfile.Place) {
	r := c.Restore
	checkPrefix(at.Key("prefix"), r.Prefix)
	if r.From == "" {
		if !specfile.Known(at.Key("from")) {
			return
		}
		for _, k := range []struct{ key, value string }{{"prefix", r.Prefix}, {"time", r.Time}, {"lsn", r.LSN}, {"name", r.Name}} {
			if k.value != "" {
				at.Key(k.key).Problem("%q, and nothing to restore from (give restore.from the name of a cluster)", k.value)
			}
		}
		return
	}
	from := at.Key("from")
	if !IsClusterName(r.From, longestHost) {
		from.Problem("%q is no name of a cluster (want a to z, 0 to 9 and -, a letter first)", r.From)
	}
	if !c.BacksUp() && specfile.Known(at.Root().Key("backup").Key("bucket")) {
		from.Problem("%q, and no bucket that its backups are in (give backup.bucket)", r.From)
	}
	var targets []string
	for _, t := range []struct {
		key, value, want string
		good             func(string) bool
	}{
		{"time", r.Time, "a time such as 2026-11-27T01:30:00Z", isInstant},
		{"lsn", r.LSN, "a position such as 0/3000060", lsnForm.MatchString},
		{"name", r.Name, "the name of a restore point: letters, digits, ., _, : and -", restorePoint.MatchString},
	} {
		if t.value == "" {
			continue
		}
		targets = append(targets, t.key)
		if !t.good(t.value) {
			at.Key(t.key).Problem("%q cannot be restored to (want %s)", t.value, t.want)
		}
	}
	if len(targets) > 1 {
		at.Problem("%s together (want one: up to where)", strings.Join(targets, " and "))
	}
	if c.BacksUp() && c.BackupPath() == c.RestorePath() {
		from.Warn("%s is the cluster itself: if another one still runs that archives there, both are damaged", strconv.Quote(r.From))
	}
}

// isInstant takes what leaves no doubt: with its offset from UTC.
func isInstant(text string) bool {
	_, err := time.Parse(time.RFC3339Nano, text)
	return err == nil
}
