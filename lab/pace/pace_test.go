//go:build linux

package pace

import (
	"testing"
	"time"
)

func TestSlowness(t *testing.T) {
	for _, test := range []struct {
		name, reason string
		start        time.Duration
		want         float64
	}{
		{"nothing measured", "the program is not there", 0, 1},
		{"faster", "limits stay what they are", usual / 2, 1},
		{"usual", "they are of this host", usual, 1},
		{"a little slower", "hosts differ, and no limit is that close", usual * 14 / 10, 1},
		{"slower", "so do tests take longer", usual * 3, 3},
	} {
		if got := slowness(test.start); got != test.want {
			t.Errorf("%s: %v, want %v: %s", test.name, got, test.want, test.reason)
		}
	}
}
