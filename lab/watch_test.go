//go:build linux

package lab_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
	"pgha-gen/internal/bootlog"
	"pgha-gen/internal/demo"
	"pgha-gen/lab"
	"pgha-gen/lab/labtest"
	"pgha-gen/lab/machine"
	"pgha-gen/roles/patroni"
)

// monitored is a spec whose metrics one network may read.
func monitored(t *testing.T) *role.Cluster {
	c := demo.Cluster(t)
	c.Access.Monitoring = []netip.Prefix{netip.MustParsePrefix("10.99.9.0/24")}
	return c
}

// addMonitor puts somebody into that network.
func addMonitor(t *testing.T, ctx context.Context, l *lab.Lab) {
	t.Helper()
	if err := l.AddStranger(ctx, "monitor", netip.MustParseAddr("10.99.9.9")); err != nil {
		t.Fatal(err)
	}
}

// scrape reads a machine's metrics as the monitor does.
func scrape(ctx context.Context, l *lab.Lab, address string) (samples, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: l.DialAs("monitor")}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, "GET", "http://"+address+":"+strconv.Itoa(role.MetricsPort)+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if kind := response.Header.Get("Content-Type"); response.StatusCode != 200 || kind != "text/plain; version=0.0.4; charset=utf-8" {
		return nil, fmt.Errorf("%s %s", response.Status, kind)
	}
	return parseMetrics(string(text))
}

// samples are metrics by name and labels, as they are written.
type samples map[string]float64

// parseMetrics reads Prometheus' text format, and refuses what Prometheus does,
// and metrics without help or type (exposition_formats.md, text format).
func parseMetrics(text string) (samples, error) {
	const name, label = `[a-zA-Z_:][a-zA-Z0-9_:]*`, `[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"`
	line := regexp.MustCompile(`^(` + name + `)(?:\{` + label + `(?:,` + label + `)*\})? (-?[0-9]+(?:\.[0-9]+)?)$`)
	help := regexp.MustCompile(`^# HELP (` + name + `) (?:[^\\]|\\[\\n])+$`)
	kind := regexp.MustCompile(`^# TYPE (` + name + `) (gauge|counter)$`)
	if !strings.HasSuffix(text, "\n") {
		return nil, fmt.Errorf("the last line does not end")
	}
	found, closed := samples{}, map[string]bool{}
	helped, typed, current := "", "", ""
	for text := range strings.Lines(text) {
		text = strings.TrimSuffix(text, "\n")
		if m := help.FindStringSubmatch(text); m != nil {
			closed[current] = true
			helped, typed, current = m[1], "", m[1]
			if closed[current] {
				return nil, fmt.Errorf("%s is in two places", current)
			}
			continue
		}
		if m := kind.FindStringSubmatch(text); m != nil && m[1] == helped && typed == "" {
			typed = m[1]
			continue
		}
		m := line.FindStringSubmatch(text)
		if m == nil || m[1] != typed {
			return nil, fmt.Errorf("%q is no line of its metric", text)
		}
		key := text[:strings.LastIndexByte(text, ' ')]
		if _, twice := found[key]; twice {
			return nil, fmt.Errorf("%s is there twice", key)
		}
		value, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return nil, err
		}
		found[key] = value
	}
	return found, nil
}

