//go:build linux

package lab_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgha-gen/generator"
	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
	"pgha-gen/internal/demo"
	"pgha-gen/lab/cloud"
	"pgha-gen/lab/labtest"
)

// A changed spec reaches seven running machines under load: what can take
// effect does within seconds, no transaction fails, what must wait says so, and
// what is wrong changes nothing.
func TestLivingMetadata(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 60*time.Second)
	defer cancel()
	faults := new(cloud.Outages)
	c := newClusterOf(t, ctx, demo.Cluster(t), faults.Now)
	c.up(t, ctx)
	leader := c.whole(t, ctx)
	l := startLoad(t, ctx, c, 4)

	t.Run("parameters, checks, clients", func(t *testing.T) {
		s := l.strict(ctx)
		c.refresh(t, ctx, c.changed(t,
			"  clients: [10.128.0.0/24] =>  clients: [10.128.0.0/24, 10.77.0.0/24] ",
			"    workload: oltp =>    workload: mixed ",
			"      max_connections: 300\n=>      max_connections: 300\n      shared_buffers: 3GB\n",
			"    max_connections: 2000 =>    max_connections: 1000 ",
		), patience)
		s.end(t)
		for _, name := range []string{"demo-pg-1", "demo-pg-2", "demo-pg-3"} {
			if line := c.waitStep(t, ctx, name, "refresh", "ok", 0); !strings.Contains(line, "PostgreSQL has to be restarted for shared_buffers") {
				t.Errorf("%s does not say that a restart is pending: %s", name, line)
			}
		}
		if now := c.whole(t, ctx); now != leader {
			t.Errorf("%s leads, and %s did", now, leader)
		}
		stranger := netip.MustParseAddr("10.77.0.9")
		if err := c.AddStranger(ctx, "new-client", stranger); err != nil {
			t.Fatal(err)
		}
		conn, err := c.DialAs("new-client")(ctx, "tcp", writers)
		if err != nil {
			t.Fatalf("a network that access.clients has now is not admitted: %v", err)
		}
		conn.Close()
	})

	t.Run("back again", func(t *testing.T) {
		s := l.strict(ctx)
		c.refresh(t, ctx, c.changed(t), patience)
		s.end(t)
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if conn, err := c.DialAs("new-client")(short, "tcp", writers); err == nil {
			conn.Close()
			t.Error("a network that access.clients has no more is still admitted")
		}
	})

	t.Run("what is wrong changes nothing", func(t *testing.T) {
		s := l.strict(ctx)
		good := map[string]string{}
		for _, name := range []string{"etcd", "patroni", "haproxy"} {
			good[name] = userDataOf(t, c.Lab, demo.Cluster(t), name)
		}
		for _, tt := range []struct{ name, node, text, want string }{
			{"garbage", balancer, "\x1fgarbage", "its first line is not #cloud-config"},
			{"another role's", "demo-etcd-1", good["patroni"], "it is for another role"},
			{"another cluster's", "demo-pg-2", strings.ReplaceAll(good["patroni"], "PGHA_TOKEN=demo-", "PGHA_TOKEN=shop-"), "it is for another cluster"},
			{"another contract", "demo-pg-2", strings.ReplaceAll(good["patroni"], "PGHA_CONTRACT=2", "PGHA_CONTRACT=9"), "an image speaks one contract"},
			{"a file of the system", "demo-pg-2", strings.ReplaceAll(good["patroni"], "/etc/patroni/databases.json", "/etc/cron.d/x"), "/etc/cron.d/x is nothing that this image knows"},
			{"haproxy.cfg that does not load", balancer, strings.ReplaceAll(good["haproxy"], "option dontlognull", "option dontlogme"), "dontlogme"},
			{"parameter that PostgreSQL refuses", "demo-pg-2", strings.ReplaceAll(good["patroni"], "random_page_cost: 1.1", "random_page_cost: lots"), `invalid value for parameter "random_page_cost": "lots"`},
			{"parameter that PostgreSQL does not know", leader, strings.ReplaceAll(good["patroni"], "random_page_cost: 1.1", "random_page_price: 1.1"), `unrecognized configuration parameter "random_page_price"`},
			{"record of pg_hba.conf that PostgreSQL refuses", leader, strings.ReplaceAll(good["patroni"], "host all all all reject", "host all all all rejectt"), "PostgreSQL does not take pg_hba.conf"},
			{"firewall with a foreign line", "demo-etcd-2", strings.ReplaceAll(good["etcd"], "admit 2380 10.128.0.11/32", "drop 2380 10.128.0.11/32"), "its firewall is refused"},
			{"version that the image does not have", "demo-etcd-2", strings.ReplaceAll(good["etcd"], "etcd>=3.5.0", "etcd>=3.5.99"), "bake the image again"},
			{"another data disk", "demo-etcd-2", strings.ReplaceAll(good["etcd"], "virtio-data", "virtio-other"), "only a new machine can have that"},
			{"another address for this machine", "demo-etcd-2", strings.ReplaceAll(good["etcd"], "demo-etcd-2=10.128.0.11", "demo-etcd-2=10.128.0.12"), "only a new machine can have that"},
		} {
			role := map[string]string{"demo-e": "etcd", "demo-p": "patroni", "demo-h": "haproxy"}[tt.node[:6]]
			if tt.text == good[role] {
				t.Fatalf("%s: nothing was replaced", tt.name)
			}
			if err := c.SetAttribute(tt.node, "user-data", tt.text); err != nil {
				t.Fatal(err)
			}
			line := c.waitStep(t, ctx, tt.node, "refresh", "fail", 15*time.Second)
			if !strings.Contains(line, tt.want) || !strings.Contains(line, "the old stays in force") {
				t.Errorf("%s: %s, want %q", tt.name, line, tt.want)
			}
			if got := c.status(t, ctx, tt.node).UserData; got != cloudinit.Digest([]byte(good[role])) {
				t.Errorf("%s: %s is in force", tt.name, got)
			}
			if err := c.SetAttribute(tt.node, "user-data", good[role]); err != nil {
				t.Fatal(err)
			}
			c.waitStep(t, ctx, tt.node, "refresh", "ok", 15*time.Second)
		}
		s.end(t)
	})

	t.Run("metadata away, and a machine off, while the spec changes", func(t *testing.T) {
		s := l.strict(ctx)
		etcd := "demo-etcd-3"
		if err := c.Machine(etcd).PowerCut(); err != nil {
			t.Fatal(err)
		}
		if err := faults.Set(cloud.MetadataService, cloud.Fault{Status: 503}); err != nil {
			t.Fatal(err)
		}
		changed := c.changed(t, "  clients: [10.128.0.0/24] =>  clients: [10.128.0.0/24, 10.77.0.0/24] ")
		if err := c.Refresh(ctx, changed); err != nil {
			t.Fatal(err)
		}
		if line := c.waitStep(t, ctx, leader, "refresh", "wait", 90*time.Second); !strings.Contains(line, "it answers 503") {
			t.Errorf("it says %s, want the reason", line)
		}
		if err := faults.Set(cloud.MetadataService, cloud.Fault{}); err != nil {
			t.Fatal(err)
		}
		if err := c.Start(ctx, etcd); err != nil {
			t.Fatal(err)
		}
		if _, err := c.WaitStep(ctx, etcd, "ready", "ok"); err != nil {
			t.Fatal(err)
		}
		c.refresh(t, ctx, changed, patience)
		s.end(t)
	})

	l.end(t, ctx)
}

