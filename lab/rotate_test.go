//go:build linux

package lab_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgha-gen/deploy/secrets"
	"pgha-gen/generator"
	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
	"pgha-gen/internal/demo"
	"pgha-gen/lab/cloud"
	"pgha-gen/lab/labtest"
	"pgha-gen/lab/machine/machinetest"
)

// Everything that is secret is made anew while applications write and read:
// certificates, the authority, passwords; and what goes wrong on the way costs
// nothing. Sessions are kept, and not one transaction fails.
func TestRotate(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 70*time.Second)
	defer cancel()
	faults := new(cloud.Outages)
	c := newClusterOf(t, ctx, demo.Cluster(t), faults.Now)
	f := newFolder(t, c)
	c.up(t, ctx)
	c.whole(t, ctx)
	l := startLoad(t, ctx, c, 4)
	r := startReaders(t, ctx, c, 2)
	machines := slices.DeleteFunc(c.Names(), func(name string) bool { return name == balancer })

	// calm does something, and gives how long it took. Nothing may fail meanwhile,
	// and no replica may lose its stream.
	calm := func(t *testing.T, do func()) time.Duration {
		t.Helper()
		r.take()
		streams := c.streams(t, ctx)
		var took time.Duration
		l.fault(t, ctx, 0, func() {
			start := time.Now()
			do()
			took = time.Since(start)
			time.Sleep(3 * time.Second)
		})
		l.quiet(t)
		reads, failed := r.take()
		if len(failed) > 0 {
			t.Errorf("readers failed: %v", failed)
		}
		if now := c.streams(t, ctx); now != streams {
			t.Errorf("streams of the replicas: %s, and before %s", now, streams)
		}
		t.Logf("took over in %.1f s; %d reads, none failed", took.Seconds(), reads)
		return took
	}

	t.Run("certificates", func(t *testing.T) {
		processes := c.processes(t, ctx, machines)
		calm(t, func() { f.rotate(t, ctx, machines, secrets.Rotation{Certificates: true}) })
		c.present(t, ctx, machines)
		if diff := differences(processes, c.processes(t, ctx, machines)); diff != "" {
			t.Errorf("restarted: %s", diff)
		}
	})

	t.Run("what is wrong costs nothing", func(t *testing.T) {
		const node = "demo-pg-2"
		good := f.payloads["patroni"]
		put := func(payload secrets.Payload) {
			if err := c.PutPayload("patroni", payload); err != nil {
				t.Fatal(err)
			}
		}
		other := good["demo-pg-1.node.key"]
		processes := c.processes(t, ctx, machines)
		calm(t, func() {
			for _, fault := range []struct {
				name, entry, value, want string
			}{
				{"an entry removed", node + ".node.key", "", "has neither an entry demo-pg-2.node.key"},
				{"another node's key", node + ".node.key", other, "node.key is not the key of node.crt"},
			} {
				payload := maps.Clone(good)
				if payload[fault.entry] = fault.value; fault.value == "" {
					delete(payload, fault.entry)
				}
				since := time.Now()
				put(payload)
				c.refreshSecrets(t, ctx, node)
				c.waitStatus(t, ctx, node, "secrets", since, "wait", fault.want)
			}
			since := time.Now()
			put(good)
			c.waitStatus(t, ctx, node, "secrets", since, "ok", "as before")
			since = time.Now()
			if err := faults.Set(cloud.LockboxService, cloud.Fault{Status: 503}); err != nil {
				t.Fatal(err)
			}
			c.refreshSecrets(t, ctx, node)
			c.waitStatus(t, ctx, node, "secrets", since, "wait", "Lockbox answers 503")
			since = time.Now()
			if err := faults.Set(cloud.LockboxService, cloud.Fault{}); err != nil {
				t.Fatal(err)
			}
			c.waitStatus(t, ctx, node, "secrets", since, "ok", "as before")
			// Nobody has to know better than to start it again.
			c.run(t, ctx, node, "systemctl restart pgha-secrets.service")
		})
		if diff := differences(processes, c.processes(t, ctx, machines)); diff != "" {
			t.Errorf("restarted: %s", diff)
		}
		c.present(t, ctx, machines)
	})

	t.Run("authority", func(t *testing.T) {
		old := f.payloads
		calm(t, func() { f.rotate(t, ctx, c.Names(), secrets.Rotation{CA: true}) })
		calm(t, func() { f.rotate(t, ctx, machines, secrets.Rotation{Certificates: true}) })
		c.present(t, ctx, machines)
		calm(t, func() { f.rotate(t, ctx, c.Names(), secrets.Rotation{Finish: true}) })
		c.present(t, ctx, machines)
		// Nobody trusts the old one any more.
		addresses := c.addresses(t)
		for _, try := range []struct{ from, group, file, to string }{
			{"demo-pg-1", "patroni", "node", addresses["demo-etcd-1"] + ":2379"},
			{"demo-pg-1", "patroni", "node", addresses["demo-etcd-2"] + ":2379"},
			{"demo-pg-1", "patroni", "node", addresses["demo-pg-2"] + ":8008"},
			{"demo-etcd-1", "etcd", "peer", addresses["demo-etcd-3"] + ":2380"},
		} {
			for when, payload := range map[string]secrets.Payload{"old": old[try.group], "new": f.payloads[try.group]} {
				entry := try.from + "." + try.file
				err := c.shows(ctx, try.from, try.to, payload[entry+".crt"], payload[entry+".key"])
				if (err == nil) != (when == "new") {
					t.Errorf("%s with the %s certificate at %s: %v", try.from, when, try.to, err)
				}
			}
		}
	})

	t.Run("passwords", func(t *testing.T) {
		was := f.payloads["patroni"]
		old := was["password.app"]
		processes := c.processes(t, ctx, machines)
		took := calm(t, func() {
			f.rotate(t, ctx, machines, secrets.Rotation{Passwords: true})
			// The node that leads sets them. From then on clients need the new ones.
			for deadline := time.Now().Add(labtest.Here(time.Minute)); ; time.Sleep(100 * time.Millisecond) {
				conn, err := c.connect(ctx, writers, "app", "app")
				if err == nil {
					conn.Close(ctx)
					break
				}
				if time.Now().After(deadline) {
					t.Fatal(err)
				}
			}
		})
		t.Logf("new passwords count after %.1f s", took.Seconds())
		_, err := c.connectAs(ctx, writers, "app", "app", old)
		wantState(t, err, "28P01") // invalid_password
		for secret, want := range map[string]string{was["patroni.env"]: "401", c.Secret("patroni", "patroni.env"): "202"} {
			if got := c.reloadPatroni(t, ctx, "demo-pg-1", secret); got != want {
				t.Errorf("Patroni's REST API answers %s, want %s", got, want)
			}
		}
		if diff := differences(processes, c.processes(t, ctx, machines)); diff != "" {
			t.Errorf("restarted: %s", diff)
		}
		// A replica that connects anew uses the new one.
		leader := c.whole(t, ctx)
		c.sql(t, ctx, leader, "SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
		time.Sleep(time.Second)
		if now := c.whole(t, ctx); now != leader {
			t.Errorf("%s leads, and %s did", now, leader)
		}
		l.after(t, ctx, time.Now())
	})

	r.end()
	l.end(t, ctx)
}

