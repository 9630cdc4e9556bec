// Package operatetest stands in for the machines of a cluster: their services,
// which answer what real ones answered (the files of real/), and what Patroni
// does when it is told to.
package operatetest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"embed"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgha-gen/generator"
	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

// Authority signs what a test needs.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes one.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testkit.OK(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	testkit.OK(t, err)
	certificate, err := x509.ParseCertificate(der)
	testkit.OK(t, err)
	return &Authority{certificate, key}
}

// PEM is its certificate.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// Issue gives a certificate and its key, for names as a server or for a client.
func (a *Authority) Issue(t testing.TB, commonName string, end time.Time, names ...string) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testkit.OK(t, err)
	usage := x509.ExtKeyUsageClientAuth
	if len(names) > 0 {
		usage = x509.ExtKeyUsageServerAuth
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: commonName}, DNSNames: names, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, private.Public(), a.key)
	testkit.OK(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	testkit.OK(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// Operators is an edit of the example that lets operators in.
const Operators = "operators: []=>operators: [10.99.7.0/24]"

// Administrator is whom the operator's certificate names.
const Administrator = "pgha_admin"

const password = "the REST API's"

// Folder is an operator's folder, as secrets generate writes it.
func Folder(t testing.TB, a *Authority) string {
	t.Helper()
	dir := t.TempDir()
	certificate, key := a.Issue(t, Administrator, time.Now().AddDate(0, 6, 0))
	for name, data := range map[string][]byte{"ca.crt": a.PEM(), "operator.crt": certificate, "operator.key": key, "restapi.password": []byte(password + "\n")} {
		testkit.OK(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	return dir
}

// Machines are those of the example.
type Machines struct {
	t          testing.TB
	Cluster    *role.Cluster
	Digests    map[string]string // of the user-data of each role
	tls, plain *httptest.Server
	pair       tls.Certificate

	Patience time.Duration // of clients

	mu       sync.Mutex
	Leader   string
	timeline int
	Paused   bool
	Away     map[string]bool      // machines that swallow what is sent to them
	Refuse   map[string]bool      // that refuse connections
	started  map[string]int       // how often PostgreSQL was started
	copying  map[string]int       // looks until the copy is there
	Pending  map[string]bool      // a restart is
	Took     map[string]time.Time // when a machine took over new user-data; without one, long ago
	Behind   map[string]bool      // works by other user-data than the spec's, which it refused
	Out      map[string]bool      // not in the quorum
	Answer   map[string]string    // in place of what is computed, by "NODE METHOD /path"; "STATUS text"
	Told     []string             // all that was to change something
	given    int                  // leases of etcd
	leases   map[string]bool      // those that are good
	key      [2]string            // the one that etcd has, and its lease
}

// New starts them.
func New(t testing.TB, a *Authority) *Machines {
	t.Helper()
	f := &Machines{t: t, Cluster: demo.Cluster(t, Operators), Patience: 5 * time.Second, Leader: "demo-pg-3", timeline: 1, Digests: map[string]string{}, Away: map[string]bool{}, Refuse: map[string]bool{}, started: map[string]int{},
		copying: map[string]int{}, Pending: map[string]bool{}, Took: map[string]time.Time{}, Behind: map[string]bool{}, Out: map[string]bool{}, Answer: map[string]string{}, leases: map[string]bool{}}
	var names []string
	for _, g := range f.Cluster.Groups {
		data, err := generator.UserData(f.Cluster, g)
		testkit.OK(t, err)
		f.Digests[g.Name] = cloudinit.Digest(data)
		for _, n := range g.Nodes() {
			names = append(names, f.Cluster.FQDN(n.Name))
		}
	}
	certificate, key := a.Issue(t, "", time.Now().AddDate(1, 0, 0), names...)
	f.Present(t, certificate, key)
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	f.tls, f.plain = httptest.NewUnstartedServer(f), httptest.NewUnstartedServer(f)
	f.tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.tls.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &f.pair, nil }}
	f.tls.StartTLS()
	f.plain.Start()
	f.tls.Config.SetKeepAlivesEnabled(false) // or who is away would still be there
	f.plain.Config.SetKeepAlivesEnabled(false)
	t.Cleanup(f.tls.Close)
	t.Cleanup(f.plain.Close)
	return f
}

// Present makes all machines show this certificate.
func (f *Machines) Present(t testing.TB, certificate, key []byte) {
	t.Helper()
	var err error
	f.pair, err = tls.X509KeyPair(certificate, key)
	testkit.OK(t, err)
}

// Dial reaches the machines by their addresses.
func (f *Machines) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	at, err := net.ResolveTCPAddr(network, address)
	if err != nil {
		return nil, err
	}
	name := ""
	for _, g := range f.Cluster.Groups {
		for _, n := range g.Nodes() {
			if n.Address.String() == at.IP.String() {
				name = n.Name
			}
		}
	}
	f.mu.Lock()
	away, refuse := f.Away[name], f.Refuse[name]
	f.mu.Unlock()
	switch {
	case name == "":
		return nil, fmt.Errorf("nobody has the address %s", address)
	case away:
		<-ctx.Done()
		return nil, ctx.Err()
	case refuse:
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	server := f.tls
	if at.Port == role.MetricsPort || at.Port == 8404 {
		server = f.plain
	}
	return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
}

// ServeHTTP implements http.Handler for all machines at once.
func (f *Machines) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	name, _, _ := strings.Cut(r.Host, ".")
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Refuse[name] {
		panic(http.ErrAbortHandler) // by a connection of before
	}
	if text, ok := f.Answer[name+" "+r.Method+" "+r.URL.Path]; ok {
		status := 200
		if n, err := fmt.Sscanf(text, "%d ", &status); n == 1 && err == nil {
			_, text, _ = strings.Cut(text, " ")
		}
		w.WriteHeader(status)
		io.WriteString(w, text)
		return
	}
	if r.Method != http.MethodGet && strings.HasSuffix(r.Host, ":8008") {
		who, given, _ := r.BasicAuth()
		if who != "patroni" || given != password || len(r.TLS.PeerCertificates) == 0 || r.TLS.PeerCertificates[0].Subject.CommonName != Administrator {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, "not authenticated")
			return
		}
		f.Told = append(f.Told, name+" "+r.Method+" "+r.URL.Path+" "+string(body))
	}
	status, text := f.serve(name, r.Method+" "+r.URL.Path, body)
	w.WriteHeader(status)
	io.WriteString(w, text)
}

