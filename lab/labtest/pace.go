//go:build linux

package labtest

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"pgha-gen/internal/testkit"
	"pgha-gen/lab/pace"
)

// Slowness is how many times as long as usual this host takes, measured once.
var Slowness = sync.OnceValue(pace.Slowness)

// Here is a time of the usual host's, as it is on this one.
func Here(d time.Duration) time.Duration { return time.Duration(float64(d) * Slowness()) }

// Begin is for a test that takes so long on the usual host. The context ends long
// after that. With PGHA_TEST_END, seconds since 1970, it ends two minutes after that at
// the latest, and a test for which there is no time before is left out: aloud, and its
// name is put into the file PGHA_TEST_LEFT_OUT.
func Begin(t testing.TB, takes time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	const patience, grace = 4, 2 * time.Minute
	if Slowness() > 1 {
		t.Logf("this host takes %.1f times as long as usual, and so may the test", Slowness())
	}
	now := time.Now()
	end := now.Add(max(patience*Here(takes), 5*time.Minute))
	if text := os.Getenv("PGHA_TEST_END"); text != "" {
		last, err := moment(text)
		testkit.OK(t, err)
		if needs := Here(takes) * 4 / 3; now.Add(needs).After(last) {
			leaveOut(t, fmt.Sprintf("it may need %s here, and there are %s left (this host takes %.1f times as long as usual)",
				needs.Round(time.Second), last.Sub(now).Round(time.Second), Slowness()))
		}
		if last = last.Add(grace); last.Before(end) {
			end = last
		}
	}
	return context.WithDeadline(context.Background(), end)
}

// moment refuses what is no number of seconds since 1970.
func moment(text string) (time.Time, error) {
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("PGHA_TEST_END is %q, want seconds since 1970", text)
	}
	return time.Unix(seconds, 0), nil
}

// leaveOut skips the test, and keeps its name.
func leaveOut(t testing.TB, why string) {
	t.Helper()
	if path := os.Getenv("PGHA_TEST_LEFT_OUT"); path != "" {
		file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		testkit.OK(t, err)
		_, err = fmt.Fprintf(file, "%s: %s\n", t.Name(), why)
		testkit.OK(t, err)
		testkit.OK(t, file.Close())
	}
	t.Skip("left out: " + why)
}