// changed is the reference with edits, as the lab's machines get it.
func (c *cluster) changed(t *testing.T, edits ...string) *role.Cluster {
	t.Helper()
	spec := demo.Cluster(t, edits...)
	spec.Secrets.CA = specfile.Text(c.CA.Certificate())
	if err := spec.Plan(); err != nil {
		t.Fatal(err)
	}
	return spec
}

// patience is what seven machines on two cores, under load, may take over a
// change; docs/figures.md has what they took, and the aim.
const patience = 10 * time.Second

// refresh puts the user-data of a changed spec into metadata, and waits until
// all these machines, with none named all, say that it is in force. It takes the
// time from metadata's change to the last machine's line.
func (c *cluster) refresh(t *testing.T, ctx context.Context, spec *role.Cluster, most time.Duration, names ...string) {
	t.Helper()
	start := time.Now()
	if err := c.Refresh(ctx, spec); err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		names = c.Names()
	}
	for _, name := range names {
		group := spec.Groups[slices.IndexFunc(spec.Groups, func(g *role.Group) bool {
			return slices.ContainsFunc(g.Nodes(), func(n role.Node) bool { return n.Name == name })
		})]
		data, err := generator.UserData(spec, group)
		if err != nil {
			t.Fatal(err)
		}
		c.waitStep(t, ctx, name, "refresh", "ok "+cloudinit.Digest(data), most+time.Minute)
	}
	took := time.Since(start)
	t.Logf("in force on %d machines %.1f s after metadata changed", len(names), took.Seconds())
	if most := labtest.Here(most); took > most {
		t.Errorf("want %v", most)
	}
}

// status is what a machine says of itself on its metrics port.
type status struct {
	UserData string `json:"user_data"`
	Steps    map[string]struct{ Status, Detail string }
}

func (c *cluster) status(t *testing.T, ctx context.Context, node string) (s status) {
	t.Helper()
	// Which network may ask is another test's; this one looks on the machine.
	if err := json.Unmarshal([]byte(c.run(t, ctx, node, "cat /run/pgha/metrics/status.json")), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// waitStep waits until the status of a machine has a step with this status,
// and gives its line.
func (c *cluster) waitStep(t *testing.T, ctx context.Context, node, step, want string, limit time.Duration) string {
	t.Helper()
	deadline := time.Now().Add(labtest.Here(limit))
	for {
		said := c.status(t, ctx, node).Steps[step]
		line := said.Status + " " + said.Detail
		if strings.HasPrefix(line, want) {
			return line
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s says of %s: %s; want %s", node, step, line, want)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
