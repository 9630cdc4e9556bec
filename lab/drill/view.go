//go:build linux

package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"crypto/tls"
	"crypto/x509"

	"github.com/jackc/pgx/v5"

	"pgha-gen/generator/role"
	"pgha-gen/lab"
	"pgha-gen/lab/client"
	"pgha-gen/lab/cloud"
	"pgha-gen/lab/workload"
)

// World is a lab that is up, and the faults of its cloud's services.
type World struct {
	*lab.Lab
	Faults *cloud.Outages
}

// eyes look at the cluster from outside of its machines, and from inside.
type eyes struct {
	World
	access     lab.Access
	durability role.Durability
	roots      *x509.CertPool
}

func (w World) eyes() (eyes, error) {
	access, err := w.Access()
	if err != nil {
		return eyes{}, err
	}
	e := eyes{World: w, access: access, durability: w.Cluster().Durability, roots: x509.NewCertPool()}
	if !e.roots.AppendCertsFromPEM(e.ca()) {
		return eyes{}, errors.New("the CA is not a certificate in PEM")
	}
	return e, nil
}

func (e eyes) ca() []byte { return []byte(e.Secret(e.access.Role, "ca.crt")) }

// connect opens sessions of the application, through one proxy after the other. A try
// is short: one that does not answer must not keep the next one waiting.
func (e eyes) connect(target client.Target) workload.Connect {
	next := target.InTurn()
	return func(ctx context.Context) (*pgx.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return next().Connect(ctx, e.Network.Dial, e.ca(), e.Secret(e.access.Role, "password."+target.User))
	}
}

// withoutCancel is connect for sessions that never cancel what they wait for: that
// takes a connection of its own.
func (e eyes) withoutCancel(target client.Target) workload.Connect {
	next := target.InTurn()
	return func(ctx context.Context) (*pgx.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		var connected atomic.Bool
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			if connected.Load() {
				return nil, errors.New("nothing is cancelled")
			}
			return e.Network.Dial(ctx, network, address)
		}
		conn, err := next().Connect(ctx, dial, e.ca(), e.Secret(e.access.Role, "password."+target.User))
		connected.Store(true)
		return conn, err
	}
}

// node is the short name of a host.
func node(h client.Host) string {
	name, _, _ := strings.Cut(h.Name, ".")
	return name
}

// probes are the database nodes as the prober reaches them: over the machine's
// own loopback and socket, however its network is.
func (e eyes) probes() []workload.Node {
	var all []workload.Node
	for _, h := range e.access.REST {
		name := node(h)
		transport := &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: e.roots, MinVersion: tls.VersionTLS12},
			DialContext:       e.from(name, h),
			DisableKeepAlives: true,
		}
		url := "https://" + net.JoinHostPort(h.Name, strconv.Itoa(e.access.RESTPort)) + "/primary"
		all = append(all, workload.Node{
			Name: name,
			Connect: func(ctx context.Context) (*pgx.Conn, error) {
				pid, running := e.init(name)
				if !running {
					return nil, fmt.Errorf("%s is off", name)
				}
				user := e.access.Primary.User
				path := fmt.Sprintf("/proc/%d/root/run/postgresql/.s.PGSQL.5432", pid)
				return client.Socket(ctx, path, e.access.Primary.Database, user, e.Secret(e.access.Role, "password."+user))
			},
			Leads: func(ctx context.Context) bool {
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
				if err != nil {
					return false
				}
				response, err := transport.RoundTrip(request)
				if err != nil {
					return false
				}
				response.Body.Close()
				return response.StatusCode == http.StatusOK
			},
		})
	}
	return all
}

// from dials a host's REST API as a node.
func (e eyes) from(name string, h client.Host) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return e.DialAs(name)(ctx, network, net.JoinHostPort(h.Address.String(), strconv.Itoa(e.access.RESTPort)))
	}
}

func (e eyes) init(name string) (pid int, running bool) {
	m := e.Machine(name)
	if m == nil {
		return 0, false
	}
	return m.Init()
}

func (e eyes) members(ctx context.Context) ([]client.Member, error) {
	return client.Members(ctx, e.DialAs(e.access.RESTFrom), e.ca(), e.access.REST, e.access.RESTPort)
}

