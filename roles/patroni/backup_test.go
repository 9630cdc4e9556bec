package patroni_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles/patroni"
)

// How the image's programs call pgBackRest: with which configuration, and which
// pass phrase.
func TestPgBackRestPrograms(t *testing.T) {
	for _, tt := range []struct {
		name, reason string
		secrets      map[string]string
		script       string
		args         []string
		fake         string // what pgBackRest does after it said how it was called
		status       int
		want         string
		says         string // to backup.py
	}{
		{"own", "the cluster's own backups", map[string]string{"backup.passphrase": "pass1"}, "pgbackrest.sh", []string{"own", "info"}, "", 0,
			"--config=/etc/pgbackrest/pgbackrest.conf --stanza=main info by pass1\n", ""},
		{"not encrypted", "there is no pass phrase then", nil, "pgbackrest.sh", []string{"own", "info"}, "", 0,
			"--config=/etc/pgbackrest/pgbackrest.conf --stanza=main info by \n", ""},
		{"source", "those of another cluster", map[string]string{"backup.passphrase": "pass1", "restore.passphrase": "pass2"}, "pgbackrest.sh", []string{"source", "restore"}, "", 0,
			"--config=/etc/pgbackrest/restore.conf --stanza=main restore by pass2\n", ""},
		{"source is itself", "it has but one pass phrase", map[string]string{"backup.passphrase": "pass1"}, "pgbackrest.sh", []string{"source", "restore"}, "", 0,
			"--config=/etc/pgbackrest/restore.conf --stanza=main restore by pass1\n", ""},
		{"neither", "a mistake of ours", nil, "pgbackrest.sh", []string{"backup"}, "", 2, "pgbackrest.sh: \"backup\" is neither own nor source\n", ""},
		{"push", "PostgreSQL has its status", nil, "pgbackrest-push.sh", []string{"pg_wal/1"}, "echo 'P00  ERROR: [101]: [507] Insufficient Storage'; exit 3", 3,
			"--config=/etc/pgbackrest/pgbackrest.conf --stanza=main archive-push pg_wal/1 by \nP00  ERROR: [101]: [507] Insufficient Storage\n",
			"the bucket is full: raise its limit, or lower backup.retention\n"},
		{"dropped", "a new backup has to begin", nil, "pgbackrest-push.sh", []string{"pg_wal/1"}, "echo \"WARN: dropped WAL file '1' because archive queue exceeded 1GB\"", 0,
			"--config=/etc/pgbackrest/pgbackrest.conf --stanza=main archive-push pg_wal/1 by \nWARN: dropped WAL file '1' because archive queue exceeded 1GB\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, data := node(t)
			for name, text := range tt.secrets {
				m.Write(m.Run+"/secrets.d/7/"+name, text)
			}
			gap := filepath.Join(filepath.Dir(data), "archive-gap")
			m.Env = append(m.Env, "PGHA_POSTGRESQL_RUN="+filepath.Dir(data))
			m.Fake("pgbackrest", "echo \"$* by ${PGBACKREST_REPO1_CIPHER_PASS:-}\"\n"+tt.fake)
			got := m.Boot(tt.script, tt.args...)
			if got.Status != tt.status || got.Output != tt.want {
				t.Errorf("%s: status %d, %q, want %d, %q", tt.reason, got.Status, got.Output, tt.status, tt.want)
			}
			if text, _ := os.ReadFile(filepath.Join(filepath.Dir(data), "archive-says")); string(text) != tt.says {
				t.Errorf("%s: says %q, want %q", tt.reason, text, tt.says)
			}
			if _, err := os.Stat(gap); (err == nil) != (tt.name == "dropped") {
				t.Errorf("%s: mark of a gap: %v", tt.reason, err)
			}
		})
	}
}

