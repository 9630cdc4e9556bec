//go:build linux

package lab_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgha-gen/internal/demo"
	"pgha-gen/lab/labtest"
	"pgha-gen/lab/machine/machinetest"
)

// hurt is the file that every attack here tries to have made by somebody else.
const hurt = "/var/tmp/hurt"

// What one machine, one service's user, one certificate or one stranger on the
// network reaches: docs/security.md names these tests.
func TestSecurity(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 35*time.Second)
	defer cancel()
	c := newCluster(t, ctx)
	c.up(t, ctx)
	leader := c.whole(t, ctx)
	users := []struct{ node, user string }{{leader, "postgres"}, {"demo-etcd-1", "etcd"}, {"demo-haproxy-1", "haproxy"}}

	for _, u := range users {
		t.Run("nothing that root reads belongs to "+u.user, func(t *testing.T) { nothingOfRoots(t, ctx, c, u.node, u.user) })
		t.Run("metadata is closed to "+u.user, func(t *testing.T) { metadataIsRoots(t, ctx, c, u.node, u.user) })
	}
	t.Run("postgres stays postgres", func(t *testing.T) { postgresStaysPostgres(t, ctx, c, leader) })
	t.Run("an account reads the secret of its role alone", func(t *testing.T) { oneSecretEach(t, ctx, c) })
	t.Run("backends die before the server", func(t *testing.T) {
		// A container may not lower the score itself: what asks for it is there.
		out := c.run(t, ctx, leader, `pid=$(head -n 1 /var/lib/postgresql/18/main/postmaster.pid)
			systemctl show -P OOMScoreAdjust patroni.service
			tr '\0' '\n' </proc/$pid/environ | grep ^PG_OOM | sort
			grep -o 'core file size *0 *0 ' /proc/$pid/limits | tr -s ' '`)
		if want := "-900\nPG_OOM_ADJUST_FILE=/proc/self/oom_score_adj\nPG_OOM_ADJUST_VALUE=0\ncore file size 0 0"; out != want {
			t.Errorf("got %q, want %q", out, want)
		}
	})
	t.Run("a stranger reaches nothing", func(t *testing.T) { strangerReachesNothing(t, ctx, c) })
	t.Run("a client reaches the databases alone", func(t *testing.T) { clientReachesDatabases(t, ctx, c) })
	t.Run("silent connections stop nobody", func(t *testing.T) { silentConnections(t, ctx, c, leader) })
	t.Run("etcd runs nothing on Patroni nodes", func(t *testing.T) { etcdRunsNothing(t, ctx, c) })
	t.Run("a certificate of etcd runs nothing on a replaced machine", func(t *testing.T) { memberRunsNothing(t, ctx, c) })
	for _, name := range c.Names() {
		if out := c.run(t, ctx, name, "ls "+hurt+" 2>/dev/null || :"); out != "" {
			t.Errorf("%s: an attack made %s", name, hurt)
		}
	}
}

