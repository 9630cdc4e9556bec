//go:build linux

package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgha-gen/deploy/operate"
	"pgha-gen/internal/demo"
	"pgha-gen/lab/cloud"
)

const (
	bucket     = "demo-backup"
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
// dropped; all machines and disks are lost; and from the bucket alone it comes
// back as it was just before.
func TestBackup(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	outages := new(cloud.Outages)
	c := newClusterOf(t, ctx, demo.Cluster(t, withBucket), outages.Now)
	c.up(t, ctx)
	leader := c.whole(t, ctx)
	t.Log(c.waitStep(t, ctx, leader, "archive", "ok", time.Minute))
	t.Log(c.waitStep(t, ctx, leader, "backup", "ok a full backup is made", time.Minute))
	token := c.token(t, ctx)
	objects, err := c.Cloud.Objects(bucket)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if !strings.HasPrefix(o, token+"/") {
			t.Errorf("object %s is outside of the cluster's folder", o)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Second) {
		b := c.backups(t, ctx, leader)
		if len(b.Backups) == 1 && b.Backups[0].Type == "full" && b.Running == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("reported are %+v, want one full backup", b)
		}
	}

	leader = c.archiveOutlivesLeader(t, ctx, outages, leader)

	c.sql(t, ctx, leader, "CREATE TABLE precious AS SELECT generate_series(1, 1000) AS id")
	before := c.sql(t, ctx, leader, "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
	time.Sleep(100 * time.Millisecond)
	c.sql(t, ctx, leader, "DROP TABLE precious")
	c.sql(t, ctx, leader, "SELECT pg_switch_wal()")
	waitArchived(t, ctx, c, leader)

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
	c.up(t, ctx)
	leader = c.whole(t, ctx)
	if got := c.sql(t, ctx, leader, "SELECT count(*) FROM precious"); got != "1000" {
		t.Errorf("%s rows of the table that was dropped, want 1000", got)
	}
	t.Log(c.waitStep(t, ctx, leader, "archive", "ok", time.Minute))
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
	objects, err := c.Cloud.Objects(bucket)
	if err != nil {
		t.Fatal(err)
	}
	there, first, last := map[int64]bool{}, int64(1)<<62, int64(0)
	for _, o := range objects {
		name := regexp.MustCompile(`/archive/main/18-1/[0-9A-F]{16}/[0-9A-F]{8}([0-9A-F]{8})000000([0-9A-F]{2})-[0-9a-f]{40}`).FindStringSubmatch(o)
		if name == nil {
			continue
		}
		n, err := strconv.ParseInt(name[1]+name[2], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		there[n], first, last = true, min(first, n), max(last, n)
	}
	for n := first; n <= last; n++ {
		if !there[n] {
			t.Errorf("segment %X is not in the archive, which has %X to %X", n, first, last)
		}
	}
	t.Logf("%s segments waited when the leader was lost; all of %X to %X are archived %.1f s after object storage was back", waiting, first, last, time.Since(back).Seconds())
	l.end(t, ctx)
	return next
}

func waitArchived(t *testing.T, ctx context.Context, c *cluster, leader string) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		if c.sql(t, ctx, leader, "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'") == "0" {
			return
		}
		if time.Since(start) > time.Minute {
			t.Fatal("WAL is not archived")
		}
	}
}
