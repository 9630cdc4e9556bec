package secrets_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/deploy/secrets"
	"pgha-gen/internal/demo"
)

func TestParseRotation(t *testing.T) {
	tests := []struct {
		name, reason string
		kinds        []string
		finish       bool
		want         secrets.Rotation
		err          string
	}{
		{"nothing", "what is there is kept", nil, false, secrets.Rotation{}, ""},
		{"certificates", "one kind", []string{"certificates"}, false, secrets.Rotation{Certificates: true}, ""},
		{"twice", "the same", []string{"certificates", "certificates"}, false, secrets.Rotation{Certificates: true}, ""},
		{"both", "each for itself", []string{"certificates", "passwords"}, false, secrets.Rotation{Certificates: true, Passwords: true}, ""},
		{"authority", "the first step", []string{"authority"}, false, secrets.Rotation{CA: true}, ""},
		{"finish", "the last step", nil, true, secrets.Rotation{Finish: true}, ""},
		{"unknown", "misspelt", []string{"ca"}, false, secrets.Rotation{}, `cannot rotate "ca" (want authority, certificates or passwords)`},
		{"authority and certificates", "machines take it over in between", []string{"authority", "certificates"}, false, secrets.Rotation{}, "--rotate authority goes alone"},
		{"authority and passwords", "it goes alone", []string{"authority", "passwords"}, false, secrets.Rotation{}, "--rotate authority goes alone"},
		{"finish and certificates", "machines take it over in between", []string{"certificates"}, true, secrets.Rotation{}, "--finish goes without --rotate"},
		{"passwords", "machines take them over while they run", []string{"passwords"}, false, secrets.Rotation{Passwords: true}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := secrets.ParseRotation(test.kinds, test.finish)
			if test.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), test.err) {
					t.Errorf("%s: got %v, want %s", test.reason, err, test.err)
				}
			} else if got != test.want || err != nil {
				t.Errorf("%s: got %v, %v, want %v", test.reason, got, err, test.want)
			}
		})
	}
}

