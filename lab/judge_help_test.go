//go:build linux

package lab_test

import (
	"crypto/rand"
	"encoding/base64"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"pgha-gen/deploy/secrets"
	"pgha-gen/internal/demo"
)

// userDataFile is a file as cloud-init would write it from this user-data.
func userDataFile(t *testing.T, userData []byte, path string) []byte {
	t.Helper()
	var doc struct {
		Files []struct{ Path, Content, Encoding string } `yaml:"write_files"`
	}
	if err := yaml.Unmarshal(userData, &doc); err != nil {
		t.Fatal(err)
	}
	for _, f := range doc.Files {
		if f.Path != path {
			continue
		}
		if f.Encoding != "b64" {
			return []byte(f.Content)
		}
		data, err := base64.StdEncoding.DecodeString(f.Content)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	t.Fatalf("user-data has no %s", path)
	return nil
}

// judgeSecrets are the files that pgha-secrets would put on demo-etcd-1, and
// beside them those of demo-pg-1.
func judgeSecrets(t *testing.T) map[string][]byte {
	t.Helper()
	now := time.Now()
	authority, err := secrets.NewCA("demo", now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	payloads, err := authority.Payloads(demo.Cluster(t), now)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for from, to := range map[string]string{
		"ca.crt":                 "ca.crt",
		"demo-etcd-1.server.crt": "server.crt", "demo-etcd-1.server.key": "server.key",
		"demo-etcd-1.peer.crt": "peer.crt", "demo-etcd-1.peer.key": "peer.key",
	} {
		files[to] = []byte(payloads["etcd"][from])
	}
	for _, name := range []string{"node.crt", "node.key"} {
		files[name] = []byte(payloads["patroni"]["demo-pg-1."+name])
	}
	files["patroni.env"] = []byte(payloads["patroni"]["patroni.env"])
	return files
}

func authorityForJudges(t *testing.T) []byte {
	t.Helper()
	return judgeSecrets(t)["ca.crt"]
}
