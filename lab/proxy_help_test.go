//go:build linux

package lab_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pgha-gen/deploy/secrets"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
	"pgha-gen/internal/demo"
	"pgha-gen/lab/labtest"
	"pgha-gen/lab/netns"
	"pgha-gen/roles/haproxy"
	"pgha-gen/roles/patroni"
)

// Where HAProxy's own tests run: a network with one proxy, and nodes that say
// what the test wants them to say.
const (
	proxyAddress = "10.128.0.40"
	anApp        = "10.128.0.50"
	otherApp     = "10.128.0.51"
	aMonitor     = "10.128.0.60"
	aBalancer    = "198.18.235.7"
	aNeighbour   = "10.128.0.70"
	toLeader     = proxyAddress + ":5431"
	toReplicas   = proxyAddress + ":5433"
)

// fakes are three nodes, and a HAProxy in front of them.
type fakes struct {
	network *netns.Network
	ports   map[string]*netns.Port // of the machines that connect, by address
	nodes   []*fakeNode
	dir     string
	command []string // HAProxy
}

// haproxyCommand is HAProxy as it is in the image, or another one that
// PGHA_TEST_HAPROXY names.
func haproxyCommand(t *testing.T, ctx context.Context) []string {
	t.Helper()
	if other := os.Getenv("PGHA_TEST_HAPROXY"); other != "" {
		return []string{other}
	}
	root := bake(t, ctx, "haproxy").images["haproxy"]
	machine := map[string]string{"amd64": "x86-64", "arm64": "aarch64"}[runtime.GOARCH]
	loaders, err := filepath.Glob(root + "/usr/lib*/ld-linux-" + machine + ".so.*")
	if err != nil || len(loaders) == 0 {
		t.Fatalf("the image has no dynamic loader: %v", err)
	}
	libraries, err := filepath.Glob(root + "/usr/lib/*-linux-gnu")
	if err != nil || len(libraries) != 1 {
		t.Fatalf("the image has its libraries in %q: %v", libraries, err)
	}
	return []string{loaders[0], "--library-path", libraries[0], root + "/usr/sbin/haproxy"}
}

// newFakes makes the network and the nodes; the first one leads.
func newFakes(t *testing.T, ctx context.Context, command []string, edit func(*role.Cluster)) *fakes {
	t.Helper()
	c := demo.Cluster(t)
	c.Access.Monitoring = []netip.Prefix{netip.MustParsePrefix(aMonitor + "/32")}
	if edit != nil {
		edit(c)
	}
	f := &fakes{dir: labtest.State(t), command: command}
	addresses := []netip.Prefix{netip.MustParsePrefix("10.128.0.1/24"), netip.MustParsePrefix("198.18.235.1/24"),
		netip.MustParsePrefix(proxyAddress + "/24")}
	nodes := c.Group(patroni.Name).Nodes()
	for _, n := range nodes {
		addresses = append(addresses, netip.PrefixFrom(n.Address, 24))
	}
	var err error
	if f.network, err = netns.New(ctx, "pghaf", addresses); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.network.Close() })
	f.ports = map[string]*netns.Port{}
	for i, a := range []string{anApp, otherApp, aMonitor, aBalancer, aNeighbour} {
		address := netip.MustParsePrefix(a + "/24")
		if f.ports[a], err = f.network.Attach(ctx, fmt.Sprintf("m%d", i), address, address.Masked().Addr().Next()); err != nil {
			t.Fatal(err)
		}
	}

	now := time.Now()
	authority, err := secrets.NewCA(c.Name, now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	payloads, err := authority.Payloads(c, now)
	if err != nil {
		t.Fatal(err)
	}
	c.Secrets.CA = specfile.Text(authority.Certificate())
	f.nodes = fakeNodes(t, f.network, nodes, payloads[patroni.Name])

	if err := c.Plan(); err != nil {
		t.Fatal(err)
	}
	for _, file := range c.Group(haproxy.Name).Plan.Files {
		data := strings.NewReplacer("/etc/haproxy/", f.dir+"/", "/run/haproxy/", f.dir+"/").Replace(string(file.Data))
		write(t, filepath.Join(f.dir, filepath.Base(file.Path)), []byte(data))
	}
	return f
}

