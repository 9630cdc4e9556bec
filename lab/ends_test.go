//go:build linux

package lab

import (
	"crypto/rand"
	"crypto/tls"
	"slices"
	"strings"
	"testing"
	"time"

	"pgha-gen/deploy/secrets"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloud"
)

// Certificates that end are those of the nodes that are named, and nothing else of
// Lockbox changes; what the machines should have stays good.
func TestEndCertificates(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	c := demo.Cluster(t)
	ca, err := secrets.NewCA(c.Name, now, rand.Reader)
	testkit.OK(t, err)
	good, err := ca.Payloads(c, now)
	testkit.OK(t, err)
	l := &Lab{CA: ca, cluster: c, payloads: good, config: Config{Now: clock}, Cloud: cloud.New(clock, rand.Reader, nil, nil),
		latest: map[string]secrets.Payload{}, versions: map[string]int{}}
	testkit.OK(t, l.EndCertificates(20*time.Second, "demo-pg-2", "demo-etcd-1", "demo-haproxy-1"))
	var changed []string
	for role, payload := range l.latest {
		for entry, text := range payload {
			if text == good[role][entry] {
				continue
			}
			changed = append(changed, entry)
			if !strings.HasSuffix(entry, ".crt") {
				continue
			}
			pair, err := tls.X509KeyPair([]byte(text), []byte(payload[strings.TrimSuffix(entry, ".crt")+".key"]))
			testkit.OK(t, err)
			if end := pair.Leaf.NotAfter; !end.Equal(now.Add(20 * time.Second)) {
				t.Errorf("%s ends at %v", entry, end)
			}
		}
	}
	slices.Sort(changed)
	want := "demo-etcd-1.peer.crt demo-etcd-1.peer.key demo-etcd-1.server.crt demo-etcd-1.server.key demo-pg-2.node.crt demo-pg-2.node.key"
	if got := strings.Join(changed, " "); got != want {
		t.Errorf("changed: %s, want %s", got, want)
	}
}
