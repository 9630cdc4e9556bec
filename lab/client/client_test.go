package client

import (
	"context"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

func target() Target {
	return Target{
		Hosts:    []Host{{"h-1.lab", netip.MustParseAddr("10.0.0.1")}, {"h-2.lab", netip.MustParseAddr("10.0.0.2")}},
		Port:     5431,
		Database: "it's", User: `a\b:c`,
	}
}

// What is written is what a reader of such strings reads.
func TestConninfo(t *testing.T) {
	got := target().Conninfo("/lab folder/ca.crt", "/lab folder/pgpass")
	want := `host=h-1.lab,h-2.lab hostaddr=10.0.0.1,10.0.0.2 port=5431 dbname='it\'s' user='a\\b:c' ` +
		`sslmode=verify-full sslrootcert='/lab folder/ca.crt' passfile='/lab folder/pgpass'`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	config, err := pgx.ParseConfig(strings.NewReplacer(" sslrootcert='/lab folder/ca.crt'", "", "verify-full", "require").Replace(got))
	if err != nil {
		t.Fatal(err)
	}
	if config.Database != "it's" || config.User != `a\b:c` || config.Host != "h-1.lab" || config.Port != 5431 {
		t.Errorf("read back: %q %q %q %d", config.Database, config.User, config.Host, config.Port)
	}
}

func TestPassfile(t *testing.T) {
	want := "h-1.lab:5431:it's:a\\\\b\\:c:p\\:w\nh-2.lab:5431:it's:a\\\\b\\:c:p\\:w\n"
	if diff := cmp.Diff(want, target().Passfile("p:w")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Each of the hosts gets its share, one after the other.
func TestInTurn(t *testing.T) {
	next := target().InTurn()
	var got []string
	for range 5 {
		one := next()
		if len(one.Hosts) != 1 || one.Port != 5431 || one.User != target().User {
			t.Fatalf("%+v", one)
		}
		got = append(got, one.Hosts[0].Name)
	}
	if diff := cmp.Diff([]string{"h-1.lab", "h-2.lab", "h-1.lab", "h-2.lab", "h-1.lab"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFirstWriteEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	dial := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody\n\tis there") }
	_, err := target().FirstWrite(ctx, dial, authority(t), "x", time.Now)
	if err == nil || !strings.HasPrefix(err.Error(), "no write was acknowledged on port 5431, the last try said: ") ||
		!strings.Contains(err.Error(), "nobody is there") || strings.Contains(err.Error(), "\n") {
		t.Errorf("have %v, want one sentence with the last reason", err)
	}
	if _, err := target().Connect(t.Context(), dial, []byte("no PEM"), "x"); err == nil || !strings.Contains(err.Error(), "not a certificate") {
		t.Errorf("have %v, want a refusal of the CA", err)
	}
}

func authority(t *testing.T) []byte {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	return pemOf(server)
}

func pemOf(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func TestMembers(t *testing.T) {
	const healthy = `{"members": [
		{"name": "pg-2", "role": "quorum_standby", "state": "streaming", "lag": 0, "timeline": 1},
		{"name": "pg-1", "role": "leader", "state": "running"},
		{"name": "pg-3", "role": "replica", "state": "stopped", "lag": "unknown"}], "scope": "demo"}`
	tests := []struct {
		name, reason string
		status       int
		body, want   string
	}{
		{"healthy", "lag is a number, a word, or not there", 200, healthy, ""},
		{"no JSON", "something else listens there", 200, "hello", "asking example.com for the cluster's members: it does not answer with its cluster"},
		{"unwell", "Patroni answers so while it has no etcd", 503, "{}", "asking example.com for the cluster's members: it answers 503"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				w.Write([]byte(test.body))
			}))
			defer server.Close()
			at := netip.MustParseAddrPort(server.Listener.Addr().String())
			hosts := []Host{{"example.com", at.Addr()}} // httptest's certificate is for that name
			members, err := Members(t.Context(), new(net.Dialer).DialContext, pemOf(server), hosts, int(at.Port()))
			if test.want != "" {
				if err == nil || !strings.HasPrefix(err.Error(), test.want) {
					t.Errorf("%s: have %v, want %s", test.reason, err, test.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := []Member{{"pg-1", "leader", "running", ""}, {"pg-2", "quorum_standby", "streaming", "0"}, {"pg-3", "replica", "stopped", "unknown"}}
			if diff := cmp.Diff(want, members); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
			if _, err := Members(t.Context(), new(net.Dialer).DialContext, authority(t), []Host{{"other.lab", at.Addr()}}, int(at.Port())); err == nil {
				t.Error("a server with a certificate for another name is believed")
			}
		})
	}
	if _, err := Members(t.Context(), nil, nil, nil, 0); err == nil {
		t.Error("no CA is taken")
	}
}
