package secrets_test

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/deploy/secrets"
	"pgha-gen/internal/demo"
)

const day = 24 * time.Hour

// Edits of the reference.
const (
	pg3      = "- {name: demo-pg-3, zone: ru-central1-a, address: 10.128.0.23}"
	pg4      = "- {name: demo-pg-4, zone: ru-central1-a, address: 10.128.0.24}"
	more     = pg3 + "=>" + pg3 + "\n      " + pg4
	less     = pg3 + "=>"
	replaced = pg3 + "=>" + pg4
	writer   = "- name: app_reader =>- name: app_writer "
)

func TestUpdate(t *testing.T) {
	authority, old := payloads(t)
	for _, test := range []struct {
		name, reason string
		edits        []string
		rotate       secrets.Rotation
		later        time.Duration
		want         []string
	}{
		{"again", "what is there stays", nil, secrets.Rotation{}, 0, nil},
		{"31 days before the end", "not yet", nil, secrets.Rotation{}, (2*365 - 31) * day, nil},
		{"29 days before the end", "before machines fail", nil, secrets.Rotation{}, (2*365 - 29) * day, []string{
			"etcd: renewed demo-etcd-1.server.crt (it ends on 2032-01-02)", "etcd: renewed demo-etcd-2.server.crt (it ends on 2032-01-02)", "etcd: renewed demo-etcd-3.server.crt (it ends on 2032-01-02)",
			"etcd: renewed demo-etcd-1.peer.crt (it ends on 2032-01-02)", "etcd: renewed demo-etcd-2.peer.crt (it ends on 2032-01-02)", "etcd: renewed demo-etcd-3.peer.crt (it ends on 2032-01-02)",
			"patroni: renewed demo-pg-1.node.crt (it ends on 2032-01-02)", "patroni: renewed demo-pg-2.node.crt (it ends on 2032-01-02)", "patroni: renewed demo-pg-3.node.crt (it ends on 2032-01-02)"}},
		{"a node more", "only what is missing is made", []string{more}, secrets.Rotation{}, 0, []string{
			"patroni: made demo-pg-4.node.crt"}},
		{"a node less", "its key is handed out no more", []string{less}, secrets.Rotation{}, 0, []string{
			"patroni: dropped demo-pg-3.node.crt (no machine of the spec reads it)",
			"patroni: dropped demo-pg-3.node.key (no machine of the spec reads it)"}},
		{"another address", "peers verify it", []string{"10.128.0.23=>10.128.0.99"}, secrets.Rotation{}, 0, []string{
			"patroni: renewed demo-pg-3.node.crt (its names and addresses are not those of the spec)"}},
		{"without address", "what it had is another's some day", []string{", address: 10.128.0.23=>", ", address: 10.128.0.22=>", "        address: 10.128.0.21\n=>"}, secrets.Rotation{}, 0, []string{
			"patroni: renewed demo-pg-1.node.crt (its names and addresses are not those of the spec)",
			"patroni: renewed demo-pg-2.node.crt (its names and addresses are not those of the spec)",
			"patroni: renewed demo-pg-3.node.crt (its names and addresses are not those of the spec)"}},
		{"another user", "one made, one dropped", []string{writer}, secrets.Rotation{}, 0, []string{
			"patroni: made password.app_writer",
			"patroni: dropped password.app_reader (no machine of the spec reads it)"}},
		{"certificates", "all of them, and no password", nil, secrets.Rotation{Certificates: true}, 0, []string{
			"etcd: renewed demo-etcd-1.server.crt (to be rotated)", "etcd: renewed demo-etcd-2.server.crt (to be rotated)", "etcd: renewed demo-etcd-3.server.crt (to be rotated)",
			"etcd: renewed demo-etcd-1.peer.crt (to be rotated)", "etcd: renewed demo-etcd-2.peer.crt (to be rotated)", "etcd: renewed demo-etcd-3.peer.crt (to be rotated)",
			"patroni: renewed demo-pg-1.node.crt (to be rotated)", "patroni: renewed demo-pg-2.node.crt (to be rotated)", "patroni: renewed demo-pg-3.node.crt (to be rotated)"}},
		{"passwords", "all of them, and no certificate", nil, secrets.Rotation{Passwords: true}, 0, []string{
			"patroni: renewed patroni.env PATRONI_SUPERUSER_PASSWORD (to be rotated)",
			"patroni: renewed patroni.env PATRONI_REPLICATION_PASSWORD (to be rotated)",
			"patroni: renewed patroni.env PATRONI_REWIND_PASSWORD (to be rotated)",
			"patroni: renewed patroni.env PATRONI_RESTAPI_PASSWORD (to be rotated)",
			"patroni: renewed password.app (to be rotated)", "patroni: renewed password.app_reader (to be rotated)"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			fresh, changes, err := authority.Update(demo.Cluster(t, test.edits...), old, test.rotate, now.Add(test.later))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range changes {
				got = append(got, c.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("changes: %s (-want +got):\n%s", test.reason, diff)
			}
			// What is not among the changes is the same, byte for byte, and what is differs.
			for role, was := range old {
				for entry, text := range was {
					pair := strings.TrimSuffix(entry, ".key")
					said := slices.ContainsFunc(changes, func(c secrets.Change) bool {
						name, _, _ := strings.Cut(c.Entry, " ")
						return c.Role == role && (name == entry || name == pair+".crt")
					})
					if same := fresh[role][entry] == text; same == said {
						t.Errorf("entry %s of %s: same %v, said %v: %s", entry, role, same, said, test.reason)
					}
				}
			}
			// The result is good: nothing is left to do.
			if _, again, err := authority.Update(demo.Cluster(t, test.edits...), fresh, secrets.Rotation{}, now.Add(test.later)); err != nil || len(again) > 0 {
				t.Errorf("again: %v, %v: %s", again, err, test.reason)
			}
		})
	}
}

// Without what is missing in an environment the others stay.
func TestVariables(t *testing.T) {
	authority, old := payloads(t)
	lines := strings.SplitAfter(old["patroni"]["patroni.env"], "\n")
	old["patroni"]["patroni.env"] = lines[0] + "OLD_PASSWORD=x\n" + strings.Join(lines[2:], "")
	fresh, changes, err := authority.Update(demo.Cluster(t), old, secrets.Rotation{}, now)
	if err != nil {
		t.Fatal(err)
	}
	want := []secrets.Change{
		{Role: "patroni", Entry: "patroni.env PATRONI_REPLICATION_PASSWORD", What: "made"},
		{Role: "patroni", Entry: "patroni.env OLD_PASSWORD", What: "dropped", Why: "no machine of the spec reads it"}}
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	got := strings.SplitAfter(fresh["patroni"]["patroni.env"], "\n")
	if len(got) != 5 || got[0] != lines[0] || got[2] != lines[2] || got[3] != lines[3] || got[1] == lines[1] {
		t.Error("the variables that were there are not the same")
	}
}

func TestDamagedEntries(t *testing.T) {
	other, err := secrets.NewCA("demo", now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := other.Payloads(demo.Cluster(t), now)
	if err != nil {
		t.Fatal(err)
	}
	const crt, key = "demo-pg-1.node.crt", "demo-pg-1.node.key"
	for _, test := range []struct {
		name, reason string
		damage       func(p secrets.Payload)
		want         string
		rotates      bool // --rotate certificates gets over it
	}{
		{"key of another", "TLS would fail on the node", func(p secrets.Payload) { p[key] = p["demo-pg-2.node.key"] }, "patroni: entries demo-pg-1.node.crt and demo-pg-1.node.key are not a certificate and its key (--rotate", true},
		{"no certificate", "half of a pair", func(p secrets.Payload) { delete(p, crt) }, "patroni: entry demo-pg-1.node.crt is missing, but demo-pg-1.node.key is there (--rotate", true},
		{"no key", "half of a pair", func(p secrets.Payload) { delete(p, key) }, "patroni: entry demo-pg-1.node.key is missing, but demo-pg-1.node.crt is there (--rotate", true},
		{"not PEM", "damaged", func(p secrets.Payload) { p[crt] = "hello" }, "are not a certificate and its key", true},
		{"another authority's", "nobody would trust it", func(p secrets.Payload) { p[crt], p[key] = foreign["patroni"][crt], foreign["patroni"][key] }, "patroni: entry demo-pg-1.node.crt is not signed by the authority in the folder (--rotate", true},
		{"another authority", "the machines trust it, and nobody else", func(p secrets.Payload) { p["ca.crt"] = other.Certificate() }, "patroni: entry ca.crt is not the authority that is in the folder (bring back", false},
		{"a line of no variable", "systemd would ignore it", func(p secrets.Payload) { p["patroni.env"] += "hunter2\n" }, "patroni: entry patroni.env: want lines NAME=PASSWORD", false},
		{"a password as a name", "it is not said", func(p secrets.Payload) { p["patroni.env"] += "hunter2=\n" }, "patroni: entry patroni.env: want lines NAME=PASSWORD", false},
		{"too much", "Lockbox refuses it", func(p secrets.Payload) { p["password.app"] = strings.Repeat("x", 64<<10) }, "bytes of values, but a Lockbox secret holds 65536 at most", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			authority, old := payloads(t)
			test.damage(old["patroni"])
			_, _, err := authority.Update(demo.Cluster(t), old, secrets.Rotation{}, now)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q: %s", err, test.want, test.reason)
			} else if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a secret is in %q", err)
			}
			if _, _, err := authority.Update(demo.Cluster(t), old, secrets.Rotation{Certificates: true}, now); (err == nil) != test.rotates {
				t.Errorf("rotated: %v, want success %v: %s", err, test.rotates, test.reason)
			}
		})
	}
}