// ttl is how long a leader's lease lasts, as the cluster has it now. A node may
// be busy with its own role.
func (e eyes) ttl(ctx context.Context) (ttl time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		for _, h := range e.access.REST {
			if ttl, err = e.ttlOf(ctx, h); err == nil {
				return ttl, nil
			}
		}
		if ctx.Err() != nil {
			return 0, err
		}
		pause(ctx, 200*time.Millisecond)
	}
}

func (e eyes) ttlOf(ctx context.Context, h client.Host) (time.Duration, error) {
	text, status, err := e.rest(ctx, h, "/config")
	if err != nil {
		return 0, err
	}
	var config struct {
		TTL int `json:"ttl"`
	}
	if err := json.Unmarshal(text, &config); err != nil || config.TTL == 0 {
		return 0, fmt.Errorf("%s does not say what its ttl is: %w", h.Name, errors.Join(err, errors.New(status)))
	}
	return time.Duration(config.TTL) * time.Second, nil
}

// rest asks a node's Patroni, as that node.
func (e eyes) rest(ctx context.Context, h client.Host, path string) (text []byte, status string, err error) {
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: e.roots, MinVersion: tls.VersionTLS12}, DialContext: e.from(node(h), h), DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(h.Name, strconv.Itoa(e.access.RESTPort))+path, nil)
	if err != nil {
		return nil, "", err
	}
	response, err := c.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	text, err = io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return text, response.Status, err
}

// view is who is what.
type view struct {
	leader, sync string
	replicas     []string
	dcsLeader    string
	followers    []string // of the DCS
}

// etcdctl asks the member of this machine.
const etcdctl = `. /run/pgha/etcd/node.env; S=/run/pgha/secrets; exec etcdctl --command-timeout=2s --cacert $S/ca.crt --cert $S/server.crt --key $S/server.key --endpoints $ETCD_ADVERTISE_CLIENT_URLS `

// look gives the view, or why the cluster is not whole: one node leads, all
// others stream, as many of them as the durability wants count for a commit, and
// every member of etcd answers.
func (e eyes) look(ctx context.Context) (view, error) {
	v, err := e.databases(ctx)
	if err != nil {
		return v, err
	}
	names := e.Offering(role.DCS)
	leads, failures := make([]bool, len(names)), make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { leads[i], failures[i] = e.member(ctx, name) })
	}
	wg.Wait()
	for i, name := range names {
		switch {
		case failures[i] != nil:
			return v, failures[i]
		case leads[i]:
			v.dcsLeader = name
		default:
			v.followers = append(v.followers, name)
		}
	}
	if v.dcsLeader == "" {
		return v, errors.New("etcd has no leader")
	}
	return v, nil
}

// Divided says which members of etcd hold other data than the rest, by the hash of all
// revisions that every one of them has; empty: none. Each is asked for its own, and
// again while it does not answer, for some 30 s.
func (w World) Divided(ctx context.Context) (string, error) {
	names := w.Offering(role.DCS)
	ask := func(name, question string, answer any) (err error) {
		for tries := 0; tries < 10; tries++ {
			var out []byte
			if out, err = w.Machine(name).Exec(ctx, "sh", "-c", etcdctl+"endpoint --write-out json "+question); err == nil {
				return json.Unmarshal(out, answer)
			}
			pause(ctx, time.Second)
		}
		return fmt.Errorf("%s does not say what its etcd holds: %w", name, err)
	}
	last := int64(math.MaxInt64)
	for _, name := range names {
		var found [1]struct {
			Status struct{ Header struct{ Revision int64 } }
		}
		if err := ask(name, "status", &found); err != nil {
			return "", err
		}
		last = min(last, found[0].Status.Header.Revision)
	}
	hashes := map[string]string{}
	for _, name := range names {
		var found [1]struct {
			HashKV struct {
				Hash      uint32
				Compacted int64 `json:"compact_revision"`
			}
		}
		if err := ask(name, fmt.Sprintf("hashkv --rev %d", last), &found); err != nil {
			return "", err
		}
		hashes[name] = fmt.Sprintf("%08x since revision %d", found[0].HashKV.Hash, found[0].HashKV.Compacted)
	}
	return differ(hashes), nil
}

// differ says what members hold if that is not one and the same.
func differ(holds map[string]string) string {
	names := slices.Sorted(maps.Keys(holds))
	var each []string
	for _, name := range names {
		each = append(each, name+" "+holds[name])
	}
	if slices.IndexFunc(names, func(name string) bool { return holds[name] != holds[names[0]] }) < 0 {
		return ""
	}
	return "the members of etcd hold different data: " + strings.Join(each, ", ")
}

