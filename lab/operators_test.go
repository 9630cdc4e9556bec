//go:build linux

package lab_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pgha-gen/internal/demo"
	"pgha-gen/lab/labtest"
	"pgha-gen/roles/patroni"
)

// operated lets operators in, and monitoring, from networks of their own.
const operated = "access:\n  operators: [10.9.0.0/24]\n  monitoring: [10.8.0.0/24]\n"

// An operator: a place in access.operators, the certificate and the password.
// With all three the cluster can be administered, without one of them nothing.
func TestOperators(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 45*time.Second)
	defer cancel()
	c := newClusterOf(t, ctx, demo.Cluster(t, operated))
	for name, address := range map[string]string{"operator": "10.9.0.5", "monitor": "10.8.0.5", "application": "10.128.0.77"} {
		if err := c.AddStranger(ctx, name, netip.MustParseAddr(address)); err != nil {
			t.Fatal(err)
		}
	}
	c.up(t, ctx)
	leader := c.whole(t, ctx)

	t.Run("ports", func(t *testing.T) {
		var want []string
		for name := range c.addresses(t) {
			for prefix, list := range map[string][]int{"demo-etcd": {2379, 9190}, "demo-pg": {5432, 8008, 9190}, "demo-haproxy": {8404, 9190}} {
				for _, port := range list {
					if strings.HasPrefix(name, prefix) {
						want = append(want, fmt.Sprintf("%s:%d", name, port))
					}
				}
			}
		}
		got := c.open(t, ctx, "operator")
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("an operator reaches %v, want %v", got, want)
		}
		for _, url := range []string{"http://" + proxy + ":8404/metrics", "http://10.128.0.26:9190/metrics", "http://10.128.0.21:9190/status"} {
			if status, _, err := c.ask(ctx, "operator", nil, "GET", url, "", ""); status != http.StatusOK {
				t.Errorf("GET %s: %d, %v, want 200", url, status, err)
			}
		}
	})
	t.Run("Patroni's unsafe verbs", func(t *testing.T) { unsafeVerbs(t, ctx, c, leader) })
	t.Run("etcd", func(t *testing.T) { operatorOfEtcd(t, ctx, c) })
	t.Run("PostgreSQL", func(t *testing.T) { administrator(t, ctx, c, leader) })
	t.Run("an operator switches over", func(t *testing.T) {
		c.switchover(t, ctx, leader)
		deadline := time.Now().Add(labtest.Here(30 * time.Second))
		for c.whole(t, ctx) == leader {
			if time.Now().After(deadline) {
				t.Fatalf("%s still leads", leader)
			}
			time.Sleep(200 * time.Millisecond)
		}
	})
	t.Run("all of etcd away", func(t *testing.T) { failsafe(t, ctx, c) })
	t.Run("taken out and let in again while the machines run", func(t *testing.T) { operatorsChange(t, ctx, c) })
}

