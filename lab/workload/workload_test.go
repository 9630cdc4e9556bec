package workload

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

// at is a moment so many milliseconds after a fixed one.
func at(ms int) time.Time { return time.Unix(1_000_000, 0).Add(time.Duration(ms) * time.Millisecond) }

func times(ms ...int) (all []time.Time) {
	for _, m := range ms {
		all = append(all, at(m))
	}
	return all
}

// HAProxy refuses new connections while it does not know who leads.
func TestSession(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	refused, tries := errors.New("connection refused"), 0
	err := Session(ctx, func(context.Context) (*pgx.Conn, error) {
		if tries++; tries == 3 {
			cancel()
		}
		return nil, refused
	}, nil)
	if tries != 3 || !errors.Is(err, refused) || !errors.Is(err, context.Canceled) {
		t.Errorf("after %d tries: %v; want 3, and both errors", tries, err)
	}
}

// Over a bad network a session takes about as long to open as an answer may take.
func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const almost = writeTry - time.Millisecond
		opens := func(after time.Duration) keeper {
			return keeper{connect: func(ctx context.Context) (*pgx.Conn, error) {
				sleep(ctx, after)
				return &pgx.Conn{}, ctx.Err()
			}}
		}
		began, k := time.Now(), opens(almost)
		err := k.do(t.Context(), func(ctx context.Context, _ *pgx.Conn) error {
			sleep(ctx, almost)
			return ctx.Err()
		})
		if took := time.Since(began); err != nil || took != 2*almost {
			t.Errorf("connected and answered after %v (%v), want %v", took, err, 2*almost)
		}
		began, k = time.Now(), opens(time.Hour)
		err = k.do(t.Context(), nil)
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != writeTry {
			t.Errorf("gave up after %v (%v), want %v", took, err, writeTry)
		}
	})
}

func TestGap(t *testing.T) {
	tests := []struct {
		name, reason string
		times        []time.Time
		since, now   int
		want         [2]int
	}{
		{"one pause", "from the last write before it to the first after it", times(0, 10, 500, 510), 20, 520, [2]int{10, 500}},
		{"begins before the fault", "the last write may be a little older than the fault", times(0, 10, 500), 490, 510, [2]int{10, 500}},
		{"not over", "no write came back yet", times(0, 10), 5, 900, [2]int{10, 900}},
		{"older pauses", "another fault's are not this one's", times(0, 700, 710, 720), 705, 725, [2]int{700, 710}},
		{"nothing ever", "there is no write to begin with", nil, 100, 400, [2]int{100, 400}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := longest(tt.times, at(tt.since), at(tt.now))
			if want := (Span{at(tt.want[0]), at(tt.want[1])}); got != want {
				t.Errorf("%s: %v, want %v", tt.reason, got, want)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	known := map[int]answer{1: acknowledged, 2: acknowledged, 3: failed, 4: failed, 5: acknowledged}
	got := compare(known, map[int]bool{1: true, 3: true})
	if diff := cmp.Diff(Rows{Acked: 3, Lost: []int{2, 5}, Ghosts: 1}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// look is a sample of 20 ms.
func look(node string, from int, acked bool) Sample {
	return Sample{Node: node, From: at(from), To: at(from + 20), Writable: acked, Acked: acked}
}

func TestTwo(t *testing.T) {
	tests := []struct {
		name, reason string
		samples      []Sample
		want         time.Duration
	}{
		{"one leader", "the others acknowledge nothing", []Sample{look("a", 0, true), look("b", 10, false), look("a", 200, true)}, 0},
		{"one after the other", "a switchover", []Sample{look("a", 0, true), look("a", 200, true), look("b", 230, true), look("b", 430, true)}, 0},
		{"both", "two that acknowledge for a while", []Sample{look("a", 0, true), look("b", 100, true), look("b", 300, true), look("a", 400, true)}, 200 * time.Millisecond},
		{"a single write", "between two of the other node", []Sample{look("a", 0, true), look("b", 100, true), look("a", 400, true)}, 20 * time.Millisecond},
		{"a pause", "the old leader had stopped when the new one began", []Sample{
			look("a", 0, true), look("a", 200, false), look("b", 300, true), look("b", 500, false), look("a", 600, true)}, 0},
		{"asked before", "an answer that was late may be of before", []Sample{
			{Node: "a", From: at(0), To: at(400), Acked: true}, look("b", 100, true), look("b", 300, true), look("b", 500, true)}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Two(tt.samples); got != tt.want {
				t.Errorf("%s: %v, want %v (%v)", tt.reason, got, tt.want, Reigns(tt.samples))
			}
			slices.Reverse(tt.samples)
			if got := Two(tt.samples); got != tt.want {
				t.Errorf("in another order: %v, want %v", got, tt.want)
			}
		})
	}
}