func TestReport(t *testing.T) {
	again := []string{"pgha-gen", "secrets", "generate", "-o", "my secrets"}
	bare, same, all := demo.Cluster(t), demo.Cluster(t), demo.Cluster(t)
	bare.Secrets.CA = ""
	all.Groups = all.WithSecrets()
	created := demo.Cluster(t)
	created.Secrets.Lockbox = nil
	if got, err := (&secrets.Written{Push: []secrets.Push{{Role: "etcd", File: "etcd.json"}}}).Report(created, "x.yaml", again); err != nil ||
		!strings.Contains(strings.Join(got, "\n"), "  yc lockbox secret add-version --folder-id b1gexample --name demo-etcd --payload - <etcd.json") {
		t.Errorf("got %q, %v, want the secret that is created by its name", got, err)
	}
	const (
		nothing = "my secrets/demo has everything already, nothing was written"
		set     = "next, set this in x.yaml and render again"
		block   = ":\nsecrets:\n  ca: CA"
	)
	tests := []struct {
		name, reason string
		in           secrets.Written
		want         []string
	}{
		{"nothing", "all is there", secrets.Written{}, []string{nothing}},
		{"fresh", "not each entry of a new folder", secrets.Written{Fresh: true, Files: []string{"ca.key", "ca.crt"}, Changes: []secrets.Change{{Role: "r", Entry: "e", What: "made"}}},
			[]string{"wrote my secrets/demo (ca.key, ca.crt; keep ca.key off-line)"}},
		{"an operator's", "the folder, not each file", secrets.Written{Files: []string{"ca.crt", "operator/operator.crt", "operator/operator.key"}},
			[]string{"wrote my secrets/demo (ca.crt, operator/)"}},
		{"changed", "each entry, warnings first", secrets.Written{Files: []string{"r.json"}, Warnings: []string{"w"}, Changes: []secrets.Change{{Role: "r", Entry: "e", What: "made"}}},
			[]string{"warning: w", "r: made e", "wrote my secrets/demo (r.json)"}},
		{"to push", "commands that a shell takes", secrets.Written{Push: []secrets.Push{{Role: "etcd", File: "etcd.gone.json", Once: true}, {Role: "etcd", File: "etcd.json"}}},
			[]string{nothing, "next, put them into Lockbox; machines take them over within 6 minutes:\n" +
				"  yc lockbox secret add-version --id e6qexampleetcd --payload - <'my secrets/demo/etcd.gone.json' && rm 'my secrets/demo/etcd.gone.json'\n" +
				"  yc lockbox secret add-version --id e6qexampleetcd --payload - <'my secrets/demo/etcd.json'"}},
		{"passwords", "users are told, and Patroni's own are nobody's business", secrets.Written{Files: []string{"patroni.json"}, Changes: []secrets.Change{
			{Role: "patroni", Entry: "password.app", What: "renewed", Why: "to be rotated"}, {Role: "patroni", Entry: "patroni.env PATRONI_RESTAPI_PASSWORD", What: "renewed", Why: "to be rotated"}}},
			[]string{"patroni: renewed password.app (to be rotated)", "patroni: renewed patroni.env PATRONI_RESTAPI_PASSWORD (to be rotated)", "wrote my secrets/demo (patroni.json)",
				"next, give clients their new passwords (password.app): open sessions live on, and new ones need them some seconds after the node that leads took them over"}},
		{"a new user", "nobody has an old password", secrets.Written{Files: []string{"patroni.json"}, Changes: []secrets.Change{{Role: "patroni", Entry: "password.app", What: "made"}}},
			[]string{"patroni: made password.app", "wrote my secrets/demo (patroni.json)"}},
		{"first step", "both keys are to be kept", secrets.Written{Files: []string{"ca.crt"}, Stage: secrets.Introduced},
			[]string{"wrote my secrets/demo (ca.crt; keep ca.key and ca-next.key off-line)",
				"the authority is being replaced, 1 of 3: both are trusted, and the old one still signs; once every machine has taken both over and every client has this ca.crt:\n" +
					"  pgha-gen secrets generate -o 'my secrets' --rotate certificates"}},
		{"second step", "the last one follows", secrets.Written{Stage: secrets.Switched},
			[]string{nothing, "the authority is being replaced, 2 of 3: the new one signed all, and ca.key is its key; once every machine has taken its new certificate over:\n" +
				"  pgha-gen secrets generate -o 'my secrets' --finish"}},
		{"last step", "nothing follows", secrets.Written{Finished: true},
			[]string{nothing, "the authority is replaced, 3 of 3: once every machine has taken this over, nobody trusts the old one, and copies of its key can be deleted"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.in.Dir, test.in.CA = "my secrets/demo", string(same.Secrets.CA)
			got, err := test.in.Report(same, "x.yaml", again)
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("%s: %v (-want +got):\n%s", test.reason, err, diff)
			}
		})
	}
	w := &secrets.Written{Dir: "my secrets/demo", CA: "CA"}
	if got, err := w.Report(bare, "x.yaml", again); err != nil || len(got) != 2 || got[1] != set+" (the machines of haproxy verify the nodes with it)"+block {
		t.Errorf("got %q, %v, want the CA that the spec does not have", got, err)
	}
	all.Secrets.CA = "another"
	if got, err := w.Report(all, "x.yaml", again); err != nil || len(got) != 2 || got[1] != set+block {
		t.Errorf("got %q, %v, want the CA that the spec has another one of", got, err)
	}
	all.Secrets.CA = ""
	if got, err := w.Report(all, "x.yaml", again); err != nil || len(got) != 1 {
		t.Errorf("got %q, %v, want nothing of a CA that nobody needs from the spec", got, err)
	}
	w.Stage = secrets.Switched
	if _, err := w.Report(same, "x.yaml", append(again, "a\x00b")); err == nil {
		t.Error("no error for a command that no shell takes")
	}
}
