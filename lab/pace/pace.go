//go:build linux

// Package pace says how long this host takes for what the lab does, compared with others.
package pace

import (
	"os/exec"
	"time"
)

// usual is the processor time that the start of a small program takes, with some more
// at the same time, on the hosts that the times of tests and docs/figures.md are from.
// It is assumed: none of these was at hand to measure it.
const usual = 1200 * time.Microsecond

// Slowness measures, in about a second, how many times as long this host takes for what
// the lab does most, the start of programs beside others; 1 on a host that is about as
// fast as the usual ones, or faster. Processor time is compared, which counts no waiting.
func Slowness() float64 {
	const workers, starts = 8, 20
	times := make(chan time.Duration)
	for range workers {
		go func() {
			var took time.Duration
			for range starts {
				if cmd := exec.Command("true"); cmd.Run() == nil {
					took += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
				}
			}
			times <- took
		}()
	}
	var took time.Duration
	for range workers {
		took += <-times
	}
	return slowness(took / (workers * starts))
}

// slowness is that of a host on which a start takes so long. A small difference is none.
func slowness(start time.Duration) float64 {
	if slower := float64(start) / float64(usual); slower >= 1.5 {
		return slower
	}
	return 1
}
