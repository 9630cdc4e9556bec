//go:build linux

package lab_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/deploy/operate"
	"pgha-gen/internal/demo"
	"pgha-gen/lab"
	"pgha-gen/lab/cloud"
	"pgha-gen/lab/labtest"
)

const (
	bucket     = "backups"
	withBucket = `  bucket: "" # =>  bucket: ` + bucket + ` # `
)

// backups is what the leader says of backups: what pgha-gen cluster backups reads,
// and nothing beside it.
func (c *cluster) backups(t *testing.T, ctx context.Context, node string) operate.Backups {
	t.Helper()
	var b operate.Backups
	d := json.NewDecoder(strings.NewReader(c.run(t, ctx, node, "jq .backup /run/pgha/metrics/status.json")))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		t.Fatal(err)
	}
	return b
}

// A cluster that archives and is backed up as soon as it stands; a table is
// dropped; all machines and disks are lost; and from the bucket alone another
// cluster has what it was just before.
func TestBackup(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 120*time.Second)
	defer cancel()
	outages := new(cloud.Outages)
	c, before := dropped(t, ctx, outages)
	c.replicaFromBackup(t, ctx, outages)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	objects := c.objects(t)

	text := strings.ReplaceAll(demo.Spec(t, withBucket), "demo", "copy")
	spec := demo.Read(t, demo.Edit(t, text, fmt.Sprintf("restore:\n  from: demo\n  time: %q\n", before)))
	founded := newClusterIn(t, ctx, lab.Config{Cluster: spec, Buckets: c.config.Buckets, Secrets: c.config.Secrets})
	leader := founded.restored(t, ctx)
	founded.sql(t, ctx, leader, "SELECT pg_switch_wal()")
	waitArchived(t, ctx, founded, leader)

	token := spec.Token() + "/"
	all := founded.objects(t)
	maps.DeleteFunc(all, func(key, _ string) bool { return strings.HasPrefix(key, token) })
	if diff := cmp.Diff(objects, all); diff != "" {
		t.Errorf("what was there when the cluster was founded from it (-want +got):\n%s", diff)
	}
	if own := len(founded.objects(t)) - len(all); own == 0 {
		t.Errorf("nothing in its own folder %s", token)
	}
}

