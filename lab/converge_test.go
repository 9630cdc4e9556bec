//go:build linux

package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgha-gen/deploy/secrets"
	"pgha-gen/generator/role"
	"pgha-gen/lab/labtest"
	"pgha-gen/lab/machine/machinetest"
)

var postgres = []string{"demo-pg-1", "demo-pg-2", "demo-pg-3"}

// What the leader does while the spec changes, under load: dynamic
// configuration, databases, users, grants, extensions, settings and passwords.
// Nothing is restarted, nothing is dropped, and no transaction fails.
func TestConverge(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 70*time.Second)
	defer cancel()
	c := newCluster(t, ctx)
	c.up(t, ctx)
	leader := c.whole(t, ctx)
	l := startLoad(t, ctx, c, 4)
	started := c.starts(t, ctx)
	if line := c.waitStep(t, ctx, leader, "converge", "ok all", 10*time.Second); line != "ok all is as the spec says" {
		t.Errorf("after the bootstrap: %s", line)
	}

	t.Run("a parameter that waits for a restart", func(t *testing.T) {
		s := l.strict(ctx)
		took := c.until(t, ctx, c.changed(t, "      max_connections: 300\n=>      max_connections: 310\n"), func() bool {
			return len(c.pending(t, ctx, leader)) == 3
		})
		t.Logf("pending on all nodes %.1f s after metadata changed", took.Seconds())
		c.waitStep(t, ctx, leader, "converge", "ok all is as the spec says; waits for a restart of PostgreSQL: max_connections on demo-pg-1, demo-pg-2, demo-pg-3", 10*time.Second)
		s.end(t)
		s = l.strict(ctx)
		c.until(t, ctx, c.changed(t), func() bool { return len(c.pending(t, ctx, leader)) == 0 })
		c.waitStep(t, ctx, leader, "converge", "ok all is as the spec says", 10*time.Second)
		s.end(t)
	})

	// In one go: a user with a database, an extension, settings and a grant.
	more := []string{
		"    users: # =>      - {name: shop, owner: shop, extensions: [pg_trgm], settings: {statement_timeout: 7s}}\n    users: # ",
		"    pg_hba: [] =>      - {name: shop_reader, databases: [shop], member_of: [pg_monitor, pg_read_all_data], settings: {work_mem: 7MB}, connection_limit: 5}\n    pg_hba: [] ",
	}
	t.Run("a user and a database", func(t *testing.T) {
		s := l.strict(ctx)
		took := c.until(t, ctx, c.changed(t, more...), func() bool {
			conn, err := c.connect(ctx, writers, "shop", "shop_reader")
			if err != nil {
				return false
			}
			defer conn.Close(ctx)
			var similar float32
			var timeout, memory string
			err = conn.QueryRow(ctx, "SELECT public.similarity('word', 'words'), current_setting('statement_timeout'), current_setting('work_mem')").Scan(&similar, &timeout, &memory)
			return err == nil && similar > 0.5 && timeout == "7s" && memory == "7MB"
		})
		t.Logf("usable %.1f s after metadata changed", took.Seconds())
		// The aim is 5 s; two cores that do other work besides need more.
		if took > labtest.Here(8*time.Second) {
			t.Error("want 8 s")
		}
		s.end(t)
	})

	t.Run("a grant taken away", func(t *testing.T) {
		edits := append([]string{}, more...)
		edits[1] = strings.Replace(edits[1], "pg_monitor, ", "", 1)
		c.until(t, ctx, c.changed(t, edits...), func() bool {
			return c.sql(t, ctx, leader, "SELECT pg_has_role('shop_reader', 'pg_monitor', 'MEMBER'), pg_has_role('shop_reader', 'pg_read_all_data', 'MEMBER')") == "f|t"
		})
		c.waitStep(t, ctx, leader, "converge", "ok user shop_reader is no member of pg_monitor any more", 5*time.Second)
	})

	t.Run("a user and a database taken out", func(t *testing.T) {
		s := l.strict(ctx)
		shop, err := c.connect(ctx, writers, "shop", "shop")
		if err != nil {
			t.Fatal(err)
		}
		defer shop.Close(ctx)
		if _, err := shop.Exec(ctx, "CREATE TABLE kept AS SELECT 1 AS one"); err != nil {
			t.Fatal(err)
		}
		password := c.Secret("patroni", "password.shop")
		c.until(t, ctx, c.changed(t), func() bool {
			return c.sql(t, ctx, leader, "SELECT count(*) FROM pg_roles WHERE rolname ~ '^shop' AND rolcanlogin") == "0"
		})
		c.waitStep(t, ctx, leader, "converge", "ok user shop left the spec: it is kept and may not log in", 5*time.Second)
		// By the socket, where pg_hba.conf lets all in who have a password.
		out := c.run(t, ctx, leader, "PGPASSWORD="+password+" psql -XAtq 'host=/var/run/postgresql user=shop dbname=shop' -c 'SELECT 1' 2>&1 || :")
		if !strings.Contains(out, "is not permitted to log in") {
			t.Errorf("it logs in: %s", out)
		}
		var one int
		if err := shop.QueryRow(ctx, "SELECT one FROM kept").Scan(&one); err != nil || one != 1 {
			t.Errorf("its session: %d, %v", one, err)
		}
		s.end(t)
	})

	t.Run("an operator's own key", func(t *testing.T) {
		// Or it looks by itself just now, and says it before it is asked.
		c.run(t, ctx, leader, "systemctl stop pgha-converge.service")
		c.patch(t, ctx, leader, `{"member_slots_ttl": "31min", "ttl": 33}`)
		for start := time.Now(); !strings.Contains(c.configuration(t, ctx, leader), "33"); time.Sleep(100 * time.Millisecond) {
			if time.Since(start) > labtest.Here(10*time.Second) {
				t.Fatal("Patroni does not know of it")
			}
		}
		c.run(t, ctx, leader, "systemctl start pgha-converge.service") // or within a minute
		line := c.waitStep(t, ctx, leader, "converge", "ok ttl 20 (was 33, which is not the spec's)", 10*time.Second)
		if want := "kept, though the spec does not have it: member_slots_ttl"; !strings.Contains(line, want) {
			t.Errorf("it says %s, want %s", line, want)
		}
		c.patch(t, ctx, leader, `{"member_slots_ttl": null}`)
	})

	t.Run("passwords", func(t *testing.T) {
		good := c.Payload("patroni")
		fresh := maps.Clone(good)
		fresh["password.app_reader"] = "fresh1"
		fresh["patroni.env"] = regexp.MustCompile(`(REPLICATION|REWIND)_PASSWORD=.*`).ReplaceAllString(good["patroni.env"], "${1}_PASSWORD=fresh2")
		// logins are those that work with the passwords of a payload.
		logins := func(payload secrets.Payload) (works []string) {
			of := func(variable string) string {
				return regexp.MustCompile(variable + `=(.*)`).FindStringSubmatch(payload["patroni.env"])[1]
			}
			for user, login := range map[string]struct{ password, to, ask string }{
				"app_reader":       {payload["password.app_reader"], "dbname=app", "SELECT 1"},
				"replication_user": {of("REPLICATION_PASSWORD"), "replication=1", "IDENTIFY_SYSTEM"},
				"rewind_user":      {of("REWIND_PASSWORD"), "dbname=postgres", "SELECT 1"},
			} {
				if c.run(t, ctx, leader, "PGPASSWORD="+login.password+" psql -XAtq 'host=/var/run/postgresql user="+user+" "+login.to+"' -c '"+login.ask+"' 2>/dev/null || :") != "" {
					works = append(works, user)
				}
			}
			slices.Sort(works)
			return works
		}
		l.fault(t, ctx, 0, func() {
			old := good
			for _, payload := range []secrets.Payload{fresh, good} {
				if err := c.PutPayload("patroni", payload); err != nil {
					t.Fatal(err)
				}
				for _, name := range postgres {
					c.run(t, ctx, name, "systemctl start pgha-secrets-refresh.service")
				}
				start := time.Now()
				for len(logins(payload)) < 3 {
					if time.Since(start) > labtest.Here(20*time.Second) {
						t.Fatalf("after 20 s only %q log in with the new passwords", logins(payload))
					}
					time.Sleep(100 * time.Millisecond)
				}
				t.Logf("set %.1f s after the last node had the secrets", time.Since(start).Seconds())
				if works := logins(old); len(works) > 0 {
					t.Errorf("%q still log in with the old passwords", works)
				}
				old = payload
			}
		})
		l.quiet(t)
		c.whole(t, ctx)
	})

	// user-data with such a value never gets so far: what somebody wrote to the
	// file is looked at all the same.
	t.Run("a parameter that Patroni or PostgreSQL refuses", func(t *testing.T) {
		// It puts back what user-data says, and may be faster than the second look.
		c.run(t, ctx, leader, "systemctl stop pgha-refresh-follow.service")
		before := c.configuration(t, ctx, leader)
		for value, want := range map[string]string{
			"5":        "fail postgresql.parameters.max_connections: Patroni refuses 5, and would take 100",
			"99999999": `fail PostgreSQL refuses a parameter: 99999999 is outside the valid range for parameter "max_connections"`,
		} {
			c.run(t, ctx, leader, "cp -p /etc/patroni/bootstrap.yml /run/kept && sed -i 's/max_connections: 300/max_connections: "+value+"/' /etc/patroni/bootstrap.yml")
			c.waitStep(t, ctx, leader, "converge", want, 10*time.Second)
			c.run(t, ctx, leader, "mv /run/kept /etc/patroni/bootstrap.yml")
			c.waitStep(t, ctx, leader, "converge", "ok all is as the spec says", 10*time.Second)
		}
		if after := c.configuration(t, ctx, leader); after != before {
			t.Errorf("the dynamic configuration was %s and is %s", before, after)
		}
		c.run(t, ctx, leader, "systemctl start pgha-refresh-follow.service")
	})

	if now := c.starts(t, ctx); !maps.Equal(now, started) {
		t.Errorf("PostgreSQL was started at %v, and is since %v", started, now)
	}

	t.Run("the leader changes on the way", func(t *testing.T) {
		var users strings.Builder
		for i := range 40 {
			fmt.Fprintf(&users, "      - {name: many_%d, databases: [app], member_of: [pg_read_all_data]}\n", i)
		}
		done := make(chan string, 1)
		go func() {
			time.Sleep(1500 * time.Millisecond)
			out, err := machinetest.Exec(ctx, c.Machine(leader), "sh", "-c", api("-X POST -d '{\"leader\": \""+leader+"\"}'", "switchover"))
			done <- fmt.Sprintf("%s %v", out, err)
		}()
		took := c.until(t, ctx, c.changed(t, "    pg_hba: [] =>"+users.String()+"    pg_hba: [] "), func() bool {
			out, err := machinetest.Exec(ctx, c.Machine("demo-pg-1"), "setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "psql", "-XAtq", "-c",
				"SELECT count(*) FROM pg_roles WHERE rolname ~ '^many_' AND rolcanlogin AND pg_has_role(oid, 'pg_read_all_data', 'MEMBER') AND has_database_privilege(oid, 'app', 'CONNECT')")
			return err == nil && strings.TrimSpace(string(out)) == "40"
		})
		t.Logf("all forty are there %.1f s after metadata changed; %s", took.Seconds(), <-done)
		now := c.whole(t, ctx)
		if now == leader {
			t.Errorf("%s still leads", leader)
		}
		c.waitStep(t, ctx, leader, "converge", "ok this node does not lead", 10*time.Second)
		c.waitStep(t, ctx, now, "converge", "ok", 10*time.Second)
		leader = now
	})

	// Its metadata was forgotten, say, or its user-data is refused.
	t.Run("a node that missed a change leads", func(t *testing.T) {
		late := postgres[(slices.Index(postgres, leader)+1)%3]
		c.run(t, ctx, late, "systemctl stop pgha-refresh-follow.service")
		login := func(node string) string {
			return c.sql(t, ctx, node, "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'newcomer'")
		}
		c.until(t, ctx, c.changed(t, "    pg_hba: [] =>      - {name: newcomer, databases: [app]}\n    pg_hba: [] ", "maximum_lag_on_failover: 1MB=>maximum_lag_on_failover: 2MB"),
			func() bool {
				return login(leader) == "t" && strings.Contains(c.configuration(t, ctx, leader), `"maximum_lag_on_failover": 2097152`)
			})
		// But for the secrets, with the password of the new user, which may be on their way.
		had := regexp.MustCompile(`"secrets": "[^"]*"`)
		before := had.ReplaceAllString(c.configuration(t, ctx, leader), "")
		c.run(t, ctx, late, api(`-X POST -d '{"leader": "`+leader+`", "candidate": "`+late+`"}'`, "switchover"))
		line := c.waitStep(t, ctx, late, "converge", "fail this node has the user-data ", 20*time.Second)
		// It may have missed the new user's password as well, which it looks for by itself.
		if !regexp.MustCompile(`and [0-9a-f]{16} came after it \(give it the new one\); (nothing but passwords|this node has the secrets .*; nothing) is changed`).MatchString(line) {
			t.Errorf("it says %s", line)
		}
		if now := had.ReplaceAllString(c.configuration(t, ctx, late), ""); now != before {
			t.Errorf("the dynamic configuration was %s and is %s", before, now)
		}
		if can := login(late); can != "t" { // the other one may be starting as a replica
			t.Errorf("the new user may log in: %s", can)
		}
		c.run(t, ctx, late, "systemctl start pgha-refresh-follow.service")
		c.waitStep(t, ctx, late, "converge", "ok all is as the spec says", 10*time.Second)
		c.whole(t, ctx)
	})

	l.end(t, ctx)
}

