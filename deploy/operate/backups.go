package operate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"pgha-gen/generator/role"
)

// Backups are what a cluster can be restored from, as the node that leads knows.
type Backups struct {
	Node         string   `json:"node"`          // that says so
	At           int64    `json:"at"`            // when it looked, in seconds since 1970, as all times here
	LastArchived float64  `json:"last_archived"` // when WAL was last archived; 0: not since the server started
	Waiting      int64    `json:"waiting"`       // bytes of WAL that wait for the archive
	Running      string   `json:"running"`       // the kind of backup that is being made; empty: none
	Backups      []Backup `json:"backups"`       // the oldest first
	Gaps         []WALGap `json:"gaps"`          // what the archive lacks
}

// Backup is one that pgBackRest made.
type Backup struct {
	Label   string `json:"label"`
	Type    string `json:"type"` // full, diff or incr
	Start   int64  `json:"start"`
	Stop    int64  `json:"stop"`
	Size    int64  `json:"size"`   // of the database
	Stored  int64  `json:"stored"` // what the bucket holds of it alone
	Damaged bool   `json:"damaged"`
}

// WALGap is the first and the last segment that are missing, without their timeline.
type WALGap [2]string

// Backups asks all nodes of the database. One that leads, and looks at backups,
// answers; of several, the one that looked last.
func (c *Client) Backups(ctx context.Context) (*Backups, error) {
	names := c.Databases()
	found, why := make([]*Backups, len(names)), make([]string, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			var said struct {
				Token  string   `json:"cluster_token"`
				Backup *Backups `json:"backup"`
			}
			err := c.ask(ctx, http.MethodGet, c.url("http", name, role.MetricsPort, "/status"), nil, &said)
			switch {
			case err != nil:
				why[i] = name + " " + err.Error()
			case said.Token != c.cluster.Token():
				why[i] = name + " is a machine of cluster " + said.Token
			case said.Backup == nil:
				why[i] = name + " has none to report"
			default:
				said.Backup.Node = name
				found[i] = said.Backup
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(b *Backups) bool { return b == nil })
	if len(found) > 0 {
		return slices.MaxFunc(found, func(a, b *Backups) int { return int(a.At - b.At) }), nil
	}
	if !c.cluster.BacksUp() {
		return nil, errors.New("nothing is backed up (give the spec backup.bucket)")
	}
	return nil, fmt.Errorf("no node knows of backups: %s (see what pgha-gen cluster status says of the step archive)", strings.Join(why, "; "))
}

// Screen is that for people.
func (b *Backups) Screen() string {
	var s strings.Builder
	var rows [][]string
	for _, k := range b.Backups {
		damaged := ""
		if k.Damaged {
			damaged = "DAMAGED: it cannot be restored"
		}
		took := time.Duration(k.Stop-k.Start) * time.Second
		rows = append(rows, []string{k.Label, k.Type, instant(k.Stop), took.String(), size(k.Size), size(k.Stored), damaged})
	}
	table(&s, []string{"backup", "type", "ended", "took", "database", "stored", ""}, rows)
	if len(rows) > 0 {
		s.WriteString("\n")
	}
	good := slices.DeleteFunc(slices.Clone(b.Backups), func(k Backup) bool { return k.Damaged })
	switch {
	case len(good) == 0:
		s.WriteString("nothing can be restored yet\n")
	case b.LastArchived == 0:
		fmt.Fprintf(&s, "restore to any instant since %s\n", instant(good[0].Stop))
	default:
		fmt.Fprintf(&s, "restore to any instant from %s to %s\n", instant(good[0].Stop), instant(max(int64(b.LastArchived), good[len(good)-1].Stop)))
	}
	for _, g := range b.Gaps {
		if len(good) == 0 {
			break
		}
		fmt.Fprintf(&s, "but not to one in WAL %s to %s, which is missing\n", g[0], g[1])
	}
	if b.Running != "" {
		fmt.Fprintf(&s, "a backup is being made (%s)\n", b.Running)
	}
	if b.Waiting > 0 {
		fmt.Fprintf(&s, "%s of WAL wait for the archive\n", size(b.Waiting))
	}
	fmt.Fprintf(&s, "as %s saw it at %s\n", b.Node, instant(b.At))
	return strings.TrimPrefix(s.String(), "\n")
}

// instant is a time in the form that restore.time takes.
func instant(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }
