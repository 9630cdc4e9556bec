package packer_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
	"pgha-gen/packer/packertest"
)

// vault is a machine and a Lockbox that has these payloads, one after the other;
// the last one stays. Where one is nil, it does not work.
func vault(t *testing.T, lines []string, payloads ...map[string]string) *packertest.Machine {
	t.Helper()
	m := packertest.New(t, scripts)
	m.Identity()
	m.Cluster(append([]string{"PGHA_SECRET_ID=e6qa"}, lines...)...)
	m.Serve(map[string]string{"instance/service-accounts/default/token": `{"access_token":"` + token + `"}`})
	asked := 0
	box := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		version := min(asked, len(payloads)-1)
		payload := payloads[version]
		asked++
		if payload == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		type entry struct {
			Key  string `json:"key"`
			Text string `json:"textValue"`
		}
		entries := []entry{}
		for k, v := range payload {
			entries = append(entries, entry{k, v})
		}
		if err := json.NewEncoder(w).Encode(map[string]any{"versionId": fmt.Sprint("e6v", version+1), "entries": entries}); err != nil {
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
	if got := m.Boot("secrets.sh", "boot"); got.Status != 0 {
		t.Fatal(got.Output)
	}
	found := map[string]string{}
	for _, name := range []string{".d", "", "/password.app", "/patroni.env"} {
		info, err := os.Stat(m.Run + "/secrets" + name)
		if err != nil {
			t.Fatal(err)
		}
		found[name] = packertest.Owner(info) + " " + info.Mode().String()
	}
	own := fmt.Sprintf("0:%d ", nobody.GID)
	want := map[string]string{
		".d":            "0:0 drwx--x--x",
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
	for _, link := range []string{"secrets", "secrets.new", "secrets.d"} {
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
				if got := m.Boot("secrets.sh", "boot"); got.Status != 0 {
					t.Fatal(got.Output)
				}
				if entries, err := os.ReadDir(elsewhere); err != nil || len(entries) != 1 || m.Read(elsewhere+"/password") != "theirs" {
					t.Errorf("root wrote through the link: %v, %v", entries, err)
				}
				if to, err := os.Readlink(m.Run + "/secrets"); err != nil || to != "secrets.d/1" || m.Read(m.Run+"/secrets/password") != "new" {
					t.Errorf("the secrets are not there: %v, %v", to, err)
				}
				if info, err := os.Lstat(m.Run + "/secrets.d"); err != nil || !info.IsDir() {
					t.Errorf("their folder: %v, %v", info, err)
				}
				if left, err := filepath.Glob(m.Run + "/secrets.*"); err != nil || len(left) != 1 {
					t.Errorf("left: %v, %v", left, err)
				}
			})
		}
	}
}

// taken is what a refresh leaves: the version in force with its files, those
// that are kept, and what it told the service, a line each time.
type taken struct {
	Version  string
	Files    map[string]string
	Versions []string
	Told     string
}