// until refreshes with a spec and waits for what shall follow. It takes the
// time from metadata's change on.
func (c *cluster) until(t *testing.T, ctx context.Context, spec *role.Cluster, reached func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	if err := c.Refresh(ctx, spec); err != nil {
		t.Fatal(err)
	}
	for !reached() {
		if time.Since(start) > labtest.Here(time.Minute) {
			for _, name := range postgres {
				t.Logf("%s: %v", name, c.status(t, ctx, name).Steps)
			}
			t.Fatal("it does not come to that")
		}
		time.Sleep(100 * time.Millisecond)
	}
	return time.Since(start)
}

// api is a command that asks the Patroni of a node, as that node. Patroni does
// not answer for a moment when it takes new secrets.
func api(options, path string) string {
	return `. /run/pgha/identity.env; umask 077; { printf 'user = "patroni:'; sed -n 's/^PATRONI_RESTAPI_PASSWORD=//p' /run/pgha/secrets/patroni.env | tr -d '\n'; echo '"'; } |
		curl -q -s -S --noproxy '*' --retry 5 --retry-all-errors --retry-delay 1 -K - --cacert /run/pgha/secrets/ca.crt --cert /run/pgha/secrets/node.crt --key /run/pgha/secrets/node.key \
		--resolve $NODE_FQDN:8008:$NODE_ADDRESS ` + options + ` https://$NODE_FQDN:8008/` + path
}

func (c *cluster) configuration(t *testing.T, ctx context.Context, node string) string {
	t.Helper()
	return c.run(t, ctx, node, api("", "config"))
}

// pending are the nodes whose PostgreSQL has to be restarted.
func (c *cluster) pending(t *testing.T, ctx context.Context, node string) (nodes []string) {
	t.Helper()
	var told struct {
		Members []struct {
			Name    string
			Pending bool `json:"pending_restart"`
		}
	}
	if err := json.Unmarshal([]byte(c.run(t, ctx, node, api("", "cluster"))), &told); err != nil {
		t.Fatal(err)
	}
	for _, m := range told.Members {
		if m.Pending {
			nodes = append(nodes, m.Name)
		}
	}
	return nodes
}

// starts says when each PostgreSQL was started.
func (c *cluster) starts(t *testing.T, ctx context.Context) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range postgres {
		all[name] = c.sql(t, ctx, name, "SELECT pg_postmaster_start_time()")
	}
	return all
}
