package packer_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
	"pgha-gen/packer/packertest"
)

// vault is a machine and a Lockbox that has these payloads, one after the other;
// the last one stays.
func vault(t *testing.T, lines []string, payloads ...map[string]string) *packertest.Machine {
	t.Helper()
	m := packertest.New(t, scripts)
	m.Identity()
	m.Cluster(append([]string{"PGHA_SECRET_ID=e6qa"}, lines...)...)
	m.Serve(map[string]string{"instance/service-accounts/default/token": `{"access_token":"` + token + `"}`})
	asked := 0
	box := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		type entry struct {
			Key  string `json:"key"`
			Text string `json:"textValue"`
		}
		entries := []entry{}
		for k, v := range payloads[min(asked, len(payloads)-1)] {
			entries = append(entries, entry{k, v})
		}
		asked++
		if err := json.NewEncoder(w).Encode(map[string]any{"entries": entries}); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(box.Close)
	m.Env = append(m.Env, "PGHA_LOCKBOX="+box.URL)
	return m
}

func TestSecretsOwners(t *testing.T) {
	testkit.Root(t)
	nobody := packertest.LookUp(t, "nobody")
	m := vault(t, []string{"PGHA_SECRET_FILES='password.app patroni.env'", "PGHA_SERVICE_USER=nobody"},
		map[string]string{"password.app": "1", "patroni.env": "A=1"})
	if got := m.Boot("secrets.sh"); got.Status != 0 {
		t.Fatal(got.Output)
	}
	found := map[string]string{}
	for _, name := range []string{"", "/password.app", "/patroni.env"} {
		info, err := os.Stat(m.Run + "/secrets" + name)
		if err != nil {
			t.Fatal(err)
		}
		found[name] = packertest.Owner(info) + " " + info.Mode().String()
	}
	own := fmt.Sprintf("0:%d ", nobody.GID)
	want := map[string]string{
		"":              own + "drwxr-x---", // the service looks in, and can put nothing there
		"/password.app": own + "-rw-r-----",
		"/patroni.env":  own + "-rw-------", // systemd reads it for root's commands, too
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("owners and modes (-want +got):\n%s", diff)
	}
}

// Only root can put anything into /run/pgha; a link there is not followed all
// the same.
func TestSecretsLinks(t *testing.T) {
	for _, link := range []string{"secrets", "secrets.new", "secrets.old"} {
		for _, to := range []string{"a directory", "nowhere"} {
			t.Run(link+" to "+to, func(t *testing.T) {
				m := vault(t, []string{"PGHA_SECRET_FILES=password"}, map[string]string{"password": "new"})
				elsewhere := t.TempDir()
				m.Write(elsewhere+"/password", "theirs")
				target := elsewhere
				if to == "nowhere" {
					target = elsewhere + "/nothing"
				}
				testkit.OK(t, os.Symlink(target, filepath.Join(m.Run, link)))
				if got := m.Boot("secrets.sh"); got.Status != 0 {
					t.Fatal(got.Output)
				}
				if entries, err := os.ReadDir(elsewhere); err != nil || len(entries) != 1 || m.Read(elsewhere+"/password") != "theirs" {
					t.Errorf("root wrote through the link: %v, %v", entries, err)
				}
				if info, err := os.Lstat(m.Run + "/secrets"); err != nil || !info.IsDir() || m.Read(m.Run+"/secrets/password") != "new" {
					t.Errorf("the secrets are not there: %v, %v", info, err)
				}
				if left, err := filepath.Glob(m.Run + "/secrets.*"); err != nil || len(left) > 0 {
					t.Errorf("left: %v, %v", left, err)
				}
			})
		}
	}
}

// What is wrong with a payload is mended in Lockbox: the node takes the next one.
func TestSecretsMended(t *testing.T) {
	m := vault(t, []string{"PGHA_SECRET_FILES='a b'"},
		map[string]string{"a": "1"},
		map[string]string{"a": "1", "b": ""},
		map[string]string{"a": "2", "b": "2"})
	got := m.Boot("secrets.sh")
	const again = ": run pgha-gen secrets generate, and what it says next\n"
	want := "demo-etcd-1 secrets wait secret e6qa has neither an entry demo-etcd-1.b nor an entry b" + again +
		"demo-etcd-1 secrets wait entry b of secret e6qa is empty" + again +
		"demo-etcd-1 secrets ok a b\n"
	if diff := cmp.Diff(want, got.Console); diff != "" || got.Status != 0 {
		t.Errorf("status %d, console (-want +got):\n%s", got.Status, diff)
	}
	if a, b := m.Read(m.Run+"/secrets/a"), m.Read(m.Run+"/secrets/b"); a+b != "22" {
		t.Errorf("a %q, b %q: want both of one payload", a, b)
	}
	if m.Slept() != "1 2" {
		t.Errorf("slept %s", m.Slept())
	}
}

// A role without secrets asks nobody: it has no account, no Lockbox, no user.
func TestNoSecrets(t *testing.T) {
	m := packertest.New(t, scripts)
	m.Identity()
	m.Cluster("PGHA_ROLE=haproxy", "PGHA_SERVICE_USER=nobody-of-that-name")
	m.Env = append(m.Env, "PGHA_METADATA="+packertest.Nowhere)
	m.Fake("curl", "touch hurt; exit 7")
	got := m.Boot("secrets.sh")
	if want := "demo-etcd-1 secrets ok role haproxy reads no secret\n"; got.Console != want || got.Status != 0 {
		t.Errorf("status %d, console %q, want 0, %q", got.Status, got.Console, want)
	}
	if left, err := filepath.Glob(m.Run + "/secrets*"); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", strings.Join(left, " "), err)
	}
}
