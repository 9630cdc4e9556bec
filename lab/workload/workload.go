// Package workload is what applications do to a cluster while it is tried, and
// what they were told.
package workload

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Connect opens a session.
type Connect func(ctx context.Context) (*pgx.Conn, error)

const (
	writeTry = 2 * time.Second // what a client waits for a session, and then for each answer
	pause    = 5 * time.Millisecond
	retry    = 20 * time.Millisecond
	arrive   = 200 * time.Millisecond // between two clients that connect anew
	firstRow = 1001                   // smaller ids are others'
)

// Load is applications that write all the time, each over a connection that it
// keeps as long as it works, readers that do the same, and one client after the
// other that connects anew to write. What was acknowledged is kept here, out of the
// cluster.
type Load struct {
	write Connect
	stop  context.CancelFunc
	done  sync.WaitGroup

	mu       sync.Mutex
	next     int
	rows     map[int]answer // of those that Check has not seen
	present  int            // rows that Check has seen
	acked    int            // in all
	times    []time.Time    // of acknowledgements, in their order
	reads    []time.Time    // of rows that were read
	arrivals []time.Time    // of new connections that met a node which can write
	misread  int            // reads of a session that is with the leader
	readOnly int            // writes that met a node which does not lead
	errs     map[string]int // what else writers were told, and how often
	last     map[string]error
}

// answer is what a writer knows of its row.
type answer int

const (
	pending answer = iota
	acknowledged
	failed
)

// table is where rows are written.
const table = "CREATE TABLE IF NOT EXISTS kept (id int PRIMARY KEY)"

// Start starts that many writers and readers, and returns when the first write
// is acknowledged.
func Start(ctx context.Context, write Connect, writers int, read Connect, readers int) (*Load, error) {
	inner, stop := context.WithCancel(ctx)
	l := &Load{write: write, stop: stop, rows: map[int]answer{}, errs: map[string]int{}, last: map[string]error{}}
	if err := l.makeTable(ctx); err != nil {
		stop()
		return nil, err
	}
	for range writers {
		l.done.Go(func() { l.keepWriting(inner) })
	}
	for range readers {
		l.done.Go(func() { l.keepReading(inner, read) })
	}
	l.done.Go(func() { l.keepArriving(inner) })
	if err := l.After(ctx, time.Time{}); err != nil {
		l.Stop()
		return nil, err
	}
	return l, nil
}

// makeTable makes it. Rows of an earlier load stay, and count.
func (l *Load) makeTable(ctx context.Context) error {
	return Session(ctx, l.write, func(ctx context.Context, conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, table); err != nil {
			return err
		}
		return conn.QueryRow(ctx, "SELECT count(*), coalesce(max(id) + 1, $1) FROM kept WHERE id >= $1", firstRow).Scan(&l.present, &l.next)
	})
}

// Session does something over a connection of its own, and tries until it is
// done: a cluster that has just become whole may still be moving, and the
// proxy refuses new connections until it has seen who leads.
func Session(ctx context.Context, connect Connect, do func(context.Context, *pgx.Conn) error) error {
	for {
		err := attempt(ctx, connect, do)
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		sleep(ctx, 100*time.Millisecond)
	}
}

func attempt(ctx context.Context, connect Connect, do func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return do(ctx, conn)
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Insert writes one more row over a connection, and remembers what came of it.
func (l *Load) Insert(ctx context.Context, conn *pgx.Conn) error {
	l.mu.Lock()
	id := l.next
	l.next++
	l.rows[id] = pending
	l.mu.Unlock()
	_, err := conn.Exec(ctx, "INSERT INTO kept VALUES ($1)", id)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.rows[id] = failed
		return err
	}
	l.rows[id] = acknowledged
	l.acked++
	l.times = append(l.times, time.Now())
	return nil
}

func (l *Load) keepWriting(ctx context.Context) {
	k := keeper{connect: l.write}
	defer k.drop(ctx)
	for ctx.Err() == nil {
		if err := k.do(ctx, l.Insert); err != nil {
			l.note(ctx, err)
			sleep(ctx, retry)
			continue
		}
		sleep(ctx, pause)
	}
}

// note remembers what a writer was told.
func (l *Load) note(ctx context.Context, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var refused *pgconn.PgError
	what := "connection"
	switch {
	case ctx.Err() != nil:
		return
	case errors.As(err, &refused) && refused.Code == "25006":
		l.readOnly++
		return
	case errors.As(err, &refused):
		what = refused.Code
	}
	l.errs[what]++
	l.last[what] = err
}

func (l *Load) keepReading(ctx context.Context, read Connect) {
	k := keeper{connect: read}
	defer k.drop(ctx)
	for ctx.Err() == nil {
		var replica bool
		err := k.do(ctx, func(ctx context.Context, conn *pgx.Conn) error {
			var rows int
			return conn.QueryRow(ctx, "SELECT count(*), pg_is_in_recovery() FROM kept WHERE id < $1", firstRow).Scan(&rows, &replica)
		})
		if err != nil {
			sleep(ctx, retry)
			continue
		}
		l.mu.Lock()
		l.reads = append(l.reads, time.Now())
		if !replica {
			l.misread++
		}
		l.mu.Unlock()
		sleep(ctx, 5*pause)
	}
}

func (l *Load) keepArriving(ctx context.Context) {
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, 2*writeTry)
		var replica bool
		err := attempt(try, l.write, func(ctx context.Context, conn *pgx.Conn) error {
			return conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&replica)
		})
		cancel()
		if err == nil && !replica {
			l.mu.Lock()
			l.arrivals = append(l.arrivals, time.Now())
			l.mu.Unlock()
		}
		sleep(ctx, arrive)
	}
}

