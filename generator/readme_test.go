package generator_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"pgha-gen/internal/demo"
)

// Edits of the reference, by builder of images.
const (
	withQEMU = "images:\n  builder: qemu\n  base:\n    url: base.qcow2\n    checksum: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
	withSSH  = "images:\n  builder: ssh\n  base:\n    host: 192.0.2.7\n"
)

// TestReadme: the cluster's README says what holds for this cluster, and each of
// its commands is one to a shell, which reads it and runs none.
func TestReadme(t *testing.T) {
	const operated = "access:\n  operators: [10.9.0.0/24]\n  monitoring: [10.8.0.1/32]\n"
	tests := []struct {
		name, reason string
		edits        []string
		say, silent  []string
	}{
		{"example", "through HAProxy, with the CA and where the password is", nil, []string{
			`PGPASSWORD=$(jq -r '.[] | select(.key == "password.app").text_value' secrets/demo/patroni.json)`,
			`psql "host=10.128.0.40 port=5431 dbname=app user=app sslmode=verify-full sslrootcert=secrets/demo/ca.crt"`,
			`export YC_TOKEN=$(yc iam create-token)`, "yc vpc subnet update e9bexample --route-table-id",
			"| network-ssd | 415GB | 200GB: ask for more |", "| `secrets.lockbox.etcd` | `e6qexampleetcd` |",
		}, nil},
		{"nothing there", "all is created, and known by its name", []string{"cloud:\n  -subnets:\n  nat_gateway: true\n  -service_accounts:\n  create_security_groups: true\n  placement: spread\nsecrets:\n  -lockbox:\n", "subnet_id: e9bexample=>subnet_id: \"\""}, []string{
			"What has no id above is created: a network, its subnets, a NAT gateway, security groups, service accounts, secrets, still without what they are to hold, placement groups.",
			"\nsh deploy/create.sh base\n", "   yc lockbox secret add-version --folder-id b1gexample --name demo-etcd --payload - <secrets/demo/etcd.json\n",
			"`-var subnet_id=\"$(yc vpc subnet get --folder-id b1gexample --name demo-ru-central1-a --format json | jq -r .id)\"`",
			"So does the security group of each role", "| networks | 1 | 2 |", "| placement groups | 2 | 2 |",
		}, []string{"yc vpc subnet update", "secrets.lockbox.etcd", "cloud.service_accounts.etcd", "add-access-binding", "one for each bake"}},
		{"backups", "the bucket is made, too, and stays", []string{"backup:\n  bucket: demo-backup\n"}, []string{
			"is created: a bucket.", "`lockbox.admin`, `storage.admin`.", "unless the words `disks`, `secrets` and `backups` follow. A bucket",
			"| `sh deploy/create.sh base` | `pgha-cloud deploy base` |",
		}, []string{"yc storage bucket"}},
		{"backups in a bucket that is there", "nothing is made", []string{"backup:\n  bucket: demo-backup\n  create_bucket: false\n"}, []string{
			"| `backup.bucket` | `demo-backup` | `yc storage bucket list --folder-id b1gexample` | |", "nor its secrets, unless the words `disks` and `secrets` follow:",
			"| `sh deploy/create.sh`, and at the end `finish` | `pgha-cloud deploy`: waits until all machines are ready |",
		}, []string{"a bucket.", "storage.admin", "deploy base"}},
		{"a load balancer", "clients know it by its name alone", []string{"cloud:\n  load_balancer: external\n  entry_point: db.example.net\n  dns_zone: dnsexample\n",
			"      - {name: demo-haproxy-1, zone: ru-central1-a, address: 10.128.0.40}=>      - {name: demo-haproxy-1, zone: ru-central1-a, address: 10.128.0.40}\n      - {name: demo-haproxy-2, zone: ru-central1-a, address: 10.128.0.41}"}, []string{
			"| `cloud.dns_zone` | `dnsexample` | `yc dns zone list --folder-id b1gexample` | |", "`lockbox.admin`, `load-balancer.admin`, `dns.editor`.",
			"Clients connect to `db.example.net`, which is the external load balancer: `create.sh` says its address at its end.",
			`psql "host=db.example.net port=5431 dbname=app user=app sslmode=verify-full`, "| haproxy | 8405 | … | 198.18.235.0/24, 198.18.248.0/24 |",
		}, []string{"host=10.128.0.40", "a DNS zone", "Make its record"}},
		{"some there", "what is given is not created, and what is not given is", []string{"cloud:\n  service_accounts: {etcd: ajea}\nsecrets:\n  lockbox: {patroni: e6qb}\n"}, []string{
			"is created: service accounts, secrets, still without what they are to hold.", "   yc lockbox secret add-version --id e6qb ",
			"   yc lockbox secret add-access-binding --id e6qb --role lockbox.payloadViewer --folder-id b1gexample --service-account-name demo-patroni\n",
		}, []string{"subnet_id="}},
		{"nobody beside clients", "neither operators nor monitoring", nil, []string{
			"| etcd | 2379 | … | patroni, etcd |", "| etcd | 2381 | … | nobody |",
			"| patroni | 8008 | … | patroni, haproxy |", "| haproxy | 5431 | … | 10.128.0.0/24 |", "| haproxy | 9190 | … | nobody |",
		}, nil},
		{"operators and monitoring", "each where it belongs, and no further", []string{operated}, []string{
			"| etcd | 2379 | … | patroni, etcd, 10.9.0.0/24 |", "| etcd | 2380 | … | etcd |", "| etcd | 2381 | … | 10.8.0.1/32 |",
			"| patroni | 5432 | … | patroni, haproxy, 10.128.0.0/24, 10.9.0.0/24 |",
			"| etcd | 9190 | … | 10.8.0.1/32, 10.9.0.0/24 |", "| haproxy | 8404 | … | 10.8.0.1/32, 10.9.0.0/24, 198.18.235.0/24, 198.18.248.0/24 |",
			"curl --cacert secrets/demo/ca.crt https://10.128.0.21:8008/cluster",
		}, nil},
		{"by name", "a machine without an address is of its role, too", []string{", address: 10.128.0.11=>", ", address: 10.128.0.22=>"}, []string{
			"| etcd | 2379 | … | patroni, etcd |", "| etcd | 2380 | … | etcd |",
		}, nil},
		{"without HAProxy", "libpq finds the node that leads", []string{"roles:\n  -haproxy:\n"}, []string{
			`psql "host=10.128.0.21,10.128.0.22,10.128.0.23 port=5432 dbname=app user=app target_session_attrs=read-write sslmode=verify-full`,
		}, nil},
		{"etcd alone", "there is nothing to connect to", []string{etcdAlone}, []string{"sh deploy/create.sh finish"}, []string{"PGPASSWORD"}},
		{"Yandex Cloud", "Packer makes a machine for each role", nil,
			[]string{"\n   sh packer/images.sh\n"}, []string{"seed_directory", "ADDRESS"}},
		{"QEMU", "the machines let in whom the seed says", []string{withQEMU},
			[]string{"sh packer/images.sh -var seed_directory=", "`../demo-etcd.image/demo-etcd.qcow2`"}, []string{"packer init", "ADDRESS"}},
		{"SSH", "there is one machine, and it takes one role", []string{withSSH},
			[]string{"(cd packer/etcd && packer build -var host=ADDRESS .)", "`192.0.2.7`", "Packer 1.9.5"}, []string{"images.sh", "packer init"}},
	}
	ports := regexp.MustCompile(`(?m)^(\| \w+ \| \d+) \| .* (\| [^|]* \|)$`)
	blocks := regexp.MustCompile("(?ms)^ *```\n(.*?)^ *```$")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			files := demo.Files(t, demo.Cluster(t, test.edits...))
			text := string(files["README.md"].Data)
			said := ports.ReplaceAllString(text, "$1 | … $2")
			for _, want := range test.say {
				if !strings.Contains(said, want) {
					t.Errorf("%s: it does not say %q", test.reason, want)
				}
			}
			for _, other := range test.silent {
				if strings.Contains(said, other) {
					t.Errorf("%s: it says %q", test.reason, other)
				}
			}
			if _, script := files["packer/images.sh"]; script != strings.Contains(said, "images.sh") {
				t.Errorf("packer/images.sh is there: %v, and README.md does not say so", script)
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
