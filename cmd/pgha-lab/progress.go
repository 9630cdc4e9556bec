//go:build linux

package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"pgha-gen/lab/session"
)

// progress shows what a lab does: on a terminal a table that is drawn again in
// place, elsewhere a line for each thing as it happens.
type progress struct {
	out   io.Writer
	width int // of the terminal; 0: it is none
	shown session.Record
	drawn int // lines of the table on the screen
}

func (a *app) progress() *progress { return &progress{out: a.err, width: a.terminal()} }

func (p *progress) show(r session.Record, now time.Time) {
	before := p.shown
	p.shown = r
	lines := r.Lines(before)
	if p.width == 0 {
		for _, line := range lines {
			fmt.Fprintln(p.out, line)
		}
		return
	}
	var b strings.Builder
	p.erase(&b)
	if len(r.Machines) == 0 || len(before.Machines) == 0 {
		for _, line := range lines {
			b.WriteString(line + "\n")
		}
	}
	table := ""
	if len(r.Machines) > 0 {
		table = r.Table(p.width - 1)
	} else if doing := r.Doing(now); doing != "" {
		table = doing + "\n"
	}
	b.WriteString(table)
	p.drawn = strings.Count(table, "\n")
	io.WriteString(p.out, b.String())
}

// erase takes the table off the screen again.
func (p *progress) erase(b *strings.Builder) {
	if p.drawn > 0 {
		fmt.Fprintf(b, "\x1b[%dA\x1b[J", p.drawn)
	}
	p.drawn = 0
}

// close leaves the screen to others.
func (p *progress) close() {
	if p.width > 0 && len(p.shown.Machines) == 0 {
		var b strings.Builder
		p.erase(&b)
		io.WriteString(p.out, b.String())
	}
}
