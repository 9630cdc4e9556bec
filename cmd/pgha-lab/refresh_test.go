//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/internal/bootlog"
	"pgha-gen/lab/session"
)

// A refresh ends when every machine has said what became of it.
func TestWatchRefresh(t *testing.T) {
	const etcd, pg = "demo-etcd-1", "demo-pg-1"
	step := func(status, detail string) bootlog.Step {
		return bootlog.Step{Name: "refresh", Status: status, Detail: detail}
	}
	old := step("ok", "0000 is in force")
	tests := []struct {
		name, reason string
		etcd, pg     []bootlog.Step
		out, err     string
	}{
		{"taken over", "by its digest", []bootlog.Step{old, step("ok", "1111 firewall replaced")}, []bootlog.Step{old, step("ok", "2222 Patroni reloaded")},
			"demo-etcd-1 ok 1111 firewall replaced\ndemo-pg-1 ok 2222 Patroni reloaded\n", ""},
		{"refused", "the others are waited for", []bootlog.Step{old, step("ok", "1111 firewall replaced")}, []bootlog.Step{old, step("fail", "no")},
			"demo-etcd-1 ok 1111 firewall replaced\ndemo-pg-1 fail no\n", "refused by demo-pg-1: what was in force there stays"},
		{"refused at first", "it is judged again", []bootlog.Step{old, step("ok", "1111 x")}, []bootlog.Step{old, step("fail", "no"), step("ok", "2222 x")},
			"demo-etcd-1 ok 1111 x\ndemo-pg-1 fail no\ndemo-pg-1 ok 2222 x\n", ""},
		{"waits", "for its turn", []bootlog.Step{old, step("wait", "demo-etcd-2 restarts")}, []bootlog.Step{old},
			"demo-etcd-1 wait demo-etcd-2 restarts\n", "not in force yet: demo-etcd-1, demo-pg-1"},
		{"what was before", "is of an earlier spec", []bootlog.Step{step("ok", "1111 x")}, []bootlog.Step{old, step("ok", "2222 x")},
			"demo-pg-1 ok 2222 x\n", "not in force yet: demo-etcd-1"},
		{"other steps", "a disk is none", []bootlog.Step{old, step("ok", "1111 x")}, []bootlog.Step{old, {Name: "disk", Status: "ok", Detail: "2222"}},
			"demo-etcd-1 ok 1111 x\n", "not in force yet: demo-pg-1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			folder := session.Folder(t.TempDir())
			record := func(etcdSteps, pgSteps []bootlog.Step) session.Record {
				return session.Record{Machines: []session.Machine{{Name: etcd, Steps: etcdSteps}, {Name: pg, Steps: pgSteps}}}
			}
			data, err := json.Marshal(record(tt.etcd, tt.pg))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(string(folder), "lab.json"), data, 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			a := &app{Streams: cli.Streams{Out: &out}}
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			before := record(tt.etcd[:1], tt.pg[:1])
			got := ""
			if err := a.watchRefresh(ctx, folder, before, map[string]string{etcd: "1111", pg: "2222"}); err != nil {
				got = err.Error()
			}
			if out.String() != tt.out || got != tt.err {
				t.Errorf("%s: it says %q, %q, want %q, %q", tt.reason, out.String(), got, tt.out, tt.err)
			}
		})
	}
}
