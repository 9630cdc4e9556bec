package roles_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgha-gen/deploy/secrets"
	"pgha-gen/generator"
	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles"
)

// pooler is a role that the project does not have. All that it takes is this, its
// folder testdata/pooler, and a line in the list of roles.
type pooler struct {
	Port int `yaml:"port"`
	role.Common[role.Compute, role.Node]
}

func poolerRole(t *testing.T) *role.Role {
	reference := testkit.Text(t, "testdata/pooler/reference.yaml")
	return &role.Role{
		Name: "pooler", Doc: "A connection pooler.", Files: os.DirFS("testdata/pooler/image"), Reference: reference,
		Offers: []role.Capability{role.Proxy}, Uses: []role.Capability{role.Database}, ReadsSecrets: true,
		New: func(*role.Cluster) role.Settings {
			s := &pooler{Port: 6432}
			s.Machine = role.Compute{
				Platform: "standard-v3", Cores: 2, CoreFraction: 100, Memory: 2 * specfile.GiB,
				BootDisk: role.Disk{Type: role.SSD, Size: 10 * specfile.GiB},
			}
			return s
		},
	}
}

func (s *pooler) Check(c *role.Cluster, at specfile.Place) {
	role.CheckPorts(role.PlacedPort{Number: s.Port, At: at.Key("port")})
}

func (s *pooler) Plan(c *role.Cluster) (*role.Plan, error) {
	config, err := emit.Env(emit.Map{{Key: "POOLER_BACKEND", Value: c.Offering(role.Database)[0].Host(c)}, {Key: "POOLER_PORT", Value: c.Database().Port}})
	if err != nil {
		return nil, err
	}
	return &role.Plan{
		Bake: emit.Map{}, Requires: []string{"pooler>=1"}, Unit: "pooler.service", User: "pooler",
		Secrets: []role.Secret{
			{File: "ca.crt", Kind: role.CA},
			{File: "node.crt", PerNode: true, Kind: role.Certificate}, {File: "node.key", PerNode: true, Kind: role.Key},
		},
		Ports:  []role.Port{{Number: s.Port, For: "clients", From: role.Networks(c.Access.Clients)}},
		Files:  []cloudinit.File{{Path: "/etc/pooler/pooler.env", Data: config}},
		Expect: []role.Expectation{{What: "a pooler lost", Then: "its clients connect to another"}},
		Proxy:  &role.ProxyOffer{Primary: s.Port, Replicas: s.Port},
	}, nil
}

// A role costs one folder and one line: with them, everything that is made of a
// spec knows it, and the other roles let its machines in.
func TestNewRole(t *testing.T) {
	all := append(roles.All(), poolerRole(t))
	reference := generator.Reference(all)
	c, err := generator.Read("pgha.yaml", []byte(reference), all)
	if err != nil {
		t.Fatalf("the reference with the role: %v", err)
	}
	files, err := generator.Generate(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ file, reason, text string }{
		{"cluster.yaml", "the spec with every default", "  pooler:\n    port: 6432\n"},
		{"user-data/pooler.yaml", "its own file, made of what another role offers", "      POOLER_BACKEND=10.128.0.21\n      POOLER_PORT=5432\n"},
		{"user-data/pooler.yaml", "its port is open to clients", "      admit 6432 10.128.0.0/24\n"},
		{"user-data/pooler.yaml", "its secrets", "PGHA_SECRET_ID=e6qexamplepooler\n"},
		{"user-data/patroni.yaml", "PostgreSQL's firewall lets it in", "      admit 5432 10.128.0.50/32\n"},
		{"user-data/patroni.yaml", "and so does PostgreSQL", `10.128.0.50/32 scram-sha-256`},
		{"packer/pooler/bake.sh", "its image", "account pooler 543"},
		{"packer/pooler/rootfs/usr/lib/systemd/system/pooler.service", "and what is in it", "Connection pooler"},
		{"packer/pooler/image.auto.pkrvars.json", "with its values", `"image_family": "demo-pooler"`},
		{"deploy/create.sh", "its machine", "machine demo-pooler-1 "},
		{"deploy/create.sh", "with its account", "--service-account-id ajeexamplepooler"},
		{"README.md", "its place among the machines", "| pooler | demo-pooler-1 | ru-central1-a | 10.128.0.50 |"},
		{"README.md", "its secret", "secrets/demo/pooler.json"},
		{"README.md", "what to expect of it", "| a pooler lost | its clients connect to another |"},
	} {
		if !strings.Contains(string(files[want.file].Data), want.text) {
			t.Errorf("%s has no %q: %s", want.file, want.text, want.reason)
		}
	}

	schema, err := generator.Schema(all)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(schema), "where clients connect") {
		t.Error("the schema does not know what the reference says of the role's port")
	}
	if fresh, err := generator.Example("mydb", all); err != nil || !strings.Contains(string(fresh), "mydb-pooler-1") {
		t.Errorf("init writes no pooler (%v):\n%s", err, fresh)
	}

	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	ca, err := secrets.NewCA(c.Name, now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	payloads, err := ca.Payloads(c, now)
	if err != nil {
		t.Fatal(err)
	}
	if payloads["pooler"]["demo-pooler-1.node.key"] == "" {
		t.Error("its payload has no key for its machine")
	}
	block, _ := pem.Decode([]byte(payloads["patroni"]["demo-pg-1.node.crt"]))
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(certificate.DNSNames, "demo-pooler-1") {
		t.Errorf("a client that connects through the pooler would not accept PostgreSQL's certificate, which is of %v", certificate.DNSNames)
	}
}

// What a role says of itself before there is a plan holds for its plan, too.
func TestPlanAgrees(t *testing.T) {
	tests := []struct {
		name, reason string
		change       func(*role.Role)
		want         string
	}{
		{"secrets", "nobody would give its machines an account", func(r *role.Role) { r.ReadsSecrets = false }, "secrets: promised false, planned true"},
		{"offer", "others would find nothing to use", func(r *role.Role) { r.Offers = append(r.Offers, role.DCS) }, "offer dcs: promised true, planned false"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, err := generator.Read("pgha.yaml", []byte(generator.Reference(append(roles.All(), poolerRole(t)))), append(roles.All(), poolerRole(t)))
			if err != nil {
				t.Fatal(err)
			}
			test.change(c.Group("pooler").Role)
			if err := c.Plan(); err == nil || err.Error() != "role pooler: internal error: "+test.want {
				t.Errorf("got %v, want %q: %s", err, test.want, test.reason)
			}
		})
	}
}