// keeper is a client that keeps its connection until it fails.
type keeper struct {
	connect Connect
	conn    *pgx.Conn
}

func (k *keeper) do(ctx context.Context, do func(context.Context, *pgx.Conn) error) error {
	if err := k.open(ctx); err != nil {
		return err
	}
	try, cancel := context.WithTimeout(ctx, writeTry)
	defer cancel()
	err := do(try, k.conn)
	if err != nil {
		k.drop(ctx)
	}
	return err
}

func (k *keeper) open(ctx context.Context) error {
	if k.conn != nil {
		return nil
	}
	try, cancel := context.WithTimeout(ctx, writeTry)
	defer cancel()
	conn, err := k.connect(try)
	if err != nil {
		return err
	}
	k.conn = conn
	return nil
}

func (k *keeper) drop(ctx context.Context) {
	if k.conn == nil {
		return
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 100*time.Millisecond)
	defer cancel()
	k.conn.Close(closing)
	k.conn = nil
}

// After waits for a write that was acknowledged after this moment.
func (l *Load) After(ctx context.Context, moment time.Time) error {
	for {
		l.mu.Lock()
		n := len(l.times)
		there := n > 0 && l.times[n-1].After(moment)
		last := maps.Clone(l.last)
		l.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no write is acknowledged any more: %v", last)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Forget begins to count anew: failures, and reads that met the leader.
func (l *Load) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs, l.last, l.readOnly, l.misread = map[string]int{}, map[string]error{}, 0, 0
}

// Told is what clients were told since Forget.
type Told struct {
	ReadOnly int              // writes that met a node which does not lead
	Misread  int              // reads on the readers' port that met the leader
	Errs     map[string]int   // what else writers were told, by SQLSTATE, and how often
	Last     map[string]error // one of each
}

// Told gives it.
func (l *Load) Told() Told {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Told{l.readOnly, l.misread, maps.Clone(l.errs), maps.Clone(l.last)}
}

// Span is a time between two moments.
type Span struct{ From, To time.Time }

// Long is how long it is.
func (s Span) Long() time.Duration { return s.To.Sub(s.From) }

// Gap is the longest time without an acknowledged write since this moment, or a
// little before: until now, if the last one is not over.
func (l *Load) Gap(since time.Time) Span {
	l.mu.Lock()
	defer l.mu.Unlock()
	return longest(l.times, since, time.Now())
}

// ReadGap is Gap of reads.
func (l *Load) ReadGap(since time.Time) Span {
	l.mu.Lock()
	defer l.mu.Unlock()
	return longest(l.reads, since, time.Now())
}

// ArrivalGap is Gap of new connections to a node that can write.
func (l *Load) ArrivalGap(since time.Time) Span {
	l.mu.Lock()
	defer l.mu.Unlock()
	return longest(l.arrivals, since, time.Now())
}

// longest begins with the last moment before since, if there is one.
func longest(times []time.Time, since, now time.Time) Span {
	i, _ := slices.BinarySearchFunc(times, since, time.Time.Compare)
	before := since
	if i > 0 {
		before = times[i-1]
	}
	var gap Span
	for _, at := range append(slices.Clone(times[i:]), now) {
		if s := (Span{before, at}); s.Long() > gap.Long() {
			gap = s
		}
		before = at
	}
	return gap
}

// Count is how many rows were acknowledged so far.
func (l *Load) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked
}

// Rows is what became of the rows that were written since the last Check.
type Rows struct {
	Acked  int
	Lost   []int // acknowledged, and not there
	Ghosts int   // there, and never acknowledged
	Gone   int   // of those that earlier Checks have seen
}

// Check compares what was acknowledged with what the cluster has. Writers may
// go on meanwhile.
func (l *Load) Check(ctx context.Context) (Rows, error) {
	l.mu.Lock()
	upto, before := l.next, l.present
	known := map[int]answer{}
	for id, a := range l.rows {
		if a == pending {
			upto = min(upto, id) // younger ones wait for the next Check
		}
	}
	first := upto
	for id, a := range l.rows {
		if id < upto {
			known[id], first = a, min(first, id)
		}
	}
	l.mu.Unlock()
	there := map[int]bool{}
	older := 0
	err := Session(ctx, l.write, func(ctx context.Context, conn *pgx.Conn) error {
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM kept WHERE id >= $1 AND id < $2", firstRow, first).Scan(&older); err != nil {
			return err
		}
		found, err := conn.Query(ctx, "SELECT id FROM kept WHERE id >= $1 AND id < $2", first, upto)
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(found, pgx.RowTo[int])
		clear(there)
		for _, id := range ids {
			there[id] = true
		}
		return err
	})
	if err != nil {
		return Rows{}, fmt.Errorf("cannot read the rows: %w", err)
	}
	r := compare(known, there)
	r.Gone = max(0, before-older)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.present = older + len(there)
	for id := range known {
		delete(l.rows, id)
	}
	return r, nil
}

func compare(known map[int]answer, there map[int]bool) (r Rows) {
	for id, a := range known {
		switch {
		case a == acknowledged:
			r.Acked++
			if !there[id] {
				r.Lost = append(r.Lost, id)
			}
		case there[id]:
			r.Ghosts++
		}
	}
	slices.Sort(r.Lost)
	return r
}

// Stop ends the clients. It can be called again.
func (l *Load) Stop() {
	l.stop()
	l.done.Wait()
}
