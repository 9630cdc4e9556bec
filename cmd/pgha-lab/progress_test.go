//go:build linux

package main

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/internal/bootlog"
	"pgha-gen/lab/session"
)

func TestProgressOnTerminal(t *testing.T) {
	var out bytes.Buffer
	p := &progress{Progress: cli.NewProgress(&out, 60)}
	start := time.UnixMilli(1795383740000)
	var r session.Record
	show := func(want, reason string) {
		t.Helper()
		out.Reset()
		p.show(r, start.Add(3*time.Second))
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
	}
	r.AddProgress(session.Progress{Began: start, What: "image of etcd"})
	show("image of etcd: 3 s\n", "what is being done")
	show("\x1b[1A\x1b[Jimage of etcd: 3 s\n", "in its own place")
	r.AddProgress(session.Progress{Began: start, What: "image of etcd", Result: "is there"})
	show("\x1b[1A\x1b[Jimage of etcd: is there\n", "what was done stays")
	r.PoweredOn = start
	r.Machines = []session.Machine{{Name: "a", Role: "etcd", Address: netip.MustParseAddr("10.0.0.1")}}
	show("power-on of 1 machines\nmachine  role  address   seconds  step\na        etcd  10.0.0.1        -  powered on\n", "then the table")
	r.Machines = []session.Machine{{Name: "a", Role: "etcd", Address: netip.MustParseAddr("10.0.0.1"),
		Steps: []bootlog.Step{{At: start.Add(time.Second), Name: "secrets", Status: "wait", Detail: "Lockbox does not answer"}}}}
	show("\x1b[2A\x1b[Jmachine  role  address   seconds  step\na        etcd  10.0.0.1      1.0  secrets wait Lockbox doe…\n", "drawn again, no wider than the terminal")
}