func (f *Machines) serve(name, question string, body []byte) (int, string) {
	var order struct{ Leader, Candidate, Scheduled string }
	json.Unmarshal(body, &order)
	switch question {
	case "GET /status":
		return 200, f.status(name)
	case "GET /stats;csv":
		return 200, f.statistics()
	case "POST /v3/maintenance/status":
		text := f.real("etcd-status.json")
		if name != "demo-etcd-1" { // which leads
			text = strings.Replace(text, `"member_id":"17999878128369272549"`, `"member_id":"1"`, 1)
		}
		return 200, text
	case "GET /health":
		return 200, f.real("etcd-health.json")
	case "POST /v3/cluster/member/list":
		return 200, f.real("etcd-members.json")
	case "POST /v3/lease/grant", "POST /v3/lease/keepalive", "POST /v3/lease/revoke", "POST /v3/kv/txn":
		return f.etcd(strings.TrimPrefix(question, "POST /v3/"), body)
	case "GET /config":
		if f.Paused {
			return 200, f.real("config-paused.json")
		}
		return 200, f.real("config.json")
	case "GET /history":
		return 200, f.real("history.json")
	case "GET /patroni":
		return 200, f.node(name)
	case "GET /cluster":
		return 200, f.members()
	case "POST /restart":
		f.start(name)
		return 200, "restarted successfully"
	case "POST /switchover", "POST /failover":
		if strings.Contains(string(body), "scheduled_at") {
			return 202, "Switchover scheduled"
		}
		f.start(f.Leader)
		f.Leader, f.timeline = order.Candidate, f.timeline+1
		return 200, `Successfully switched over to "` + f.Leader + `"`
	case "DELETE /switchover":
		return 200, "scheduled switchover deleted"
	case "POST /reinitialize":
		f.copying[name] = 2
		return 200, "reinitialize started"
	case "PATCH /config":
		f.Paused = strings.Contains(string(body), "true")
		return 200, f.real("config.json")
	}
	return 404, "not found"
}

// etcd keeps one key, which is there as long as its lease.
func (f *Machines) etcd(question string, body []byte) (int, string) {
	var in struct {
		ID      string
		Success []struct {
			Put struct {
				Value, Lease string
			} `json:"request_put"`
		}
	}
	testkit.OK(f.t, json.Unmarshal(body, &in))
	there := f.leases[in.ID]
	switch question {
	case "lease/grant":
		id := fmt.Sprint(2324035649485154053 + f.given)
		f.given++
		f.leases[id] = true
		return 200, fmt.Sprintf(`{"header":{},"ID":%q,"TTL":"60"}`, id)
	case "lease/keepalive":
		if !there {
			return 200, fmt.Sprintf(`{"result":{"header":{},"ID":%q}}`, in.ID)
		}
		return 200, fmt.Sprintf(`{"result":{"header":{},"ID":%q,"TTL":"60"}}`, in.ID)
	case "lease/revoke":
		if !there {
			return 404, `{"error":"etcdserver: requested lease not found","code":5,"message":"etcdserver: requested lease not found"}`
		}
		delete(f.leases, in.ID)
		return 200, `{"header":{}}`
	}
	if f.leases[f.key[1]] {
		return 200, fmt.Sprintf(`{"header":{},"responses":[{"response_range":{"header":{},"kvs":[{"key":"L3BnaGEvcmVwbGFjZQ==","version":"1","value":%q,"lease":%q}],"count":"1"}}]}`, f.key[0], f.key[1])
	}
	f.key = [2]string{in.Success[0].Put.Value, in.Success[0].Put.Lease}
	return 200, `{"header":{},"succeeded":true,"responses":[{"response_put":{"header":{}}}]}`
}