// run runs a script as root on a machine.
func (c *cluster) run(t *testing.T, ctx context.Context, node, script string) string {
	t.Helper()
	out, err := machinetest.Exec(ctx, c.Machine(node), "sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// as runs a script on a machine as a service's user without any right, as
// somebody who has taken over that service would. Its failures are its output.
func (c *cluster) as(t *testing.T, ctx context.Context, node, user, script string) string {
	t.Helper()
	out, err := machinetest.Exec(ctx, c.Machine(node), "setpriv", "--reuid="+user, "--regid="+user, "--init-groups",
		"--bounding-set=-all", "--inh-caps=-all", "sh", "-c", "exec 2>&1\n"+script+"\n:")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// nothingOfRoots looks where programs of root read, source and write through:
// the user may write none of it. And what only systemd reads, it cannot read.
func nothingOfRoots(t *testing.T, ctx context.Context, c *cluster, node, user string) {
	out := c.as(t, ctx, node, user, `find /etc /usr /run/pgha /run/systemd /run/cloud-init /lib /bin /sbin /opt /root /var/lib/pgha /var/lib/cloud \
		! -type l ! -path '/run/systemd/*socket*' ! -type s -writable 2>/dev/null`)
	// What anybody may write to: systemd's own sockets and links to devices.
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "/run/systemd/journal/") {
			t.Errorf("%s may write %s", user, line)
		}
	}
	out = c.as(t, ctx, node, user, `cat /run/pgha/secrets/*.env`)
	if strings.Contains(out, "=") {
		t.Errorf("%s reads what is systemd's alone", user)
	}
	out = c.run(t, ctx, node, `find /run/pgha ! -user root`)
	if out != "" {
		t.Errorf("not root's: %s", out)
	}
	// Root would work where the service may plant links.
	out = c.as(t, ctx, node, user, `for folder in $(sed -n 's|^"*\(/[^ *"]*\)/[^ /]* *.*{.*|\1|p' /etc/logrotate.d/*); do
		if [ -w "$folder" ]; then echo "$folder"; fi; done`)
	if out != "" {
		t.Errorf("logrotate works where %s may write: %s", user, out)
	}
}

func metadataIsRoots(t *testing.T, ctx context.Context, c *cluster, node, user string) {
	const ask = `curl -q -s -S --max-time 3 -o /dev/null -w '%{http_code}' -H 'Metadata-Flavor: Google' http://169.254.169.254/computeMetadata/v1/instance/hostname`
	if out := c.as(t, ctx, node, user, ask); strings.HasSuffix(out, "200") {
		t.Errorf("%s reads metadata: %s", user, out)
	}
	if out := c.run(t, ctx, node, ask); out != "200" {
		t.Errorf("root does not read metadata: %s", out)
	}
}

// postgresStaysPostgres plays the ways by which postgres became root: the
// environment files of commands that run as root, and links in their way.
func postgresStaysPostgres(t *testing.T, ctx context.Context, c *cluster, leader string) {
	const restarts = "systemctl show -P NRestarts patroni.service"
	before := c.run(t, ctx, leader, restarts)
	c.as(t, ctx, leader, "postgres", `
		mkdir /run/patroni/x && cat >/run/patroni/x/step.sh <<-'END'
			touch `+hurt+`
		END
		for file in /run/pgha/secrets/patroni.env /run/pgha/patroni/node.env /run/patroni/node.env /etc/pgha/cluster.env; do
			echo 'PGHA_LIB=/run/patroni/x' >>$file
			ln -sf /etc/passwd $file.new
		done
		ln -s /etc/cron.d /run/patroni/config.new
		mv /run/pgha/secrets /run/pgha/secrets.mine
		systemctl start pgha-boot.service; systemd-run touch `+hurt+`
		pkill -KILL -x patroni`)
	deadline := time.Now().Add(labtest.Here(30 * time.Second))
	for c.run(t, ctx, leader, restarts) == before || c.run(t, ctx, leader, "systemctl is-active patroni.service || :") != "active" {
		if time.Now().After(deadline) {
			t.Fatal("Patroni has not come back")
		}
		time.Sleep(200 * time.Millisecond)
	}
	if out := c.run(t, ctx, leader, "ls "+hurt+" 2>/dev/null; grep -c . /etc/passwd >/dev/null && tail -n 1 /etc/passwd"); strings.Contains(out, hurt) || strings.Contains(out, "PGHA") {
		t.Errorf("root did what postgres wanted: %s", out)
	}
	c.run(t, ctx, leader, "rm -rf /run/patroni/x /run/patroni/config.new /run/patroni/node.env*")
	c.whole(t, ctx)
}

// oneSecretEach asks Lockbox for every secret with each machine's own token.
func oneSecretEach(t *testing.T, ctx context.Context, c *cluster) {
	ids := demo.Cluster(t).Secrets.Lockbox
	for _, m := range []struct{ node, role string }{{"demo-etcd-1", "etcd"}, {"demo-pg-1", "patroni"}, {"demo-haproxy-1", "haproxy"}} {
		token := c.run(t, ctx, m.node, `curl -q -s -H 'Metadata-Flavor: Google' http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token | jq -r '.access_token // empty' || :`)
		if (token == "") != (m.role == "haproxy") {
			t.Errorf("%s: token %t", m.node, token != "")
		}
		for role, id := range ids {
			out, err := machinetest.ExecInput(ctx, c.Machine(m.node), "Authorization: Bearer "+token+"\n", "curl", "-q", "-s", "--max-time", "5", "-H", "@-",
				"-o", "/dev/null", "-w", "%{http_code}", "https://payload.lockbox.api.cloud.yandex.net/lockbox/v1/secrets/"+id+"/payload")
			if err != nil {
				t.Fatal(err)
			}
			if got, want := string(out) == "200", role == m.role; got != want {
				t.Errorf("%s reads the secret of %s: %s, want %t", m.node, role, out, want)
			}
		}
	}
}

// ports are all that any machine listens on, by the start of its name.
var ports = map[string][]int{
	"demo-etcd": {2379, 2380, 2381, 9190}, "demo-pg": {5432, 8008, 9190}, "demo-haproxy": {5431, 5433, 8404, 9190},
}

// reaches says whether a connection to a machine's port is answered in a second.
func (c *cluster) reaches(ctx context.Context, from, to string, port int) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := c.DialAs(from)(ctx, "tcp", net.JoinHostPort(to, strconv.Itoa(port)))
	if err == nil {
		conn.Close()
	}
	return err == nil
}

