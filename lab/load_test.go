//go:build linux

package lab_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// load is applications that write all the time, through HAProxy, each over a
// connection that it keeps as long as it works. What was acknowledged is kept
// out of the cluster.
type load struct {
	c    *cluster
	stop context.CancelFunc
	done sync.WaitGroup

	mu       sync.Mutex
	acked    map[int]time.Time
	next     int
	readOnly int              // writes that met a node which does not lead
	errs     map[string]int   // what else they were told, and how often
	last     map[string]error // one of each
}

// startLoad starts that many writers, and returns when the first write is
// acknowledged.
func startLoad(t *testing.T, ctx context.Context, c *cluster, writers int) *load {
	t.Helper()
	if err := c.write(ctx, 1); err != nil { // makes the table
		t.Fatal(err)
	}
	inner, stop := context.WithCancel(ctx)
	l := &load{c: c, stop: stop, acked: map[int]time.Time{}, next: 1000, errs: map[string]int{}, last: map[string]error{}}
	for range writers {
		l.done.Go(func() { l.write(inner) })
	}
	t.Cleanup(func() {
		stop()
		l.done.Wait()
	})
	l.after(t, ctx, time.Now())
	return l
}

func (l *load) write(ctx context.Context) {
	var conn *pgx.Conn
	for ctx.Err() == nil {
		l.mu.Lock()
		l.next++
		id := l.next
		l.mu.Unlock()
		err := func() (err error) {
			try, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			if conn == nil {
				if conn, err = l.c.connect(try, writers, "app", "app"); err != nil {
					conn = nil
					return err
				}
			}
			_, err = conn.Exec(try, "INSERT INTO kept VALUES ($1)", id)
			return err
		}()
		if err == nil {
			l.mu.Lock()
			l.acked[id] = time.Now()
			l.mu.Unlock()
			time.Sleep(5 * time.Millisecond)
			continue
		}
		if conn != nil {
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 100*time.Millisecond)
			conn.Close(closing)
			cancel()
			conn = nil
		}
		l.mu.Lock()
		var refused *pgconn.PgError
		switch {
		case ctx.Err() != nil:
		case errors.As(err, &refused) && refused.Code == "25006":
			l.readOnly++
		case errors.As(err, &refused):
			l.errs[refused.Code]++
			l.last[refused.Code] = err
		default:
			l.errs["connection"]++
			l.last["connection"] = err
		}
		l.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
	}
}

// after waits for a write that was acknowledged after this moment.
func (l *load) after(t *testing.T, ctx context.Context, moment time.Time) {
	t.Helper()
	for {
		l.mu.Lock()
		for _, at := range l.acked {
			if at.After(moment) {
				l.mu.Unlock()
				return
			}
		}
		last := maps.Clone(l.last)
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			t.Fatalf("no write is acknowledged any more: %v", last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// gap is the longest time without an acknowledged write since this moment, or
// a little before.
func (l *load) gap(since time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := []time.Time{time.Now()}
	before := since
	for _, a := range l.acked {
		if a.After(since) {
			at = append(at, a)
		} else if since.Sub(a) < since.Sub(before) || before.Equal(since) {
			before = a
		}
	}
	slices.SortFunc(at, time.Time.Compare)
	longest := time.Duration(0)
	for _, a := range at {
		longest = max(longest, a.Sub(before))
		before = a
	}
	return longest
}

// strict also has clients that connect anew for each transaction, writers and
// readers. It counts every transaction that fails from now on, until the test
// asks.
func (l *load) strict(ctx context.Context) *strict {
	inner, stop := context.WithCancel(ctx)
	s := &strict{load: l, stop: stop, errs: map[string]int{}}
	for range 2 {
		s.run(inner, writers, "app", func(ctx context.Context, conn *pgx.Conn) error {
			l.mu.Lock()
			l.next++
			id := l.next
			l.mu.Unlock()
			if _, err := conn.Exec(ctx, "INSERT INTO kept VALUES ($1)", id); err != nil {
				return err
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.acked[id] = time.Now()
			return nil
		})
		s.run(inner, readers, "app_reader", func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "SELECT count(*) FROM kept WHERE id < 1000")
			return err
		})
	}
	l.mu.Lock()
	l.errs, l.last, l.readOnly = map[string]int{}, map[string]error{}, 0
	l.mu.Unlock()
	return s
}

// strict is clients of which no transaction may fail.
type strict struct {
	load *load
	stop context.CancelFunc
	wait sync.WaitGroup

	mu   sync.Mutex
	done int
	errs map[string]int
}

func (s *strict) run(ctx context.Context, address, user string, do func(context.Context, *pgx.Conn) error) {
	s.wait.Go(func() {
		for ctx.Err() == nil {
			try, cancel := context.WithTimeout(ctx, 10*time.Second)
			conn, err := s.load.c.connect(try, address, "app", user)
			if err == nil {
				err = do(try, conn)
				conn.Close(try)
			}
			cancel()
			s.mu.Lock()
			if err != nil && ctx.Err() == nil {
				s.errs[user+": "+err.Error()]++
			}
			s.done++
			s.mu.Unlock()
			time.Sleep(30 * time.Millisecond)
		}
	})
}

// end stops the clients that connect anew. No transaction may have failed,
// neither theirs nor those of the load.
func (s *strict) end(t *testing.T) {
	t.Helper()
	s.stop()
	s.wait.Wait()
	l := s.load
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Logf("%d connections were made anew; failed: %v %v, read-only: %d", s.done, s.errs, l.errs, l.readOnly)
	if len(s.errs)+len(l.errs)+l.readOnly > 0 || s.done == 0 {
		t.Errorf("transactions failed: %v, %v", s.errs, l.last)
	}
}

// fault does something to the cluster while it is written to, and gives the
// longest time without an acknowledged write, and how many writes met a node
// that does not lead. watch is how long to look at least.
func (l *load) fault(t *testing.T, ctx context.Context, watch time.Duration, do func()) (time.Duration, int) {
	t.Helper()
	l.mu.Lock()
	l.errs, l.last, l.readOnly = map[string]int{}, map[string]error{}, 0
	l.mu.Unlock()
	start := time.Now()
	do()
	if rest := watch - time.Since(start); rest > 0 {
		time.Sleep(rest)
	}
	short, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	l.after(t, short, time.Now())
	gap := l.gap(start)
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Logf("%.2f s without an acknowledged write; %d writes met a read-only node; others failed by %v", gap.Seconds(), l.readOnly, l.errs)
	return gap, l.readOnly
}

// end stops the load. Every row that was acknowledged must be there.
func (l *load) end(t *testing.T, ctx context.Context) {
	t.Helper()
	l.stop()
	l.done.Wait()
	l.c.whole(t, ctx)
	got, err := l.c.rows(ctx, writers)
	if err != nil {
		t.Fatal(err)
	}
	there := map[int]bool{}
	for _, id := range got {
		there[id] = true
	}
	var lost []int
	for id := range l.acked {
		if !there[id] {
			lost = append(lost, id)
		}
	}
	t.Logf("%d rows were acknowledged, %d of them are lost", len(l.acked), len(lost))
	if len(lost) > 0 {
		t.Errorf("lost: %s", fmt.Sprint(lost))
	}
}