// Nodes without addresses: the list of sources could have their names alone,
// which Patroni looks up once. The leader must stay without etcd whatever
// addresses the others have by then, and operators get in all the same.
// Long: make test-long.
func TestOperatorsByName(t *testing.T) {
	if os.Getenv("PGHA_TEST_LONG") == "" {
		t.Skip("this test takes two minutes more: make test-long")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	c := newClusterOf(t, ctx, demo.Cluster(t, operated, ", address: 10.128.0.23=>", ", address: 10.128.0.22=>", "        address: 10.128.0.21\n=>"))
	if err := c.AddStranger(ctx, "operator", netip.MustParseAddr("10.9.0.5")); err != nil {
		t.Fatal(err)
	}
	c.up(t, ctx)
	leader := c.whole(t, ctx)
	c.switchover(t, ctx, leader)
	failsafe(t, ctx, c)
}

// operatorsChange takes the network out of a running cluster's access.operators,
// and puts it back.
func operatorsChange(t *testing.T, ctx context.Context, c *cluster) {
	files := c.Operator()
	operator := pair(t, files, "operator")
	address := c.addresses(t)[c.whole(t, ctx)]
	patch := func() (int, string, error) {
		return c.ask(ctx, "operator", operator, "PATCH", "https://"+address+":8008/config", files["restapi.password"], `{"check_timeline": true}`)
	}
	if status, said, err := patch(); status != http.StatusOK {
		t.Fatalf("before: %d %s, %v", status, said, err)
	}
	c.refresh(t, ctx, c.changed(t), 10*time.Second)
	if open := c.open(t, ctx, "operator"); len(open) > 0 {
		t.Errorf("without access.operators the operator reaches %v", open)
	}
	if said, err := c.logIn(ctx, "application", address+":5432", patroni.Administrator, operator); err == nil {
		t.Errorf("without access.operators the operator logs in as %s", said)
	}
	c.refresh(t, ctx, c.changed(t, operated), 10*time.Second)
	if status, said, err := patch(); status != http.StatusOK {
		t.Errorf("again: %d %s, %v", status, said, err)
	}
	deadline := time.Now().Add(labtest.Here(20 * time.Second)) // the node that leads sees to the role
	for {
		_, err := c.logIn(ctx, "operator", address+":5432", patroni.Administrator, operator)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("again: %v", err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// failsafe: the leader goes on without etcd while it reaches the other nodes.
func failsafe(t *testing.T, ctx context.Context, c *cluster) {
	t.Helper()
	leader := c.whole(t, ctx)
	l := startLoad(t, ctx, c, 2)
	etcd := []string{"demo-etcd-1", "demo-etcd-2", "demo-etcd-3"}
	gap, _ := l.fault(t, ctx, 30*time.Second, func() { // the lease is of 20 s
		for _, name := range etcd {
			c.unplug(t, ctx, name)
		}
		time.Sleep(25 * time.Second)
		for _, name := range etcd {
			c.plug(t, ctx, name)
		}
	})
	atMost(t, gap, time.Second)
	if now := c.whole(t, ctx); now != leader {
		t.Errorf("%s leads, and %s did", now, leader)
	}
	l.end(t, ctx)
}

// pair is a certificate and its key.
func pair(t *testing.T, files map[string]string, name string) *tls.Certificate {
	t.Helper()
	p, err := tls.X509KeyPair([]byte(files[name+".crt"]), []byte(files[name+".key"]))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return &p
}

// ask makes a request from a place in the network. The server's certificate has
// to be the cluster's; the client shows one if it has any.
func (c *cluster) ask(ctx context.Context, from string, with *tls.Certificate, method, url, password, body string) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	config := &tls.Config{RootCAs: c.authority()}
	if with != nil {
		config.Certificates = []tls.Certificate{*with}
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		for _, h := range c.access.REST {
			address = strings.Replace(address, h.Name+":", h.Address.String()+":", 1)
		}
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return c.DialAs(from)(ctx, network, address)
	}
	transport := &http.Transport{DialContext: dial, TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if password != "" {
		request.SetBasicAuth(patroni.RESTUser, password)
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, strings.TrimSpace(string(text)), err
}

// unsafeVerbs asks the leader for what changes something.
func unsafeVerbs(t *testing.T, ctx context.Context, c *cluster, leader string) {
	files := c.Operator()
	operator, password := pair(t, files, "operator"), files["restapi.password"]
	node := pair(t, c.SecretsOf("demo-pg-1"), "demo-pg-1.node")
	etcd := pair(t, c.SecretsOf("demo-etcd-1"), "demo-etcd-1.server")
	address := c.addresses(t)[leader] + ":8008"
	for _, test := range []struct {
		name, from string
		with       *tls.Certificate
		password   string
		want       int // 0: no answer at all
	}{
		{"an operator", "operator", operator, password, http.StatusOK},
		{"without a certificate", "operator", nil, password, http.StatusForbidden},
		{"without a password", "operator", operator, "", http.StatusUnauthorized},
		{"with another password", "operator", operator, "guess", http.StatusUnauthorized},
		{"from access.monitoring", "monitor", operator, password, http.StatusForbidden},
		{"from HAProxy's machine", balancer, operator, password, http.StatusForbidden},
		{"from access.clients", "application", operator, password, 0},
		{"an etcd machine's certificate, without a password", "operator", etcd, "", http.StatusUnauthorized},
		{"a member", "demo-pg-1", node, password, http.StatusOK},
	} {
		t.Run(test.name, func(t *testing.T) {
			// It changes what is there to the same.
			status, said, err := c.ask(ctx, test.from, test.with, "PATCH", "https://"+address+"/config", test.password, `{"check_timeline": true}`)
			if status != test.want {
				t.Errorf("%d %s, %v; want %d", status, said, err, test.want)
			}
		})
	}
}

// switchover is an operator's: the node that leads gives up.
func (c *cluster) switchover(t *testing.T, ctx context.Context, leader string) {
	t.Helper()
	files := c.Operator()
	status, said, err := c.ask(ctx, "operator", pair(t, files, "operator"), "POST", "https://"+leader+".ru-central1.internal:8008/switchover",
		files["restapi.password"], fmt.Sprintf(`{"leader": %q}`, leader))
	if status != http.StatusOK {
		t.Fatalf("%d %s, %v", status, said, err)
	}
	t.Logf("%s", said)
}

// operatorOfEtcd reads the members by etcd's gateway, as Patroni does.
func operatorOfEtcd(t *testing.T, ctx context.Context, c *cluster) {
	operator := pair(t, c.Operator(), "operator")
	for _, test := range []struct {
		name, from string
		with       *tls.Certificate
		want       bool
	}{
		{"an operator", "operator", operator, true},
		{"without a certificate", "operator", nil, false},
		{"from access.monitoring", "monitor", operator, false},
		{"from access.clients", "application", operator, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, method := range []string{"cluster/member/list", "maintenance/status"} {
				status, said, err := c.ask(ctx, test.from, test.with, "POST", "https://10.128.0.26:2379/v3/"+method, "", "{}")
				if got := status == http.StatusOK; got != test.want {
					t.Errorf("%s: %d %s, %v; want it answered: %t", method, status, said, err, test.want)
				}
			}
		})
	}
}

// administrator is the superuser that an operator's certificate is for.
func administrator(t *testing.T, ctx context.Context, c *cluster, leader string) {
	operator := pair(t, c.Operator(), "operator")
	replica := "demo-pg-1"
	if replica == leader {
		replica = "demo-pg-2"
	}
	addresses := c.addresses(t)
	const lets = "superuser"
	for _, test := range []struct {
		name, from, address, user string
		with                      *tls.Certificate
		want                      string // what is said, or lets
	}{
		{"an operator", "operator", addresses[leader] + ":5432", "", operator, lets},
		{"an operator, on a replica", "operator", addresses[replica] + ":5432", "", operator, lets},
		{"without a certificate", "operator", addresses[leader] + ":5432", "", nil, "connection requires a valid client certificate"},
		{"as the superuser postgres", "operator", addresses[leader] + ":5432", "postgres", operator, "rejects connection"},
		{"a Patroni node's certificate", "operator", addresses[leader] + ":5432", "", pair(t, c.SecretsOf(replica), replica+".node"), "certificate authentication failed"},
		{"an etcd machine's certificate", "operator", addresses[leader] + ":5432", "", pair(t, c.SecretsOf("demo-etcd-1"), "demo-etcd-1.server"), "certificate authentication failed"},
		{"an etcd machine's other certificate", "operator", addresses[leader] + ":5432", "", pair(t, c.SecretsOf("demo-etcd-1"), "demo-etcd-1.peer"), "certificate authentication failed"},
		{"from access.clients", "application", addresses[leader] + ":5432", "", operator, "rejects connection"},
		{"from access.clients through HAProxy", "application", writers, "", operator, "rejects connection"},
		{"from another node", replica, addresses[leader] + ":5432", "", operator, "rejects connection"},
		{"from access.monitoring", "monitor", addresses[leader] + ":5432", "", operator, "timeout"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := c.logIn(ctx, test.from, test.address, cmp.Or(test.user, patroni.Administrator), test.with)
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, test.want) {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
	if out := c.sql(t, ctx, leader, "SELECT rolpassword IS NULL FROM pg_authid WHERE rolname = 'pgha_admin'"); out != "t" {
		t.Errorf("it has no password: %q, want t", out)
	}
	if out := c.sql(t, ctx, leader, "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL"); out != "0" {
		t.Errorf("%s wrong records in pg_hba.conf", out)
	}
}

// logIn says as what a user without a password gets into a server.
func (c *cluster) logIn(ctx context.Context, from, address, user string, with *tls.Certificate) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return "", err
	}
	config, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		return "", err
	}
	config.Host, config.Port, config.Database, config.User, config.Password = at.Addr().String(), at.Port(), "postgres", user, ""
	config.Fallbacks = nil
	config.TLSConfig = &tls.Config{RootCAs: c.authority(), ServerName: at.Addr().String()}
	if with != nil {
		config.TLSConfig.Certificates = []tls.Certificate{*with}
	}
	dial := c.DialAs(from)
	config.DialFunc = func(ctx context.Context, network, _ string) (net.Conn, error) { return dial(ctx, network, address) }
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var as string
	err = conn.QueryRow(ctx, "SELECT CASE WHEN rolsuper THEN 'superuser' ELSE 'user' END FROM pg_roles WHERE rolname = session_user").Scan(&as)
	return as, err
}
