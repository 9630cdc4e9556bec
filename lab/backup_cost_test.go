//go:build linux

package lab_test

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgha-gen/internal/demo"
)

// What a backup costs those who write: transactions on the leader while one full
// backup follows the other, beside those while none is made. docs/figures.md has what
// this says. Long: make test-long.
func TestBackupCost(t *testing.T) {
	if os.Getenv("PGHA_TEST_LONG") == "" {
		t.Skip("this test measures for three minutes: make test-long")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	c := newClusterOf(t, ctx, demo.Cluster(t, withBucket))
	c.up(t, ctx)
	leader := c.whole(t, ctx)
	t.Log(c.waitStep(t, ctx, leader, "backup", "ok a full backup is made", time.Minute))
	const bench = "cd /tmp && /usr/lib/postgresql/18/bin/pgbench -h /var/run/postgresql "
	c.as(t, ctx, leader, "postgres", bench+"-i -q -s 20 postgres")
	rate := func() float64 {
		out := c.as(t, ctx, leader, "postgres", bench+"-n -N -c 4 -T 12 postgres")
		found := regexp.MustCompile(`tps = ([0-9.]+)`).FindStringSubmatch(out)
		if found == nil {
			t.Fatalf("pgbench says %s", out)
		}
		per, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return per
	}
	var without, with []float64
	for range 3 {
		without = append(without, rate())
		// As pgha-backup.service does.
		c.run(t, ctx, leader, `systemd-run --quiet --collect --unit=cost -p Nice=10 -p IOSchedulingClass=best-effort -p IOSchedulingPriority=7 sh -c '
			while :; do setpriv --reuid=postgres --regid=postgres --init-groups -- /usr/lib/pgha/pgbackrest.sh own --type=full backup; done'`)
		time.Sleep(2 * time.Second)
		with = append(with, rate())
		c.run(t, ctx, leader, "systemctl stop cost")
	}
	slices.Sort(without)
	slices.Sort(with)
	t.Logf("transactions each second: %.0f without a backup, %.0f while backups are made", without, with)
}
