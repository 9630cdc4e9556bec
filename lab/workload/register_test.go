package workload

import (
	"errors"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/jackc/pgx/v5/pgconn"
)

// op is a question that was asked and answered between two moments.
func op(from, to int64, q question, a answered) porcupine.Operation {
	return porcupine.Operation{Input: q, Output: a, Call: from, Return: to}
}

func reads(from, to int64, value int) porcupine.Operation {
	return op(from, to, question{kind: read}, answered{value: value})
}

func writes(from, to int64, value int) porcupine.Operation {
	return op(from, to, question{kind: write, new: value}, answered{})
}

func TestOrder(t *testing.T) {
	lost := func(from int64, value int) porcupine.Operation {
		return op(from, forever, question{kind: write, new: value}, answered{unknown: true})
	}
	swaps := func(from, to int64, old, new int, done bool) porcupine.Operation {
		return op(from, to, question{kind: swap, old: old, new: new}, answered{swapped: done})
	}
	tests := []struct {
		name, reason string
		ops          []porcupine.Operation
		want         Order
	}{
		{"one after the other", "what was written is read", []porcupine.Operation{writes(0, 1, 7), reads(2, 3, 7)}, InOrder},
		{"at once", "either is right", []porcupine.Operation{writes(0, 1, 7), writes(2, 9, 8), reads(3, 4, 7), reads(5, 6, 8)}, InOrder},
		{"stale", "an old leader answered", []porcupine.Operation{writes(0, 1, 7), writes(2, 3, 8), reads(4, 5, 7)}, OutOfOrder},
		{"undone", "a new leader did not have what was acknowledged", []porcupine.Operation{reads(0, 1, 7), writes(2, 3, 8), reads(4, 5, 8), reads(6, 7, 7)}, OutOfOrder},
		{"without an answer, done later", "its session waited for a standby", []porcupine.Operation{writes(0, 1, 7), lost(2, 8), reads(3, 4, 7), reads(5, 6, 8)}, InOrder},
		{"without an answer, never done", "its machine was cut", []porcupine.Operation{writes(0, 1, 7), lost(2, 8), reads(3, 4, 7), reads(50, 60, 7)}, InOrder},
		{"without an answer, seen and undone", "somebody read what was not kept", []porcupine.Operation{writes(0, 1, 7), lost(2, 8), reads(3, 4, 8), reads(5, 6, 7)}, Unkept},
		{"without an answer, and something acknowledged is undone", "one does not excuse the other",
			[]porcupine.Operation{writes(0, 1, 7), lost(2, 8), reads(3, 4, 8), writes(5, 6, 9), reads(7, 8, 7)}, OutOfOrder},
		{"swapped twice", "two clients replaced the same value", []porcupine.Operation{writes(0, 1, 7), swaps(2, 3, 7, 8, true), swaps(4, 5, 7, 9, true)}, OutOfOrder},
		{"swapped once", "the second one came too late", []porcupine.Operation{writes(0, 1, 7), swaps(2, 3, 7, 8, true), swaps(4, 5, 7, 9, false)}, InOrder},
		{"not swapped", "the value was there", []porcupine.Operation{writes(0, 1, 7), swaps(2, 3, 7, 8, false), reads(4, 5, 7)}, OutOfOrder},
		{"first read", "what it was before is not known", []porcupine.Operation{reads(0, 1, 5), reads(2, 3, 6)}, OutOfOrder},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, _ := check(tt.ops); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.reason, got, tt.want)
			}
			r := Register{ops: tt.ops}
			if got, n, page := r.Check(time.Unix(0, 0)); got != tt.want || n != len(tt.ops) || (len(page) > 0) != (got == OutOfOrder || got == Unkept) {
				t.Errorf("checked %d: %s, with a page of %d bytes", n, got, len(page))
			}
		})
	}
}

// Who was refused has done nothing; who was cut off may have.
func TestKeep(t *testing.T) {
	var r Register
	r.keep(0, question{kind: write, new: 1}, answered{}, at(0), &pgconn.PgError{Code: "25006"})
	r.keep(0, question{kind: read}, answered{}, at(0), errors.New("broken pipe"))
	if len(r.ops) != 0 {
		t.Errorf("kept %v", r.ops)
	}
	r.keep(0, question{kind: write, new: 2}, answered{}, at(0), &pgconn.PgError{Code: "57P01"})
	r.keep(0, question{kind: swap, new: 3}, answered{}, at(0), errors.New("broken pipe"))
	r.keep(0, question{kind: write, new: 4}, answered{}, at(0), nil)
	if len(r.ops) != 3 || r.ops[0].Return != forever || r.ops[1].Return != forever || r.ops[2].Return == forever {
		t.Errorf("kept %v", r.ops)
	}
	if got := recent(r.ops, at(120_000)); len(got) != 1 { // the clock of the test is not that of keep
		t.Errorf("after two minutes %v are left", got)
	}
}