// fakeNodes are these nodes in a network that has their addresses; the first
// one leads.
func fakeNodes(t *testing.T, network *netns.Network, nodes []role.Node, payload secrets.Payload) []*fakeNode {
	t.Helper()
	var all []*fakeNode
	for i, n := range nodes {
		certificate, err := tls.X509KeyPair([]byte(payload[n.Name+".node.crt"]), []byte(payload[n.Name+".node.key"]))
		if err != nil {
			t.Fatal(err)
		}
		node := &fakeNode{name: n.Name, address: n.Address.String(), network: network, says: "replica",
			tls: &tls.Config{Certificates: []tls.Certificate{certificate}}}
		if i == 0 {
			node.says = "primary"
		}
		if err := node.listen(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(node.gone)
		all = append(all, node)
	}
	return all
}

// start runs HAProxy until the test ends, and gives it once it listens. With an
// old one it takes over from it, as at a reload.
func (f *fakes) start(t *testing.T, ctx context.Context, old *os.Process) *os.Process {
	t.Helper()
	args := append([]string{"netns", "exec", f.network.Name}, f.command...)
	args = append(args, "-db", "-f", filepath.Join(f.dir, "haproxy.cfg"))
	if old != nil {
		args = append(args, "-sf", fmt.Sprint(old.Pid))
	}
	log, err := os.OpenFile(filepath.Join(f.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, "ip", args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("HAProxy's servers:\n%s", f.cli("show stat"))
		}
		cmd.Process.Kill()
		<-done
		if data, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("HAProxy says:\n%s", end(string(data)))
		}
	})
	return cmd.Process
}

// reload is what the unit does: the next process gets the state of this one.
func (f *fakes) reload(t *testing.T, ctx context.Context, old *os.Process) *os.Process {
	t.Helper()
	cmd := exec.CommandContext(ctx, "python3", "-B", "../roles/haproxy/rootfs/usr/lib/pgha/servers_state.py")
	cmd.Env = append(os.Environ(), "PGHA_SERVERS_STATE="+filepath.Join(f.dir, "servers.state"), "PGHA_HAPROXY_RUN="+f.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return f.start(t, ctx, old)
}

// follow runs follow_leader.py beside HAProxy until the test ends.
func (f *fakes) follow(t *testing.T, ctx context.Context) {
	t.Helper()
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", f.network.Name, "python3", "-B", "../roles/haproxy/rootfs/usr/lib/pgha/follow_leader.py")
	cmd.Env = append(os.Environ(), "PGHA_HAPROXY_RUN="+f.dir, "PGHA_FOLLOW_WHILE=10",
		"PGHA_HAPROXY_CONFIG="+filepath.Join(f.dir, "haproxy.cfg"), "PGHA_HAPROXY_CA="+filepath.Join(f.dir, "ca.crt"))
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		t.Logf("follow_leader.py says:\n%s", end(said.String()))
	})
}

// running starts HAProxy, and waits until it sends writers to this node.
func (f *fakes) running(t *testing.T, ctx context.Context, leader *fakeNode) *os.Process {
	t.Helper()
	process := f.start(t, ctx, nil)
	within(t, 5*time.Second, "HAProxy sends writers to "+leader.name, func() bool { return f.ask(ctx, anApp, toLeader) == leader.name })
	return process
}

// dial connects from the machine with this address, or from the proxy's.
func (f *fakes) dial(ctx context.Context, from, to string) (net.Conn, error) {
	if port := f.ports[from]; port != nil {
		return netns.Dial(ctx, port.Namespace, "tcp", to)
	}
	return f.network.Dial(ctx, "tcp", to)
}

// session is a connection that a node has answered.
type session struct {
	net.Conn
	lines *bufio.Reader
	node  string
}

