//go:build linux

package lab_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"pgha-gen/deploy/operate"
	"pgha-gen/lab/labtest"
)

// provesBackups waits until a replica has restored the first backup, under load,
// and found every row. Then an object of the backup is damaged: the next proof
// finds it, and a full backup is made.
func (c *cluster) provesBackups(t *testing.T, ctx context.Context, leader string) {
	t.Helper()
	l := startLoad(t, ctx, c, 2)
	prover := "demo-pg-1"
	if leader == prover {
		prover = "demo-pg-2"
	}
	look := func(node string) { c.run(t, ctx, node, "systemctl restart pgha-backup.service") } // and not half a minute later
	look(prover)
	t.Log(c.waitStep(t, ctx, prover, "proof", "ok backup", 3*time.Minute))
	look(leader)
	first := c.proved(t, ctx, leader, prover)
	if out := c.run(t, ctx, prover, "ls -d /var/lib/postgresql/18/proof 2>&1 || :"); !strings.Contains(out, "No such file") {
		t.Errorf("the proof leaves %s", out)
	}

	folder := c.token(t, ctx) + "/backup/main/" + first.Label + "/"
	var data []string
	for key := range c.objects(t) {
		if strings.HasPrefix(key, folder) && !strings.Contains(key, "backup.manifest") {
			data = append(data, key)
		}
	}
	slices.Sort(data)
	if len(data) == 0 {
		t.Fatalf("no objects in %s", folder)
	}
	if err := c.Cloud.CorruptObject(bucket, data[len(data)-1]); err != nil {
		t.Fatal(err)
	}
	c.as(t, ctx, leader, "postgres", "/usr/lib/pgha/pgbackrest.sh own annotate --set="+first.Label+" --annotation=pgha-proof=")
	look(prover)
	t.Log(c.waitStep(t, ctx, prover, "proof", "fail backup "+first.Label+" cannot be relied on: it cannot be restored: ", 2*time.Minute))
	look(leader)
	if b := c.waitBackups(t, ctx, leader, 2); b.Backups[1].Type != "full" {
		t.Errorf("after the proof failed, backup %s is of type %s, want full", b.Backups[1].Label, b.Backups[1].Type)
	}
	l.end(t, ctx)
}

// waitBackups waits until the leader reports so many backups, and none is running.
func (c *cluster) waitBackups(t *testing.T, ctx context.Context, leader string, count int) operate.Backups {
	t.Helper()
	for deadline := time.Now().Add(labtest.Here(2 * time.Minute)); ; time.Sleep(time.Second) {
		b := c.backups(t, ctx, leader)
		if len(b.Backups) == count && b.Running == "" {
			return b
		}
		if time.Now().After(deadline) {
			t.Fatalf("reported are %+v, want %d backups", b, count)
		}
	}
}

// proved waits until the leader reports the only backup as proved.
func (c *cluster) proved(t *testing.T, ctx context.Context, leader, prover string) operate.Backup {
	t.Helper()
	for deadline := time.Now().Add(labtest.Here(2 * time.Minute)); ; time.Sleep(time.Second) {
		only := c.waitBackups(t, ctx, leader, 1).Backups[0]
		p := only.Proof
		if p != nil && p.Status == "ok" {
			if p.Node != prover || p.Rows == 0 || p.Tables == 0 || p.Tables != p.Of || p.Instant == 0 {
				t.Errorf("the leader reports %+v", p)
			}
			return only
		}
		if time.Now().After(deadline) {
			t.Fatalf("the leader reports %+v of the proof", p)
		}
	}
}
