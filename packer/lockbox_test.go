package packer_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
	"pgha-gen/packer/packertest"
)

const token = "t1.9euelZqPSECRETTOKEN"

// lockbox answers as Lockbox does, to the token alone.
func lockbox(t *testing.T, status int, entries map[string]string) *httptest.Server {
	type entry struct {
		Key    string `json:"key"`
		Text   string `json:"textValue,omitempty"`
		Binary string `json:"binaryValue,omitempty"`
	}
	payload := struct {
		Version string  `json:"versionId"`
		Entries []entry `json:"entries"`
	}{Version: "e6v", Entries: []entry{}}
	for k, v := range entries {
		e := entry{Key: k, Text: v}
		if k == "binary" {
			e = entry{Key: k, Binary: base64.StdEncoding.EncodeToString([]byte(v))}
		}
		payload.Entries = append(payload.Entries, e)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/lockbox/v1/secrets/e6qa/payload":
			http.NotFound(w, r)
		case r.Header.Get("Authorization") != "Bearer "+token:
			w.WriteHeader(http.StatusUnauthorized)
		case status != http.StatusOK:
			w.WriteHeader(status)
		case entries == nil:
			fmt.Fprint(w, "<html>")
		default:
			if err := json.NewEncoder(w).Encode(payload); err != nil {
				t.Error(err)
			}
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	ca := packertest.NewCA(t)
	s.TLS = ca.ServerConfig()
	s.TLS.ClientAuth = 0
	s.StartTLS()
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "lockbox-ca.crt")
	testkit.OK(t, os.WriteFile(file, []byte(ca.PEM), 0o600))
	s.Config.Addr = file
	return s
}

