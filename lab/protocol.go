//go:build linux

package lab

import "pgha-gen/internal/bootlog"

// Step is one line of the boot protocol.
type Step = bootlog.Step

// ParseStep reads a console line; ok is false for every line that is none of
// the boot protocol.
func ParseStep(line string) (s Step, ok bool) { return bootlog.Parse(line) }
