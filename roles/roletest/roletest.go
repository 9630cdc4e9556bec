// Package roletest makes clusters of short specs for the roles' tests, and
// compares the files of a role with those in its testdata.
package roletest

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator"
	"pgha-gen/generator/role"
	"pgha-gen/roles"
)

var update = flag.Bool("update", false, "write the golden files anew")

// spec has what is required, and nothing that a test would want to change.
const spec = `format: pgha/v1
name: demo
cloud:
  folder_id: b1gexample
  service_accounts: {etcd: ajea, patroni: ajeb}
  subnets: {ru-central1-a: e9bexample, ru-central1-b: e2lexample}
access: {clients: [10.128.0.0/24, 192.168.7.0/24]}
secrets: {lockbox: {etcd: e6qa, patroni: e6qb}, ca: "-----BEGIN CERTIFICATE-----\nMIIBdTCCARugAwIBAgIQJUWQa6XTYhz91TCDlpmo+zAKBggqhkjOPQQDAjAZMRcw\nFQYDVQQDEw5kZW1vIGF1dGhvcml0eTAeFw0yNTEyMzEyMzAwMDBaFw0zNTEyMzAw\nMDAwMDBaMBkxFzAVBgNVBAMTDmRlbW8gYXV0aG9yaXR5MFkwEwYHKoZIzj0CAQYI\nKoZIzj0DAQcDQgAE06+qFntibiQxuLZdrLoeaV8n3rq5+eFztnjGO2ES+YvC0A8P\nlQg+gQK719H8xfc3yd63baWl5o83r5uYuVUScaNFMEMwDgYDVR0PAQH/BAQDAgEG\nMBIGA1UdEwEB/wQIMAYBAf8CAQAwHQYDVR0OBBYEFJVbpgbJy0e7ogEYvPs21TtO\nkY03MAoGCCqGSM49BAMCA0gAMEUCIQDfdOXnYqJsxr8abJv7ZQuy/adlMS9AZfEz\nei0BtCrfrwIgbTZckxyikrfwByBcdjkAKpqAELx8eqqVVVm6uMxh/sA=\n-----END CERTIFICATE-----\n"}
roles:
  etcd:
    nodes:
      - {name: e1, zone: ru-central1-a, address: 10.128.0.11}
      - {name: e2, zone: ru-central1-b, address: 10.129.0.12}
      - {name: e3, zone: ru-central1-a, address: 10.128.0.13}
  patroni:
    nodes:
      - {name: p1, zone: ru-central1-a, address: 10.128.0.21}
      - {name: p2, zone: ru-central1-b, address: 10.129.0.22}
      - {name: p3, zone: ru-central1-a, address: 10.128.0.23}
  haproxy:
    nodes:
      - {name: h1, zone: ru-central1-a, address: 10.128.0.41}
      - {name: h2, zone: ru-central1-b, address: 10.129.0.42}
`

// Cluster reads a spec of three etcd, three Patroni and two HAProxy nodes. An
// edit is a line of that spec and what takes its place, separated by "=>"; an
// edit without "=>" is put before roles.
func Cluster(t testing.TB, edits ...string) *role.Cluster {
	t.Helper()
	src := spec
	for _, e := range edits {
		old, fresh, found := strings.Cut(e, "=>")
		if !found {
			old, fresh = "roles:\n", e+"\nroles:\n"
		}
		if strings.Count(src, old) != 1 {
			t.Fatalf("edit %q: its text is in the spec %d times, want once", e, strings.Count(src, old))
		}
		src = strings.Replace(src, old, fresh, 1)
	}
	c, err := generator.Read("pgha.yaml", []byte(src), roles.All())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Files are those that the user-data of a role's machines writes, by path.
func Files(t testing.TB, c *role.Cluster, name string) map[string]string {
	t.Helper()
	if err := c.Plan(); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range c.Group(name).Plan.Files {
		files[f.Path] = string(f.Data)
	}
	return files
}

// Golden compares a file with testdata/<name>, or with -update writes it there.
func Golden(t testing.TB, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; go test -update writes it anew):\n%s", path, diff)
	}
}
