package workload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Register is clients that read one row, write it, and replace a value that they
// have read if it is still there. What they saw must be as if they had done it one
// after the other: a read that an old leader answers, or a write that was undone,
// is found out even where no row is lost.
//
// A connection must not cancel what it waits for: PostgreSQL makes a
// commit visible whose wait for a standby is cancelled, and whoever has then read
// it may see it undone.
type Register struct {
	connect Connect
	stop    context.CancelFunc
	done    sync.WaitGroup

	mu   sync.Mutex
	next int
	ops  []porcupine.Operation
}

// kind is what is asked of the register.
type kind int

const (
	read kind = iota
	write
	swap // if it holds old
)

type question struct {
	kind     kind
	old, new int
}

type answered struct {
	unknown bool // the connection broke: it may be done, now or later, or never
	value   int  // of a read
	swapped bool
}

// holds is the register's state: it is not known before the first read.
type holds struct {
	known bool
	value int
}

// model is how a register behaves that one client uses at a time.
func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return holds{} },
		Step: func(state, input, output any) (bool, any) {
			s, q, a := state.(holds), input.(question), output.(answered)
			switch {
			case q.kind == read:
				return !s.known || s.value == a.value, holds{true, a.value}
			case q.kind == write:
				return true, holds{true, q.new}
			case a.unknown && (!s.known || s.value != q.old):
				return true, s
			case a.unknown:
				return true, holds{true, q.new}
			case a.swapped:
				return !s.known || s.value == q.old, holds{true, q.new}
			}
			return !s.known || s.value != q.old, s
		},
		DescribeOperation: func(input, output any) string { return describe(input.(question), output.(answered)) },
	}
}

func describe(q question, a answered) string {
	text := map[kind]string{
		read: fmt.Sprintf("read %d", a.value), write: fmt.Sprintf("write %d", q.new), swap: fmt.Sprintf("%d for %d: %t", q.new, q.old, a.swapped),
	}[q.kind]
	if a.unknown {
		return text + ", no answer"
	}
	return text
}

const (
	clients     = 3
	registerFor = 20 * time.Millisecond // between two questions of a client
	forever     = int64(1) << 62
	// carried is how long a question without an answer may still be done: its
	// session may wait for a standby.
	carried = time.Minute
)

// StartRegister makes the row, and starts the clients.
func StartRegister(ctx context.Context, connect Connect) (*Register, error) {
	inner, stop := context.WithCancel(ctx)
	r := &Register{connect: connect, stop: stop}
	err := Session(ctx, connect, func(ctx context.Context, conn *pgx.Conn) error {
		for _, sql := range []string{
			"CREATE TABLE IF NOT EXISTS register (id int PRIMARY KEY, value bigint)",
			"INSERT INTO register VALUES (1, 0) ON CONFLICT DO NOTHING",
		} {
			if _, err := conn.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return conn.QueryRow(ctx, "SELECT value + 1000000 FROM register").Scan(&r.next)
	})
	if err != nil {
		stop()
		return nil, err
	}
	for i := range clients {
		r.done.Go(func() { r.use(inner, i) })
	}
	return r, nil
}

func (r *Register) use(ctx context.Context, client int) {
	k := keeper{connect: r.connect}
	defer k.drop(ctx)
	seen := 0
	for ctx.Err() == nil {
		q := question{kind: kind(rand.IntN(3)), old: seen}
		r.mu.Lock()
		r.next++
		q.new = r.next
		r.mu.Unlock()
		asked := false
		var call time.Time
		var a answered
		err := k.do(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
			asked, call = true, time.Now()
			a, err = q.ask(ctx, conn)
			return err
		})
		if asked {
			r.keep(client, q, a, call, err)
		}
		if err == nil && q.kind == read {
			seen = a.value
		}
		if err != nil {
			sleep(ctx, 10*registerFor)
		}
		sleep(ctx, registerFor)
	}
}