func TestSecrets(t *testing.T) {
	testkit.Need(t, "base64")
	ca, otherCA := packertest.NewCA(t), packertest.NewCA(t)
	cert, key := ca.Issue(time.Now().Add(time.Hour))
	cert2, key2 := ca.Issue(time.Now().Add(time.Hour))
	expired, expiredKey := ca.Issue(time.Now().Add(-time.Hour))
	strange, strangeKey := otherCA.Issue(time.Now().Add(time.Hour))
	good := func(change ...string) map[string]string {
		all := map[string]string{
			"ca.crt": ca.PEM, "demo-etcd-1.server.crt": cert, "demo-etcd-1.server.key": key,
			"demo-etcd-2.server.crt": cert2, "demo-etcd-2.server.key": key2,
		}
		for i := 0; i < len(change); i += 2 {
			all[change[i]] = change[i+1]
		}
		return all
	}
	without := func(key string) map[string]string {
		all := good()
		delete(all, key)
		return all
	}
	account := map[string]string{"instance/service-accounts/default/token": `{"access_token":"` + token + `","expires_in":42617,"token_type":"Bearer"}`}
	with := func(metadata map[string]string, secret string) map[string]string {
		all := maps.Clone(metadata)
		all["instance/attributes/pgha-secret"] = secret
		return all
	}
	const standard = "ca.crt server.crt server.key"
	const ok, wait, fail = "demo-etcd-1 secrets ok ", "demo-etcd-1 secrets wait ", "demo-etcd-1 secrets fail "
	const again = "run pgha-gen secrets generate, and what it says next\n"

	tests := []struct {
		name, reason string
		metadata     map[string]string
		status       int // of Lockbox; 0: 200
		entries      map[string]string
		files        string
		id           string
		down         bool // nobody at Lockbox's address
		untrusted    bool
		disk         bool // /run is no tmpfs
		user         string
		console      string
		want         map[string]string
	}{
		{name: "own and shared", reason: "the node's own entry, else everybody's", entries: good(), files: standard,
			console: ok + standard + "\n",
			want:    map[string]string{"ca.crt": ca.PEM, "server.crt": cert, "server.key": key}},
		{name: "two authorities", reason: "while one is replaced, certificates are of the one or the other",
			entries: good("ca.crt", otherCA.PEM+ca.PEM, "demo-etcd-1.peer.crt", strange, "demo-etcd-1.peer.key", strangeKey), files: standard + " peer.crt peer.key",
			console: ok + standard + " peer.crt peer.key\n",
			want:    map[string]string{"ca.crt": otherCA.PEM + ca.PEM, "server.crt": cert, "server.key": key, "peer.crt": strange, "peer.key": strangeKey}},
		{name: "own wins", reason: "an entry for all must not hide the node's", entries: good("server.crt", cert2, "server.key", key2), files: standard,
			console: ok + standard + "\n",
			want:    map[string]string{"ca.crt": ca.PEM, "server.crt": cert, "server.key": key}},
		{name: "exact bytes", reason: "a password has no line feed at its end, and binary values are bytes",
			entries: good("password", "p'ä\"$\\ \n\n", "binary", "\x00\xff\n"), files: "password binary",
			console: ok + "password binary\n",
			want:    map[string]string{"password": "p'ä\"$\\ \n\n", "binary": "\x00\xff\n"}},
		{name: "id in metadata", reason: "who creates the secret knows its id first", id: "metadata", entries: good(), files: standard,
			metadata: with(account, "e6qa"), console: ok + standard + "\n",
			want: map[string]string{"ca.crt": ca.PEM, "server.crt": cert, "server.key": key}},
		{name: "id nowhere", reason: "the machine was created in another way", id: "metadata", entries: good(), files: standard,
			console: wait + "neither user-data nor metadata (pgha-secret) has the id of the secret: create the machine with deploy/create.sh, or give the spec secrets.lockbox\n"},
		{name: "id of nothing", reason: "a variable was empty", id: "metadata", entries: good(), files: standard, metadata: with(account, ""),
			console: wait + "neither user-data nor metadata (pgha-secret) has the id of the secret: create the machine with deploy/create.sh, or give the spec secrets.lockbox\n"},
		{name: "odd id", reason: "it is a part of a URL", id: "metadata", entries: good(), files: standard, metadata: with(account, "../e6qb"),
			console: wait + "metadata's pgha-secret is \"../e6qb\", which is no id of a secret\n"},
		{name: "user-data's id wins", reason: "the spec has it", entries: good(), files: standard, metadata: with(account, "e6qz"),
			console: ok + standard + "\n",
			want:    map[string]string{"ca.crt": ca.PEM, "server.crt": cert, "server.key": key}},
		{name: "missing entry", reason: "it is added to Lockbox later, and the node goes on by itself", entries: without("demo-etcd-1.server.key"), files: standard,
			console: wait + "secret e6qa has neither an entry demo-etcd-1.server.key nor an entry server.key: " + again},
		{name: "empty entry", reason: "an empty password would be a password", entries: good("password", ""), files: "password",
			console: wait + "entry password of secret e6qa is empty: " + again},
		{name: "path", reason: "a name from user-data stays in its directory", entries: good("../x", "y"), files: "../x",
			console: fail + "user-data asks for a secret file \"../x\", which cannot be a file's name\n"},
		{name: "expired", reason: "found at boot, and not by a handshake at night", entries: good("demo-etcd-1.server.crt", expired, "demo-etcd-1.server.key", expiredKey), files: standard,
			console: wait + "server.crt is not valid under ca.crt: certificate has expired; " + again},
		{name: "another CA", reason: "certificates of two clusters were mixed", entries: good("demo-etcd-1.server.crt", strange, "demo-etcd-1.server.key", strangeKey), files: standard,
			console: wait + "server.crt is not valid under ca.crt: unable to get local issuer certificate; " + again},
		{name: "another key", reason: "certificate and key of two nodes were mixed", entries: good("demo-etcd-1.server.key", key2), files: standard,
			console: wait + "server.key is not the key of server.crt: " + again},
		{name: "no key", reason: "what is no key fits no certificate", entries: good("demo-etcd-1.server.key", "hello"), files: standard,
			console: wait + "server.key is not the key of server.crt: " + again},
		{name: "no ca.crt", reason: "nothing to verify with is not verified", entries: good(), files: "server.crt server.key",
			console: wait + "server.crt cannot be verified without ca.crt: render user-data again\n"},
		{name: "not allowed", reason: "the right is given later, and the node goes on by itself", status: 403, entries: good(), files: standard,
			console: wait + "Lockbox answers 403: the service account of this machine may not read secret e6qa; give it lockbox.payloadViewer on that secret\n"},
		{name: "wrong token", reason: "the service was told nothing else", entries: good(), files: standard,
			metadata: map[string]string{"instance/service-accounts/default/token": `{"access_token":"stale"}`},
			console:  wait + "Lockbox answers 401: the service account of this machine may not read secret e6qa; give it lockbox.payloadViewer on that secret\n"},
		{name: "no such secret", reason: "secrets are pushed after the machines were made", id: "e6qz", entries: good(), files: standard,
			console: wait + "Lockbox answers 404: there is no secret e6qz, or it has no version yet\n"},
		{name: "trouble there", reason: "the service has its own bad day", status: 503, entries: good(), files: standard,
			console: wait + "Lockbox answers 503 for secret e6qa\n"},
		{name: "a page", reason: "a proxy's page is no payload", files: standard,
			console: wait + "Lockbox answers for secret e6qa with something that is not a payload\n"},
		{name: "untrusted", reason: "a token is not sent to whoever answers", entries: good(), files: standard, untrusted: true,
			console: wait + "TLS to Lockbox at LOCKBOX fails: …"},
		{name: "no route", reason: "a node without a public address", entries: good(), files: standard, down: true,
			console: wait + "Lockbox at LOCKBOX cannot be reached (a node without a public address needs a NAT gateway): …"},
		{name: "no service account", reason: "404 of the token", entries: good(), files: standard, metadata: map[string]string{},
			console: wait + "no service account is attached to this machine: attach the one that may read the secret\n"},
		{name: "no token", reason: "the GCE token is disabled", entries: good(), files: standard,
			metadata: map[string]string{"instance/service-accounts/default/token": "HTTP 400"},
			console:  wait + "metadata refuses a token: enable the GCE token in the metadata options of this machine\n"},
		{name: "odd token", reason: "an answer without a token", entries: good(), files: standard,
			metadata: map[string]string{"instance/service-accounts/default/token": "{}"},
			console:  wait + "metadata gives no access_token\n"},
		{name: "disk", reason: "secrets must not reach one", entries: good(), files: standard, disk: true,
			console: fail + "RUN is not on a tmpfs: secrets would reach a disk\n"},
		{name: "no user", reason: "the image of another role", entries: good(), files: standard, user: "nobody-of-that-name",
			console: fail + "this image has no user nobody-of-that-name: create the machine from an image of role etcd\n"},
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := packertest.New(t, scripts)
			m.Identity()
			if tc.metadata == nil {
				tc.metadata = account
			}
			if tc.status == 0 {
				tc.status = http.StatusOK
			}
			if tc.id == "" {
				tc.id = "e6qa"
			}
			if tc.user == "" {
				tc.user = me.Username
			}
			inUserData := []string{"PGHA_SECRET_ID=" + tc.id}
			if tc.id == "metadata" {
				inUserData = nil
			}
			m.Cluster(append(inUserData, "PGHA_SECRET_FILES='"+tc.files+"'", "PGHA_SERVICE_USER="+tc.user)...)
			m.Serve(tc.metadata)
			if tc.disk {
				m.Fake("stat", "echo ext2/ext3")
			}
			box := lockbox(t, tc.status, tc.entries)
			url, trust := box.URL, box.Config.Addr
			if tc.down {
				url = "https://127.0.0.1:1"
			}
			if tc.untrusted {
				trust = filepath.Join(t.TempDir(), "other.crt")
				m.Write(trust, otherCA.PEM)
			}
			m.Env = append(m.Env, "PGHA_LOCKBOX="+url, "CURL_CA_BUNDLE="+trust)
			// Every program that comes near a value leaves its arguments here.
			argv := filepath.Join(t.TempDir(), "argv")
			for _, program := range []string{"curl", "jq", "openssl", "base64", "chown", "mv"} {
				real, err := exec.LookPath(program)
				if err != nil {
					t.Fatal(err)
				}
				m.Fake(program, fmt.Sprintf("printf '%%s\\n' \"$@\" >>%s; exec %s \"$@\"", argv, real))
			}

			got := m.Boot("secrets.sh", "boot")

			want := strings.NewReplacer("LOCKBOX", url, "RUN", m.Run).Replace(tc.console)
			said := got.Once()
			if head, _, cut := strings.Cut(want, "…"); cut && strings.HasPrefix(said, head) && strings.Count(said, "\n") == 1 {
				want = said // the rest is curl's wording
			}
			if diff := cmp.Diff(want, said); diff != "" {
				t.Errorf("%s: console (-want +got):\n%s\n%s", tc.reason, diff, got.Output)
			}
			files := map[string]string{}
			for _, f := range strings.Fields(tc.files) {
				if text := m.Read(filepath.Join(m.Run, "secrets", f)); text != "" {
					files[f] = text
				}
			}
			if tc.want == nil {
				tc.want = map[string]string{}
			}
			if diff := cmp.Diff(tc.want, files); diff != "" {
				t.Errorf("%s: files (-want +got):\n%s", tc.reason, diff)
			}
			if (got.Status == 0) != (len(tc.want) > 0) {
				t.Errorf("%s: status %d", tc.reason, got.Status)
			}
			if _, err := os.Stat(m.Run + "/secrets.new"); err == nil {
				t.Error("an unfinished directory is left")
			}
			seen := got.Output + got.Console + m.Read(argv)
			for what, value := range map[string]string{"the token": token, "a password": "p'ä", "a key": strings.Split(key, "\n")[1]} {
				if strings.Contains(seen, value) {
					t.Errorf("%s can be seen in the output or in a program's arguments", what)
				}
			}
		})
	}
}