// open connects as an application does: it speaks first.
func (f *fakes) open(ctx context.Context, from, to string) (*session, error) {
	conn, err := f.dial(ctx, from, to)
	if err != nil {
		return nil, err
	}
	s := &session{Conn: conn, lines: bufio.NewReader(conn)}
	if s.node, err = s.ask(15 * time.Second); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// ask gives the name of the node at the other end.
func (s *session) ask(limit time.Duration) (string, error) {
	s.SetDeadline(time.Now().Add(limit))
	if _, err := s.Write([]byte("who\n")); err != nil {
		return "", err
	}
	line, err := s.lines.ReadString('\n')
	return strings.TrimSpace(line), err
}

// alive says whether a session still gets an answer.
func (s *session) alive() bool {
	name, err := s.ask(2 * time.Second)
	return err == nil && name == s.node
}

// ask connects once; "" is nobody.
func (f *fakes) ask(ctx context.Context, from, to string) string {
	s, err := f.open(ctx, from, to)
	if err != nil {
		return ""
	}
	defer s.Close()
	return s.node
}

// get asks HAProxy's port of statistics; 0 is no answer.
func (f *fakes) get(ctx context.Context, from, path string) int {
	client := http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return f.dial(ctx, from, address)
		}}}
	to := proxyAddress
	if strings.HasPrefix(from, "127.") {
		to = "127.0.0.1"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+to+":8404"+path, nil)
	if err != nil {
		return 0
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// within waits for a condition; its last try is after the limit.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	start, limit := time.Now(), labtest.Here(limit)
	for {
		late := time.Since(start) > limit
		if ok() {
			return time.Since(start)
		}
		if late {
			t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// fakeNode is Patroni's REST API, and a PostgreSQL that answers each line with
// its name.
type fakeNode struct {
	name, address string
	network       *netns.Network
	tls           *tls.Config

	mu        sync.Mutex
	says      string        // primary, promoting, stopping, replica, or anything else: neither
	slow      time.Duration // how long an answer takes
	handshake time.Duration // how long a handshake takes
	rest      *http.Server
	sql       net.Listener
	sessions  map[net.Conn]bool
	connected int // sessions ever
	asked     int // how often its REST API was
}

func (n *fakeNode) listen() error {
	if err := n.listenREST(); err != nil {
		return err
	}
	return n.listenSQL()
}

func (n *fakeNode) listenREST() error {
	l, err := n.network.Listen("tcp", n.address+":8008")
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	config := n.tls.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		n.mu.Lock()
		slow := n.handshake
		n.mu.Unlock()
		time.Sleep(slow)
		return nil, nil
	}
	n.rest = &http.Server{Handler: n, TLSConfig: config, ReadHeaderTimeout: time.Minute}
	go n.rest.ServeTLS(l, "", "")
	return nil
}

// ServeHTTP answers HAProxy's checks.
func (n *fakeNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	says, slow := n.says, n.slow
	n.asked++
	n.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-r.Context().Done():
	}
	role, state := says, "running"
	switch says {
	case "promoting": // it has the lock, and cannot write yet
		says, role = "primary", "replica"
	case "stopping": // it still has the lock
		says, role, state = "primary", "primary", "stopping"
	}
	if r.URL.Path != "/"+says {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintf(w, `{"state": %q, "postmaster_start_time": "2026-11-26", "role": %q}`, state, role)
}

// busy makes each handshake of its REST API take so long, and each answer.
func (n *fakeNode) busy(slow time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.slow, n.handshake = slow, slow
}

func (n *fakeNode) listenSQL() error {
	l, err := n.network.Listen("tcp", n.address+":5432")
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sql, n.sessions = l, map[net.Conn]bool{}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go n.serve(conn)
		}
	}()
	return nil
}

func (n *fakeNode) serve(conn net.Conn) {
	n.mu.Lock()
	n.sessions[conn] = true
	n.connected++
	n.mu.Unlock()
	defer func() {
		conn.Close()
		n.mu.Lock()
		delete(n.sessions, conn)
		n.mu.Unlock()
	}()
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if _, err := fmt.Fprintln(conn, n.name); err != nil {
			return
		}
	}
}

// say changes what the node says that it is.
func (n *fakeNode) say(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.says = what
}

// open is how many sessions the node has, and how many it has had.
func (n *fakeNode) open() (now, ever int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.sessions), n.connected
}

// questions is how often the REST API was asked since the last call.
func (n *fakeNode) questions() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	asked := n.asked
	n.asked = 0
	return asked
}

// silent ends Patroni: nobody listens on its port.
func (n *fakeNode) silent() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rest.Close()
}

// stopSQL ends PostgreSQL, and its sessions.
func (n *fakeNode) stopSQL() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sql.Close()
	for conn := range n.sessions {
		conn.Close()
	}
}

func (n *fakeNode) gone() {
	n.silent()
	n.stopSQL()
}

func (f *fakes) cli(line string) string {
	conn, err := net.Dial("unix", filepath.Join(f.dir, "admin.sock"))
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	fmt.Fprintln(conn, line)
	data, _ := io.ReadAll(conn)
	return string(data)
}
