package generator_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"pgha-gen/generator"
	"pgha-gen/roles"
)

// TestAdmitted: the cluster's README names whom the firewalls let in, machines by
// their role, whether they are known by address or by name.
func TestAdmitted(t *testing.T) {
	src, err := os.ReadFile("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	operated := strings.NewReplacer("operators: []", "operators: [10.9.0.0/24]", "monitoring: []", "monitoring: [10.8.0.1/32]")
	named := strings.NewReplacer(", address: 10.128.0.11", "", ", address: 10.128.0.22", "")
	tests := []struct {
		name, reason, spec string
		want               []string
	}{
		{"example", "neither operators nor monitoring", string(src), []string{
			"| etcd | 2379 | … | patroni, etcd |", "| etcd | 2381 | … | nobody |",
			"| patroni | 8008 | … | patroni, haproxy |", "| haproxy | 5431 | … | 10.128.0.0/24 |"}},
		{"operators and monitoring", "each where it belongs, and no further", operated.Replace(string(src)), []string{
			"| etcd | 2379 | … | patroni, etcd, 10.9.0.0/24 |", "| etcd | 2380 | … | etcd |", "| etcd | 2381 | … | 10.8.0.1/32 |",
			"| patroni | 5432 | … | patroni, haproxy, 10.128.0.0/24, 10.9.0.0/24 |"}},
		{"by name", "a machine without an address is of its role, too", named.Replace(string(src)), []string{
			"| etcd | 2379 | … | patroni, etcd |", "| etcd | 2380 | … | etcd |"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := generator.Read("pgha.yaml", []byte(test.spec), roles.All())
			if err != nil {
				t.Fatal(err)
			}
			files, err := generator.Generate(c)
			if err != nil {
				t.Fatal(err)
			}
			var rows []string
			for line := range strings.Lines(string(files["README.md"].Data)) {
				if cells := strings.Split(strings.TrimSpace(line), " | "); len(cells) == 4 {
					rows = append(rows, cells[0]+" | "+cells[1]+" | … | "+cells[3])
				}
			}
			all := strings.Join(rows, "\n")
			for _, row := range test.want {
				if !strings.Contains(all, row) {
					t.Errorf("%s: no row %s in\n%s", test.reason, row, all)
				}
			}
		})
	}
}

// TestReadmeCommands gives each command of the cluster's README to a shell, which
// reads it and runs none.
func TestReadmeCommands(t *testing.T) {
	src := string(example(t))
	operated := strings.Replace(src, "operators: []", "operators: [10.9.0.0/24]", 1)
	direct := src[:strings.Index(src, "\n  haproxy:")]
	tests := []struct {
		name, reason, spec string
		want               []string
	}{
		{"example", "through HAProxy, with the CA and where the password is", src, []string{
			`PGPASSWORD=$(jq -r '.[] | select(.key == "password.app").text_value' secrets/demo/patroni.json)`,
			`psql "host=10.128.0.40 port=5431 dbname=app user=app sslmode=verify-full sslrootcert=secrets/demo/ca.crt"`,
			`export YC_TOKEN=$(yc iam create-token)`, "yc vpc subnet update e9bexample --route-table-id",
			"| network-ssd | 415GB | 200GB: ask for more |", "| `secrets.lockbox.etcd` | `e6qexampleetcd` |",
		}},
		{"operators", "who may ask Patroni", operated, []string{"curl --cacert secrets/demo/ca.crt https://10.128.0.21:8008/cluster"}},
		{"without HAProxy", "libpq finds the node that leads", direct, []string{
			`psql "host=10.128.0.21,10.128.0.22,10.128.0.23 port=5432 dbname=app user=app target_session_attrs=read-write sslmode=verify-full`}},
		{"etcd alone", "there is nothing to connect to", string(minimal(t)), []string{"sh deploy/create.sh finish"}},
	}
	blocks := regexp.MustCompile("(?ms)^ *```\n(.*?)^ *```$")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := string(generate(t, read(t, []byte(test.spec)))["README.md"].Data)
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("no %q: %s", want, test.reason)
				}
			}
			found := blocks.FindAllStringSubmatch(text, -1)
			if len(found) < 4 {
				t.Fatalf("%d blocks of commands, want at least 4", len(found))
			}
			for _, block := range found {
				sh := exec.Command("sh", "-n")
				sh.Stdin = strings.NewReader(block[1])
				if out, err := sh.CombinedOutput(); err != nil {
					t.Errorf("no commands: %v: %s\n%s", err, out, block[1])
				}
			}
		})
	}
}
