//go:build linux

package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgha-gen/deploy/operate"
	"pgha-gen/internal/demo"
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
	c := newClusterOf(t, ctx, demo.Cluster(t, withBucket))
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