// A segment that a running server is to find is whole as soon as it has its name, and
// nothing is left of one that did not come, nor of one before at which the power failed.
func TestTakeWAL(t *testing.T) {
	const segment = "000000030000000000000004"
	for _, tt := range []struct {
		name, reason string
		pgbackrest   string
		status       int
		want         map[string]string // files of pg_wal
	}{
		{"there", "this node need not archive it again", `echo wal >"$7"`, 0, map[string]string{segment: "wal\n", "archive_status/" + segment + ".done": ""}},
		{"not there", "pgBackRest says so by its status", "exit 1", 1, map[string]string{}},
		{"broken off", "PostgreSQL must not find half of it", `echo half >"$7"; echo 'P00  ERROR: [039]: reset'; exit 39`, 39, map[string]string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, data := node(t)
			testkit.OK(t, os.MkdirAll(data+"/pg_wal/archive_status", 0o700))
			m.Write(data+"/pg_wal/000000030000000000000003.taken", "half of one, at a power cut")
			m.Fake("pgbackrest", "[ \"$1 $2 $3 $4 $5 $6\" = '--config=/etc/pgbackrest/pgbackrest.conf --stanza=main --log-level-console=error --io-timeout=15 archive-get "+segment+"' ] || exit 99\n"+tt.pgbackrest)
			if got := m.Boot("take-wal.sh", data, segment); got.Status != tt.status {
				t.Errorf("%s: status %d, want %d: %s", tt.reason, got.Status, tt.status, got.Output)
			}
			have := map[string]string{}
			testkit.OK(t, filepath.WalkDir(data+"/pg_wal", func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					have[strings.TrimPrefix(path, data+"/pg_wal/")] = m.Read(path)
				}
				return err
			}))
			if diff := cmp.Diff(tt.want, have); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
}

// How a restore goes is said in one line, which a program of root says on the
// console.
func TestRestoreProgram(t *testing.T) {
	for _, tt := range []struct {
		name, reason string
		log          string // of the PostgreSQL that was restored before
		pgbackrest   string
		key          bool
		status       int
		want         []string // all that it said, one after the other
	}{
		{"good", "PostgreSQL goes on from there", "", "", true, 0, []string{"wait the cluster is restored from the backup", "ok the backup is restored; PostgreSQL replays the archive"}},
		{"no key", "it may come at any moment", "", "", false, 1, []string{"wait this machine has no key of object storage yet"}},
		{"refused", "pgBackRest says why", "", "echo 'P00  ERROR: [075]: no backup set found to restore'; exit 75", true, 1,
			[]string{"wait the cluster is restored from the backup", "fail the backup is not restored: no backup set found to restore; it is tried again"}},
		{"silent", "it was killed, perhaps", "", "exit 9", true, 1,
			[]string{"wait the cluster is restored from the backup", "fail the backup is not restored: it says nothing; it is tried again"}},
		{"another version", "the spec has to have that of the backup", "LOG: x\n2026 UTC [5] FATAL:  database files are incompatible with server\n2026 UTC [5] DETAIL:  The data directory was initialized by PostgreSQL version 17, which is not compatible with this version 18.6.\n", "", true, 0, []string{
			"fail PostgreSQL does not take what was restored: The data directory was initialized by PostgreSQL version 17, which is not compatible with this version 18.6 (restore with that version of PostgreSQL); it is tried again",
			"wait the cluster is restored from the backup", "ok the backup is restored; PostgreSQL replays the archive"}},
		{"target not reached", "PostgreSQL did not start with what was restored", "LOG: x\n2026 UTC [5] FATAL:  recovery ended before configured recovery target was reached\n", "", true, 0, []string{
			"fail PostgreSQL does not take what was restored: recovery ended before configured recovery target was reached (is the time, position or name in the backups' archive?); it is tried again",
			"wait the cluster is restored from the backup", "ok the backup is restored; PostgreSQL replays the archive"}},
		{"another end", "a power cut, say", "LOG: x\n", "", true, 0, []string{"wait the cluster is restored from the backup", "ok the backup is restored; PostgreSQL replays the archive"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, _ := node(t)
			m.Patience(100)
			folder := t.TempDir()
			m.Env = append(m.Env, "PGHA_POSTGRESQL_RUN="+folder)
			// What was said is seen when it is put in its place.
			m.Fake("mv", "cat \"$1\" >>"+folder+"/all\nexec /bin/mv \"$@\"")
			m.Fake("pgbackrest", "[ \"$*\" = '--config=/etc/pgbackrest/restore.conf --stanza=main --log-level-console=warn --type=time --target=a b restore' ] || exit 99\n"+tt.pgbackrest)
			if tt.log != "" {
				m.Write(folder+"/restore.log", tt.log)
			}
			if tt.key {
				m.Write(m.Run+"/storage-key/key.json", "{}")
			}
			if got := m.Boot("restore.sh", "--type=time", "--target=a b"); got.Status != tt.status {
				t.Errorf("%s: status %d, want %d: %s", tt.reason, got.Status, tt.status, got.Output)
			}
			var said []string
			for line := range strings.Lines(m.Read(folder + "/all")) {
				if line = strings.TrimSpace(line); len(said) == 0 || said[len(said)-1] != line {
					said = append(said, line)
				}
			}
			if strings.Join(said, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("%s: said\n%s\nwant\n%s", tt.reason, strings.Join(said, "\n"), strings.Join(tt.want, "\n"))
			}
			if _, err := os.Stat(folder + "/restore.log"); err == nil {
				t.Error("the log of the last try is left")
			}
		})
	}
}