// The same, and the cluster itself is founded again: what it archives goes to the
// folder that it came from. Long: make test-long.
func TestBackupItself(t *testing.T) {
	if os.Getenv("PGHA_TEST_LONG") == "" {
		t.Skip("TestBackup does the same with another cluster: make test-long")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	c, before := dropped(t, ctx, new(cloud.Outages))
	token := c.token(t, ctx)
	for _, name := range c.Names() {
		if err := c.Machine(name).PowerCut(); err != nil {
			t.Fatal(err)
		}
		if name != balancer {
			if err := c.Replace(name, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	spec := c.changed(t, withBucket, `  from: "" # =>  from: demo # `, fmt.Sprintf(`  time: "" # =>  time: %q # `, before))
	if err := c.Refresh(ctx, spec); err != nil {
		t.Fatal(err)
	}
	for _, name := range c.Names() {
		if name != balancer {
			if err := c.SetAttribute(name, "pgha-bootstrap", token); err != nil {
				t.Fatal(err)
			}
		}
	}
	leader := c.restored(t, ctx)
	c.sql(t, ctx, leader, "SELECT pg_switch_wal()")
	waitArchived(t, ctx, c, leader)
	c.wholeArchive(t)
}

// restored powers on what is founded from backups, and looks for the table that
// was dropped.
func (c *cluster) restored(t *testing.T, ctx context.Context) (leader string) {
	t.Helper()
	c.up(t, ctx)
	leader = c.whole(t, ctx)
	if got := c.sql(t, ctx, leader, "SELECT count(*) FROM precious"); got != "1000" {
		t.Errorf("%s rows of the table that was dropped, want 1000", got)
	}
	t.Log(c.waitStep(t, ctx, leader, "archive", "ok", time.Minute))
	return leader
}

// dropped is a cluster that archives and has a backup, and in which a table was
// dropped. before is the instant before that.
func dropped(t *testing.T, ctx context.Context, outages *cloud.Outages) (c *cluster, before string) {
	t.Helper()
	c = newClusterIn(t, ctx, lab.Config{
		Cluster: demo.Cluster(t, withBucket), Faults: outages.Now, Buckets: cloud.NewBuckets(time.Now), Secrets: labtest.State(t)})
	c.up(t, ctx)
	leader := c.whole(t, ctx)
	t.Log(c.waitStep(t, ctx, leader, "archive", "ok", time.Minute))
	t.Log(c.waitStep(t, ctx, leader, "backup", "ok a full backup is made", time.Minute))
	token := c.token(t, ctx)
	for o := range c.objects(t) {
		if !strings.HasPrefix(o, token+"/") {
			t.Errorf("object %s is outside of the cluster's folder", o)
		}
	}
	if b := c.waitBackups(t, ctx, leader, 1); b.Backups[0].Type != "full" {
		t.Errorf("reported is %+v, want a full backup", b.Backups[0])
	}
	c.provesBackups(t, ctx, leader)

	leader = c.archiveOutlivesLeader(t, ctx, outages, leader)

	c.sql(t, ctx, leader, "CREATE TABLE precious AS SELECT generate_series(1, 1000) AS id")
	before = c.sql(t, ctx, leader, "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
	time.Sleep(100 * time.Millisecond)
	c.sql(t, ctx, leader, "DROP TABLE precious")
	c.sql(t, ctx, leader, "SELECT pg_switch_wal()")
	waitArchived(t, ctx, c, leader)
	return c, before
}

// archiveOutlivesLeader loses a leader that has not archived all that it wrote, since
// object storage was away. The next one archives it: nothing is missing.
func (c *cluster) archiveOutlivesLeader(t *testing.T, ctx context.Context, outages *cloud.Outages, leader string) (next string) {
	t.Helper()
	l := startLoad(t, ctx, c, 2)
	if err := outages.Set(cloud.StorageService, cloud.Fault{Status: 503}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c.sql(t, ctx, leader, "SELECT pg_switch_wal()")
		time.Sleep(time.Second)
	}
	waiting := c.sql(t, ctx, leader, "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'")
	lost := time.Now()
	if err := c.Machine(leader).PowerCut(); err != nil {
		t.Fatal(err)
	}
	l.after(t, ctx, lost.Add(5*time.Second))
	if err := outages.Set(cloud.StorageService, cloud.Fault{}); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	if err := c.Start(ctx, leader); err != nil {
		t.Fatal(err)
	}
	next = c.whole(t, ctx)
	t.Log(c.waitStep(t, ctx, next, "archive", "ok", time.Minute))
	c.sql(t, ctx, next, "SELECT pg_switch_wal()")
	waitArchived(t, ctx, c, next)
	c.wholeArchive(t)
	t.Logf("%s segments waited when the leader was lost; all are archived %.1f s after object storage was back", waiting, time.Since(back).Seconds())
	l.end(t, ctx)
	return next
}

// replicaFromBackup loses a replica with its disk. The new one is made from the bucket,
// and its leader gives it only what it wrote since. Then a power cut leaves half of a
// copy, while object storage is away: it is removed, and the leader gives all of it.
func (c *cluster) replicaFromBackup(t *testing.T, ctx context.Context, outages *cloud.Outages) {
	t.Helper()
	leader := c.whole(t, ctx)
	replica := "demo-pg-1"
	if replica == leader {
		replica = "demo-pg-2"
	}
	for _, tt := range []struct {
		what       string
		lose       func() error
		says, from string
	}{
		{"its machine and disk are lost", func() error {
			return errors.Join(c.Machine(replica).PowerCut(), c.Replace(replica, false), c.Start(ctx, replica), c.WaitReady(ctx, replica))
		}, "ok this node's replica is made from the backup ", "pgBackRest backup"},
		{"half a copy, and object storage is away", func() error {
			c.run(t, ctx, replica, "systemctl stop patroni && cd /var/lib/postgresql/18 && rm main/global/pg_control && setpriv --reuid=postgres touch main.unfinished")
			err := outages.Set(cloud.StorageService, cloud.Fault{Status: 503})
			c.run(t, ctx, replica, "systemctl start patroni")
			return err
		}, "warn this node's replica is copied from the leader: object storage answers 503", "pg_basebackup base backup"},
	} {
		began := time.Now()
		if err := tt.lose(); err != nil {
			t.Fatal(err)
		}
		c.whole(t, ctx)
		t.Logf("%s: %.1f s until it streams again", tt.what, time.Since(began).Seconds())
		t.Log(c.waitStep(t, ctx, replica, "restore", tt.says, 5*time.Second))
		if label := c.run(t, ctx, replica, "cat /var/lib/postgresql/18/main/backup_label.old"); !strings.Contains(label, tt.from) {
			t.Errorf("%s: the replica is not made by a %s:\n%s", tt.what, tt.from, label)
		}
		if left := c.run(t, ctx, replica, "ls /var/lib/postgresql/18"); strings.TrimSpace(left) != "main" {
			t.Errorf("%s: beside the database is %s", tt.what, left)
		}
	}
	if err := outages.Set(cloud.StorageService, cloud.Fault{}); err != nil {
		t.Fatal(err)
	}
}

func waitArchived(t *testing.T, ctx context.Context, c *cluster, leader string) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		if c.sql(t, ctx, leader, "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'") == "0" {
			return
		}
		if time.Since(start) > labtest.Here(time.Minute) {
			t.Fatal("WAL is not archived")
		}
	}
}

// objects are those in the bucket of backups, by their keys, with a hash.
func (c *cluster) objects(t *testing.T) map[string]string {
	t.Helper()
	all, err := c.Cloud.Objects(bucket)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var segment = regexp.MustCompile(`/archive/main/18-1/[0-9A-F]{16}/[0-9A-F]{8}([0-9A-F]{8})000000([0-9A-F]{2})-[0-9a-f]{40}`)

// wholeArchive looks for a segment that is missing between the first and the last.
func (c *cluster) wholeArchive(t *testing.T) {
	t.Helper()
	there := map[int64]bool{}
	for o := range c.objects(t) {
		name := segment.FindStringSubmatch(o)
		if name == nil {
			continue
		}
		n, err := strconv.ParseInt(name[1]+name[2], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		there[n] = true
	}
	all := slices.Sorted(maps.Keys(there))
	if len(all) < 2 {
		t.Fatalf("segments %X are archived: too few for a hole", all)
	}
	for n := all[0]; n < all[len(all)-1]; n++ {
		if !there[n] {
			t.Errorf("segment %X is not in the archive, which has %X to %X", n, all[0], all[len(all)-1])
		}
	}
}
