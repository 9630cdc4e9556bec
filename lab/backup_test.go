//go:build linux

package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgha-gen/internal/demo"
)

const (
	bucket     = "demo-backup"
	withBucket = `  bucket: "" # =>  bucket: ` + bucket + ` # `
)

// backups is what the leader says of backups.
type backups struct {
	Running string     `json:"running"`
	Waiting int64      `json:"waiting"`
	Gaps    [][]string `json:"gaps"`
	Backups []struct {
		Label  string `json:"label"`
		Type   string `json:"type"`
		Size   int64  `json:"size"`
		Stored int64  `json:"stored"`
	} `json:"backups"`
}

func (c *cluster) backups(t *testing.T, ctx context.Context, node string) backups {
	t.Helper()
	var b backups
	if err := json.Unmarshal([]byte(c.run(t, ctx, node, "cat /run/pgha/reports/backup.json || echo {}")), &b); err != nil {
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
	t.Logf("%+v", c.backups(t, ctx, leader))

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
	t.Logf("%+v", c.backups(t, ctx, leader))
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
