//go:build linux

package lab_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/lab"
	"pgha-gen/lab/client"
	"pgha-gen/lab/cloud"
	"pgha-gen/lab/labtest"
	"pgha-gen/lab/machine/machinetest"
)

// cluster is a seven-machine lab, and its clients, who sit where applications
// sit: in the network, at an address of access.clients.
type cluster struct {
	*lab.Lab
	access  lab.Access
	config  lab.Config
	started time.Time
}

const (
	balancer = "demo-haproxy-1"
	proxy    = "10.128.0.40"
	writers  = proxy + ":5431"
	readers  = proxy + ":5433"
)

func newCluster(t *testing.T, ctx context.Context) *cluster {
	t.Helper()
	return newClusterOf(t, ctx, demo.Cluster(t))
}

// newClusterOf is the lab of a spec with the example's roles, in a cloud that may
// have faults.
func newClusterOf(t *testing.T, ctx context.Context, spec *role.Cluster, faults ...cloud.Faults) *cluster {
	t.Helper()
	config := lab.Config{Cluster: spec}
	if len(faults) > 0 {
		config.Faults = faults[0]
	}
	return newClusterIn(t, ctx, config)
}

// newClusterIn is newClusterOf with what else the lab may have.
func newClusterIn(t *testing.T, ctx context.Context, config lab.Config) *cluster {
	t.Helper()
	access, err := lab.NewAccess(config.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	return newClusterWith(t, ctx, config, access)
}

// newClusterWith is newClusterIn for clients who get in this way.
func newClusterWith(t *testing.T, ctx context.Context, config lab.Config, access lab.Access) *cluster {
	t.Helper()
	config.Images, config.State, config.Cache = bake(t, ctx).images, labtest.State(t), labtest.Cache
	config.Name, config.Now = "pghac", time.Now
	l, err := lab.New(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, name := range l.Names() {
				showConsole(t, l, name)
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return &cluster{Lab: l, access: access, config: config}
}

// connect opens a session of an application, verifying the server by the name
// that it connects to, as a person would set it up.
func (c *cluster) connect(ctx context.Context, address, database, user string) (*pgx.Conn, error) {
	return c.connectAs(ctx, address, database, user, c.Secret("patroni", "password."+user))
}

func (c *cluster) connectAs(ctx context.Context, address, database, user, password string) (*pgx.Conn, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	host := client.Host{Name: at.Addr().String(), Address: at.Addr()}
	target := client.Target{Hosts: []client.Host{host}, Port: int(at.Port()), Database: database, User: user}
	return target.Connect(ctx, c.Network.Dial, c.ca(), password)
}

// ca is the certificate that clients trust.
func (c *cluster) ca() []byte { return []byte(c.Secret(c.access.Role, "ca.crt")) }

func (c *cluster) authority() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.ca())
	return pool
}

// write inserts a row as an application does, through HAProxy, and tries again
// until it is acknowledged.
func (c *cluster) write(ctx context.Context, id int) error {
	for {
		err := c.once(ctx, id)
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (c *cluster) once(ctx context.Context, id int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := c.connect(ctx, writers, "app", "app")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS kept (id int PRIMARY KEY)"); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "INSERT INTO kept VALUES ($1) ON CONFLICT DO NOTHING", id)
	return err
}

// rows are the ids that an address has.
func (c *cluster) rows(ctx context.Context, address string) ([]int, error) {
	conn, err := c.connect(ctx, address, "app", "app_reader")
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	found, err := conn.Query(ctx, "SELECT id FROM kept ORDER BY id")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, pgx.RowTo[int])
}

// members asks Patroni on any node as HAProxy's machine does, over verified
// TLS, without a client certificate: reading is open.
func (c *cluster) members(ctx context.Context) ([]client.Member, error) {
	return client.Members(ctx, c.DialAs(c.access.RESTFrom), c.ca(), c.access.REST, c.access.RESTPort)
}

// whole waits until one node leads, and two that stream from it may take over:
// Patroni lets a replica count in the quorum only in its next loop, up to
// loop_wait later. A leader that is lost before has no successor, rightly: no
// other node is known to have every commit that it acknowledged.
func (c *cluster) whole(t *testing.T, ctx context.Context) (leader string) {
	t.Helper()
	deadline := time.Now().Add(labtest.Here(90 * time.Second))
	for {
		members, err := c.members(ctx)
		streaming := 0
		leader = ""
		for _, m := range members {
			switch {
			case m.Role == "leader" && m.State == "running":
				leader = m.Name
			case m.State == "streaming" && m.Role == "quorum_standby":
				streaming++
			}
		}
		if leader != "" && streaming == 2 {
			return leader
		}
		if time.Now().After(deadline) {
			t.Fatalf("want a leader and two replicas in the quorum, have %+v, %v", members, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// up powers everything on and waits for the first acknowledged write.
func (c *cluster) up(t *testing.T, ctx context.Context) {
	t.Helper()
	c.started = time.Now()
	if err := c.StartAll(ctx, shuffled(c.Names())...); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := c.write(ctx, 1); err != nil {
		t.Fatal(err)
	}
	t.Logf("first acknowledged write: %.1f s after power-on", time.Since(c.started).Seconds())
	if err := c.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("all seven ready: %.1f s after power-on", time.Since(c.started).Seconds())
	for _, name := range c.Names() {
		timeline(t, c.Lab, name, c.started)
	}
}

func shuffled(names []string) []string {
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names
}

// Seven machines, from nothing to a cluster that applications write to, with
// nobody logging in; who gets in and who does not; and a power cut of it all.
func TestCluster(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 35*time.Second)
	defer cancel()
	c := newCluster(t, ctx)
	c.up(t, ctx)
	leader := c.whole(t, ctx)

	t.Run("write on 5431, read on 5433", func(t *testing.T) {
		if err := c.write(ctx, 2); err != nil {
			t.Fatal(err)
		}
		// A replica applies a moment after the acknowledgement.
		deadline := time.Now().Add(labtest.Here(10 * time.Second))
		for {
			got, err := c.rows(ctx, readers)
			if err == nil && slices.Equal(got, []int{1, 2}) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("read %v, %v; want 1 and 2", got, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})

	t.Run("write on 5433 refused", func(t *testing.T) {
		conn, err := c.connect(ctx, readers, "app", "app")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, "INSERT INTO kept VALUES (99)")
		wantState(t, err, "25006") // read_only_sql_transaction
	})

	t.Run("users", func(t *testing.T) {
		out := c.sql(t, ctx, leader, `SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolcanlogin`)
		if out != "app app_reader postgres replication_user rewind_user" {
			t.Errorf("users: %s", out)
		}
		out = c.sql(t, ctx, leader, `SELECT string_agg(DISTINCT usename || ' ' || coalesce(ssl::text, ''), ', ') FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)`)
		if out != "replication_user true" {
			t.Errorf("replication is by %q, want replication_user over TLS", out)
		}
		out = c.sql(t, ctx, leader, `SELECT string_agg(rolname, ' ') FROM pg_authid WHERE rolcanlogin AND rolpassword NOT LIKE 'SCRAM-SHA-256%'`)
		if out != "" {
			t.Errorf("%s: password is not SCRAM-SHA-256", out)
		}
		out = c.sql(t, ctx, leader, `SELECT count(DISTINCT rolpassword) = count(*) FROM pg_authid WHERE rolcanlogin`)
		if out != "t" {
			t.Error("two users share a password")
		}
	})

	t.Run("parameters", func(t *testing.T) {
		// durability quorum: any one of the two replicas acknowledges.
		if out := c.sql(t, ctx, leader, "SHOW synchronous_standby_names"); !strings.HasPrefix(out, "ANY 1 (") || !strings.Contains(out, ",") {
			t.Errorf("synchronous_standby_names is %q, want any one of two", out)
		}
		if out := c.sql(t, ctx, leader, "SHOW data_checksums"); out != "on" {
			t.Errorf("data_checksums is %q", out)
		}
		if out := c.sql(t, ctx, leader, "SHOW max_connections"); out != "300" {
			t.Errorf("max_connections is %q, want the spec's 300", out)
		}
		// What is reserved at boot is what PostgreSQL asks for, or hardly more.
		need, err := strconv.Atoi(c.sql(t, ctx, leader, "SHOW shared_memory_size_in_huge_pages"))
		if err != nil {
			t.Fatal(err)
		}
		reserved, err := strconv.Atoi(c.run(t, ctx, leader, "sed -n 's/^PGHA_HUGE_PAGES=//p' /etc/pgha/cluster.env"))
		if err != nil || reserved < need || reserved > need+need/8 {
			t.Errorf("%d huge pages are reserved (%v), and PostgreSQL needs %d", reserved, err, need)
		}
		// What is pinned on the server's command line is nothing to restart for.
		for _, name := range []string{"demo-pg-1", "demo-pg-2", "demo-pg-3"} {
			if out := c.sql(t, ctx, name, "SELECT string_agg(name, ' ') FROM pg_settings WHERE pending_restart"); out != "" {
				t.Errorf("%s: a restart is pending for %s", name, out)
			}
		}
	})

	refusals(t, ctx, c, leader)

	t.Run("power cut of all seven", func(t *testing.T) {
		before := c.systemIdentifiers(t, ctx)
		names := shuffled(c.Names())
		for _, name := range names {
			if err := c.Machine(name).PowerCut(); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		for _, name := range shuffled(names) {
			if err := c.Start(ctx, name); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
		defer cancel()
		if err := c.write(ctx, 3); err != nil {
			t.Fatal(err)
		}
		t.Logf("power cut of all seven: %.1f s from power-on to the next acknowledged write", time.Since(start).Seconds())
		if err := c.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
		c.whole(t, ctx)
		if got, err := c.rows(ctx, writers); err != nil || !slices.Equal(got, []int{1, 2, 3}) {
			t.Errorf("rows %v, %v; want 1, 2, 3", got, err)
		}
		if after := c.systemIdentifiers(t, ctx); len(before) != 1 || !slices.Equal(before, after) {
			t.Errorf("system identifiers %v before, %v after; want one, the same", before, after)
		}
	})
}

// TestFloor is what no cluster can be faster than: the same seven images, with
// nothing to do at boot, until cloud-init has ended.
func TestFloor(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 10*time.Second)
	defer cancel()
	c := newCluster(t, ctx)
	for _, name := range c.Names() {
		if err := c.SetAttribute(name, "user-data", "#cloud-config\n"); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	if err := c.StartAll(ctx); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for _, name := range c.Names() {
		if _, err := c.Machine(name).Console().WaitLine(ctx, func(line string) bool {
			return strings.Contains(line, "Cloud-init") && strings.Contains(line, "finished")
		}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	t.Logf("seven empty boots at once: %.1f s", time.Since(start).Seconds())
}

// refusals: who does not get in.
func refusals(t *testing.T, ctx context.Context, c *cluster, leader string) {
	var address string
	for _, h := range c.access.REST {
		if strings.HasPrefix(h.Name, leader+".") {
			address = h.Address.String() + ":5432"
		}
	}
	t.Run("wrong password", func(t *testing.T) {
		_, err := c.connectAs(ctx, writers, "app", "app", "guess")
		wantState(t, err, "28P01") // invalid_password
	})
	t.Run("superuser over the network", func(t *testing.T) {
		_, err := c.connectAs(ctx, address, "postgres", "postgres", "guess")
		wantState(t, err, "28000") // no pg_hba.conf entry lets it in, whatever the password
	})
	t.Run("another database", func(t *testing.T) {
		_, err := c.connect(ctx, writers, "postgres", "app")
		wantState(t, err, "28000")
	})
	t.Run("PostgreSQL without TLS", func(t *testing.T) {
		config, err := pgx.ParseConfig("postgres://" + address + "/app?user=app&sslmode=disable&connect_timeout=3")
		if err != nil {
			t.Fatal(err)
		}
		config.Password, config.DialFunc = c.Secret("patroni", "password.app"), c.Network.Dial
		_, err = pgx.ConnectConfig(ctx, config)
		wantState(t, err, "28000")
	})
	t.Run("etcd without TLS, and without a certificate", func(t *testing.T) {
		// As those whom a member's firewall lets through.
		for _, from := range [][2]string{
			{"demo-pg-1", "http://10.128.0.26:2379/version"}, {"demo-pg-1", "https://10.128.0.26:2379/version"},
			{"demo-etcd-2", "https://10.128.0.26:2380/members"},
		} {
			name, url := from[0], from[1]
			if status, err := c.get(ctx, name, "GET", url); err == nil && status == http.StatusOK {
				t.Errorf("%s answers %d", url, status)
			}
		}
	})
	t.Run("Patroni's unsafe verbs", func(t *testing.T) {
		for _, request := range [][2]string{{"POST", "/restart"}, {"PATCH", "/config"}, {"POST", "/switchover"}, {"DELETE", "/restart"}} {
			status, err := c.get(ctx, balancer, request[0], "https://10.128.0.21:8008"+request[1])
			if err != nil || status != http.StatusForbidden && status != http.StatusUnauthorized {
				t.Errorf("%s %s: %d, %v; want 401 or 403", request[0], request[1], status, err)
			}
		}
	})
	t.Run("client outside access.clients", func(t *testing.T) {
		if err := c.AddStranger(ctx, "stranger", netip.MustParseAddr("10.99.0.9")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		conn, err := c.DialAs("stranger")(ctx, "tcp", writers)
		if err == nil {
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			// An SSLRequest; who is let in gets one byte in answer.
			conn.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47})
			if n, _ := io.ReadFull(conn, make([]byte, 1)); n > 0 {
				t.Error("HAProxy lets in a client of no known network")
			}
			conn.Close()
		}
	})
	t.Run("no secret in user-data, logs or on disk", func(t *testing.T) {
		for _, name := range []string{"demo-pg-1", "demo-etcd-1", "demo-haproxy-1"} {
			for entry, value := range c.SecretsOf(name) {
				if entry == "ca.crt" || strings.HasSuffix(entry, ".crt") {
					continue
				}
				for _, needle := range needles(value) {
					out, err := machinetest.ExecInput(ctx, c.Machine(name), needle, "sh", "-c", `
						read -r secret
						grep -rlF -e "$secret" /etc /var/log /var/lib/cloud /usr/lib/pgha /tmp 2>/dev/null
						journalctl --no-pager | grep -qF -e "$secret" && echo journal
						systemctl show '*' | grep -qF -e "$secret" && echo 'a unit'
						:`)
					if err != nil {
						t.Fatal(err)
					}
					if len(out) > 0 {
						t.Errorf("%s: %s is in %s", name, entry, out)
					}
				}
			}
		}
	})
}

// needles are the parts of a secret that would give it away: of a key in PEM a
// line of it, of variables each value.
func needles(value string) []string {
	lines := strings.Split(strings.TrimSpace(value), "\n")
	if strings.HasPrefix(value, "-----") {
		return lines[1:2]
	}
	for i, line := range lines {
		if _, after, found := strings.Cut(line, "="); found {
			lines[i] = after
		}
	}
	return lines
}

// get asks as a machine, without a certificate, and gives the status.
func (c *cluster) get(ctx context.Context, from, method, url string) (int, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext: c.DialAs(from), TLSClientConfig: &tls.Config{RootCAs: c.authority()}}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader("{}"))
	if err != nil {
		return 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return response.StatusCode, nil
}

// sql asks as postgres, on the machine itself.
func (c *cluster) sql(t *testing.T, ctx context.Context, on, query string) string {
	t.Helper()
	out, err := machinetest.Exec(ctx, c.Machine(on), "setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups",
		"psql", "--no-psqlrc", "-At", "-c", query)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func (c *cluster) systemIdentifiers(t *testing.T, ctx context.Context) []string {
	t.Helper()
	var all []string
	for _, name := range []string{"demo-pg-1", "demo-pg-2", "demo-pg-3"} {
		id := c.sql(t, ctx, name, "SELECT system_identifier FROM pg_control_system()")
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	return all
}

func wantState(t *testing.T, err error, want string) {
	t.Helper()
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != want {
		t.Errorf("got %v, want a refusal with SQLSTATE %s", err, want)
	}
}

// The services that a boot depends on fail for a while: the machines wait, say
// why, and come up by themselves.
func TestBootWaits(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 25*time.Second)
	defer cancel()
	faults := new(cloud.Outages)
	l := newEtcdLab(t, ctx, faults.Now)
	for service, fault := range map[cloud.Service]cloud.Fault{
		cloud.LockboxService:  {Status: 503},
		cloud.MetadataService: {Status: 500},
	} {
		if err := faults.Set(service, fault); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.StartAll(ctx); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Second)
	if err := faults.Set(cloud.MetadataService, cloud.Fault{Delay: time.Second}); err != nil {
		t.Fatal(err)
	}
	short, stop := context.WithTimeout(ctx, 3*time.Minute)
	defer stop()
	step, err := l.WaitStep(short, "demo-etcd-1", "secrets", "wait")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(step.Detail, "503") {
		t.Errorf("it waits for Lockbox, and says %q; want the reason", step.Detail)
	}
	time.Sleep(20 * time.Second) // longer than its longest pause
	if err := faults.Set(cloud.LockboxService, cloud.Fault{}); err != nil {
		t.Fatal(err)
	}
	healed := time.Now()
	waitReady(t, ctx, l, 2*time.Minute)
	t.Logf("Lockbox back: ready %.1f s later", time.Since(healed).Seconds())
}
