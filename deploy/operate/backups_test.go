package operate

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/deploy/operate/operatetest"
	"pgha-gen/internal/testkit"
)

const backupsSaid = `{"cluster_token": "demo-a6125ab9", "backup": {"at": AT, "last_archived": 1772370100.5, "waiting": 0, "running": "", "gaps": [],
	"backups": [{"label": "20260301-120000F", "type": "full", "start": 1772366400, "stop": 1772366460, "size": 31516548, "stored": 3835072, "damaged": false}]}}`

func TestBackups(t *testing.T) {
	a := operatetest.NewAuthority(t)
	f := operatetest.New(t, a)
	c := client(t, f, operatetest.Folder(t, a))
	said := func(at string) string { return strings.Replace(backupsSaid, "AT", at, 1) }

	if _, err := c.Backups(t.Context()); err == nil || err.Error() != "nothing is backed up (give the spec backup.bucket)" {
		t.Errorf("a spec without a bucket: %v", err)
	}
	c.cluster.Backup.Bucket = "demo-backup"
	_, err := c.Backups(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "no node knows of backups: demo-pg-1 has none to report; demo-pg-2 has") {
		t.Errorf("nobody reports: %v", err)
	}
	// One that lost the lead may not have taken its report away yet; another cluster's is not ours.
	f.Answer["demo-pg-1 GET /status"] = said("1772370000")
	f.Answer["demo-pg-2 GET /status"] = said("1772370120")
	f.Answer["demo-pg-3 GET /status"] = strings.Replace(said("1772379999"), "demo-a6125ab9", "other-1", 1)
	got, err := c.Backups(t.Context())
	want := &Backups{Node: "demo-pg-2", At: 1772370120, LastArchived: 1772370100.5, Gaps: []WALGap{}, Backups: []Backup{
		{Label: "20260301-120000F", Type: "full", Start: 1772366400, Stop: 1772366460, Size: 31516548, Stored: 3835072}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, name := range []string{"demo-pg-1", "demo-pg-2"} {
		f.Refuse[name] = true
	}
	_, err = c.Backups(t.Context())
	if err == nil || !strings.Contains(err.Error(), "demo-pg-1 connection refused") || !strings.Contains(err.Error(), "demo-pg-3 is a machine of cluster other-1") {
		t.Errorf("nobody answers: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Backups(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestBackupsScreen(t *testing.T) {
	full := Backup{Label: "20260301-120000F", Type: "full", Start: 1772366400, Stop: 1772366460, Size: 31516548, Stored: 3835072}
	incr := Backup{Label: "20260301-120000F_20260302-120000I", Type: "incr", Start: 1772452800, Stop: 1772452803, Size: 31516548, Stored: 408}
	broken := full
	broken.Damaged = true
	proved, counted, bad, runs := full, full, incr, incr
	proved.Proof = &Proof{Status: "ok", At: 1772366500, Node: "demo-pg-2", Restored: 12.4, Checked: 5, Rows: 500055, Tables: 4, Of: 4}
	counted.Proof = &Proof{Status: "ok", At: 1772366500, Node: "demo-pg-2", Restored: 1080, Checked: 5, Rows: 500055, Tables: 3, Of: 4}
	bad.Proof = &Proof{Status: "failed", At: 1772452900, Node: "demo-pg-3", Why: "it cannot be restored: actual checksum 'a' does not match expected checksum 'b'"}
	runs.Proof = &Proof{Status: "runs", At: 1772452900, Node: "demo-pg-3"}
	var all strings.Builder
	for _, test := range []struct {
		name string
		b    Backups
	}{
		{"well", Backups{Backups: []Backup{full, incr}, LastArchived: 1772456000.25}},
		{"none yet, one is being made", Backups{Running: "full"}},
		{"not archived since the server started", Backups{Backups: []Backup{full}}},
		{"a gap, WAL waits, and the only backup is damaged", Backups{Backups: []Backup{broken}, Gaps: []WALGap{{"0000000000000004", "0000000000000005"}}, Waiting: 32 << 20}},
		{"proved, and the next one is not", Backups{Backups: []Backup{proved, incr}, LastArchived: 1772456000.25}},
		{"not all tables could be compared, and the next one is being proved", Backups{Backups: []Backup{counted, runs}, LastArchived: 1772456000.25}},
		{"proved, and the next one cannot be restored", Backups{Backups: []Backup{proved, bad}, LastArchived: 1772456000.25}},
	} {
		test.b.Node, test.b.At = "demo-pg-1", 1772456010
		all.WriteString("-- " + test.name + " --\n" + test.b.Screen() + "in the cluster's state: backup: " + test.b.Line() + "\n")
		if trouble := test.b.trouble(); trouble != "" {
			all.WriteString("trouble: " + trouble + "\n")
		}
	}
	testkit.Golden(t, "backups.golden.txt", all.String())
}
