//go:build linux

// Package machinetest has what tests call to do something to a machine of the
// lab.
package machinetest

import (
	"context"

	"pgha-gen/lab/machine"
)

// Exec is the machine's.
func Exec(ctx context.Context, m *machine.Machine, args ...string) ([]byte, error) {
	return m.Exec(ctx, args...)
}

// ExecInput is the machine's.
func ExecInput(ctx context.Context, m *machine.Machine, input string, args ...string) ([]byte, error) {
	return m.ExecInput(ctx, input, args...)
}

// PowerOff is the machine's.
func PowerOff(ctx context.Context, m *machine.Machine) error { return m.PowerOff(ctx) }