// status is what a machine says of itself. It works by the spec, and its
// certificates are good for 400 days.
func (f *Machines) status(name string) string {
	file, kind := "machine.json", "patroni"
	switch {
	case strings.Contains(name, "haproxy"):
		file, kind = "machine-haproxy.json", "haproxy"
	case strings.Contains(name, "etcd"):
		kind = "etcd"
	}
	var said map[string]any
	testkit.OK(f.t, json.Unmarshal([]byte(f.real(file)), &said))
	said["node"], said["role"], said["user_data"] = name, kind, f.Digests[kind]
	if at, ok := f.Took[name]; ok {
		said["steps"].(map[string]any)["refresh"] = map[string]any{"at": at.UnixMilli(), "status": "ok", "detail": f.Digests[kind] + " firewall replaced"}
	}
	if f.Behind[name] {
		said["user_data"] = "0123456789abcdef"
		said["steps"].(map[string]any)["refresh"] = map[string]any{
			"at": time.Now().UnixMilli(), "status": "fail", "detail": "new user-data is refused, and the old stays in force: it is refused"}
	}
	for _, each := range said["certificates"].([]any) {
		each.(map[string]any)["end"] = time.Now().AddDate(0, 0, 400).Add(time.Hour).Unix()
	}
	text, err := json.Marshal(said)
	testkit.OK(f.t, err)
	return string(text)
}

// statistics are those of a HAProxy that knows who leads: demo-pg-3 did when
// they were real.
func (f *Machines) statistics() string {
	was, is := "demo-pg-3", f.Leader
	var swap []string
	for _, backend := range []string{"primary,", "replicas,"} {
		swap = append(swap, backend+was, backend+is, backend+is, backend+was)
	}
	return strings.NewReplacer(swap...).Replace(f.real("stats.csv"))
}

// Power switches a machine on or off.
func (f *Machines) Power(name string, on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Refuse[name] = !on
	if on {
		f.start(name)
	}
}

// Set answers a question with a text in place of what is computed, or with that
// again.
func (f *Machines) Set(question, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Answer[question] = text
	if text == "" {
		delete(f.Answer, question)
	}
}

// EndLeases ends all leases of etcd, as time does whose holders were killed.
func (f *Machines) EndLeases() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.leases)
}

// Join puts a node into the quorum.
func (f *Machines) Join(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Out[name] = false
}

// start restarts a node's PostgreSQL, for which nothing is pending any more.
func (f *Machines) start(name string) { f.started[name]++; f.Pending[name] = false }

func (f *Machines) real(name string) string { return Real(f.t, name) }

//go:embed real
var files embed.FS

// Real is what a real machine answered.
func Real(t testing.TB, name string) string {
	t.Helper()
	text, err := files.ReadFile("real/" + name)
	testkit.OK(t, err)
	return string(text)
}

// node is what Patroni says of its own node.
func (f *Machines) node(name string) string {
	file := "patroni-replica.json"
	if name == f.Leader {
		file = "patroni-leader.json"
	}
	var said map[string]any
	testkit.OK(f.t, json.Unmarshal([]byte(f.real(file)), &said))
	said["timeline"] = f.timeline
	said["postmaster_start_time"] = fmt.Sprintf("2026-11-26 17:40:%02d.869396+00:00", f.started[name])
	if f.Paused {
		said["pause"] = true
	}
	if f.copying[name] > 0 {
		if f.copying[name]--; f.copying[name] == 0 {
			f.start(name)
		}
		said = map[string]any{"state": "creating replica", "role": "replica"}
	}
	text, err := json.Marshal(said)
	testkit.OK(f.t, err)
	return string(text)
}

// members is what Patroni says of all nodes.
func (f *Machines) members() string {
	file := "cluster.json"
	var said map[string]any
	testkit.OK(f.t, json.Unmarshal([]byte(f.real(file)), &said))
	for _, each := range said["members"].([]any) {
		m := each.(map[string]any)
		name := m["name"].(string)
		m["timeline"] = f.timeline
		m["role"], m["state"], m["lag"] = "quorum_standby", "streaming", 0
		if f.Out[name] {
			m["role"] = "replica"
		}
		if name == f.Leader {
			m["role"], m["state"] = "leader", "running"
			delete(m, "lag")
		}
		if f.Pending[name] {
			m["pending_restart"] = true
			m["pending_restart_reason"] = map[string]any{"max_connections": map[string]any{"old_value": "300", "new_value": "310"}}
		}
	}
	if f.Paused {
		said["pause"] = true
	}
	text, err := json.Marshal(said)
	testkit.OK(f.t, err)
	return string(text)
}