// A server that founds a cluster from backups restores from them, and what it says
// is kept for restore.sh; its standard error is still that of the service.
func TestRestoringServer(t *testing.T) {
	m, data := node(t)
	folder := t.TempDir()
	m.Env = append(m.Env, "PGHA_POSTGRESQL="+folder, "PGHA_POSTGRESQL_RUN="+folder)
	m.Write(folder+"/18/bin/postgres", "#!/bin/sh\necho \"$@\"\necho FATAL: no >&2\n")
	testkit.OK(t, os.Chmod(folder+"/18/bin/postgres", 0o755))
	m.Write(data+"/recovery.signal", "")
	got := m.Boot("postgres.sh", "-D", data)
	want := "-D " + data + " -c restore_command=" + m.Lib + "/pgbackrest.sh source --log-level-console=warn archive-get %f %p -c archive_cleanup_command= -c recovery_end_command=\n"
	if !strings.Contains(got.Output, want) || !strings.Contains(got.Output, "FATAL: no") {
		t.Errorf("output %q, want %q, and the error", got.Output, want)
	}
	if text := m.Read(folder + "/restore.log"); text != "FATAL: no\n" {
		t.Errorf("kept is %q", text)
	}
	if left, err := filepath.Glob(folder + "/*.pipe"); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// The configuration is pgBackRest's own: it reads each key, and refuses none.
func TestPgBackRestReads(t *testing.T) {
	testkit.Need(t, "pgbackrest")
	out, err := exec.Command("pgbackrest", "version").Output()
	testkit.OK(t, err)
	version := strings.Fields(string(out))[1]
	c := demo.Cluster(t, `  bucket: "" # =>  bucket: demo-backup # `, `  from: "" # =>  from: shop # `)
	for _, f := range c.Group(patroni.Name).Plan.Files {
		if !strings.HasPrefix(f.Path, "/etc/pgbackrest/") {
			continue
		}
		file := filepath.Join(t.TempDir(), "pgbackrest.conf")
		text := string(f.Data)
		if version < "2.59" {
			t.Logf("pgBackRest %s knows no program for the key", version)
			text = strings.NewReplacer("repo1-s3-key-type=process\n", "repo1-s3-key=a\nrepo1-s3-key-secret=b\n", "repo1-s3-process-cmd=/usr/lib/pgha/storage-key.sh\n", "").Replace(text)
			if version < "2.46" {
				text = strings.Replace(text, "repo1-block=y\n", "", 1)
			}
		}
		testkit.OK(t, os.WriteFile(file, []byte(text), 0o600))
		for _, command := range []string{"help", "archive-push"} {
			cmd := exec.Command("pgbackrest", "--config="+file, "--stanza=main", "--log-level-console=warn", command)
			cmd.Env = append(os.Environ(), "PGBACKREST_REPO1_CIPHER_PASS=x")
			said, _ := cmd.CombinedOutput()
			if text := string(said); strings.Contains(text, "WARN: configuration file") || strings.Contains(text, "invalid") ||
				command == "archive-push" && !strings.Contains(text, "WAL segment to push required") {
				t.Errorf("%s, %s: %s", f.Path, command, text)
			}
		}
	}
}
