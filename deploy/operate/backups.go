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
	Proof   *Proof `json:"proof"` // nil: it was never restored
}

// Proof is what came of restoring a backup beside a replica's data, and comparing
// the two.
type Proof struct {
	Status   string  `json:"status"` // ok, failed or runs
	At       int64   `json:"at"`
	Node     string  `json:"node"`     // that did it
	Restored float64 `json:"restored"` // seconds from the first byte to a server that answers
	Checked  float64 `json:"checked"`  // seconds
	Instant  int64   `json:"instant"`  // up to which it was restored; 0: nothing had been committed
	Rows     int64   `json:"rows"`     // that both had
	Tables   int     `json:"tables"`   // whose rows were compared
	Of       int     `json:"of"`       // the tables that there are
	Why      string  `json:"why"`      // it failed
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
	if last := newest(found); last != nil {
		return last, nil
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
		took := time.Duration(k.Stop-k.Start) * time.Second
		rows = append(rows, []string{k.Label, k.Type, instant(k.Stop), took.String(), size(k.Size), size(k.Stored), k.proved()})
	}
	table(&s, []string{"backup", "type", "ended", "took", "database", "stored", "restored and proved"}, rows)
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

// proved is what is known of whether a backup can be restored.
func (k *Backup) proved() string {
	switch p := k.Proof; {
	case k.Damaged:
		return "DAMAGED: it cannot be restored"
	case p == nil:
		return ""
	case p.Status == proofRuns:
		return "since " + instant(p.At) + " by " + p.Node
	case p.Status == proofFailed:
		return "FAILED at " + instant(p.At) + ": " + p.Why
	default:
		return fmt.Sprintf("%s by %s, %d rows in %d of %d tables", instant(p.At), p.Node, p.Rows, p.Tables, p.Of)
	}
}

// What a proof's Status is.
const (
	proofFailed = "failed"
	proofRuns   = "runs"
)

// Line is the most important of it, for the state of the cluster.
func (b *Backups) Line() string {
	var last, proved *Backup
	for i := range b.Backups {
		k := &b.Backups[i]
		if !k.Damaged {
			last = k
		}
		if k.Proof != nil && k.Proof.Status != proofRuns && (proved == nil || k.Proof.At >= proved.Proof.At) {
			proved = k
		}
	}
	switch {
	case last == nil:
		return "none that can be restored yet"
	case proved == nil:
		return fmt.Sprintf("last %s, none restored and proved yet", instant(last.Stop))
	case proved.Proof.Status == proofFailed:
		return fmt.Sprintf("last %s, that of %s CANNOT BE RESTORED", instant(last.Stop), instant(proved.Stop))
	default:
		took := (time.Duration(proved.Proof.Restored * float64(time.Second))).Round(time.Second)
		return fmt.Sprintf("last %s, restored and proved %s, %s in %s", instant(last.Stop), instant(proved.Proof.At), size(proved.Size), took)
	}
}

// trouble is what is wrong with them; empty: nothing.
func (b *Backups) trouble() string {
	if len(b.Backups) == 0 {
		return ""
	}
	k := b.Backups[len(b.Backups)-1]
	if k.Proof != nil && k.Proof.Status == proofFailed {
		return fmt.Sprintf("backup %s cannot be relied on: %s", k.Label, k.Proof.Why)
	}
	return ""
}

// newest is what the node that looked last knows; nil: none does.
func newest(all []*Backups) *Backups {
	var last *Backups
	for _, b := range all {
		if b != nil && (last == nil || b.At > last.At) {
			last = b
		}
	}
	return last
}

// instant is a time in the form that restore.time takes.
func instant(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }
