//go:build linux

package lab

import (
	"errors"
	"net"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/miekg/dns"
)

// broken is a socket that takes no connection.
type broken struct{ net.Listener }

var errBroken = errors.New("broken")

func (broken) Accept() (net.Conn, error) { return nil, errBroken }

// What ends a service of the cloud before the lab ends it is told when the lab
// is closed; one that is stopped is no error, however early.
func TestServiceErrors(t *testing.T) {
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for _, tt := range []struct {
		name  string
		serve func(net.Listener) (close func() error)
	}{
		{"HTTP", func(l net.Listener) func() error { return serveHTTP(&http.Server{}, l) }},
		{"DNS", func(l net.Listener) func() error { return serveDNS(&dns.Server{Listener: l}) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 100 {
				if err := tt.serve(listen())(); err != nil {
					t.Fatalf("stopped at once: %v", err)
				}
			}
			synctest.Test(t, func(t *testing.T) {
				stop := tt.serve(broken{listen()})
				synctest.Wait()
				if err := stop(); !errors.Is(err, errBroken) {
					t.Errorf("on a broken socket: have error %v, want %v", err, errBroken)
				}
			})
		})
	}
	if err := serveDNS(&dns.Server{})(); err == nil {
		t.Error("a DNS server without a socket ended well")
	}
}
