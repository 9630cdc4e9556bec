//go:build linux

package lab_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab"
	"pgha-gen/lab/cloud"
	"pgha-gen/lab/labtest"
)

// What the archive costs writes, and how fast backups and restores are: docs/figures.md
// has what this says. Long: make test-long.
func TestBackupFigures(t *testing.T) {
	if os.Getenv("PGHA_TEST_LONG") == "" {
		t.Skip("this test measures for four minutes: make test-long")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 12*time.Minute)
	defer cancel()
	c := newClusterOf(t, ctx, demo.Cluster(t, withBucket))
	c.up(t, ctx)
	leader := c.whole(t, ctx)
	t.Log(c.waitStep(t, ctx, leader, "backup", "ok a full backup is made", time.Minute))
	c.archiveCost(t, ctx, leader)
	c.throughput(t, ctx, leader)
}

// The leader is lost in the middle of the first backup, and the next one makes it. Then
// all machines and disks are lost at once, while a client writes ten rows a second, and
// another cluster is founded from the backups, as far as the archive goes: how much is
// lost. Long: make test-long.
func TestBackupLost(t *testing.T) {
	if os.Getenv("PGHA_TEST_LONG") == "" {
		t.Skip("this test takes three minutes: make test-long")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 12*time.Minute)
	defer cancel()
	outages := new(cloud.Outages)
	c := newClusterIn(t, ctx, lab.Config{
		Cluster: demo.Cluster(t, withBucket), Faults: outages.Now, Buckets: cloud.NewBuckets(time.Now), Secrets: labtest.State(t)})
	testkit.OK(t, outages.Set(cloud.StorageService, cloud.Fault{Delay: 500 * time.Millisecond}))
	c.up(t, ctx)
	leader := c.lostInBackup(t, ctx)
	testkit.OK(t, outages.Set(cloud.StorageService, cloud.Fault{}))
	t.Log(c.waitStep(t, ctx, leader, "backup", "ok a full backup is made", 2*time.Minute))
	c.sql(t, ctx, leader, "SELECT pg_switch_wal()")
	waitArchived(t, ctx, c, leader)
	c.wholeArchive(t)
	last := c.writeUntilLost(t, ctx, leader)

	text := strings.ReplaceAll(demo.Spec(t, withBucket), "demo", "copy")
	spec := demo.Read(t, demo.Edit(t, text, "restore:\n  from: demo\n"))
	founded := newClusterIn(t, ctx, lab.Config{Cluster: spec, Buckets: c.config.Buckets, Secrets: c.config.Secrets})
	founded.up(t, ctx)
	leader = founded.whole(t, ctx)
	have := founded.sqlIn(t, ctx, leader, "app", "SELECT to_char(max(at) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM moments")
	newest, err := time.Parse(time.RFC3339Nano, have)
	if err != nil {
		t.Fatal(err)
	}
	lost := last.Sub(newest)
	t.Logf("all machines are lost at once: the acknowledged rows of the last %.1f s are lost", lost.Seconds())
	// What archives a segment every 60 s needs a moment for it.
	if lost < 0 || lost > 75*time.Second {
		t.Errorf("%v of acknowledged rows are lost, want 60 s at most and a moment", lost)
	}
}

// lostInBackup cuts the power of the leader while it makes a backup, and starts it
// again when another one leads.
func (c *cluster) lostInBackup(t *testing.T, ctx context.Context) (next string) {
	t.Helper()
	leader := c.whole(t, ctx)
	l := startLoad(t, ctx, c, 1)
	for start := time.Now(); c.backups(t, ctx, leader).Running == ""; time.Sleep(100 * time.Millisecond) {
		if time.Since(start) > time.Minute {
			t.Fatal("no backup is being made")
		}
	}
	lost := time.Now()
	testkit.OK(t, c.Machine(leader).PowerCut())
	l.after(t, ctx, lost.Add(time.Second))
	testkit.OK(t, c.Start(ctx, leader))
	if next = c.whole(t, ctx); next == leader {
		t.Errorf("%s leads again, which lost its power: who took over?", next)
	}
	l.end(t, ctx)
	return next
}