func (c *cluster) addresses(t *testing.T) map[string]string {
	all := map[string]string{}
	for _, p := range demo.Cluster(t).Groups {
		for _, n := range p.Nodes() {
			all[n.Name] = n.Address.String()
		}
	}
	return all
}

func (c *cluster) open(t *testing.T, ctx context.Context, from string) []string {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var open []string
	for name, address := range c.addresses(t) {
		for prefix, list := range ports {
			if !strings.HasPrefix(name, prefix) {
				continue
			}
			for _, port := range append([]int{22, 111}, list...) {
				wg.Go(func() {
					if c.reaches(ctx, from, address, port) {
						mu.Lock()
						defer mu.Unlock()
						open = append(open, fmt.Sprintf("%s:%d", name, port))
					}
				})
			}
		}
	}
	wg.Wait()
	return open
}

func strangerReachesNothing(t *testing.T, ctx context.Context, c *cluster) {
	if err := c.AddStranger(ctx, "stranger", netip.MustParseAddr("10.99.0.9")); err != nil {
		t.Fatal(err)
	}
	if open := c.open(t, ctx, "stranger"); len(open) > 0 {
		t.Errorf("it is answered by %v", open)
	}
}

// A neighbour in access.clients may use the databases, and nothing else.
func clientReachesDatabases(t *testing.T, ctx context.Context, c *cluster) {
	if err := c.AddStranger(ctx, "application", netip.MustParseAddr("10.128.0.77")); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"5431": true, "5433": true, "5432": true}
	open := c.open(t, ctx, "application")
	for _, at := range open {
		if _, port, _ := strings.Cut(at, ":"); !want[port] {
			t.Errorf("it is answered by %s", at)
		}
	}
	if len(open) != 5 {
		t.Errorf("it reaches %v, want 5432 of three nodes, 5431 and 5433", open)
	}
	// Each role reaches what it needs, and no more.
	for _, test := range []struct {
		from, to string
		port     int
		want     bool
	}{
		{"demo-haproxy-1", "10.128.0.26", 2379, false},
		{"demo-haproxy-1", "10.128.0.21", 8008, true},
		{"demo-haproxy-1", "10.128.0.21", 5432, true},
		{"demo-pg-1", "10.128.0.26", 2379, true},
		{"demo-pg-1", "10.128.0.26", 2380, false},
		{"demo-pg-1", "10.128.0.22", 8008, true},
		{"demo-etcd-1", "10.128.0.11", 2380, true},
		{"demo-etcd-1", "10.128.0.21", 8008, false},
		{"demo-etcd-1", "10.128.0.40", 8404, false},
	} {
		if got := c.reaches(ctx, test.from, test.to, test.port); got != test.want {
			t.Errorf("%s reaches %s:%d: %t, want %t", test.from, test.to, test.port, got, test.want)
		}
	}
}

