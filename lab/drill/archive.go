//go:build linux

package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgha-gen/internal/bootlog"
)

const psql = "setpriv --reuid=postgres --regid=postgres --init-groups psql --no-psqlrc -v ON_ERROR_STOP=1 -At"

// archive is what is judged of backups in a round that says so; nil in others.
type archive struct {
	eyes
	hold  Hold
	first int64 // the segment of WAL in which the round began
	began time.Time
}

func (e eyes) archiveOf(ctx context.Context, h Hold, leader string) (*archive, error) {
	if h.Archived == 0 {
		return nil, nil
	}
	name, err := e.ask(ctx, leader, "SELECT pg_walfile_name(pg_current_wal_lsn())")
	if err != nil {
		return nil, err
	}
	first, err := segment(name)
	return &archive{e, h, first, time.Now()}, err
}

// wait waits until the archive is as it should be, at most as long as that may take.
func (a *archive) wait(ctx context.Context, ended time.Time) *Archive {
	if a == nil {
		return nil
	}
	var found Archive
	last := int64(-1)
	for {
		last = a.look(ctx, &found, last)
		found.Seconds = time.Since(ended).Seconds()
		if len(found.lacks(a.hold)) == 0 || time.Since(ended) > time.Duration(a.hold.Archived) || ctx.Err() != nil {
			return &found
		}
		pause(ctx, time.Second)
	}
}

// look looks once. last is the segment that has to be in the archive, once it is known:
// the first look ends it. Whatever does not answer now may answer the next time.
func (a *archive) look(ctx context.Context, found *Archive, last int64) int64 {
	v, err := a.databases(ctx)
	if err != nil {
		return last
	}
	if last < 0 {
		name, err := a.ask(ctx, v.leader, "SELECT pg_walfile_name(pg_current_wal_lsn()), pg_switch_wal() FROM pg_logical_emit_message(false, 'drill', 'x')")
		if err != nil {
			return last
		}
		name, _, _ = strings.Cut(name, "|")
		if last, err = segment(name); err != nil {
			return -1
		}
	}
	there, err := a.segments()
	if err != nil {
		return last
	}
	found.Missing = nil
	newest := a.first - 1
	for _, n := range slices.Sorted(maps.Keys(there)) {
		for hole := newest + 1; hole < n; hole++ {
			found.Missing = append(found.Missing, fmt.Sprintf("%X", hole))
		}
		newest = max(newest, n)
	}
	found.Whole = last >= 0 && newest >= last
	report, err := a.report(ctx, v.leader)
	if err != nil {
		return last
	}
	found.Told, found.Made = len(report.Gaps) > 0, nil
	for _, b := range report.Backups {
		if b.Start >= a.began.Unix() {
			found.Made = append(found.Made, b.Label)
		}
	}
	return last
}

// segments are those of the round that are in the bucket, on whatever timeline.
func (a *archive) segments() (map[int64]bool, error) {
	objects, err := a.objects()
	there := map[int64]bool{}
	for key := range objects {
		name, _, _ := strings.Cut(path.Base(key), "-")
		if n, err := segment(name); err == nil && strings.Contains(key, "/archive/") && n >= a.first {
			there[n] = true
		}
	}
	return there, err
}

var segmentName = regexp.MustCompile(`^[0-9A-F]{8}([0-9A-F]{8})000000([0-9A-F]{2})$`)

// segment is the number of one of 16 MB, whatever its timeline.
func segment(name string) (int64, error) {
	found := segmentName.FindStringSubmatch(name)
	if found == nil {
		return 0, fmt.Errorf("%q is no segment of WAL", name)
	}
	return strconv.ParseInt(found[1]+found[2], 16, 64)
}

// objects are those of the cluster's backups, by their keys.
func (e eyes) objects() (map[string]string, error) {
	c := e.Cluster()
	all, err := e.Cloud.Objects(c.Backup.Bucket)
	maps.DeleteFunc(all, func(key, _ string) bool { return !strings.HasPrefix(key, c.BackupPath()[1:]+"/") })
	return all, err
}

// ask asks a node's PostgreSQL.
func (e eyes) ask(ctx context.Context, name, question string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := e.Machine(name).Exec(ctx, "sh", "-c", psql+` -c "$1"`, "sh", question)
	return strings.TrimSpace(string(out)), err
}

// backups are what a leader says of them.
type backups struct {
	Running string
	Gaps    [][]string
	Backups []struct {
		Label string
		Start int64
	}
}

func (e eyes) report(ctx context.Context, leader string) (b backups, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := e.Machine(leader).Exec(ctx, "jq", ".backup", "/run/pgha/metrics/status.json")
	if err != nil {
		return b, err
	}
	return b, json.Unmarshal(out, &b)
}

// beginBackup has the spec say that backups are made at this minute, and waits until
// one is being made. Backups do not follow each other within five minutes (backup.py).
func (e eyes) beginBackup(ctx context.Context, leader string) error {
	const limit = 7 * time.Minute
	for deadline := time.Now().Add(limit); ; pause(ctx, time.Second) {
		b, err := e.report(ctx, leader)
		if b.Running != "" {
			return nil
		}
		c := e.Cluster()
		now := time.Now().UTC()
		at := now.Format("15:04")
		newest := int64(0)
		for _, made := range b.Backups {
			newest = max(newest, made.Start)
		}
		// One that began in this minute is that of the schedule.
		if err == nil && c.Backup.Schedule.At != at && newest < now.Truncate(time.Minute).Unix() {
			c.Backup.Schedule.At = at
			if err := e.Refresh(ctx, &c); err != nil {
				return err
			}
		}
		if now.After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("no backup begins within %v (%v)", limit, err)
		}
	}
}

// corrupt inverts a byte of the data of the newest backup.
func (e eyes) corrupt() error {
	objects, err := e.objects()
	if err != nil {
		return err
	}
	data := slices.DeleteFunc(slices.Sorted(maps.Keys(objects)), func(key string) bool {
		return !strings.Contains(key, "/backup/main/2") || !strings.Contains(key, "/bundle/") && !strings.Contains(key, "/pg_data/")
	})
	if len(data) == 0 {
		return fmt.Errorf("no backup has data yet, among %d objects", len(objects))
	}
	c := e.Cluster()
	return e.Cloud.CorruptObject(c.Backup.Bucket, data[len(data)-1])
}

// said waits until a machine says something on its console that it had not said before
// the round.
func (s *stage) said(ctx context.Context, text string) error {
	for deadline := time.Now().Add(s.limit); ; pause(ctx, 200*time.Millisecond) {
		for _, m := range s.machines {
			if m == nil {
				continue
			}
			for _, line := range m.Console().Lines() {
				step, ok := bootlog.Parse(line.Text)
				if ok && !line.At.Before(s.began) && strings.Contains(strings.Join([]string{step.Name, step.Status, step.Detail}, " "), text) {
					return nil
				}
			}
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("nobody says so within %v", s.limit)
		}
	}
}
