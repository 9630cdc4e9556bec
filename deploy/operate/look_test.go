package operate

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pgha-gen/deploy/operate/operatetest"
	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

// Real answers, over verified TLS, become the state of a cluster where all is
// well.
func TestLook(t *testing.T) {
	a := operatetest.NewAuthority(t)
	f := operatetest.New(t, a)
	s := client(t, f, operatetest.Folder(t, a)).Look(t.Context())
	if troubles := s.Troubles(); len(troubles) > 0 {
		t.Errorf("troubles: %q", troubles)
	}
	zero := int64(0)
	replica := func(name string) Member {
		return Member{Name: name, Role: "quorum_standby", State: "streaming", Timeline: 1, Lag: &zero, InSpec: true, Node: &Node{
			State: "running", Role: "replica", Timeline: 1, Started: "2026-11-26 17:40:00.869396+00:00", Receives: "streaming", Position: 83886160, Patroni: "4.1.5", Server: 180006}}
	}
	want := []Member{replica("demo-pg-1"), replica("demo-pg-2"), {Name: "demo-pg-3", Role: "leader", State: "running", Timeline: 1, InSpec: true, Node: &Node{
		State: "running", Role: "primary", Timeline: 1, Started: "2026-11-26 17:40:00.869396+00:00", Position: 83886160, Patroni: "4.1.5", Server: 180006}}}
	if diff := cmp.Diff(want, s.Members); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&Config{Synchronous: "quorum", SyncNodes: 1, MaximumLag: 1 << 20, LoopWait: 2, TTL: 20}, s.Config); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Voter{Name: "demo-etcd-1", Healthy: true, Leader: true, Version: "3.5.15", Size: 36864, InUse: 36864, InSpec: true, Listed: true}, s.DCS[0]); diff != "" || s.DCS[1].Leader {
		t.Errorf("etcd (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Proxy{{Name: "demo-haproxy-1", Writers: []string{"demo-pg-3"}, Readers: []string{"demo-pg-1", "demo-pg-2"}}}, s.Proxies); diff != "" {
		t.Errorf("HAProxy (-want +got):\n%s", diff)
	}
	if m := s.Machines[3]; m.Name != "demo-pg-1" || !m.Ready || m.UserData != f.Digests["patroni"] || m.UserData == "" || m.Steps["refresh"].Detail != "58eed620cca22585 is in force" || len(m.Certificates) != 2 || m.Disk == nil {
		t.Errorf("machine: %+v", m)
	}
}

