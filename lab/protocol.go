//go:build linux

package lab

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Step is one line of the boot protocol, as a machine's console shows it, alone
// or behind a login prompt:
//
//	pgha: <unix-ms> <node> <step> ok|wait|warn|fail <detail>
type Step struct {
	At                         time.Time // by the machine's clock
	Node, Name, Status, Detail string
}

// A step that warns has not ended: a disk is nearly full, a certificate ends soon.
var stepForm = regexp.MustCompile(`pgha: (\d{13}) (\S+) (\S+) (ok|wait|warn|fail) ?(.*)$`)

// ParseStep reads a console line; ok is false for every line that is none of
// the boot protocol.
func ParseStep(line string) (s Step, ok bool) {
	m := stepForm.FindStringSubmatch(line)
	if m == nil {
		return Step{}, false
	}
	ms, _ := strconv.ParseInt(m[1], 10, 64) // thirteen digits fit
	return Step{time.UnixMilli(ms), m[2], m[3], m[4], m[5]}, true
}

// WaitStep waits until a machine has said that a step ended so, since it was
// last powered on. A step that fails ends the wait with an error, unless that
// is what is waited for.
func (l *Lab) WaitStep(ctx context.Context, node, step, status string) (Step, error) {
	n, err := l.node(node)
	if err != nil {
		return Step{}, err
	}
	if n.running == nil {
		return Step{}, fmt.Errorf("%s was never powered on", node)
	}
	var found Step
	_, err = n.running.Console().WaitLine(ctx, func(line string) bool {
		s, ok := ParseStep(line)
		if ok && (s.Name == step && s.Status == status || s.Status == "fail") {
			found = s
			return true
		}
		return false
	})
	switch {
	case err != nil:
		return Step{}, fmt.Errorf("%s: waiting for %s %s: %w", node, step, status, err)
	case found.Name != step || found.Status != status:
		return found, fmt.Errorf("%s: waiting for %s %s: %s failed: %s", node, step, status, found.Name, found.Detail)
	}
	return found, nil
}

// WaitReady waits until all these nodes are ready; with none named, all.
func (l *Lab) WaitReady(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		names = l.Names()
	}
	for _, name := range names {
		if _, err := l.WaitStep(ctx, name, "ready", "ok"); err != nil {
			return err
		}
	}
	return nil
}
