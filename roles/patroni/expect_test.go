package patroni_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles/patroni"
)

func facts(c *role.Cluster) map[string]string {
	all := map[string]string{}
	for _, f := range c.Group(patroni.Name).Plan.Expect {
		all[f.What] = f.Then
	}
	return all
}

func TestExpect(t *testing.T) {
	in := func(section string) string { return "  patroni:\n=>  patroni:\n" + section }
	tests := []struct {
		name, reason string
		edits        []string
		want         map[string]string
	}{
		{"default", "the lease was renewed up to loop_wait ago: 20-2 to 20, and two seconds to promote; a crash: 2+5", nil, map[string]string{
			"leader's machine lost":               "a replica leads after 18 to 22 s (ttl 20, loop_wait 2)",
			"leader's machine stopped as planned": "a checkpoint of up to 10 s while writes go on, then a replica leads once PostgreSQL has stopped: usually within 3 s, given up after 12 s",
			"leader paused or cut off":            "replaced if for longer than 18 s (ttl 20 - loop_wait 2); the cloud's live migration pauses a machine usually for not more than 10 s",
			"leader's PostgreSQL crashed":         "restarted in place, usually within 4 s; if it does not start, failover after 7 s (loop_wait 2, primary_start_timeout 5)",
			"leader's Patroni killed":             "writes go on: PostgreSQL stays, and Patroni is started again at once",
			"all of etcd away":                    "writes go on as long as the leader reaches Patroni on all other nodes (failsafe mode); there is no failover until most members are back",
			"a replica's machine lost":            "commits go on: another replica acknowledges them",
			"an acknowledged commit is on":        "the leader and any one replica, as long as there is a replica",
		}},
		{"balanced", "30-2 to 30+2; a crash: 2+30; of two replicas one is chosen", []string{"failover: balanced", "durability: sync"}, map[string]string{
			"leader's machine lost":        "a replica leads after 28 to 32 s (ttl 30, loop_wait 2)",
			"leader's PostgreSQL crashed":  "restarted in place, usually within 4 s; if it does not start, failover after 32 s (loop_wait 2, primary_start_timeout 30)",
			"a replica's machine lost":     "if it is the chosen one, commits wait for up to 32 s, until another one is chosen (ttl 30, loop_wait 2)",
			"an acknowledged commit is on": "the leader and one chosen replica, as long as there is a replica",
		}},
		{"safe", "60-2 to 60+2; a crash: 2+120", []string{"failover: safe", "durability: async"}, map[string]string{
			"leader's machine lost":        "a replica leads after 58 to 62 s (ttl 60, loop_wait 2)",
			"leader's PostgreSQL crashed":  "restarted in place, usually within 4 s; if it does not start, failover after 122 s (loop_wait 2, primary_start_timeout 120)",
			"a replica's machine lost":     "commits go on: they wait for no replica",
			"an acknowledged commit is on": "the leader's disk only: a failover may lose the last commits",
		}},
		{"at once", "a crash is seen within 2 and costs two more", []string{"durability: strict", in("    primary_start_timeout: 0\n")}, map[string]string{
			"leader's PostgreSQL crashed":  "failover at once: a replica leads after up to 4 s (primary_start_timeout 0)",
			"a replica's machine lost":     "if it is the chosen one, commits wait for up to 22 s, until another one is chosen (ttl 20, loop_wait 2)",
			"an acknowledged commit is on": "the leader and one chosen replica, always: without a replica, writes wait",
		}},
		{"impatient", "it cannot take longer to start than it may", []string{in("    primary_start_timeout: 1\n")}, map[string]string{
			"leader's PostgreSQL crashed": "restarted in place, usually within 3 s; if it does not start, failover after 3 s (loop_wait 2, primary_start_timeout 1)",
		}},
		{"one replica of two", "the other may not acknowledge, so quorum has no choice", []string{
			"address: 10.128.0.23}=>address: 10.128.0.23, tags: {nosync: true}}"}, map[string]string{
			"a replica's machine lost": "commits wait for up to 22 s, until Patroni no longer waits for it (ttl 20, loop_wait 2)",
		}},
		{"strict, one replica", "nobody else is left", []string{"durability: strict",
			"      - {name: p3, zone: ru-central1-a, address: 10.128.0.23}\n=>"}, map[string]string{
			"a replica's machine lost": "commits wait until it is back",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := facts(demo.Small(t, test.edits...))
			for name := range got {
				if _, asked := test.want[name]; !asked && test.name != "default" {
					delete(got, name)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// TestPresetsAreTold: what the reference and the docs say of the presets is what
// follows from their timers.
func TestPresetsAreTold(t *testing.T) {
	var timers, lost, paused []string
	for _, preset := range []string{"fast", "balanced", "safe"} {
		s := demo.Small(t, "failover: "+preset).Group(patroni.Name).Settings.(*patroni.Settings)
		timers = append(timers, fmt.Sprintf("%d, %d, %d, %d", s.TTL, s.LoopWait, s.RetryTimeout, s.PrimaryStartTimeout))
		lost = append(lost, fmt.Sprint(s.TTL+2))
		paused = append(paused, fmt.Sprint(s.TTL-s.LoopWait))
	}
	for file, want := range map[string]string{
		"../../docs/reference.yaml": "after the leader's machine is lost nobody leads for up to " + lost[0] + ", " + lost[1] + " or " + lost[2] +
			" s; a leader paused or cut off for more than " + paused[0] + ", " + paused[1] + " or " + paused[2] + " s is replaced",
		"../../docs/architecture.md": "| ttl, loop_wait, retry_timeout, primary_start_timeout | " + strings.Join(timers, " | ") + " |\n" +
			"| leader's machine lost: nobody leads for up to | " + strings.Join(lost, " s | ") + " s |\n" +
			"| replaced though it lives, if away for longer than | " + strings.Join(paused, " s | ") + " s |\n",
	} {
		text := testkit.Text(t, file)
		if !strings.Contains(text, want) {
			t.Errorf("%s does not say: %s", file, want)
		}
	}
}

// TestFixed changes each key by itself: those, and only those, that change what
// counts at the bootstrap are told to be fixed then.
func TestFixed(t *testing.T) {
	const p = "roles.patroni."
	in := func(section string) string { return "  patroni:\n=>  patroni:\n    " + section + "\n" }
	tests := map[string]string{
		"failover":                      "failover: safe",
		"durability":                    "durability: async",
		"cloud":                         "  folder_id: b1gexample=>  folder_id: b1gother",
		"access":                        "access: {clients: [10.128.0.0/24, 192.168.7.0/24]}=>access: {clients: [10.128.0.0/24]}",
		p + "postgresql":                in("postgresql: 16"),
		p + "packages":                  in("packages: {postgresql: 18.6-1}"),
		p + "apt":                       in("apt: {mirror: 'https://mirror.example'}"),
		p + "port":                      in("port: 5555"),
		p + "rest_port":                 in("rest_port: 8888"),
		p + "ttl":                       in("ttl: 25"),
		p + "loop_wait":                 in("loop_wait: 3"),
		p + "retry_timeout":             in("retry_timeout: 6"),
		p + "primary_start_timeout":     in("primary_start_timeout: 6"),
		p + "maximum_lag_on_failover":   in("maximum_lag_on_failover: 2MB"),
		p + "watchdog":                  in("watchdog: required"),
		p + "reclone_on_rewind_failure": in("reclone_on_rewind_failure: false"),
		p + "workload":                  in("workload: web"),
		p + "parameters":                in("parameters: {max_connections: 400}"),
		p + "databases":                 in("databases: [{name: app, owner: app}]"),
		p + "users":                     in("users: [{name: app}]"),
		p + "pg_hba":                    in("pg_hba: [local all monitor peer]"),
		p + "config":                    in("config: {bootstrap: {dcs: {check_timeline: false}}}"),
		p + "machine":                   in("machine: {cores: 12, memory: 48GB}"),
		p + "nodes":                     "address: 10.128.0.23}=>address: 10.128.0.23}",
	}
	for i := 4; i < 10; i++ { // hardly any number makes a difference
		tests[p+"nodes"] += fmt.Sprintf("\n      - {name: p%d, zone: ru-central1-a, address: 10.128.0.10%[1]d}", i)
	}
	settings := reflect.TypeFor[patroni.Settings]()
	for _, field := range reflect.VisibleFields(settings) {
		key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if field.Anonymous {
			continue
		}
		if tests[p+key] == "" {
			t.Errorf("%s%s: no edit of it", p, key)
		}
	}
	bootstrapping := func(c *role.Cluster) [2]string {
		files := demo.UserFiles(t, c, patroni.Name)
		return [2]string{files[bootstrap], files[databases]}
	}
	c := demo.Small(t)
	before := bootstrapping(c)
	var want, told []string
	for key, edit := range tests {
		if bootstrapping(demo.Small(t, edit)) != before {
			want = append(want, key)
		}
	}
	for _, f := range c.Group(patroni.Name).Plan.Fixed {
		told = append(told, f.Key)
	}
	slices.Sort(want)
	slices.Sort(told)
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("-changes what counts at the bootstrap, +told:\n%s", diff)
	}
}