// folder is what pgha-gen secrets generate keeps, and the lab's cloud gets.
type folder struct {
	c        *cluster
	spec     *role.Cluster
	dir      string
	payloads map[string]secrets.Payload
}

// newFolder makes the cluster's secrets, in place of those that the lab made.
func newFolder(t *testing.T, c *cluster) *folder {
	t.Helper()
	f := &folder{c: c, spec: demo.Cluster(t), dir: filepath.Join(t.TempDir(), "demo"), payloads: map[string]secrets.Payload{}}
	f.generate(t, secrets.Rotation{})
	f.push(t)
	return f
}

// generate is a run of the command; the spec gets the authority that it names.
func (f *folder) generate(t *testing.T, rotate secrets.Rotation) {
	t.Helper()
	w, err := secrets.Generate(f.dir, f.spec, rotate, secrets.World{UID: os.Geteuid(), Now: time.Now(), Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	f.spec.Secrets.CA = specfile.Text(w.CA)
	if err := f.spec.Plan(); err != nil {
		t.Fatal(err)
	}
	f.payloads = map[string]secrets.Payload{}
	for _, part := range f.spec.WithSecrets() {
		f.payloads[part.Name] = readPayload(t, filepath.Join(f.dir, part.Name+".json"))
	}
}

// readPayload reads a file as yc does.
func readPayload(t *testing.T, name string) secrets.Payload {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var entries []struct {
		Key  string `json:"key"`
		Text string `json:"text_value"`
	}
	if err := json.Unmarshal(data, &entries); err != nil {
		t.Fatal(err)
	}
	p := secrets.Payload{}
	for _, e := range entries {
		p[e.Key] = e.Text
	}
	return p
}

// push does what the command says next: Lockbox, and metadata, get what is new.
func (f *folder) push(t *testing.T) {
	t.Helper()
	if err := f.c.PutSecrets(f.payloads); err != nil {
		t.Fatal(err)
	}
	for _, part := range f.spec.Groups {
		for _, n := range part.Nodes() {
			if err := f.c.SetAttribute(n.Name, "user-data", f.userData(t, part)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (f *folder) userData(t *testing.T, part *role.Group) string {
	t.Helper()
	data, err := generator.UserData(f.spec, part)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// rotate is a step of the command, until all these machines have taken it over.
func (f *folder) rotate(t *testing.T, ctx context.Context, machines []string, rotate secrets.Rotation) {
	t.Helper()
	was, since := f.payloads, time.Now()
	f.generate(t, rotate)
	f.push(t)
	var all sync.WaitGroup
	for _, part := range f.spec.Groups {
		for _, n := range part.Nodes() {
			if !slices.Contains(machines, n.Name) {
				continue
			}
			if f.payloads[part.Name] == nil {
				want := cloudinit.Digest([]byte(f.userData(t, part)))
				all.Go(func() { f.c.waitStatus(t, ctx, n.Name, "refresh", since, "ok", want) })
			} else if !maps.Equal(was[part.Name], f.payloads[part.Name]) {
				f.c.refreshSecrets(t, ctx, n.Name)
				all.Go(func() { f.c.waitStatus(t, ctx, n.Name, "secrets", since, "ok", "new: ") })
			}
		}
	}
	all.Wait()
}

// reloadPatroni asks with the password of this patroni.env, and gives the status.
func (c *cluster) reloadPatroni(t *testing.T, ctx context.Context, node, secret string) string {
	t.Helper()
	_, password, _ := strings.Cut(secret, "PATRONI_RESTAPI_PASSWORD=")
	password, _, _ = strings.Cut(password, "\n")
	out, err := machinetest.ExecInput(ctx, c.Machine(node), fmt.Sprintf("user = \"patroni:%s\"\n", password), "sh", "-c", `cd /run/pgha/secrets
		name=$(sed -n 's/^NODE_FQDN=//p' /run/pgha/identity.env) address=$(sed -n 's/^NODE_ADDRESS=//p' /run/pgha/identity.env)
		curl -q -s -o /dev/null -w '%{http_code}' -K - --cacert ca.crt --cert node.crt --key node.key -X POST --resolve "$name:8008:$address" "https://$name:8008/reload"`)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// refreshSecrets has a machine look now, and not within six minutes.
func (c *cluster) refreshSecrets(t *testing.T, ctx context.Context, node string) {
	t.Helper()
	c.run(t, ctx, node, "systemctl start pgha-secrets-refresh.service")
}

// waitStatus waits until a step's last line, said after a moment, has this status
// and this text.
func (c *cluster) waitStatus(t *testing.T, ctx context.Context, node, step string, since time.Time, status, text string) {
	t.Helper()
	deadline, line := time.Now().Add(labtest.Here(90*time.Second)), ""
	for time.Now().Before(deadline) {
		out, err := machinetest.Exec(ctx, c.Machine(node), "cat", "/run/pgha/steps/"+step)
		line = strings.TrimSpace(string(out))
		var ms int64
		var said string
		if _, scan := fmt.Sscan(line, &ms, &said); err == nil && scan == nil && ms >= since.UnixMilli() && said == status && strings.Contains(line, text) {
			t.Logf("%s after %.1f s: %s", node, time.UnixMilli(ms).Sub(since).Seconds(), line[14:])
			return
		}
		time.Sleep(300 * time.Millisecond)
	}
	t.Errorf("%s: %s has no %s with %q, but: %s", node, step, status, text, line)
}

// processes are the servers of machines.
func (c *cluster) processes(t *testing.T, ctx context.Context, machines []string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range machines {
		all[name] = c.run(t, ctx, name, `echo $(systemctl show --property MainPID --value etcd.service patroni.service) $(head -n 1 /var/lib/postgresql/*/main/postmaster.pid 2>/dev/null)`)
	}
	return all
}

func differences(was, now map[string]string) string {
	var all []string
	for name := range was {
		if was[name] != now[name] {
			all = append(all, fmt.Sprintf("%s (%s, now %s)", name, was[name], now[name]))
		}
	}
	return strings.Join(all, ", ")
}

// streams are the processes that receive what the leader writes.
func (c *cluster) streams(t *testing.T, ctx context.Context) string {
	t.Helper()
	var all []string
	for _, name := range []string{"demo-pg-1", "demo-pg-2", "demo-pg-3"} {
		all = append(all, name+":"+c.sql(t, ctx, name, "SELECT pid FROM pg_stat_wal_receiver"))
	}
	return strings.Join(all, " ")
}

// present fails unless every port shows the certificate that the machine has.
func (c *cluster) present(t *testing.T, ctx context.Context, machines []string) {
	t.Helper()
	for _, name := range machines {
		out := c.run(t, ctx, name, `cd /run/pgha/secrets
			address=$(sed -n 's/^NODE_ADDRESS=//p' /run/pgha/identity.env)
			serial() { openssl x509 -noout -serial; }
			shows() { # CERTIFICATE PORT OPTION...
				certificate=$1 port=$2
				shift 2
				have=$(timeout 5 openssl s_client -connect "$address:$port" -cert "$certificate.crt" -key "$certificate.key" "$@" </dev/null 2>/dev/null | serial)
				[ "$have" = "$(serial <"$certificate.crt")" ] || echo "port $port shows ${have:-nothing}"
			}
			if [ -e node.crt ]; then
				shows node 8008
				shows node 5432 -starttls postgres
			else
				shows server 2379
				shows peer 2380
			fi`)
		if out != "" {
			t.Errorf("%s: %s", name, out)
		}
	}
}

// shows asks a server as a machine with this certificate: an error says that it
// is not let in.
func (c *cluster) shows(ctx context.Context, from, at, certificate, key string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	if err != nil {
		return err
	}
	raw, err := c.DialAs(from)(ctx, "tcp", at)
	if err != nil {
		return err
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(5 * time.Second))
	conn := tls.Client(raw, &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true})
	if _, err := fmt.Fprintf(conn, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// readLoad reads all the time, each over a connection that it keeps.
type readLoad struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu     sync.Mutex
	reads  int
	failed []string
}

func startReaders(t *testing.T, ctx context.Context, c *cluster, count int) *readLoad {
	t.Helper()
	ctx, stop := context.WithCancel(ctx)
	r := &readLoad{stop: stop}
	t.Cleanup(r.end)
	for range count {
		conn, err := c.connect(ctx, readers, "app", "app_reader")
		if err != nil {
			t.Fatal(err)
		}
		r.done.Go(func() {
			defer func() { conn.Close(context.WithoutCancel(ctx)) }()
			for ctx.Err() == nil {
				try, cancel := context.WithTimeout(ctx, 2*time.Second)
				_, err := conn.Exec(try, "SELECT count(*) FROM kept")
				cancel()
				r.mu.Lock()
				if err == nil {
					r.reads++
				} else if ctx.Err() == nil {
					r.failed = append(r.failed, err.Error())
				}
				broken := conn.IsClosed()
				r.mu.Unlock()
				if broken {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	return r
}

// take gives how many reads there were since, and what failed.
func (r *readLoad) take() (int, []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	reads, failed := r.reads, r.failed
	r.reads, r.failed = 0, nil
	return reads, failed
}

func (r *readLoad) end() {
	r.stop()
	r.done.Wait()
}