// silentConnections: who connects and says nothing holds a thread of the REST
// API, or a slot of PostgreSQL.
func silentConnections(t *testing.T, ctx context.Context, c *cluster, leader string) {
	address := c.addresses(t)[leader]
	hold := func(from, to string, n int) (held int, done func()) {
		dial := c.DialAs(from)
		conns := make(chan net.Conn, n)
		for range n {
			go func() {
				ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
				defer cancel()
				conn, err := dial(ctx, "tcp", to)
				if err != nil {
					conn = nil
				}
				conns <- conn
			}()
		}
		var open []net.Conn
		for range n {
			if conn := <-conns; conn != nil {
				open = append(open, conn)
			}
		}
		return len(open), func() {
			for _, conn := range open {
				conn.Close()
			}
		}
	}
	// From a machine that is let in: another node.
	other := "demo-pg-1"
	if leader == other {
		other = "demo-pg-2"
	}
	held, done := hold(other, address+":8008", 40)
	defer done()
	t.Logf("silent connections to Patroni's REST API: %d of 40", held)
	if held > 16 {
		t.Errorf("one address holds %d connections to the REST API, want at most 16", held)
	}
	time.Sleep(5 * time.Second)
	if _, err := c.members(ctx); err != nil {
		t.Errorf("the REST API does not answer: %v", err)
	}

	held, done = hold("application", address+":5432", 640)
	defer done()
	t.Logf("silent connections to PostgreSQL: %d of 640", held)
	if held > 300 {
		t.Errorf("one address holds %d connections to PostgreSQL, want at most 300", held)
	}
	if out := c.sql(t, ctx, leader, "SELECT 1"); out != "1" {
		t.Errorf("the superuser does not get in: %s", out)
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := c.write(short, 100); err != nil {
		t.Errorf("nobody can write through HAProxy: %v", err)
	}
	if now := c.whole(t, ctx); now != leader {
		t.Errorf("%s leads, and %s did", now, leader)
	}
}

// etcdctl is a command on an etcd machine, with its certificate.
func (c *cluster) etcdctl(t *testing.T, ctx context.Context, input string, args ...string) string {
	t.Helper()
	command := append([]string{"etcdctl", "--endpoints", "https://10.128.0.26:2379", "--cacert", "/run/pgha/secrets/ca.crt",
		"--cert", "/run/pgha/secrets/server.crt", "--key", "/run/pgha/secrets/server.key"}, args...)
	out, err := machinetest.ExecInput(ctx, c.Machine("demo-etcd-1"), input, command...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// etcdRunsNothing: an etcd machine is lost to somebody who writes there whatever
// makes Patroni or PostgreSQL run a program.
func etcdRunsNothing(t *testing.T, ctx context.Context, c *cluster) {
	before := c.etcdctl(t, ctx, "", "get", "--print-value-only", "/service/demo/config")
	evil := `touch ` + hurt
	c.etcdctl(t, ctx, strings.TrimSuffix(before, "}")+fmt.Sprintf(`,"postgresql":{"use_slots":true,
		"callbacks":{"on_reload":"%[1]s","on_start":"%[1]s","on_restart":"%[1]s","on_role_change":"%[1]s"},
		"pre_promote":"%[1]s","before_stop":"%[1]s","recovery_conf":{"restore_command":"%[1]s","archive_cleanup_command":"%[1]s"},
		"parameters":{"archive_mode":"on","archive_command":"%[1]s","restore_command":"%[1]s","ssl_passphrase_command":"%[1]s",
			"shared_preload_libraries":"/tmp/evil","fsync":"off","log_connections":"off"}}}`, evil), "put", "/service/demo/config")
	// And in the leader's own entry, by which the others follow it. It writes
	// that anew when it sees the change; so do we.
	until := time.Now().Add(15 * time.Second)
	leader := c.whole(t, ctx)
	for time.Now().Before(until) {
		entry := c.etcdctl(t, ctx, "", "get", "--print-value-only", "/service/demo/members/"+leader)
		if !strings.Contains(entry, "restore_command") && strings.HasSuffix(entry, "}") {
			c.etcdctl(t, ctx, strings.TrimSuffix(entry, "}")+fmt.Sprintf(`,"restore_command":"%[1]s","archive_cleanup_command":"%[1]s"}`, evil),
				"put", "/service/demo/members/"+leader)
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, node := range []string{"demo-pg-1", "demo-pg-2", "demo-pg-3"} {
		for parameter, want := range map[string]string{
			"archive_command": "(disabled)", "restore_command": "", "archive_cleanup_command": "", "ssl_passphrase_command": "",
			"shared_preload_libraries": "", "fsync": "on",
		} {
			if got := c.sql(t, ctx, node, "SHOW "+parameter); got != want {
				t.Errorf("%s: %s is %q, want %q", node, parameter, got, want)
			}
		}
		if out := c.run(t, ctx, node, "ls "+hurt+" 2>/dev/null || :"); out != "" {
			t.Errorf("%s: etcd had it make %s", node, hurt)
		}
	}
	c.etcdctl(t, ctx, before, "put", "/service/demo/config")
	c.whole(t, ctx)
}

// memberRunsNothing: a member is added whose URL is a command, and then a
// machine of etcd loses its disk and asks who the others are.
func memberRunsNothing(t *testing.T, ctx context.Context, c *cluster) {
	out := c.etcdctl(t, ctx, "", "member", "add", "x", "--learner", "--peer-urls=https://10.128.0.99:2380?$(touch "+hurt+")")
	id := regexp.MustCompile(`Member +([0-9a-f]+) added`).FindStringSubmatch(out)
	if id == nil {
		t.Fatalf("etcd did not add it: %s", out)
	}
	const victim = "demo-etcd-3"
	if err := c.Machine(victim).PowerCut(); err != nil {
		t.Fatal(err)
	}
	if err := c.Replace(victim, false); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(ctx, victim); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	said, err := c.Machine(victim).Console().WaitLine(short, func(line string) bool {
		return strings.Contains(line, "no machine of this cluster can be")
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(said)
	if out := c.run(t, ctx, victim, "ls "+hurt+" /run/pgha/etcd/node.env 2>/dev/null || :"); out != "" {
		t.Errorf("it made %s", out)
	}
	c.etcdctl(t, ctx, "", "member", "remove", id[1])
	waitReady(t, ctx, c.Lab, time.Minute, victim)
	if out := c.run(t, ctx, victim, "ls "+hurt+" 2>/dev/null || :"); out != "" {
		t.Errorf("it made %s", out)
	}
}
