package patroni_test

import (
	"strconv"
	"strings"
	"testing"

	"pgha-gen/generator/effect"
	"pgha-gen/internal/demo"
	"pgha-gen/roles/patroni"
	"pgha-gen/roles/patroni/catalogue"
)

// TestParameterEffects: what the server of each version says of a parameter
// decides how a change of it takes effect.
func TestParameterEffects(t *testing.T) {
	tests := []struct{ name, parameter, want string }{
		{"at start", "shared_buffers", "restart: PostgreSQL has to be restarted for it: replicas first, the leader last, by a switchover"},
		{"at start, a replica needs as much", "max_connections", "restart: PostgreSQL has to be restarted for it: if it was raised, replicas first, the leader last, by a switchover; if it was lowered, the leader first, where it is"},
		{"at start, for all nodes", "wal_level", "restart: PostgreSQL has to be restarted for it: replicas first, the leader last, by a switchover"},
		{"at any time", "checkpoint_timeout", "reload: PostgreSQL reloads"},
		{"at any time, for all nodes", "wal_keep_size", "dynamic: PostgreSQL reloads"},
		{"of a session", "work_mem", "reload: PostgreSQL reloads"},
		{"of a session, at its start", "log_connections", "reload: PostgreSQL reloads; it counts for new sessions"},
		{"nobody can set it", "block_size", ""},
		{"of an extension", "pg_stat_statements.max", ""},
	}
	for major := 14; major <= 18; major++ {
		version := strconv.Itoa(major)
		known := catalogue.Read(major)
		plan := demo.Small(t, "  patroni:\n=>  patroni:\n    postgresql: "+version+"\n").Group(patroni.Name).Plan
		for _, test := range tests {
			t.Run(version+" "+test.name, func(t *testing.T) {
				var got []string
				for _, path := range []string{"config.yml#", "bootstrap.yml#bootstrap.dcs."} {
					file, key, _ := strings.Cut("/etc/patroni/"+path, "#")
					if rule, ok := plan.Effects.Of(file, key+"postgresql.parameters."+test.parameter); ok {
						got = append(got, string(rule.Effect)+": "+rule.What)
					}
				}
				if got := strings.Join(got, "; "); got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
			})
		}
		restarts := 0
		for _, rule := range plan.Effects {
			name := rule.Key[strings.LastIndex(rule.Key, ".")+1:]
			p, ok := known.Find(name)
			if !ok || p.Restart() != (rule.Effect == effect.Restart) {
				t.Errorf("%s, PostgreSQL %s: %s, and the server says %q", name, version, rule.Effect, p.Context)
			}
			if p.Restart() {
				restarts++
			}
		}
		if restarts < 50 {
			t.Errorf("PostgreSQL %s: %d parameters need a restart, want more", version, restarts)
		}
	}
}