func look(t *testing.T, m *packertest.Machine) taken {
	t.Helper()
	found := taken{Files: map[string]string{}, Told: m.Read(m.State + "/told")}
	var err error
	if found.Version, err = os.Readlink(m.Run + "/secrets"); err != nil {
		t.Fatal(err)
	}
	for pattern, add := range map[string]func(path string){
		"secrets/*":   func(path string) { found.Files[filepath.Base(path)] = m.Read(path) },
		"secrets.d/*": func(path string) { found.Versions = append(found.Versions, filepath.Base(path)) },
	} {
		paths, err := filepath.Glob(filepath.Join(m.Run, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			add(path)
		}
	}
	return found
}

func TestSecretsRefresh(t *testing.T) {
	ca, otherCA := packertest.NewCA(t), packertest.NewCA(t)
	pair := func(ca *packertest.CA, rest ...string) map[string]string {
		all := map[string]string{"ca.crt": ca.PEM}
		all["node.crt"], all["node.key"] = ca.Issue(time.Now().Add(time.Hour))
		for i := 0; i < len(rest); i += 2 {
			all[rest[i]] = rest[i+1]
		}
		return all
	}
	with := func(all map[string]string, change ...string) map[string]string {
		all = maps.Clone(all)
		for i := 0; i < len(change); i += 2 {
			if all[change[i]] = change[i+1]; change[i+1] == "" {
				delete(all, change[i])
			}
		}
		return all
	}
	first, second := pair(ca, "password.app", "1"), pair(ca, "password.app", "1")
	const standard = "ca.crt node.crt node.key password.app"
	const ok, wait, fail = "demo-etcd-1 secrets ok ", "demo-etcd-1 secrets wait ", "demo-etcd-1 secrets fail "
	const again = ": run pgha-gen secrets generate, and what it says next\n"
	const told = `printf '%s\n' "$*" >>"$PGHA_STATE/told"; echo 'first line'; `
	unchanged := taken{Version: "secrets.d/1", Files: first, Versions: []string{"1"}}

	for _, test := range []struct {
		name, reason string
		lockbox      []map[string]string // one answer after the other
		files        string              // user-data asks for them by now
		hook         string
		console      string
		want         taken
		status       int
	}{
		{name: "nothing new", reason: "nothing is said, and no service is told anything", lockbox: []map[string]string{first}, want: unchanged},
		{name: "a certificate", reason: "with its key, in one moment; the version before is kept", lockbox: []map[string]string{second},
			console: ok + "new: node.crt node.key; it reads them\n",
			want:    taken{"secrets.d/2", second, []string{"1", "2"}, "node.crt node.key\n"}},
		{name: "a password", reason: "only what changed is named", lockbox: []map[string]string{with(first, "password.app", "2")},
			console: ok + "new: password.app; it reads them\n",
			want:    taken{"secrets.d/2", with(first, "password.app", "2"), []string{"1", "2"}, "password.app\n"}},
		{name: "one more", reason: "user-data asks for a new user's password", files: standard + " password.other", lockbox: []map[string]string{with(first, "password.other", "x")},
			console: ok + "new: password.other; it reads them\n",
			want:    taken{"secrets.d/2", with(first, "password.other", "x"), []string{"1", "2"}, "password.other\n"}},
		{name: "one less", reason: "nobody has to be told", files: "ca.crt node.crt node.key", lockbox: []map[string]string{first},
			console: ok + "no more: password.app\n",
			want:    taken{"secrets.d/2", with(first, "password.app", ""), []string{"1", "2"}, ""}},
		{name: "no hook", reason: "a service may read them by itself", hook: "none", lockbox: []map[string]string{second},
			console: ok + "new: node.crt node.key\n",
			want:    taken{"secrets.d/2", second, []string{"1", "2"}, ""}},
		{name: "not yet", reason: "a service may have to wait, for a restart in turn; it is asked again, and told of all that is new to it",
			hook: told + `[ "$(wc -l <"$PGHA_STATE/told")" -ge 3 ] || { echo 'another one restarts'; exit 75; }; echo done`, lockbox: []map[string]string{second, second, with(second, "password.app", "2")},
			console: wait + "etcd.service does not use the new node.crt node.key yet: another one restarts\n" + ok + "new: node.crt node.key new: password.app; done\n",
			want:    taken{"secrets.d/3", with(second, "password.app", "2"), []string{"2", "3"}, "node.crt node.key\nnode.crt node.key\nnode.crt node.key password.app\n"}},
		{name: "a hook that fails", reason: "its last line says why, and it is asked again", hook: told + "echo 'no such process'; exit 3", lockbox: []map[string]string{second}, status: 143,
			console: wait + "etcd.service does not use the new node.crt node.key yet: no such process\n",
			want:    taken{"secrets.d/2", second, []string{"1", "2", "unused"}, strings.Repeat("node.crt node.key\n", 5)}},
		{name: "an entry removed", reason: "what is in force stays, and serves on; said once, and when it is over", lockbox: []map[string]string{with(first, "node.key", ""), with(first, "node.key", ""), first},
			console: wait + "secret e6qa has neither an entry demo-etcd-1.node.key nor an entry node.key" + again + ok + standard + ", as before\n", want: unchanged},
		{name: "another's key", reason: "no service gets a certificate with the wrong key", lockbox: []map[string]string{with(second, "node.key", first["node.key"]), second},
			console: wait + "node.key is not the key of node.crt" + again + ok + "new: node.crt node.key; it reads them\n",
			want:    taken{"secrets.d/2", second, []string{"1", "2"}, "node.crt node.key\n"}},
		{name: "another authority's", reason: "a certificate that the others would refuse", lockbox: []map[string]string{with(pair(otherCA), "ca.crt", ca.PEM, "password.app", "1")}, status: 143,
			console: wait + "node.crt is not valid under ca.crt: unable to get local issuer certificate; run pgha-gen secrets generate, and what it says next\n", want: unchanged},
		{name: "no Lockbox", reason: "for long: it is asked again and again", lockbox: []map[string]string{nil}, status: 143,
			console: wait + "Lockbox answers 503 for secret e6qa\n", want: unchanged},
		{name: "a hostile name", reason: "user-data can be wrong by now", files: "../x", lockbox: []map[string]string{first}, status: 1,
			console: fail + "user-data asks for a secret file \"../x\", which cannot be a file's name\n", want: unchanged},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := vault(t, []string{"PGHA_SECRET_FILES='" + standard + "'"}, append([]map[string]string{first}, test.lockbox...)...)
			if got := m.Boot("secrets.sh", "boot"); got.Status != 0 {
				t.Fatal(got.Output)
			}
			if test.files != "" {
				m.Cluster("PGHA_SECRET_ID=e6qa", "PGHA_SECRET_FILES='"+test.files+"'")
			}
			m.Write(m.State+"/told", "")
			switch test.hook {
			case "none":
			case "":
				m.Write(m.Lib+"/secrets-apply.sh", "#!/bin/sh\n"+told+"echo 'it reads them'\n")
			default:
				m.Write(m.Lib+"/secrets-apply.sh", "#!/bin/sh\n"+test.hook+"\n")
			}
			got := m.Boot("secrets.sh", "refresh")
			if diff := cmp.Diff(test.console, got.Console); diff != "" || got.Status != test.status {
				t.Errorf("%s: status %d, want %d; console (-want +got):\n%s\n%s", test.reason, got.Status, test.status, diff, got.Output)
			}
			if diff := cmp.Diff(test.want, look(t, m)); diff != "" {
				t.Errorf("%s: what is there (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// A refresh that was cut off between the new files and the service: the next one
// tells the service.
func TestSecretsRefreshCutOff(t *testing.T) {
	m := vault(t, []string{"PGHA_SECRET_FILES=password"}, map[string]string{"password": "1"}, map[string]string{"password": "2"})
	if got := m.Boot("secrets.sh", "boot"); got.Status != 0 {
		t.Fatal(got.Output)
	}
	m.Write(m.State+"/told", "")
	m.Write(m.Lib+"/secrets-apply.sh", "#!/bin/sh\nkill -9 $PPID\n")
	if got := m.Boot("secrets.sh", "refresh"); got.Status == 0 {
		t.Fatal("it was not cut off")
	}
	m.Write(m.Lib+"/secrets-apply.sh", "#!/bin/sh\necho \"$@\" >>\"$PGHA_STATE/told\"\n")
	got := m.Boot("secrets.sh", "refresh")
	if want := "demo-etcd-1 secrets ok in use: password\n"; got.Status != 0 || got.Console != want {
		t.Errorf("status %d, console %q, want 0, %q", got.Status, got.Console, want)
	}
	want := taken{"secrets.d/2", map[string]string{"password": "2"}, []string{"1", "2"}, "password\n"}
	if diff := cmp.Diff(want, look(t, m)); diff != "" {
		t.Errorf("what is there (-want +got):\n%s", diff)
	}
}

// Who starts the boot step again changes nothing: a service would not know.
func TestSecretsBootAgain(t *testing.T) {
	m := vault(t, []string{"PGHA_SECRET_FILES=password"}, map[string]string{"password": "1"}, map[string]string{"password": "2"})
	for _, want := range []string{"demo-etcd-1 secrets ok password\n", "demo-etcd-1 secrets ok password, as before\n"} {
		if got := m.Boot("secrets.sh", "boot"); got.Status != 0 || got.Console != want {
			t.Errorf("status %d, console %q, want 0, %q", got.Status, got.Console, want)
		}
	}
	if got := m.Read(m.Run + "/secrets/password"); got != "1" {
		t.Errorf("password %q", got)
	}
}

// What is wrong for long is said once an hour: here half an hour passes between
// two tries.
func TestSecretsRefreshHourly(t *testing.T) {
	m := vault(t, []string{"PGHA_SECRET_FILES=password"}, map[string]string{"password": "1"}, nil)
	if got := m.Boot("secrets.sh", "boot"); got.Status != 0 {
		t.Fatal(got.Output)
	}
	m.Later(30 * time.Minute)
	got := m.Boot("secrets.sh", "refresh")
	if want := strings.Repeat("demo-etcd-1 secrets wait Lockbox answers 503 for secret e6qa\n", 3); got.Console != want || m.Slept() != "1 2 4 8 15" {
		t.Errorf("slept %s, console %q, want %q", m.Slept(), got.Console, want)
	}
}

// A machine knows which versions it had, also one in which nothing is new to it:
// another node's certificate. Lockbox gives each version a name of its own.
func TestSecretsHad(t *testing.T) {
	m := vault(t, []string{"PGHA_SECRET_FILES=password"}, map[string]string{"password": "1"}, map[string]string{"password": "1"}, map[string]string{"password": "1", "other": "2"}, nil)
	for _, want := range []string{"e6v1\n", "e6v1\ne6v2\n", "e6v1\ne6v2\ne6v3\n"} {
		mode := "refresh"
		if want == "e6v1\n" {
			mode = "boot"
		}
		if got := m.Boot("secrets.sh", mode); got.Status != 0 {
			t.Fatal(got.Output)
		}
		if had := m.Read(m.Run + "/had/secrets"); had != want {
			t.Errorf("it had %q, want %q", had, want)
		}
	}
	m.Boot("secrets.sh", "refresh") // Lockbox is away
	if had := m.Read(m.Run + "/had/secrets"); had != "e6v1\ne6v2\ne6v3\n" {
		t.Errorf("it had %q", had)
	}
}

// Before the boot step has brought them there is nothing to refresh.
func TestSecretsRefreshTooEarly(t *testing.T) {
	m := vault(t, []string{"PGHA_SECRET_FILES=password"}, map[string]string{"password": "1"})
	if got := m.Boot("secrets.sh", "refresh"); got.Status != 0 || got.Console != "" {
		t.Errorf("status %d, console %q, want 0 and nothing", got.Status, got.Console)
	}
	if left, err := filepath.Glob(m.Run + "/secrets*"); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestSecretsMode(t *testing.T) {
	m := packertest.New(t, scripts)
	m.Identity()
	m.Cluster()
	for _, args := range [][]string{nil, {"now"}} {
		if got := m.Boot("secrets.sh", args...); got.Status != 1 || !strings.Contains(got.Console, " secrets fail ") || !strings.Contains(got.Console, "want boot or refresh") {
			t.Errorf("status %d, console %q", got.Status, got.Console)
		}
	}
}

// What is wrong with a payload is mended in Lockbox: the node takes the next one.
func TestSecretsMended(t *testing.T) {
	m := vault(t, []string{"PGHA_SECRET_FILES='a b'"},
		map[string]string{"a": "1"},
		map[string]string{"a": "1", "b": ""},
		map[string]string{"a": "2", "b": "2"})
	got := m.Boot("secrets.sh", "boot")
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
	got := m.Boot("secrets.sh", "boot")
	if want := "demo-etcd-1 secrets ok role haproxy reads no secret\n"; got.Console != want || got.Status != 0 {
		t.Errorf("status %d, console %q, want 0, %q", got.Status, got.Console, want)
	}
	if got := m.Boot("secrets.sh", "refresh"); got.Console != "" || got.Status != 0 {
		t.Errorf("refresh: status %d, console %q, want 0 and nothing", got.Status, got.Console)
	}
	if left, err := filepath.Glob(m.Run + "/secrets*"); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", strings.Join(left, " "), err)
	}
}

// What pgha-gen secrets generate says of machines: within six minutes.
func TestSecretsTimer(t *testing.T) {
	unit := testkit.Text(t, "rootfs/usr/lib/systemd/system/pgha-secrets-refresh.timer")
	for _, line := range []string{"OnActiveSec=5min", "OnUnitInactiveSec=5min", "RandomizedDelaySec=1min"} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("there is no %s", line)
		}
	}
}

// Lockbox's answer is one of texts and base64, whatever else it holds: no text in it
// names a file.
func TestSecretsPayload(t *testing.T) {
	for _, test := range []struct{ name, reason, entries, console string }{
		{"a binary one", "as a certificate pushed from a file", `[{"key": "password", "binaryValue": "bmV3"}]`, "ok password"},
		{"a file in a value", "root would write where the secret says", `[{"key": "password", "binaryValue": "bmV3\n../../escaped x bmV3"}]`,
			"wait Lockbox answers for secret e6qa with something that is not a payload"},
		{"no entries", "a string has no key", `["password"]`, "wait Lockbox answers for secret e6qa with something that is not a payload"},
		{"another kind", "nor has null entries", `null`, "wait Lockbox answers for secret e6qa with something that is not a payload"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := packertest.New(t, scripts)
			m.Identity()
			m.Cluster("PGHA_SECRET_ID=e6qa", "PGHA_SECRET_FILES=password")
			m.Serve(map[string]string{"instance/service-accounts/default/token": `{"access_token":"` + token + `"}`})
			box := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"versionId": "e6v1", "entries": %s}`, test.entries)
			}))
			t.Cleanup(box.Close)
			m.Env = append(m.Env, "PGHA_LOCKBOX="+box.URL)
			got := m.Boot("secrets.sh", "boot")
			if want := "demo-etcd-1 secrets " + test.console + "\n"; got.Once() != want {
				t.Errorf("%s: have %q, want %q", test.reason, got.Once(), want)
			}
			if text := m.Read(filepath.Join(m.Run, "escaped")); text != "" {
				t.Errorf("%s: it is written: %q", test.reason, text)
			}
		})
	}
}
