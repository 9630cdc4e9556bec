package etcd_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles/etcd"
)

func TestEnvironment(t *testing.T) {
	tests := []struct {
		name, reason string
		edits        []string
	}{
		{"balanced", "every default", nil},
		{"fast", "the heartbeats of balanced are as fast as is good", []string{"failover: fast"}},
		{"safe", "slower heartbeats tolerate slower networks", []string{"failover: safe"}},
		{"by-name", "a node without an address is found by its name in the DNS", []string{
			"name: e2, zone: ru-central1-b, address: 10.129.0.12=>name: e2, zone: ru-central1-b"}},
		{"other-domain", "and the domain is the spec's", []string{
			"cloud:\n=>cloud:\n  domain: db.example\n",
			"name: e1, zone: ru-central1-a, address: 10.128.0.11=>name: e1, zone: ru-central1-a"}},
		{"override", "timers come from their keys, and raw variables are added in order", []string{
			"  etcd:\n=>  etcd:\n    heartbeat_interval: 50ms\n    election_timeout: 500ms\n    auto_compaction_retention: 30m\n    quota_backend_bytes: 4GB\n" +
				"    env: {ETCD_SNAPSHOT_COUNT: 5000, ETCD_LOG_LEVEL: debug}\n"}},
		{"single", "one member is a cluster", []string{
			"      - {name: e2, zone: ru-central1-b, address: 10.129.0.12}\n=>", "      - {name: e3, zone: ru-central1-a, address: 10.128.0.13}\n=>"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Log(test.reason)
			files := demo.UserFiles(t, demo.Small(t, test.edits...), etcd.Name)
			if len(files) != 1 {
				t.Errorf("got %d files, want /etc/etcd/etcd.env alone", len(files))
			}
			testkit.Golden(t, test.name+".golden.env", files["/etc/etcd/etcd.env"])
		})
	}
}

func TestBake(t *testing.T) {
	const sum = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	tests := []struct {
		name, reason string
		edits        []string
		want         emit.Map
	}{
		{"default", "the version that the first user had, from the project's own place", nil, emit.Map{
			{Key: "ETCD_VERSION", Value: "3.5.15"},
			{Key: "ETCD_URL", Value: "https://github.com/etcd-io/etcd/releases/download/v3.5.15/etcd-v3.5.15-linux-amd64.tar.gz"},
			{Key: "ETCD_MIRROR", Value: ""},
			{Key: "ETCD_SHA256", Value: "3f6b48d8c2844699f2b19c1880508ecf63e1489769ed37ebb97495d5cd848a89"},
		}},
		{"arm64", "another architecture has another archive", []string{
			"images: {builder: ssh, architecture: arm64, base: {host: a}}", "  etcd:\n=>  etcd:\n    version: 3.5.33\n"}, emit.Map{
			{Key: "ETCD_VERSION", Value: "3.5.33"},
			{Key: "ETCD_URL", Value: "https://github.com/etcd-io/etcd/releases/download/v3.5.33/etcd-v3.5.33-linux-arm64.tar.gz"},
			{Key: "ETCD_MIRROR", Value: ""},
			{Key: "ETCD_SHA256", Value: "0764c5c0acef155f4bfa0487791cc5776adef66315bf16ec0653883bfd463a90"},
		}},
		{"unknown version", "with a checksum, any version and place will do", []string{
			"  etcd:\n=>  etcd:\n    version: 3.5.40\n    artifacts: {etcd: {url: \"https://mirror.example/e.tgz\", sha256: " + sum + "}}\n"}, emit.Map{
			{Key: "ETCD_VERSION", Value: "3.5.40"},
			{Key: "ETCD_URL", Value: "https://github.com/etcd-io/etcd/releases/download/v3.5.40/etcd-v3.5.40-linux-amd64.tar.gz"},
			{Key: "ETCD_MIRROR", Value: "https://mirror.example/e.tgz"},
			{Key: "ETCD_SHA256", Value: sum},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := demo.Small(t, test.edits...)
			if diff := cmp.Diff(test.want, c.Group(etcd.Name).Plan.Bake); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

func TestExpect(t *testing.T) {
	c := demo.Small(t)
	expect := []role.Expectation{
		{What: "etcd members that may be lost", Then: "1 of 3"},
		// etcd waits for one to two election timeouts, and the vote.
		{What: "etcd leader lost", Then: "another leads after about 1 to 2.1 s (election timeout 1s)"},
	}
	plan := c.Group(etcd.Name).Plan
	if diff := cmp.Diff(expect, plan.Expect); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if len(plan.Fixed) > 0 {
		t.Errorf("%v are fixed: members come and go", plan.Fixed)
	}
}