// So many nodes do not fit into one secret.
func TestManyNodes(t *testing.T) {
	var nodes strings.Builder
	for i := range 90 {
		fmt.Fprintf(&nodes, "- {name: demo-pg-%d, zone: ru-central1-a, address: 10.128.1.%d}\n      ", i+4, i+3)
	}
	authority, _ := payloads(t)
	_, err := authority.Payloads(demo.Cluster(t, pg3+"=>"+nodes.String()+pg3), now)
	if err == nil || !strings.Contains(err.Error(), "patroni: ") || !strings.Contains(err.Error(), "fewer nodes") {
		t.Errorf("93 nodes: %v, want a sentence about the limit", err)
	}
}

// Near its end an authority signs shorter certificates, and not again each time.
func TestAuthorityEnds(t *testing.T) {
	authority, _ := payloads(t)
	late := now.Add((10*365 - 20) * day)
	all, err := authority.Payloads(demo.Cluster(t), late)
	if err != nil {
		t.Fatal(err)
	}
	if _, changes, err := authority.Update(demo.Cluster(t), all, secrets.Rotation{}, late.Add(day)); err != nil || len(changes) > 0 {
		t.Errorf("the day after: %v, %v, want nothing: a new certificate would end no later", changes, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`[{"key": "a", "text_value": "b"}]`))
	f.Add([]byte(`[{"key": "a"}]`))
	f.Add([]byte(`[]x`))
	f.Add([]byte("[{\"key\": \"a\", \"text_value\": \"\\ud800\"}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := secrets.Decode(data)
		if err != nil {
			return
		}
		text, err := p.Encode()
		if err != nil {
			t.Fatalf("read, but cannot be written: %v", err)
		}
		again, err := secrets.Decode(text)
		if err != nil || !maps.Equal(p, again) {
			t.Errorf("not the same after writing and reading: %v", err)
		}
	})
}
