//go:build linux

package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator"
	"pgha-gen/internal/bootlog"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab"
	"pgha-gen/lab/cloud"
	"pgha-gen/lab/labtest"
	"pgha-gen/lab/machine/machinetest"
	"pgha-gen/lab/private"
)

// newEtcdLab bakes the etcd image and makes a lab with the example's three etcd
// machines, powered off.
func newEtcdLab(t *testing.T, ctx context.Context, faults cloud.Faults) *lab.Lab {
	t.Helper()
	b := bake(t, ctx, "etcd")
	l, err := lab.New(ctx, lab.Config{
		Cluster: demo.Cluster(t), Images: b.images, State: labtest.State(t), Cache: labtest.Cache, Name: "pghat", Now: time.Now, Faults: faults})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// bakeLog is where the tools that make images say what they do: a file, since
// it is long and mostly apt's.
func bakeLog(t testing.TB) io.Writer {
	t.Helper()
	if err := private.Make(labtest.Cache); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(labtest.Cache, "bake.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.Close()
		if t.Failed() {
			t.Logf("what the bakes said is in %s", f.Name())
		}
	})
	return f
}

// The etcd role the whole way: three machines, from nothing to a cluster, with
// nobody logging in; then what a cluster lives through.
func TestEtcd(t *testing.T) {
	ctx, cancel := labtest.Begin(t, 40*time.Second)
	defer cancel()
	l := newEtcdLab(t, ctx, nil)
	nodes := l.Names()
	t.Cleanup(func() {
		if t.Failed() {
			for _, name := range nodes {
				showConsole(t, l, name)
			}
		}
	})

	start := time.Now()
	if err := l.StartAll(ctx); err != nil {
		t.Fatal(err)
	}
	waitReady(t, ctx, l, 2*time.Minute)
	health(t, ctx, l, nodes[0])
	t.Logf("three machines from power-on to endpoint health: %.1f s", time.Since(start).Seconds())
	for _, name := range nodes {
		timeline(t, l, name, start)
	}

	etcdctl(t, ctx, l, nodes[0], "put", "/kept", "yes")
	before := members(t, ctx, l, nodes[0])
	if len(before) != 3 {
		t.Fatalf("members: %v, want three", before)
	}

	t.Run("user-data is what the cloud gets", func(t *testing.T) {
		original := demo.Cluster(t)
		want, err := generator.UserData(original, original.Groups[0])
		if err != nil {
			t.Fatal(err)
		}
		got, err := machinetest.Exec(ctx, l.Machine(nodes[0]), "cat", "/var/lib/cloud/instance/user-data.txt")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})

	t.Run("nobody can log in", func(t *testing.T) {
		for _, unit := range []string{"ssh.service", "ssh.socket"} {
			out, _ := machinetest.Exec(ctx, l.Machine(nodes[0]), "systemctl", "is-active", unit)
			if strings.TrimSpace(string(out)) == "active" {
				t.Errorf("%s is active", unit)
			}
		}
		shadow, err := machinetest.Exec(ctx, l.Machine(nodes[0]), "cat", "/etc/shadow")
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(strings.TrimSpace(string(shadow)), "\n") {
			if f := strings.Split(line, ":"); !strings.HasPrefix(f[1], "!") && f[1] != "*" {
				t.Errorf("%s has a password", f[0])
			}
		}
	})

	t.Run("object storage is there", func(t *testing.T) {
		testkit.OK(t, l.Cloud.PutBucket("backup", demo.Cluster(t).Cloud.ServiceAccounts["etcd"]))
		out, err := machinetest.Exec(ctx, l.Machine(nodes[0]), "sh", "-euc", `
			token=$(curl -q -sS -f -H 'Metadata-Flavor: Google' http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token | jq -r .access_token)
			key=$(curl -q -sS -f -H "Authorization: Bearer $token" -d '{"sessionName":"lab"}' https://iam.api.cloud.yandex.net/iam/aws-compatibility/v1/ephemeralAccessKeys)
			part() { printf '%s' "$key" | jq -r "$1"; }
			hash=$(printf kept | sha256sum | cut -d ' ' -f 1)
			storage() { curl -q -sS --aws-sigv4 aws:amz:ru-central1:s3 -u "$(part .accessKeyId):$(part .secret)" -H "x-amz-security-token: $(part .sessionToken)" "$@" https://storage.yandexcloud.net/backup/x; }
			storage -f -X PUT -H "x-amz-content-sha256: $hash" --data-binary kept
			storage -f -H "x-amz-content-sha256: $(printf '' | sha256sum | cut -d ' ' -f 1)"`)
		if err != nil || string(out) != "kept" {
			t.Errorf("read %q, error %v, want what was written, over a name and a certificate that the machine knows", out, err)
		}
	})

	t.Run("boot was clean", func(t *testing.T) {
		out, _ := machinetest.Exec(ctx, l.Machine(nodes[0]), "systemctl", "list-units", "--failed", "--plain", "--no-legend")
		if len(strings.TrimSpace(string(out))) > 0 {
			t.Errorf("failed units:\n%s", out)
		}
		out, _ = machinetest.Exec(ctx, l.Machine(nodes[0]), "cloud-init", "status", "--wait", "--format", "json")
		var status struct {
			Status     string              `json:"extended_status"`
			Datasource string              `json:"datasource"`
			Errors     []string            `json:"errors"`
			Recover    map[string][]string `json:"recoverable_errors"`
		}
		if err := json.Unmarshal(out, &status); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if status.Status != "done" || status.Datasource != "ec2" {
			t.Errorf("cloud-init: %+v, want done by ec2", status)
		}
	})

	t.Run("secrets are on tmpfs alone", func(t *testing.T) {
		if _, err := machinetest.Exec(ctx, l.Machine(nodes[0]), "sh", "-c", `
			set -eu
			[ "$(stat -f -c %T /run/pgha/secrets)" = tmpfs ]
			[ "$(stat -L -c '%U:%G %a' /run/pgha/secrets /run/pgha/secrets/server.key | tr '\n' ' ')" = 'root:etcd 750 root:etcd 640 ' ]
			secret=$(sed -n 2p /run/pgha/secrets/server.key)
			! grep -rqF -e "$secret" /etc /var /usr/lib/pgha
			! journalctl --no-pager | grep -qF -e "$secret"`); err != nil {
			t.Error(err)
		}
	})

	t.Run("power cut of all three", func(t *testing.T) {
		for _, name := range nodes {
			if err := l.Machine(name).PowerCut(); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.StartAll(ctx); err != nil {
			t.Fatal(err)
		}
		waitReady(t, ctx, l, 2*time.Minute)
		if got := etcdctl(t, ctx, l, nodes[1], "get", "/kept", "--print-value-only"); got != "yes" {
			t.Errorf("/kept is %q after a power cut, want yes", got)
		}
		if diff := cmp.Diff(before, members(t, ctx, l, nodes[1])); diff != "" {
			t.Errorf("members changed (-before +after):\n%s", diff)
		}
	})

	t.Run("machine replaced with its disk", func(t *testing.T) {
		replace(t, ctx, l, nodes[2], true)
		if diff := cmp.Diff(before, members(t, ctx, l, nodes[0])); diff != "" {
			t.Errorf("members changed (-before +after):\n%s", diff)
		}
	})

	t.Run("machine replaced without its disk", func(t *testing.T) {
		replace(t, ctx, l, nodes[1], false)
		after := members(t, ctx, l, nodes[0])
		if len(after) != 3 {
			t.Fatalf("members: %v, want three", after)
		}
		for name, id := range before {
			if same := after[name] == id; same == (name == nodes[1]) {
				t.Errorf("%s: id %s before, %s after", name, id, after[name])
			}
		}
		if got := etcdctl(t, ctx, l, nodes[1], "get", "/kept", "--print-value-only"); got != "yes" {
			t.Errorf("/kept is %q on the new member, want yes", got)
		}
	})

	t.Run("all lost but one, and no permission to bootstrap", func(t *testing.T) {
		for _, name := range nodes {
			if err := l.Machine(name).PowerCut(); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Replace(nodes[0], false); err != nil {
			t.Fatal(err)
		}
		if err := l.Start(ctx, nodes[0]); err != nil {
			t.Fatal(err)
		}
		step, err := l.WaitStep(ctx, nodes[0], "etcd-join", "wait")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(step.Detail, "pgha-bootstrap") {
			t.Errorf("it waits, and says %q; want it to name what permits a new cluster", step.Detail)
		}
	})
}

func replace(t *testing.T, ctx context.Context, l *lab.Lab, name string, keepDisk bool) {
	t.Helper()
	if err := l.Machine(name).PowerCut(); err != nil {
		t.Fatal(err)
	}
	if err := l.Replace(name, keepDisk); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := l.Start(ctx, name); err != nil {
		t.Fatal(err)
	}
	waitReady(t, ctx, l, 2*time.Minute, name)
	t.Logf("%s replaced (disk kept: %v) in %.1f s", name, keepDisk, time.Since(start).Seconds())
	health(t, ctx, l, name)
}

func waitReady(t *testing.T, ctx context.Context, l *lab.Lab, limit time.Duration, names ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := l.WaitReady(ctx, names...); err != nil {
		t.Fatal(err)
	}
}

// health asks all three members from one of the machines.
func health(t *testing.T, ctx context.Context, l *lab.Lab, from string) {
	t.Helper()
	out := etcdctl(t, ctx, l, from, "endpoint", "health", "--write-out", "json")
	var healths []struct {
		Health bool `json:"health"`
	}
	if err := json.Unmarshal([]byte(out), &healths); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(healths) != 3 || !healths[0].Health || !healths[1].Health || !healths[2].Health {
		t.Fatalf("endpoint health: %s, want three good", out)
	}
}

// members gives the started members: name to id.
func members(t *testing.T, ctx context.Context, l *lab.Lab, from string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, line := range strings.Split(etcdctl(t, ctx, l, from, "member", "list"), "\n") {
		if f := strings.Split(line, ", "); len(f) >= 3 && f[1] == "started" {
			all[f[2]] = f[0]
		}
	}
	return all
}

func etcdctl(t *testing.T, ctx context.Context, l *lab.Lab, on string, args ...string) string {
	t.Helper()
	const s = "/run/pgha/secrets/"
	out, err := machinetest.Exec(ctx, l.Machine(on), append([]string{"etcdctl", "--cacert", s + "ca.crt", "--cert", s + "server.crt",
		"--key", s + "server.key", "--endpoints", "10.128.0.26:2379,10.128.0.11:2379,10.128.0.31:2379"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// timeline prints when each step of a machine ended, since power-on.
func timeline(t *testing.T, l *lab.Lab, name string, start time.Time) {
	t.Helper()
	var steps []string
	for _, line := range l.Machine(name).Console().Lines() {
		if s, ok := bootlog.Parse(line.Text); ok && s.Status == "ok" {
			steps = append(steps, fmt.Sprintf("%s %.1f", s.Name, s.At.Sub(start).Seconds()))
		}
	}
	t.Logf("%s: %s", name, strings.Join(steps, ", "))
}

// showConsole says what is known of a machine that did not do as it should.
func showConsole(t *testing.T, l *lab.Lab, name string) {
	m := l.Machine(name)
	if m == nil {
		return
	}
	lines := m.Console().Lines()
	for _, line := range lines[max(0, len(lines)-40):] {
		t.Logf("%s | %s", name, line.Text)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := machinetest.Exec(ctx, m, "sh", "-c", `
		systemctl list-units --failed --plain --no-legend
		grep -E 'WARNING|ERROR' /var/log/cloud-init.log
		journalctl --no-pager -o cat -n 40 -u etcd -u patroni -u haproxy | cut -c 1-300`)
	t.Logf("%s: %v\n%s", name, err, out)
}
