package patroni_test

import (
	"fmt"
	"os"
	"os/user"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"pgha-gen/internal/testkit"
	"pgha-gen/packer/packertest"
)

// What Patroni merges with its configuration: passwords, and the REST API's
// files of this version of the secrets.
func TestPatroniSecrets(t *testing.T) {
	line := func(n int, text string) string {
		lines := strings.SplitAfter(passwords, "\n")
		lines[n] = text
		return strings.Join(lines, "")
	}
	for _, test := range []struct{ name, reason, secret string }{
		{"as generated", "also digits alone, and what YAML takes for a number: each is a text", passwords},
		{"a quote", "YAML that somebody else wrote is not Patroni's", line(0, "PATRONI_SUPERUSER_PASSWORD=x\"}, \"bin_dir\": \"/tmp\n")},
		{"a command", "nothing is sourced", line(0, "PATRONI_SUPERUSER_PASSWORD=$(touch hurt)\n")},
		{"a blank", "pgpass would need quotes", line(1, "PATRONI_REPLICATION_PASSWORD=a b\n")},
		{"no value", "an empty password would be a password", line(2, "PATRONI_REWIND_PASSWORD=\n")},
		{"a variable too few", "Patroni would go on without one", line(3, "")},
		{"a variable twice", "which one counts?", passwords + "PATRONI_RESTAPI_PASSWORD=other\n"},
		{"another variable", "PATRONI_NAME is not a secret", passwords + "PATRONI_NAME=x\n"},
		{"nothing", "a damaged entry", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, _ := node(t)
			m.Write(m.Run+"/secrets.d/7/patroni.env", test.secret)
			m.Write(m.Run+"/patroni/config/25-secrets.yml", "old\n")
			got := m.Boot("patroni-secrets.sh", m.Run+"/patroni/config")
			text := m.Read(m.Run + "/patroni/config/25-secrets.yml")
			if test.name != "as generated" {
				const want = "secret patroni.env is not four passwords of letters and digits: run pgha-gen secrets generate, and what it says next\n"
				if got.Status != 1 || got.Output != want || text != "old\n" {
					t.Errorf("%s: status %d, output %q, file %q", test.reason, got.Status, got.Output, text)
				}
				if left, err := os.ReadDir(m.Run + "/patroni/config"); err != nil || len(left) != 1 {
					t.Errorf("left: %v, %v", left, err)
				}
				return
			}
			if got.Status != 0 {
				t.Fatal(got.Output)
			}
			var found map[string]any
			testkit.OK(t, yaml.Unmarshal([]byte(text), &found))
			version := m.Run + "/secrets.d/7"
			want := map[string]any{
				"restapi": map[string]any{
					"certfile": version + "/node.crt", "keyfile": version + "/node.key", "cafile": version + "/ca.crt",
					"authentication": map[string]any{"password": "Four4"},
				},
				"postgresql": map[string]any{"authentication": map[string]any{
					"superuser": map[string]any{"password": "one"}, "replication": map[string]any{"password": "2"}, "rewind": map[string]any{"password": "1e3"},
				}},
			}
			if diff := cmp.Diff(want, found); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// Patroni reads the file, and nobody else does.
func TestPatroniSecretsOwner(t *testing.T) {
	testkit.Root(t)
	nobody := packertest.LookUp(t, "nobody")
	m, _ := node(t)
	m.Env = append(m.Env, "PGHA_SERVICE_USER=nobody")
	m.Write(m.Run+"/patroni/config/10-cluster.yml", "")
	if got := m.Boot("patroni-secrets.sh", m.Run+"/patroni/config"); got.Status != 0 {
		t.Fatal(got.Output)
	}
	info, err := os.Stat(m.Run + "/patroni/config/25-secrets.yml")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := packertest.Owner(info)+" "+info.Mode().String(), fmt.Sprintf("0:%d -rw-r-----", nobody.GID); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A damaged secret keeps Patroni from starting, and says why.
func TestNodeWithDamagedSecret(t *testing.T) {
	m, _ := node(t)
	m.Serve(map[string]string{})
	m.Write(m.Run+"/secrets.d/7/patroni.env", "hunter2\n")
	got := m.Boot("patroni-node.sh")
	const want = "demo-etcd-1 patroni-node fail secret patroni.env is not four passwords of letters and digits: run pgha-gen secrets generate, and what it says next\n"
	if got.Console != want || got.Status != 1 {
		t.Errorf("status %d, console %q, want 1, %q", got.Status, got.Console, want)
	}
}

func TestSecretsApply(t *testing.T) {
	me, err := user.Current()
	testkit.OK(t, err)
	for _, test := range []struct {
		name, reason  string
		state, reload string // of patroni.service; what systemctl reload does
		files         []string
		secret        string
		output        string
		status        int
		asked, wrote  bool
	}{
		{name: "certificates", reason: "Patroni reads them, and has PostgreSQL do so", state: "active", files: []string{"node.crt", "node.key"},
			output: "Patroni and PostgreSQL read them\n", asked: true, wrote: true},
		{name: "Patroni's own passwords", reason: "it reads them as it reads the rest", state: "active", files: []string{"patroni.env", "password.app"},
			output: "Patroni and PostgreSQL read them\n", asked: true, wrote: true},
		{name: "a user's password", reason: "is for the leader, which looks by itself", state: "active", files: []string{"password.app"},
			output: "the node that leads sets it in PostgreSQL\n"},
		{name: "starting", reason: "the signal would end it; it may have read the old ones", state: "activating", files: []string{"ca.crt"},
			output: "Patroni is just starting\n", status: 75},
		{name: "stopped", reason: "it reads what is there when it starts", state: "inactive", files: []string{"ca.crt"},
			output: "Patroni reads them when it starts\n"},
		{name: "a damaged secret", reason: "Patroni keeps what it has", state: "active", files: []string{"patroni.env"}, secret: "hunter2\n",
			output: "secret patroni.env is not four passwords of letters and digits: run pgha-gen secrets generate, and what it says next\n", status: 1},
		{name: "no reload", reason: "said, and tried again", state: "active", reload: "echo 'Job for patroni.service failed.' >&2; exit 1", files: []string{"ca.crt"},
			output: "Patroni does not reload: Job for patroni.service failed. ", status: 1, asked: true, wrote: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, _ := node(t)
			m.Env = append(m.Env, "PGHA_SERVICE_USER="+me.Username)
			m.Write(m.Run+"/patroni/config/10-cluster.yml", "")
			if test.secret != "" {
				m.Write(m.Run+"/secrets.d/7/patroni.env", test.secret)
			}
			m.Fake("systemctl", `case $* in
				'show --property ActiveState --value patroni.service') echo `+test.state+` ;;
				'reload patroni.service') : >"$PGHA_RUN/asked"; `+test.reload+` ;;
				*) exit 9 ;;
				esac`)
			got := m.Boot("secrets-apply.sh", test.files...)
			if got.Status != test.status || got.Output != test.output {
				t.Errorf("%s: status %d, want %d; output %q, want %q", test.reason, got.Status, test.status, got.Output, test.output)
			}
			_, err := os.Stat(m.Run + "/asked")
			if (err == nil) != test.asked {
				t.Errorf("%s: asked systemd: %v", test.reason, err == nil)
			}
			if wrote := m.Read(m.Run+"/patroni/config/25-secrets.yml") != ""; wrote != test.wrote {
				t.Errorf("%s: wrote Patroni's file: %v", test.reason, wrote)
			}
		})
	}
}