// archiveCost measures the same writes with the archive and without, one after the
// other.
func (c *cluster) archiveCost(t *testing.T, ctx context.Context, leader string) {
	t.Helper()
	const rounds, long, clients = 6, 8 * time.Second, 8
	c.sqlIn(t, ctx, leader, "app", "CREATE TABLE paid (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text); ALTER TABLE paid OWNER TO app")
	archives := map[bool]string{true: "ALTER SYSTEM RESET archive_command", false: "ALTER SYSTEM SET archive_command = '/bin/true'"}
	perSecond := map[bool][]float64{}
	for n := range 2 * rounds {
		on := n%2 == 0
		c.sql(t, ctx, leader, archives[on])
		c.sql(t, ctx, leader, "SELECT pg_reload_conf()")
		c.sql(t, ctx, leader, "CHECKPOINT")
		perSecond[on] = append(perSecond[on], c.inserts(t, ctx, clients, long))
	}
	c.sql(t, ctx, leader, archives[true])
	c.sql(t, ctx, leader, "SELECT pg_reload_conf()")
	with, without := median(perSecond[true]), median(perSecond[false])
	t.Logf("%d clients, rows of 1 kB each second: with the archive %.0f, without %.0f (medians of %.0f and %.0f): %.1f %% less",
		clients, with, without, perSecond[true], perSecond[false], 100*(1-with/without))
}

// inserts is how many rows clients got acknowledged each second.
func (c *cluster) inserts(t *testing.T, ctx context.Context, clients int, long time.Duration) float64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, long+10*time.Second)
	defer cancel()
	var count atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(long)
	for range clients {
		wg.Go(func() {
			conn, err := c.connect(ctx, writers, "app", "app")
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close(ctx)
			for time.Now().Before(end) {
				if _, err := conn.Exec(ctx, "INSERT INTO paid (text) SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 31)"); err != nil {
					t.Error(err)
					return
				}
				count.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(count.Load()) / long.Seconds()
}

// throughput has the leader copy its data as cp does, back them up and restore them
// beside, all on the same disk.
func (c *cluster) throughput(t *testing.T, ctx context.Context, leader string) {
	t.Helper()
	c.sqlIn(t, ctx, leader, "app", "INSERT INTO paid (text) SELECT string_agg(md5(random()::text || n::text), '') FROM generate_series(1, 200000) n, generate_series(1, 31) GROUP BY n")
	c.sql(t, ctx, leader, "CHECKPOINT")
	waitArchived(t, ctx, c, leader)
	const as = "setpriv --reuid=postgres --regid=postgres --init-groups "
	beside := "/var/lib/postgresql/18/beside"
	size := c.run(t, ctx, leader, "du -s -m /var/lib/postgresql/18/main/base | cut -f 1")
	var megabytes float64
	if _, err := fmt.Sscan(size, &megabytes); err != nil {
		t.Fatal(err)
	}
	for _, what := range []struct{ name, script string }{
		{"cp and sync", "cp -a /var/lib/postgresql/18/main/base " + beside + " && sync -f " + beside},
		{"a full backup", as + "/usr/lib/pgha/pgbackrest.sh own --log-level-console=warn --type=full backup"},
		{"a restore of it", as + "sh -c 'mkdir -m 700 " + beside + " && /usr/lib/pgha/pgbackrest.sh own --log-level-console=warn --pg1-path=" + beside + " restore && sync -f " + beside + "'"},
	} {
		began := time.Now()
		c.run(t, ctx, leader, what.script)
		took := time.Since(began).Seconds()
		c.run(t, ctx, leader, "rm -rf "+beside)
		t.Logf("%s of %.0f MB: %.1f s, %.0f MB/s", what.name, megabytes, took, megabytes/took)
	}
}

// writeUntilLost writes a row each 0.1 s until all machines lose their power, and
// gives the instant of the last one that was acknowledged.
func (c *cluster) writeUntilLost(t *testing.T, ctx context.Context, leader string) (last time.Time) {
	t.Helper()
	c.sqlIn(t, ctx, leader, "app", "CREATE TABLE moments (at timestamptz DEFAULT clock_timestamp()); ALTER TABLE moments OWNER TO app")
	conn, err := c.connect(ctx, writers, "app", "app")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	for end := time.Now().Add(95 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err := conn.QueryRow(ctx, "INSERT INTO moments DEFAULT VALUES RETURNING at").Scan(&last); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return last
}

func (c *cluster) sqlIn(t *testing.T, ctx context.Context, on, database, query string) string {
	t.Helper()
	return c.run(t, ctx, on, "setpriv --reuid=postgres --regid=postgres --init-groups psql --no-psqlrc -qAt -v ON_ERROR_STOP=1 -d "+database+" <<'END'\n"+query+"\nEND")
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return (sorted[len(sorted)/2] + sorted[(len(sorted)-1)/2]) / 2
}