func (q question) ask(ctx context.Context, conn *pgx.Conn) (a answered, err error) {
	switch q.kind {
	case read:
		err = conn.QueryRow(ctx, "SELECT value FROM register WHERE id = 1").Scan(&a.value)
	case write:
		_, err = conn.Exec(ctx, "UPDATE register SET value = $1 WHERE id = 1", q.new)
	case swap:
		var done pgconn.CommandTag
		done, err = conn.Exec(ctx, "UPDATE register SET value = $1 WHERE id = 1 AND value = $2", q.new, q.old)
		a.swapped = done.RowsAffected() == 1
	}
	return a, err
}

// keep remembers what was asked and answered. What was refused has not happened,
// and a read without an answer tells nothing.
func (r *Register) keep(client int, q question, a answered, call time.Time, err error) {
	op := porcupine.Operation{ClientId: client, Input: q, Output: a, Call: call.UnixNano(), Return: time.Now().UnixNano()}
	if err != nil {
		var refused *pgconn.PgError
		if q.kind == read || errors.As(err, &refused) && refused.Code == "25006" {
			return
		}
		op.Output, op.Return = answered{unknown: true}, forever
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
}

// Order says whether what clients saw since a moment was as if they had done it one
// after the other.
type Order string

// The values of Order.
const (
	InOrder    Order = "in order"
	OutOfOrder Order = "out of order"
	// All that was acknowledged is in order, but somebody read a value of a write
	// that was not, and that was undone. PostgreSQL allows it: a commit that waited
	// for a standby when the server crashed is visible once the server is up again.
	Unkept  Order = "in order, but for a value that was read and never acknowledged"
	TooLong Order = "not known" // it would take too long to say
)

// checkTime is how long a check may take.
const checkTime = 20 * time.Second

// Check judges what ended since a moment, and forgets what is older. What is not in
// order is drawn, as a page.
func (r *Register) Check(since time.Time) (o Order, operations int, page []byte) {
	r.mu.Lock()
	r.ops = recent(r.ops, since)
	ops := slices.Clone(r.ops)
	r.mu.Unlock()
	o, info := check(ops)
	if o == OutOfOrder || o == Unkept {
		var b bytes.Buffer
		if err := porcupine.Visualize(model(), info, &b); err == nil { // it is for people to look at
			page = b.Bytes()
		}
	}
	return o, len(ops), page
}

func recent(ops []porcupine.Operation, since time.Time) []porcupine.Operation {
	return slices.DeleteFunc(ops, func(op porcupine.Operation) bool {
		if op.Return == forever {
			return op.Call < since.Add(-carried).UnixNano()
		}
		return op.Return < since.UnixNano()
	})
}

func check(ops []porcupine.Operation) (Order, porcupine.LinearizationInfo) {
	// Each question without an answer goes on beside all that its client asks
	// later, so it is asked by a client of its own.
	for i := range ops {
		if ops[i].Return == forever {
			ops[i].ClientId = clients + i
		}
	}
	result, info := porcupine.CheckOperationsVerbose(model(), ops, checkTime)
	switch result {
	case porcupine.Ok:
		return InOrder, info
	case porcupine.Unknown:
		return TooLong, info
	}
	if porcupine.CheckOperationsTimeout(model(), withoutUnkept(ops), checkTime) == porcupine.Ok {
		return Unkept, info
	}
	return OutOfOrder, info
}

// withoutUnkept leaves out who read the value of a write without an answer.
func withoutUnkept(ops []porcupine.Operation) []porcupine.Operation {
	unknown := map[int]bool{}
	for _, op := range ops {
		if op.Return == forever {
			unknown[op.Input.(question).new] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(ops), func(op porcupine.Operation) bool {
		return op.Input.(question).kind == read && unknown[op.Output.(answered).value]
	})
}

// Stop ends the clients.
func (r *Register) Stop() {
	r.stop()
	r.done.Wait()
}
