package bootlog

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	at := time.UnixMilli(1795745520123)
	tests := []struct {
		name, reason, line string
		want               Step
		ok                 bool
	}{
		{"a step", "as a boot step writes it", "pgha: 1795745520123 demo-pg-1 ready ok PostgreSQL: primary running", Step{at, "demo-pg-1", "ready", "ok", "PostgreSQL: primary running"}, true},
		{"no detail", "cloud-init has none", "pgha: 1795745520123 demo-pg-1 cloud-init ok", Step{at, "demo-pg-1", "cloud-init", "ok", ""}, true},
		{"behind a login prompt", "getty writes no end of line", "demo-pg-1 login: pgha: 1795745520123 demo-pg-1 disk warn nearly full", Step{at, "demo-pg-1", "disk", "warn", "nearly full"}, true},
		{"another status", "the protocol has four", "pgha: 1795745520123 demo-pg-1 ready maybe", Step{}, false},
		{"seconds", "the protocol has milliseconds", "pgha: 1795745520 demo-pg-1 ready ok", Step{}, false},
		{"the kernel", "a console has more than steps", "[    0.000000] Linux version 6.1", Step{}, false},
		{"nothing", "", "", Step{}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, ok := Parse(test.line)
			if diff := cmp.Diff(test.want, got); diff != "" || ok != test.ok {
				t.Errorf("%s: %v (-want +got):\n%s", test.reason, ok, diff)
			}
		})
	}
}

func TestStep(t *testing.T) {
	for _, test := range []struct {
		step          Step
		ready, failed bool
	}{
		{Step{Name: "ready", Status: "ok"}, true, false},
		{Step{Name: "ready", Status: "wait"}, false, false},
		{Step{Name: "disk", Status: "ok"}, false, false},
		{Step{Name: "secrets", Status: "fail"}, false, true},
		{Step{Name: "ready", Status: "fail"}, false, true},
	} {
		if test.step.Ready() != test.ready || test.step.Failed() != test.failed {
			t.Errorf("%+v: ready %v, failed %v", test.step, test.step.Ready(), test.step.Failed())
		}
	}
}