// serves is nil if a node's own Patroni says that its PostgreSQL runs.
func (e eyes) serves(ctx context.Context, name string, h client.Host) error {
	if _, running := e.init(name); !running {
		return errors.New("the machine is off")
	}
	_, status, err := e.rest(ctx, h, "/health")
	if err == nil && !strings.HasPrefix(status, "200 ") {
		err = fmt.Errorf("PostgreSQL does not run (%s)", status)
	}
	return err
}

// member says whether a machine's member of etcd answers, and leads.
func (e eyes) member(ctx context.Context, name string) (leads bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, running := e.init(name); !running {
		return false, fmt.Errorf("%s is off", name)
	}
	out, err := e.Machine(name).Exec(ctx, "sh", "-c", etcdctl+"endpoint status -w json")
	if err != nil {
		return false, fmt.Errorf("%s does not answer: %w", name, err)
	}
	var status []struct {
		Status struct {
			Header struct {
				Member uint64 `json:"member_id"`
			}
			Leader    uint64
			IsLearner bool
		}
	}
	if err := json.Unmarshal(out, &status); err != nil || len(status) != 1 {
		return false, fmt.Errorf("%s does not say what it is: %s", name, out)
	}
	s := status[0].Status
	if s.Leader == 0 || s.IsLearner {
		return false, fmt.Errorf("%s is not a member with a leader: %s", name, out)
	}
	return s.Leader == s.Header.Member, nil
}

// databases are who is what, as each node's own Patroni knows it. All are asked: one
// that no longer hears of etcd's changes goes by what it remembers. A node that has just
// been lost is in etcd's list of members for a while more.
func (e eyes) databases(ctx context.Context) (view, error) {
	hosts := map[string]client.Host{}
	for _, h := range e.access.REST {
		hosts[node(h)] = h
	}
	var mu sync.Mutex
	seen := map[string]view{}
	err := each(slices.Sorted(maps.Keys(hosts)), func(name string) error {
		if err := e.serves(ctx, name, hosts[name]); err != nil {
			return err
		}
		members, err := client.Members(ctx, e.DialAs(name), e.ca(), []client.Host{hosts[name]}, e.access.RESTPort)
		if err != nil {
			return err
		}
		v, err := wholeOf(members, len(hosts), e.durability)
		mu.Lock()
		defer mu.Unlock()
		seen[name] = v
		return err
	})
	if err != nil {
		return view{}, err
	}
	return agreed(seen)
}

// agreed is what all nodes know alike.
func agreed(seen map[string]view) (v view, err error) {
	first := ""
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		if first == "" {
			first, v = name, seen[name]
		}
		if now := seen[name]; now.leader != v.leader {
			return view{}, fmt.Errorf("%s says that %s leads, and %s that %s does", first, v.leader, name, now.leader)
		}
	}
	return v, nil
}

// wholeOf reads what Patroni says of its members.
func wholeOf(members []client.Member, nodes int, durability role.Durability) (v view, err error) {
	counted := 0
	for _, m := range members {
		switch {
		case m.Role == "leader" && m.State == "running":
			v.leader = m.Name
		case m.State == "streaming":
			v.replicas = append(v.replicas, m.Name)
			if m.Role == "sync_standby" || m.Role == "quorum_standby" {
				counted++
				if v.sync == "" {
					v.sync = m.Name
				}
			}
		}
	}
	slices.Sort(v.replicas)
	want := map[role.Durability]int{role.Async: 0, role.Sync: 1, role.Strict: 1, role.Quorum: nodes - 1}[durability]
	if v.leader == "" || len(v.replicas) != nodes-1 || counted < min(want, nodes-1) {
		return v, fmt.Errorf("want a leader and %d replicas, %d of which count for a commit, have %+v", nodes-1, want, members)
	}
	return v, nil
}

// whole waits until it is, and gives how that looks. One that is interrupted says
// what it waited for.
func (e eyes) whole(ctx context.Context, limit time.Duration) (v view, err error) {
	deadline := time.Now().Add(limit)
	for {
		now, missing := e.look(ctx)
		if missing == nil {
			return now, nil
		}
		if err == nil || ctx.Err() == nil {
			v, err = now, missing
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return v, fmt.Errorf("the cluster is not whole: %w", errors.Join(err, ctx.Err()))
		}
		pause(ctx, 200*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