// What a machine answers that is not as it should be, and what is said of it.
func TestLookTroubles(t *testing.T) {
	real := func(name string) string { return operatetest.Real(t, name) }
	tests := []struct {
		name, reason string
		change       func(*operatetest.Machines)
		want         []string
	}{
		{"a machine away", "it is waited for as long as we have patience", func(f *operatetest.Machines) { f.Away["demo-pg-1"] = true; f.Patience = time.Second }, []string{"demo-pg-1 does not answer: no answer within 1s"}},
		{"refused", "as the kernel says it", func(f *operatetest.Machines) { f.Refuse["demo-etcd-2"] = true },
			[]string{"etcd on demo-etcd-2: connection refused"}},
		{"another role", "an address that another machine has", func(f *operatetest.Machines) {
			f.Answer["demo-pg-1 GET /status"] = real("machine-haproxy.json")
		},
			[]string{`demo-pg-1 does not answer: says that it is a machine of role "haproxy" of cluster "demo-a6125ab9", want patroni of demo-a6125ab9`}},
		{"no JSON", "something else listens there", func(f *operatetest.Machines) { f.Answer["demo-pg-1 GET /status"] = "hello" },
			[]string{"demo-pg-1 does not answer: answers with something else than JSON of the kind that was asked for (invalid character 'h' looking for beginning of value)"}},
		{"nothing measured", "watch.py does not run", func(f *operatetest.Machines) {
			f.Answer["demo-pg-1 GET /status"] = "503 <html><h1>last measured 40 s ago"
		}, []string{"demo-pg-1 does not answer: answers 503 Service Unavailable"}},
		{"no CSV", "HAProxy of another kind", func(f *operatetest.Machines) { f.Answer["demo-haproxy-1 GET /stats;csv"] = "hello" }, []string{"demo-haproxy-1: HAProxy's statistics: answers with something else than HAProxy's statistics"}},
		{"etcd unhealthy", "with its reason", func(f *operatetest.Machines) {
			f.Answer["demo-etcd-3 GET /health"] = `{"health":"false","reason":"RAFT NO LEADER"}`
		},
			[]string{"etcd on demo-etcd-3: says that it is not healthy: RAFT NO LEADER"}},
		{"etcd without a quorum there", "it answers, its question to the others does not", func(f *operatetest.Machines) { f.Answer["demo-etcd-3 GET /health"] = "503 later" }, []string{"etcd on demo-etcd-3: answers, but cannot reach a quorum"}},
		{"members from another", "one node cannot read etcd", func(f *operatetest.Machines) {
			f.Answer["demo-pg-1 GET /cluster"] = "503 no etcd"
			f.Answer["demo-pg-1 GET /config"] = "503 no etcd"
		}, nil},
		{"no members", "no node can read etcd: what each says of itself is left", func(f *operatetest.Machines) {
			for _, n := range []string{"1", "2", "3"} {
				f.Answer["demo-pg-"+n+" GET /cluster"], f.Answer["demo-pg-"+n+" GET /config"] = "503 no etcd", "503 no etcd"
			}
		}, []string{"no node can say who the members are: demo-pg-1 answers 503: no etcd"}},
		{"paused", "by the configuration, and by the nodes", func(f *operatetest.Machines) { f.Paused = true }, []string{"Patroni is paused: nobody takes over if the leader is lost (pgha-gen cluster resume)"}},
		{"restarting", "Patroni's answer while pg-3 starts", func(f *operatetest.Machines) { f.Answer["demo-pg-1 GET /cluster"] = real("cluster-paused.json") },
			[]string{"demo-pg-3 is starting, and does not stream", "demo-haproxy-1 sends writers to demo-pg-3, and demo-pg-1 leads"}},
	}
	a := operatetest.NewAuthority(t)
	dir := operatetest.Folder(t, a)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := operatetest.New(t, a)
			test.change(f)
			got := client(t, f, dir).Look(t.Context()).Troubles()
			if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// A server is believed only by the name of the machine and the cluster's
// authority.
func TestLookVerifies(t *testing.T) {
	a := operatetest.NewAuthority(t)
	f := operatetest.New(t, operatetest.NewAuthority(t))
	want := "etcd on demo-etcd-1: shows a certificate that ca.crt of the operator's folder did not sign"
	if got := client(t, f, operatetest.Folder(t, a)).Look(t.Context()).Troubles(); !strings.Contains(strings.Join(got, "\n"), want) {
		t.Errorf("have %q, want %s", got, want)
	}
	g := operatetest.New(t, a)
	certificate, key := a.Issue(t, "", time.Now().AddDate(1, 0, 0), "elsewhere.example")
	g.Present(t, certificate, key)
	want = "etcd on demo-etcd-1: shows a certificate that is not for demo-etcd-1.ru-central1.internal"
	if got := client(t, g, operatetest.Folder(t, a)).Look(t.Context()).Troubles(); !strings.Contains(strings.Join(got, "\n"), want) {
		t.Errorf("have %q, want %s", got, want)
	}
}

// What stands in for Patroni's answers that were taken from a real cluster.
func TestPendingRestart(t *testing.T) {
	a := operatetest.NewAuthority(t)
	f := operatetest.New(t, a)
	f.Answer["demo-pg-1 GET /cluster"] = operatetest.Real(t, "cluster-pending.json")
	s := client(t, f, operatetest.Folder(t, a)).Look(t.Context())
	for _, m := range s.Members {
		if diff := cmp.Diff(map[string]Change{"max_connections": {"300", "310"}}, m.Pending); diff != "" {
			t.Errorf("%s (-want +got):\n%s", m.Name, diff)
		}
	}
	if troubles := s.Troubles(); len(troubles) > 0 {
		t.Errorf("a pending restart is a trouble: %q", troubles)
	}
	// Older Patroni says it only of its own node.
	delete(f.Answer, "demo-pg-1 GET /cluster")
	f.Answer["demo-pg-3 GET /patroni"] = operatetest.Real(t, "patroni-pending.json")
	if m := client(t, f, operatetest.Folder(t, a)).Look(t.Context()).Member("demo-pg-3"); len(m.Pending) != 1 {
		t.Errorf("have %v, want what its node says", m.Pending)
	}
}

func TestNewClient(t *testing.T) {
	part := demo.Cluster(t)
	part.Groups = part.Groups[:1]
	for _, test := range []struct {
		cluster *role.Cluster
		want    string
	}{
		{part, "cluster demo has no database that a DCS keeps together (add the roles that offer them)"},
		{demo.Cluster(t), "access.operators has no network, so no machine lets an operator in (add the one that you are in; the machines take it over as any change)"},
	} {
		if _, err := NewClient(test.cluster, &Operator{}, nil, World{}); err == nil || err.Error() != test.want {
			t.Errorf("have %v, want %s", err, test.want)
		}
	}
}

func TestOpen(t *testing.T) {
	a := operatetest.NewAuthority(t)
	write := func(name string, data []byte) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			testkit.OK(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
		}
	}
	tests := []struct {
		name, reason string
		change       func(*testing.T, string)
		want         string // DIR stands for the folder
	}{
		{"good", "as secrets generate writes it", nil, ""},
		{"not there", "how to have one", func(t *testing.T, dir string) { testkit.OK(t, os.RemoveAll(dir)) }, `there is no file "DIR/ca.crt" (pgha-gen secrets generate writes the operator's folder; --operator names another)`},
		{"open to others", "they may have it by now", func(t *testing.T, dir string) { testkit.OK(t, os.Chmod(filepath.Join(dir, keyFile), 0o640)) }, `"DIR/operator.key" is open to others, mode 0640 (chmod 600, and consider what is in it as known)`},
		{"a folder", "no file", func(t *testing.T, dir string) {
			testkit.OK(t, os.Remove(filepath.Join(dir, caFile)))
			testkit.OK(t, os.Mkdir(filepath.Join(dir, caFile), 0o700))
		}, `cannot read "DIR/ca.crt": is a directory`},
		{"CA damaged", "no PEM", write(caFile, []byte("hello")), `"DIR/ca.crt" is not a certificate in PEM (pgha-gen secrets generate makes it)`},
		{"another key", "of another certificate", func(t *testing.T, dir string) {
			_, key := a.Issue(t, "x", time.Now().AddDate(1, 0, 0))
			write(keyFile, key)(t, dir)
		}, `"DIR/operator.crt" and operator.key are no certificate and its key: tls: private key does not match public key (pgha-gen secrets generate makes them)`},
		{"ended", "when", func(t *testing.T, dir string) {
			certificate, key := a.Issue(t, operatetest.Administrator, time.Now().Add(-time.Hour))
			write(certificateFile, certificate)(t, dir)
			write(keyFile, key)(t, dir)
		}, `"DIR/operator.crt" ended on ` + time.Now().Add(-time.Hour).UTC().Format(time.DateOnly) + ` (pgha-gen secrets generate renews it)`},
		{"another authority", "left from another cluster", write(caFile, operatetest.NewAuthority(t).PEM()),
			`"DIR/operator.crt" does not count for ca.crt beside it: x509: certificate signed by unknown authority`},
		{"no password", "empty", write(passwordFile, []byte("\n")), `"DIR/restapi.password" is empty (pgha-gen secrets generate makes it)`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := operatetest.Folder(t, a)
			if test.change != nil {
				test.change(t, dir)
			}
			_, err := Open(dir, time.Now())
			got := ""
			if err != nil {
				got = strings.ReplaceAll(err.Error(), dir, "DIR")
			}
			if test.want == "" && got != "" || !strings.HasPrefix(got, test.want) {
				t.Errorf("%s\nhave %s\nwant %s", test.reason, got, test.want)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	o, err := Open(operatetest.Folder(t, operatetest.NewAuthority(t)), time.Now())
	testkit.OK(t, err)
	o.Dir = "/s/demo/operator"
	common := []string{"PGPORT=5432", "PGDATABASE=app", "PGUSER=pgha_admin", "PGSSLMODE=verify-full", "PGSSLROOTCERT=/s/demo/operator/ca.crt",
		"PGSSLCERT=/s/demo/operator/operator.crt", "PGSSLKEY=/s/demo/operator/operator.key", "PGCONNECT_TIMEOUT=3"}
	tests := []struct {
		name, reason string
		hosts        []Host
		want         []string
	}{
		{"the leader", "libpq finds the one that takes writes", []Host{{"pg-1.x", "10.0.0.1"}, {"pg-2.x", "10.0.0.2"}},
			[]string{"PGHOST=pg-1.x,pg-2.x", "PGHOSTADDR=10.0.0.1,10.0.0.2", "PGTARGETSESSIONATTRS=read-write"}},
		{"one node", "whether it leads or not", []Host{{"pg-1.x", "10.0.0.1"}}, []string{"PGHOST=pg-1.x", "PGHOSTADDR=10.0.0.1"}},
		{"by name", "which DNS knows", []Host{{"pg-1.x", ""}, {"pg-2.x", ""}}, []string{"PGHOST=pg-1.x,pg-2.x", "PGTARGETSESSIONATTRS=read-write"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			less := cmpopts.SortSlices(func(a, b string) bool { return a < b })
			if diff := cmp.Diff(append(test.want, common...), o.Environment(test.hosts, 5432, "app"), less); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// What needs a restart shows some seconds after a change, and a restart of what
// waits for one must not come before.
func TestLookSettled(t *testing.T) {
	a := operatetest.NewAuthority(t)
	now := time.Now().Truncate(time.Second)
	for _, tt := range []struct {
		name, reason string
		took         map[string]time.Time
		waits        string
		looks        time.Duration // after so long
		pending      []string
	}{
		{"long ago", "nothing is on its way", nil, "", 0, nil},
		{"just now", "two loops of Patroni, and some seconds", map[string]time.Time{"demo-pg-2": now.Add(-2 * time.Second)},
			"waiting: demo-pg-2 took over a change 2 s ago, and whether that needs a restart shows after 7 s", 5 * time.Second, nil},
		{"just now, and it shows on one", "the others may follow", map[string]time.Time{"demo-pg-2": now.Add(-2 * time.Second)},
			"waiting: demo-pg-2 took over a change 2 s ago, and whether that needs a restart shows after 7 s", 5 * time.Second, []string{"demo-pg-1"}},
		{"just now, and it shows on all", "no more can come", map[string]time.Time{"demo-pg-2": now}, "", 0, []string{"demo-pg-1", "demo-pg-2", "demo-pg-3"}},
		{"no database", "no restart comes of it", map[string]time.Time{"demo-etcd-1": now, "demo-haproxy-1": now}, "", 0, nil},
		{"a wrong clock", "it is not waited for for ever", map[string]time.Time{"demo-pg-3": now.Add(time.Hour)},
			"waiting: demo-pg-3 took over a change 0 s ago, and whether that needs a restart shows after 7 s", settleLimit, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := operatetest.New(t, a)
			for name, at := range tt.took {
				f.Took[name] = at
			}
			for _, name := range tt.pending {
				f.Pending[name] = true
			}
			c := client(t, f, operatetest.Folder(t, a))
			// It is asked once before, and then once for each look.
			tick := max(time.Second, tt.looks/5)
			clock := now.Add(-2 * tick)
			c.world.Now = func() time.Time { clock = clock.Add(tick); return clock }
			said := []string{}
			s := c.LookSettled(t.Context(), func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
			if looked := s.At.Sub(now); looked != tt.looks || strings.Join(said, "; ") != tt.waits {
				t.Errorf("%s: it says %q and looks %v later, want %q, %v", tt.reason, said, looked, tt.waits, tt.looks)
			}
		})
	}
}