func TestParseMetrics(t *testing.T) {
	const head = "# HELP a One.\n# TYPE a gauge\n"
	for _, test := range []struct {
		name, text string
		want       samples
	}{
		{"plain", head + "a 1\n", samples{"a": 1}},
		{"labels", head + "a{b=\"x\\\\\\\"\\n\",c=\"\"} -1.5\n", samples{`a{b="x\\\"\n",c=""}`: -1.5}},
		{"no line feed", head + "a 1", nil},
		{"twice", head + "a 1\na 1\n", nil},
		{"no type", "# HELP a One.\na 1\n", nil},
		{"no help", "a 1\n", nil},
		{"another's", head + "b 1\n", nil},
		{"in two places", head + "a 1\n# HELP b Two.\n# TYPE b gauge\nb 1\n" + head + "a{x=\"y\"} 1\n", nil},
		{"open quote", head + "a{b=\"x} 1\n", nil},
		{"unknown escape", head + "a{b=\"\\x\"} 1\n", nil},
		{"no value", head + "a\n", nil},
		{"text", head + "a one\n", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseMetrics(test.text)
			if diff := cmp.Diff(test.want, got); diff != "" || (err == nil) != (test.want != nil) {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// A certificate that ends in 40 days: the console says it, and the metric; who
// reads the metrics, and who does not.
func TestCertificateEnds(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 25*time.Second)
	defer cancel()
	b := bake(t, ctx, "etcd")
	example := monitored(t)
	l, err := lab.New(ctx, lab.Config{Cluster: example, Images: b.images, State: labtest.State(t), Cache: labtest.Cache, Name: "pghat", Now: time.Now})
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
	// Certificates are good for a time that the newest one shows.
	const node, file = "demo-etcd-1", "/run/pgha/secrets/server.crt"
	good := time.Until(certificateEnd(t, l.Secret("etcd", node+".server.crt")))
	old, err := l.CA.Payloads(example, time.Now().Add(40*24*time.Hour-good))
	if err != nil {
		t.Fatal(err)
	}
	payload := l.Payload("etcd")
	for _, entry := range []string{node + ".server.crt", node + ".server.key"} {
		payload[entry] = old["etcd"][entry]
	}
	if err := l.PutPayload("etcd", payload); err != nil {
		t.Fatal(err)
	}
	if err := l.StartAll(ctx); err != nil {
		t.Fatal(err)
	}
	waitReady(t, ctx, l, 2*time.Minute)
	said, err := l.WaitStep(ctx, node, "certificates", "warn")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(said.Detail)
	end := certificateEnd(t, payload[node+".server.crt"])
	if !strings.HasPrefix(said.Detail, file+" (") || !strings.Contains(said.Detail, " ends in 39 days, ") || !strings.Contains(said.Detail, "on "+end.UTC().Format(time.DateOnly)+": run pgha-gen secrets generate") {
		t.Errorf("it says %q", said.Detail)
	}
	addMonitor(t, ctx, l)
	time.Sleep(1500 * time.Millisecond) // a look later
	got, err := scrape(ctx, l, "10.128.0.26")
	if err != nil {
		t.Fatal(err)
	}
	has := func(prefix string, value float64) {
		t.Helper()
		for key, v := range got {
			if strings.HasPrefix(key, prefix) && v == value {
				return
			}
		}
		t.Errorf("there is no %s %v in %v", prefix, value, got)
	}
	has(`pgha_certificate_end_timestamp_seconds{file="`+file+`",`, float64(end.Unix()))
	has(`pgha_info{role="etcd",node="demo-etcd-1",cluster_token="`+example.Token()+`",image_recipe="`, 1)
	has("pgha_ready", 1)
	has("pgha_data_disk_full", 0)
	has("pgha_data_disk_reserve_bytes", float64(max(64<<20, min(2<<30, int(got["pgha_data_disk_size_bytes"])/100))))
	if free := got["pgha_data_disk_free_bytes"]; free <= 0 || free >= got["pgha_data_disk_size_bytes"] {
		t.Errorf("%v bytes are free of %v", free, got["pgha_data_disk_size_bytes"])
	}

	t.Run("a new one, while it runs", func(t *testing.T) {
		c := &cluster{Lab: l}
		fresh := l.Payload("etcd")
		if err := l.PutPayload("etcd", fresh); err != nil {
			t.Fatal(err)
		}
		since := time.Now()
		c.refreshSecrets(t, ctx, node)
		c.waitStatus(t, ctx, node, "secrets", since, "ok", "new: server.crt server.key")
		c.waitStatus(t, ctx, node, "certificates", since, "ok", "none ends soon any more")
		time.Sleep(1500 * time.Millisecond) // a look later
		if got, err = scrape(ctx, l, "10.128.0.26"); err != nil {
			t.Fatal(err)
		}
		has(`pgha_certificate_end_timestamp_seconds{file="`+file+`",`, float64(certificateEnd(t, fresh[node+".server.crt"]).Unix()))
	})

	t.Run("nobody else reads metrics", func(t *testing.T) {
		c := &cluster{Lab: l}
		if err := l.AddStranger(ctx, "neighbour", netip.MustParseAddr("10.128.0.77")); err != nil {
			t.Fatal(err)
		}
		for _, from := range []string{"neighbour", "demo-etcd-2"} {
			if c.reaches(ctx, from, "10.128.0.26", role.MetricsPort) {
				t.Errorf("%s reaches the metrics", from)
			}
		}
		for range 10 {
			start := time.Now()
			if _, err := scrape(ctx, l, "10.128.0.26"); err != nil {
				t.Errorf("the monitor, beside them: %v", err)
			}
			t.Log(time.Since(start).Round(time.Millisecond))
		}
	})
	t.Run("it sees nothing else", func(t *testing.T) {
		c := &cluster{Lab: l}
		out := c.run(t, ctx, node, `pid=$(systemctl show -P MainPID pgha-metrics.service)
			cd /proc/$pid/root && for dir in etc run run/pgha var root home opt srv sys boot; do echo $dir: $(ls -A $dir 2>/dev/null); done | tr '\n' ' '
			grep ^Cap /proc/$pid/status | cut -f 2 | sort -u | tr '\n' ' '
			stat -c %u /proc/$pid`)
		t.Log(out)
		seen, _, _ := strings.Cut(out, " boot:")
		const want = "etc: run: pgha run/pgha: metrics var: tmp root: home: opt: srv: sys:"
		if seen != want {
			t.Errorf("it sees %q, want %q", seen, want)
		}
		if words := strings.Fields(out); words[len(words)-1] == "0" || !slices.Contains(words, "0000000000000000") {
			t.Errorf("it has rights: %s", out)
		}
	})
	t.Run("it costs little", func(t *testing.T) {
		c := &cluster{Lab: l}
		cpu := func() float64 {
			var sum float64
			for _, unit := range []string{"pgha-watch", "pgha-metrics"} {
				out := c.run(t, ctx, "demo-etcd-2", "systemctl show -P MainPID "+unit+".service | { read pid; cat /proc/$pid/stat; }")
				f := strings.Fields(out[strings.LastIndexByte(out, ')')+2:])
				user, _ := strconv.ParseFloat(f[11], 64)
				system, _ := strconv.ParseFloat(f[12], 64)
				sum += (user + system) / 100
			}
			return sum
		}
		before, start := cpu(), time.Now()
		time.Sleep(20 * time.Second)
		share := 100 * (cpu() - before) / time.Since(start).Seconds()
		t.Logf("%.2f %% of a core", share)
		if share >= 1 {
			t.Errorf("watching costs %.2f %% of a core, want less than 1", share)
		}
	})
}

// A data disk becomes larger while its machine serves: the file system follows,
// or says why not. It can grow only where root has CAP_SYS_RESOURCE, which it
// lacks in many a container; TestQEMU has a kernel of its own.
func TestDiskGrows(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 25*time.Second)
	defer cancel()
	l := newEtcdLab(t, ctx, nil)
	if err := l.StartAll(ctx); err != nil {
		t.Fatal(err)
	}
	waitReady(t, ctx, l, time.Minute)
	const node = "demo-etcd-1"
	start := time.Now()
	if err := l.GrowDisk(node, 20<<30); err != nil {
		t.Fatal(err)
	}
	short, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	var said bootlog.Step
	if _, err := l.Machine(node).Console().WaitLine(short, func(line string) bool {
		s, ok := bootlog.Parse(line)
		if ok && s.Name == "disk" && (strings.Contains(s.Detail, "grow")) {
			said = s
		}
		return said.Name != ""
	}); err != nil {
		showConsole(t, l, node)
		t.Fatal(err)
	}
	t.Logf("%.1f s later: %s %s", time.Since(start).Seconds(), said.Status, said.Detail)
	switch grown := said.Detail == "/var/lib/etcd has grown from 9990 MB to 19 GB"; {
	case said.Status == "ok" && grown:
	case said.Status == "warn" && strings.HasSuffix(said.Detail, "is larger than its file system, which does not grow: resize2fs: Permission denied to resize filesystem"):
		t.Log("this host's root may not grow an ext4")
	default:
		t.Errorf("it says %s %q", said.Status, said.Detail)
	}
	health(t, ctx, l, node)
	c := &cluster{Lab: l}
	if out := c.run(t, ctx, node, "ls /run/pgha/disk-grow 2>/dev/null; systemctl is-failed pgha-disk-grow.service || :"); out != "inactive" {
		t.Errorf("afterwards: %q", out)
	}
}

// The leader's data disk is full to the last byte while applications write: they
// write on to another leader; and back.
func TestFullDisk(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 70*time.Second)
	defer cancel()
	small := monitored(t)
	small.Group("patroni").Settings.(*patroni.Settings).Machine.DataDisk.Size = diskSize
	c := newClusterOf(t, ctx, small)
	c.up(t, ctx)
	addMonitor(t, ctx, c.Lab)
	leader := c.whole(t, ctx)
	address := c.addresses(t)[leader]
	const mount = "/var/lib/postgresql"
	reserve := func(node string) string {
		return c.run(t, ctx, node, "stat -c '%U %a %s' "+mount+"/.reserve 2>/dev/null || echo none")
	}
	if got := reserve(leader); got != "root 600 67108864" {
		t.Errorf("the reserve is %q", got)
	}
	l := startLoad(t, ctx, c, 4)

	gap, _ := l.fault(t, ctx, 20*time.Second, func() {
		// As the service's user: root may write more.
		c.as(t, ctx, leader, "postgres", `free=$(df -B1 --output=avail `+mount+` | tail -n 1)
			until fallocate -l "$free" `+mount+`/18/filler; do free=$((free - 65536)); done
			dd if=/dev/zero bs=4096 count=16 of=`+mount+`/18/filler.rest || :`)
	})
	if gap > labtest.Here(10*time.Second) {
		t.Errorf("%.1f s without an acknowledged write, want at most 10", gap.Seconds())
	}
	for _, want := range []string{"is full, ", "gave up the reserve of 64 MB", "so another node leads: "} {
		if !slices.ContainsFunc(c.Machine(leader).Console().Lines(), func(line machine.Line) bool {
			s, ok := bootlog.Parse(line.Text)
			return ok && s.Name == "disk" && s.Status == "warn" && strings.Contains(s.Detail, want)
		}) {
			t.Errorf("the console of %s does not say %q", leader, want)
		}
	}
	members, err := c.members(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		if m.Name == leader && m.Role == "leader" {
			t.Errorf("%s, whose disk is full, leads", m.Name)
		}
	}
	got, err := scrape(ctx, c.Lab, address)
	if err != nil {
		t.Fatal(err)
	}
	if got["pgha_data_disk_full"] != 1 || got["pgha_data_disk_reserve_bytes"] != 0 || got["pgha_data_disk_size_bytes"] < float64(diskSize)*0.9 {
		t.Errorf("metrics say %v", got)
	}
	tag := filepath.Join("/run/pgha/patroni/config", "40-disk-full.yml")
	if out := c.run(t, ctx, leader, "cat "+tag); !strings.Contains(out, "nofailover: true") {
		t.Errorf("the tag's file is %q", out)
	}
	nofailover := func(want bool) {
		t.Helper()
		deadline := time.Now().Add(labtest.Here(15 * time.Second))
		for {
			out := c.run(t, ctx, leader, `. /run/pgha/identity.env; curl -q -s --max-time 5 --cacert /run/pgha/secrets/ca.crt --resolve "$NODE_FQDN:8008:$NODE_ADDRESS" "https://$NODE_FQDN:8008/patroni" | jq -c '.tags.nofailover // false' || :`)
			if out == strconv.FormatBool(want) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("nofailover of %s is %q, want %t", leader, out, want)
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
	nofailover(true)
	t.Run("the tag outlives Patroni", func(t *testing.T) {
		c.run(t, ctx, leader, "rm "+tag+"; pkill -KILL -x patroni")
		time.Sleep(2 * time.Second)
		nofailover(true)
	})

	c.run(t, ctx, leader, "rm -f "+mount+"/18/filler "+mount+"/18/filler.rest")
	room, err := c.Machine(leader).Console().WaitLine(ctx, func(line string) bool {
		s, ok := bootlog.Parse(line)
		return ok && s.Name == "disk" && s.Status == "ok" && strings.Contains(s.Detail, "has room again")
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(room)
	if got := reserve(leader); got != "root 600 67108864" {
		t.Errorf("the reserve is %q", got)
	}
	nofailover(false)
	if out := c.run(t, ctx, leader, "ls "+tag+" 2>/dev/null; systemctl is-active pgha-disk-full.service || :"); out != "inactive" {
		t.Errorf("still there: %s", out)
	}
	other := c.whole(t, ctx)
	l.end(t, ctx)
	t.Run("it may lead again", func(t *testing.T) {
		out := c.run(t, ctx, other, `. /run/pgha/identity.env; cd /run/pgha/secrets
			sed -n 's/^PATRONI_RESTAPI_PASSWORD=\(.*\)$/user = "patroni:\1"/p' patroni.env |
			curl -q -s -S --max-time 30 --config - --cacert ca.crt --cert node.crt --key node.key --resolve "$NODE_FQDN:8008:$NODE_ADDRESS" \
				--json '{"leader": "`+other+`", "candidate": "`+leader+`"}' "https://$NODE_FQDN:8008/switchover"`)
		if leads := c.whole(t, ctx); leads != leader {
			t.Errorf("%s leads: %s", leads, out)
		}
	})
}

const diskSize = specfile.GiB

// certificateEnd is when the first certificate of a text ends.
func certificateEnd(t *testing.T, text string) time.Time {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatalf("no certificate in %q", text)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c.NotAfter
}
