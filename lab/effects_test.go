//go:build linux

package lab_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgha-gen/generator"
	"pgha-gen/generator/effect"
	"pgha-gen/internal/demo"
	"pgha-gen/lab/labtest"
)

// How a change takes effect is as diff says: PostgreSQL waits for a restart for
// those parameters, and no others, that it calls so; Patroni takes at once what
// it calls reload, and what it calls boot not before it starts again.
func TestEffects(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 20*time.Second)
	defer cancel()
	c := newCluster(t, ctx)
	c.up(t, ctx)
	c.whole(t, ctx)
	old := c.changed(t)
	spec := c.changed(t, `roles:
  patroni:
    parameters:
      max_connections: 300
      shared_buffers: 4000MB
      work_mem: 5MB
      wal_buffers: 32MB
      track_activity_query_size: 2048
      checkpoint_timeout: 10min
      autovacuum_naptime: 30s
      log_disconnections: "on"
      bgwriter_delay: 100ms
      max_parallel_workers: 3
      huge_pages: "off"
    config:
      restapi: {http_extra_headers: {X-Effect: taken}, request_queue_size: 64}
    nodes:
      - {name: demo-pg-1, zone: ru-central1-a, address: 10.128.0.21}
      - {name: demo-pg-2, zone: ru-central1-a, address: 10.128.0.22}
      - {name: demo-pg-3, zone: ru-central1-a, address: 10.128.0.23, tags: {clonefrom: true}}
`)
	changes, err := generator.Diff(old, spec, demo.Roles())
	if err != nil {
		t.Fatal(err)
	}
	of := map[effect.Effect][]string{}
	for _, change := range changes {
		for _, e := range change.Effects {
			of[e.Effect] = append(of[e.Effect], e.Of...)
		}
	}
	var pending []string
	for _, name := range of[effect.Restart] {
		if _, parameter, ok := strings.Cut(name, "#postgresql.parameters."); ok {
			pending = append(pending, parameter)
		}
	}
	slices.Sort(pending)
	if len(pending) < 3 {
		t.Fatalf("a restart is needed for %q: this test sees nothing", pending)
	}
	for kind, name := range map[effect.Effect]string{
		effect.Reload: "/etc/patroni/config.yml#restapi.http_extra_headers.X-Effect",
		effect.Boot:   "/etc/patroni/config.yml#restapi.request_queue_size",
	} {
		if !slices.Contains(of[kind], name) {
			t.Errorf("diff does not say that %s is %s: %q", name, kind, of[kind])
		}
	}

	c.refresh(t, ctx, spec, 5*time.Second)
	for _, node := range []string{"demo-pg-1", "demo-pg-2", "demo-pg-3"} {
		if got := c.sql(t, ctx, node, "SELECT coalesce(string_agg(name, ' ' ORDER BY name), '') FROM pg_settings WHERE pending_restart"); got != strings.Join(pending, " ") {
			t.Errorf("%s waits for a restart for %q, and diff says %q", node, got, pending)
		}
		if got := c.sql(t, ctx, node, "SELECT string_agg(current_setting(name), ' ' ORDER BY name) FROM pg_settings WHERE name IN ('work_mem', 'checkpoint_timeout', 'log_disconnections', 'max_parallel_workers')"); got != "10min on 3 5MB" {
			t.Errorf("%s: PostgreSQL reloaded %q", node, got)
		}
		got := c.run(t, ctx, node, `. /run/pgha/identity.env
python3 -c '
import json, ssl, sys, urllib.request
with urllib.request.urlopen("https://" + sys.argv[1] + ":8008/patroni", context=ssl._create_unverified_context()) as answer:
    print(answer.headers["X-Effect"], json.load(answer).get("tags"))
' "$NODE_ADDRESS"
ss -Hltn "src $NODE_ADDRESS:8008" | awk '{print $3}'`)
		tags := "None"
		if node == "demo-pg-3" {
			tags = "{'clonefrom': True}"
		}
		if want := "taken " + tags + "\n128"; got != want {
			t.Errorf("%s: header, tags and queue of Patroni's REST API are %q, want %q: the new header and tags, the old queue", node, got, want)
		}
	}
}
