// Package bootlog reads the boot protocol from a machine's console.
package bootlog

import (
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

// A step that warns has not ended: a disk is nearly full, a certificate ends
// soon.
var form = regexp.MustCompile(`pgha: (\d{13}) (\S+) (\S+) (ok|wait|warn|fail) ?(.*)$`)

// Parse reads a console line; ok is false for every line that is none of the
// boot protocol.
func Parse(line string) (s Step, ok bool) {
	m := form.FindStringSubmatch(line)
	if m == nil {
		return Step{}, false
	}
	ms, _ := strconv.ParseInt(m[1], 10, 64) // thirteen digits fit
	return Step{time.UnixMilli(ms), m[2], m[3], m[4], m[5]}, true
}

// Ready tells whether the machine said so.
func (s Step) Ready() bool { return s.Name == "ready" && s.Status == "ok" }

// Failed tells whether the step ended badly: the machine goes no further.
func (s Step) Failed() bool { return s.Status == "fail" }
