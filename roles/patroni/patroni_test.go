package patroni_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/emit"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles/patroni"
)

const (
	config    = "/etc/patroni/config.yml"
	bootstrap = "/etc/patroni/bootstrap.yml"
	databases = "/etc/patroni/databases.json"
)

// operated lets operators in.
const operated = "access: {clients: [10.128.0.0/24, 192.168.7.0/24]}=>access: {clients: [10.128.0.0/24, 192.168.7.0/24], operators: [10.9.0.0/24, 10.9.7.1/32]}"

func TestFiles(t *testing.T) {
	in := func(section string) string { return "  patroni:\n=>  patroni:\n" + section }
	tests := []struct {
		name, reason string
		edits        []string
		others       map[string]string // besides the two that are always there: path to the golden's name
	}{
		{"default", "every default: the shortest lease, and quorum", nil,
			map[string]string{databases: "default.golden.json"}},
		{"balanced-async", "a longer lease, and nobody is waited for", []string{"failover: balanced", "durability: async"}, nil},
		{"safe-sync", "the longest lease, and one replica is waited for", []string{"failover: safe", "durability: sync"}, nil},
		{"strict", "writes wait for a replica, whether there is one or not", []string{"durability: strict"}, nil},
		{"by-name", "nodes without addresses are let in by name", []string{
			"name: p1, zone: ru-central1-a, address: 10.128.0.21=>name: p1, zone: ru-central1-a",
			"name: p2, zone: ru-central1-b, address: 10.129.0.22=>name: p2, zone: ru-central1-b",
			"name: p3, zone: ru-central1-a, address: 10.128.0.23=>name: p3, zone: ru-central1-a",
			"name: h1, zone: ru-central1-a, address: 10.128.0.41=>name: h1, zone: ru-central1-a",
			"name: e1, zone: ru-central1-a, address: 10.128.0.11=>name: e1, zone: ru-central1-a"}, nil},
		{"operators", "the nodes stand in the list, too: /failsafe takes nobody else; the administrator has a certificate, and comes through no proxy", []string{operated},
			map[string]string{databases: "operators.golden.json"}},
		{"operators-by-name", "no list of names: Patroni looks them up once", []string{operated,
			"name: p1, zone: ru-central1-a, address: 10.128.0.21=>name: p1, zone: ru-central1-a",
			"name: h1, zone: ru-central1-a, address: 10.128.0.41=>name: h1, zone: ru-central1-a"}, nil},
		{"old", "what older PostgreSQL does not know is left out", []string{in("    postgresql: 14\n")}, nil},
		{"users", "each user gets to its databases, from the clients and HAProxy; an owner may be listed for more", []string{in(
			"    databases: [{name: app, owner: app}, {name: shop, owner: app}, {name: stock, owner: stock}]\n" +
				"    users:\n      - {name: app_reader, databases: [app, shop, app], member_of: [pg_read_all_data]}\n" +
				"      - {name: stock, databases: [app], member_of: [app]}\n      - {name: nobody}\n" +
				"    pg_hba: ['hostssl \"app\" monitor 10.0.0.5/32 scram-sha-256', local all monitor peer]\n")},
			map[string]string{databases: "users.golden.json"}},
		{"override", "parameters win over the sized ones, raw configuration over all; null removes", []string{in(
			"    parameters: {max_connections: 500, work_mem: 64MB, shared_preload_libraries: \"pg_stat_statements\", pg_stat_statements.max: 10000}\n" +
				"    config: {log: {level: DEBUG, format: \"%(message)s\"}, thread_pool_size: 8, bootstrap: {dcs: {maximum_lag_on_syncnode: 1048576, check_timeline: false}},\n" +
				"             restapi: {server_tokens: ~, http_extra_headers: {X-Cluster: demo}}, watchdog: {safety_margin: -1}}\n" +
				"    watchdog: required\n    reclone_on_rewind_failure: false\n    ttl: 60\n    loop_wait: 15\n    retry_timeout: 20\n    primary_start_timeout: 0\n    maximum_lag_on_failover: 16MB\n")}, nil},
		{"tags", "a node with tags gets a file of its own, with what differs", []string{
			"durability: sync",
			"name: p2, zone: ru-central1-b, address: 10.129.0.22=>name: p2, zone: ru-central1-b, address: 10.129.0.22, tags: {failover_priority: 3, sync_priority: 2, clonefrom: true}",
			"name: p3, zone: ru-central1-a, address: 10.128.0.23=>name: p3, zone: ru-central1-a, address: 10.128.0.23, tags: {nofailover: true, nosync: true, noloadbalance: true, nostream: true, replicatefrom: p2, failover_priority: 0, sync_priority: 0}"},
			map[string]string{"/etc/patroni/nodes/p2.yml": "tags-p2.golden.yml", "/etc/patroni/nodes/p3.yml": "tags-p3.golden.yml"}},
		{"without-haproxy", "clients may connect directly", []string{
			"  haproxy:\n    nodes:\n      - {name: h1, zone: ru-central1-a, address: 10.128.0.41}\n      - {name: h2, zone: ru-central1-b, address: 10.129.0.42}\n=>",
			in("    databases: [{name: app, owner: app}]\n")}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Log(test.reason)
			files := demo.UserFiles(t, demo.Small(t, test.edits...), patroni.Name)
			testkit.Golden(t, test.name+".golden.yml", files[config])
			testkit.Golden(t, test.name+"-bootstrap.golden.yml", files[bootstrap])
			for path, golden := range test.others {
				testkit.Golden(t, golden, files[path])
			}
			want := 3 // these always
			for path := range test.others {
				if path != databases {
					want++
				}
			}
			if len(files) != want {
				t.Errorf("got %d files, want %d: nodes without tags have none of their own", len(files), want)
			}
		})
	}
}

func TestBake(t *testing.T) {
	c := demo.Small(t, "  patroni:\n=>  patroni:\n    postgresql: 17\n    packages: {postgresql: 17.6-1, patroni: 4.1.5-1, pgbackrest: 2.60.0-1}\n    apt: {mirror: \"https://mirror.example/pgdg\"}\n")
	want := emit.Map{
		{Key: "POSTGRESQL_MAJOR", Value: "17"},
		{Key: "POSTGRESQL_VERSION", Value: "17.6-1"},
		{Key: "PATRONI_VERSION", Value: "4.1.5-1"},
		{Key: "PGBACKREST_VERSION", Value: "2.60.0-1"},
		{Key: "APT_REPOSITORY", Value: "pgdg"},
		{Key: "APT_MIRROR", Value: "https://mirror.example/pgdg"},
	}
	if diff := cmp.Diff(want, c.Group(patroni.Name).Plan.Bake); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
