package secrets_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/deploy/secrets"
	"pgha-gen/generator/specfile"
	"pgha-gen/internal/demo"
)

// Where a run was interrupted between the last two files, the key that is left
// over goes; where before, it takes its place.
func TestNextKeyLeft(t *testing.T) {
	for name, key := range map[string]string{"its place is taken": "ca.key", "its place is not taken": "old.key"} {
		t.Run(name, func(t *testing.T) {
			dir := at(t, introduce)
			before := files(t, dir)
			if _, err := run(t, dir, demo.Cluster(t), switchAll, now, all); err != nil {
				t.Fatal(err)
			}
			put("ca-next.key", before["ca-next.key"])(t, dir)
			if key == "old.key" {
				put("ca.key", before["ca.key"])(t, dir)
			}
			if w, err := run(t, dir, demo.Cluster(t), secrets.Rotation{}, now, all); err != nil || w.Stage != secrets.Switched || len(w.Push) > 0 {
				t.Fatalf("%v, %+v", err, w)
			}
			got := files(t, dir)
			if _, left := got["ca-next.key"]; left || got["ca.key"] != before["ca-next.key"] {
				t.Error("ca.key is not the new authority's alone")
			}
		})
	}
}

func TestReplaceRefused(t *testing.T) {
	foreign := files(t, made(t))
	for _, test := range []struct {
		name, reason string
		steps        []secrets.Rotation
		before       func(t *testing.T, dir string)
		back         []string // of before the steps: from a file, into a file
		edits        []string
		rotate       secrets.Rotation
		later        time.Duration
		want         string
	}{
		{"begun twice", "a third would be trusted by none", []secrets.Rotation{introduce}, nil, nil, nil, introduce, 0, `the authority is being replaced already (next, once every machine has taken both over: --rotate certificates)`},
		{"begun before the end", "a third would be trusted by none", []secrets.Rotation{introduce, switchAll}, nil, nil, nil, introduce, 0, `the authority is being replaced already (next, once every machine has taken its new certificate over: --finish)`},
		{"finished without a beginning", "there is one authority", nil, nil, nil, nil, finish, 0, `no authority is being replaced (--rotate authority begins it)`},
		{"finished twice", "there is one authority", []secrets.Rotation{introduce, switchAll, finish}, nil, nil, nil, finish, 0, `no authority is being replaced`},
		{"finished too early", "nobody would trust the certificates", []secrets.Rotation{introduce}, nil, nil, nil, finish, 0, `etcd: demo-etcd-1.peer.crt is still signed by the old authority (first, once every machine has taken both over: --rotate certificates)`},
		{"finished with one of before", "nobody would trust it", []secrets.Rotation{introduce, switchAll}, nil, []string{"patroni.json", "patroni.json"}, nil, finish, 0, `is still signed by the old authority`},
		{"interrupted beginning, then certificates", "no machine knows the new one", nil, put("ca-next.key", foreign["ca.key"]), nil, nil, switchAll, 0, `--rotate authority was interrupted (run that again first)`},
		{"interrupted beginning, then finished", "no machine knows the new one", nil, put("ca-next.key", foreign["ca.key"]), nil, nil, finish, 0, `--rotate authority was interrupted (run that again first)`},
		{"a payload of before", "its machines do not know the new one", []secrets.Rotation{introduce}, nil, []string{"patroni.json", "patroni.json"}, nil, switchAll, 0, `there is a payload without the new authority (run this without --rotate`},
		{"without the new key", "it is kept off-line", []secrets.Rotation{introduce}, remove("ca-next.key"), nil, nil, switchAll, 0, `ca-next.key is not there, and the new certificates have to be signed with it (bring it back for this run)`},
		{"without the old key", "it signs until the switch", []secrets.Rotation{introduce}, remove("ca.key"), nil, []string{more}, secrets.Rotation{}, 0, `patroni: entry demo-pg-4.node.crt: ca.key is not there`},
		{"the old key again", "it would sign what is soon not trusted", []secrets.Rotation{introduce, switchAll}, nil, []string{"ca.key", "ca.key"}, nil, secrets.Rotation{}, 0, `ca.key: the key of the old authority, and the new one signs (bring back the new one's)`},
		{"a foreign key", "nobody trusts it", []secrets.Rotation{introduce}, put("ca.key", foreign["ca.key"]), nil, nil, secrets.Rotation{}, 0, `ca.key: not the key of an authority in ca.crt`},
		{"a foreign next key", "nobody trusts it", []secrets.Rotation{introduce}, put("ca-next.key", foreign["ca.key"]), nil, nil, secrets.Rotation{}, 0, `ca-next.key: not the key of the new authority in ca.crt`},
		{"a damaged next key", "it is not said", []secrets.Rotation{introduce}, put("ca-next.key", "hunter2"), nil, nil, secrets.Rotation{}, 0, `ca-next.key: not one unencrypted PKCS #8 key`},
		{"the same key", "it would be no other authority", nil, nil, []string{"ca.key", "ca-next.key"}, nil, introduce, 0, `ca-next.key: the key of the authority that ca.crt has already (its name is ca.key)`},
		{"a next key open to others", "they may have read it", []secrets.Rotation{introduce}, mode("ca-next.key", 0o640), nil, nil, secrets.Rotation{}, 0, `ca-next.key" is open to others`},
		{"only the next key", "of what?", []secrets.Rotation{introduce}, onlyNext, nil, nil, secrets.Rotation{}, 0, `there are payloads or keys, but no ca.crt`},
		{"the old one ended", "nobody trusts what it signed", []secrets.Rotation{introduce}, nil, nil, nil, secrets.Rotation{}, 10*365*day + time.Hour, `ca.crt: the authority ended on 2039-12-31 (the new one signs after --rotate certificates)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := made(t)
			first := files(t, dir)
			for _, rotate := range test.steps {
				if _, err := run(t, dir, demo.Cluster(t), rotate, now, all); err != nil {
					t.Fatal(err)
				}
			}
			if test.before != nil {
				test.before(t, dir)
			}
			if test.back != nil {
				put(test.back[1], first[test.back[0]])(t, dir)
			}
			was := snapshot(t, dir)
			_, err := run(t, dir, demo.Cluster(t, test.edits...), test.rotate, now.Add(test.later), all)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q: %s", err, test.want, test.reason)
			} else if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a secret is in %q", err)
			}
			if diff := cmp.Diff(was, snapshot(t, dir)); diff != "" {
				t.Errorf("the folder changed (-want +got):\n%s", diff)
			}
		})
	}
}

func onlyNext(t *testing.T, dir string) {
	t.Helper()
	for name := range files(t, dir) {
		if name != "ca-next.key" {
			remove(name)(t, dir)
		}
	}
}

// Machines that read no secrets trust what the spec has.
func TestSpecWithoutTheNewAuthority(t *testing.T) {
	dir := made(t)
	c := demo.Cluster(t)
	c.Secrets.CA = specfile.Text(files(t, dir)["ca.crt"])
	if _, err := secrets.Generate(dir, c, introduce, on(now)); err != nil {
		t.Fatal(err)
	}
	was := snapshot(t, dir)
	_, err := secrets.Generate(dir, c, switchAll, on(now))
	if err == nil || !strings.Contains(err.Error(), "secrets.ca of the spec does not have the new authority (put the text of ca.crt there, render, and let those machines take it over first)") {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(was, snapshot(t, dir)); diff != "" {
		t.Errorf("the folder changed (-want +got):\n%s", diff)
	}
	// Where all machines read secrets, nothing trusts by the spec.
	c.Groups = c.WithSecrets()
	if _, err := secrets.Generate(dir, c, switchAll, on(now)); err != nil {
		t.Errorf("without such machines: %v", err)
	}
}

// What ends is said early enough to boot all machines anew before.
func TestEndsSoon(t *testing.T) {
	const years = 365 * day
	for _, test := range []struct {
		name, reason string
		steps        []secrets.Rotation
		later        time.Duration
		want         string
	}{
		{"61 days before", "not yet", nil, 2*years - 61*day, ""},
		{"59 days before", "time to plan it", nil, 2*years - 59*day, "10 certificates end within 60 days, the first on 2032-01-02 (run this again from 2031-12-03 on: that renews it)"},
		{"29 days before", "they are renewed", nil, 2*years - 29*day, ""},
		{"the authority, two years before", "certificates get shorter", nil, 8*years + day, "the authority in ca.crt ends on 2039-12-31, and no certificate outlives it (replace it before: --rotate authority)"},
		{"the authority, 20 days before", "certificates end with it, which is not said twice", nil, 10*years - 20*day, "the authority in ca.crt ends on 2039-12-31, and no certificate outlives it (replace it before: --rotate authority)"},
		{"the old one, 61 days before", "it is being replaced", []secrets.Rotation{introduce}, 10*years - 61*day, ""},
		{"the old one, 59 days before", "time to go on", []secrets.Rotation{introduce}, 10*years - 59*day, "the old authority ends on 2039-12-31: finish its replacement before then"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, err := run(t, at(t, test.steps...), demo.Cluster(t), secrets.Rotation{}, now.Add(test.later), all)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(w.Warnings, "\n"); got != test.want {
				t.Errorf("got %q, want %q: %s", got, test.want, test.reason)
			}
		})
	}
}
