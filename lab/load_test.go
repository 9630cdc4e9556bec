//go:build linux

package lab_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pgha-gen/lab/workload"
)

// load is applications that write all the time, through HAProxy.
type load struct {
	*workload.Load
	c *cluster
}

// startLoad starts that many writers, and returns when the first write is
// acknowledged.
func startLoad(t *testing.T, ctx context.Context, c *cluster, count int) *load {
	t.Helper()
	w, err := workload.Start(ctx, func(ctx context.Context) (*pgx.Conn, error) { return c.connect(ctx, writers, "app", "app") }, count, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return &load{w, c}
}

// after waits for a write that was acknowledged after this moment.
func (l *load) after(t *testing.T, ctx context.Context, moment time.Time) {
	t.Helper()
	if err := l.After(ctx, moment); err != nil {
		t.Fatal(err)
	}
}

// strict also has clients that connect anew for each transaction, writers and
// readers. It counts every transaction that fails from now on, until the test
// asks.
func (l *load) strict(ctx context.Context) *strict {
	inner, stop := context.WithCancel(ctx)
	s := &strict{load: l, stop: stop, errs: map[string]int{}}
	for range 2 {
		s.run(inner, writers, "app", l.Insert)
		s.run(inner, readers, "app_reader", func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "SELECT count(*) FROM kept WHERE id < 1000")
			return err
		})
	}
	l.Forget()
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
	told := s.load.Told()
	t.Logf("%d connections were made anew; failed: %v %v, read-only: %d", s.done, s.errs, told.Errs, told.ReadOnly)
	if len(s.errs)+len(told.Errs)+told.ReadOnly > 0 || s.done == 0 {
		t.Errorf("transactions failed: %v, %v", s.errs, told.Last)
	}
}

// fault does something to the cluster while it is written to, and gives the
// longest time without an acknowledged write, and how many writes met a node
// that does not lead. watch is how long to look at least.
func (l *load) fault(t *testing.T, ctx context.Context, watch time.Duration, do func()) (time.Duration, int) {
	t.Helper()
	l.Forget()
	start := time.Now()
	do()
	if rest := watch - time.Since(start); rest > 0 {
		time.Sleep(rest)
	}
	short, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	l.after(t, short, time.Now())
	gap, told := l.Gap(start).Long(), l.Told()
	t.Logf("%.2f s without an acknowledged write; %d writes met a read-only node; others failed by %v", gap.Seconds(), told.ReadOnly, told.Errs)
	return gap, told.ReadOnly
}

// quiet fails if the load was told anything but yes.
func (l *load) quiet(t *testing.T) {
	t.Helper()
	if told := l.Told(); len(told.Errs) > 0 || told.ReadOnly > 0 {
		t.Errorf("transactions failed: %v, and %d met a read-only node", told.Last, told.ReadOnly)
	}
}

// end stops the load. Every row that was acknowledged must be there.
func (l *load) end(t *testing.T, ctx context.Context) {
	t.Helper()
	l.Stop()
	l.c.whole(t, ctx)
	rows, err := l.Check(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rows were acknowledged, %d of them are lost", rows.Acked, len(rows.Lost))
	if len(rows.Lost) > 0 || rows.Acked == 0 {
		t.Errorf("lost: %s", fmt.Sprint(rows.Lost))
	}
}
