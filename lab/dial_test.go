//go:build linux

package lab_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgha-gen/internal/demo"
	"pgha-gen/lab"
	"pgha-gen/lab/labtest"
)

// offLab is a lab whose machines are never powered on: it needs no images.
func offLab(t *testing.T, change func(*lab.Config)) (*lab.Lab, error) {
	t.Helper()
	labtest.Need(t, "ip")
	config := lab.Config{
		Cluster: demo.Cluster(t), Images: map[string]string{"etcd": "/none", "patroni": "/none", "haproxy": "/none"},
		State: labtest.State(t), Cache: t.TempDir(), Name: "pghao", Now: time.Now}
	if change != nil {
		change(&config)
	}
	l, err := lab.New(t.Context(), config)
	if err == nil {
		t.Cleanup(func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return l, err
}

// Who is dialed as is whom the other end sees, though no machine is on.
func TestDialAs(t *testing.T) {
	l, err := offLab(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.AddStranger(t.Context(), "stranger", netip.MustParseAddr("10.99.0.9")); err != nil {
		t.Fatal(err)
	}
	if err := l.AddStranger(t.Context(), "neighbour", netip.MustParseAddr("10.99.0.10")); err != nil {
		t.Fatal(err)
	}
	if err := l.AddStranger(t.Context(), "application", netip.MustParseAddr("10.128.0.99")); err != nil {
		t.Fatal(err)
	}
	listener, err := l.Network.Listen("tcp", "10.128.0.1:9999")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for name, want := range map[string]string{
		"demo-haproxy-1": "10.128.0.40", "demo-pg-2": "10.128.0.22", "demo-etcd-3": "10.128.0.31",
		"stranger": "10.99.0.9", "neighbour": "10.99.0.10", "application": "10.128.0.99",
	} {
		conn, err := l.DialAs(name)(t.Context(), "tcp", "10.128.0.1:9999")
		if err != nil {
			t.Errorf("as %s: %v", name, err)
			continue
		}
		conn.Close()
		seen, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got, _, _ := net.SplitHostPort(seen.RemoteAddr().String()); got != want {
			t.Errorf("%s is seen as %s, want %s", name, got, want)
		}
		seen.Close()
	}
	if _, err := l.DialAs("demo-pg-9")(t.Context(), "tcp", "10.128.0.1:9999"); err == nil || !strings.Contains(err.Error(), "demo-pg-9") {
		t.Errorf("as a node that is not there: %v", err)
	}
	for name, address := range map[string]string{"thief": "10.128.0.21", "stranger": "10.99.0.11"} {
		if err := l.AddStranger(t.Context(), name, netip.MustParseAddr(address)); err == nil {
			t.Errorf("a stranger %q at %s is let in", name, address)
		}
	}
}
