//go:build linux

package main

import (
	"time"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/lab/session"
)

// progress shows what a lab does. On a terminal the machines are a table.
type progress struct {
	*cli.Progress
	shown session.Record
}

func (a *app) progress() *progress { return &progress{Progress: cli.NewProgress(a.Err, a.Width())} }

func (p *progress) show(r session.Record, now time.Time) {
	lines, view := r.Lines(p.shown), ""
	if p.Width > 0 && len(p.shown.Machines) > 0 {
		lines = nil // the table has them
	}
	if len(r.Machines) > 0 {
		view = r.Table(p.Width - 1)
	} else if doing := r.Doing(now); doing != "" {
		view = doing + "\n"
	}
	p.shown = r
	p.Show(lines, view)
}

// close leaves the screen to others. A table stays.
func (p *progress) close() {
	if len(p.shown.Machines) == 0 {
		p.Show(nil, "")
	}
}
