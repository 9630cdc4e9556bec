package yandex_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/lockbox/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"pgha-gen/deploy/yandex"
	"pgha-gen/deploy/yandex/yandextest"
	"pgha-gen/generator/cloud"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloudapi"
)

// holdings are what the secrets of a plan shall hold: a value of its own for each
// entry, which has this word in it.
func holdings(p *cloud.Plan, word string) map[string]yandex.Holding {
	all := map[string]yandex.Holding{}
	for _, payload := range p.Payloads {
		h := yandex.Holding{Entries: map[string]string{}}
		for _, entry := range payload.Entries {
			h.Entries[entry] = word + " " + payload.Role + " " + entry
		}
		all[payload.Role] = h
	}
	return all
}

// holds is what a secret holds.
func holds(t *testing.T, cc grpc.ClientConnInterface, id string) map[string]string {
	t.Helper()
	payload, err := lockbox.NewPayloadServiceClient(cc).Get(t.Context(), &lockbox.GetPayloadRequest{SecretId: id})
	testkit.OK(t, err)
	all := map[string]string{}
	for _, e := range payload.Entries {
		all[e.Key] = e.GetTextValue()
	}
	return all
}

// TestPush: a secret gets a version where it differs, and keeps what else it has;
// what is gone is removed.
func TestPush(t *testing.T) {
	c := yandextest.New(t, cloudapi.Config{})
	cc, p := connect(t, c), cloud.New(demo.Cluster(t))
	testkit.OK(t, c.SetPayload("e6qexampleetcd", map[string]string{"theirs": "kept", "old.crt": "gone"}))
	testkit.OK(t, c.SetPayload("e6qexamplepatroni", nil))
	want := holdings(p, "one")
	want["etcd"] = yandex.Holding{Entries: want["etcd"].Entries, Gone: []string{"old.crt", "never.crt", "ca.crt"}}
	steps := []struct {
		name string
		want []string
	}{
		{"at first", []string{"etcd: pushed", "secret e6qexampleetcd: new version: 13 added, 1 removed", "patroni: pushed", "secret e6qexamplepatroni: new version: 10 added"}},
		{"again", []string{"etcd: pushed", "secret e6qexampleetcd: has everything already", "patroni: pushed", "secret e6qexamplepatroni: has everything already"}},
		{"one has changed", []string{"etcd: pushed", "secret e6qexampleetcd: new version: 1 changed", "patroni: pushed", "secret e6qexamplepatroni: has everything already"}},
	}
	for i, step := range steps {
		if i == 2 {
			want["etcd"].Entries["ca.crt"] = "another"
		}
		x, err := yandex.NewPush(t.Context(), cc, p, want)
		testkit.OK(t, err)
		s := &said{}
		testkit.OK(t, x.Do(t.Context(), cc, s.say, func(role string) error { s.say(role, "pushed"); return nil }))
		if diff := cmp.Diff(step.want, s.lines); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	all := want["etcd"].Entries
	all["theirs"] = "kept"
	if diff := cmp.Diff(all, holds(t, cc, "e6qexampleetcd")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := len(requests[*lockbox.AddVersionRequest](c, "SecretService.AddVersion")); n != 3 {
		t.Errorf("%d versions, want 3", n)
	}
}

// TestPushRefused is a table of what goes wrong, with nothing of a secret in what
// is said.
func TestPushRefused(t *testing.T) {
	tests := []struct {
		name  string
		plan  *cloud.Plan
		spoil func(*yandextest.Cloud, map[string]yandex.Holding)
		want  string
	}{
		{"there is no secret yet", empty(t, "", ""), nil, "the folder has no secret new-etcd (make it: pgha-cloud deploy base)"},
		{"it is another's", empty(t, "", ""), func(c *yandextest.Cloud, _ map[string]yandex.Holding) {
			c.Has(t, &lockbox.Secret{Id: "e6qother", Name: "new-etcd"})
		}, `secret new-etcd is there and is not this cluster's: its label pgha-cluster is "", not "new"`},
		{"an entry was not made", cloud.New(demo.Cluster(t)), func(_ *yandextest.Cloud, h map[string]yandex.Holding) {
			delete(h["patroni"].Entries, "patroni.env")
		}, "secret e6qexamplepatroni: there is no entry patroni.env for it (make it: pgha-gen secrets generate)"},
		{"it may not be read", cloud.New(demo.Cluster(t)), func(c *yandextest.Cloud, _ map[string]yandex.Holding) {
			c.Break(cloudapi.Fault{Method: "PayloadService.Get", Code: codes.PermissionDenied, Message: "Permission denied"})
		}, ": Permission denied (see cloud.folder_id"},
		{"the version fails late", cloud.New(demo.Cluster(t)), func(c *yandextest.Cloud, _ map[string]yandex.Holding) {
			c.Break(cloudapi.Fault{Method: "SecretService.AddVersion", Late: true, Code: codes.Internal, Message: "No luck"})
		}, "cannot give secret e6qexampleetcd a new version: No luck (run this again"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			const word = "topsecretvalue"
			c := yandextest.New(t, cloudapi.Config{})
			cc, want := connect(t, c), holdings(test.plan, word)
			testkit.OK(t, c.SetPayload("e6qexamplepatroni", map[string]string{"ca.crt": word}))
			if test.spoil != nil {
				test.spoil(c, want)
			}
			x, err := yandex.NewPush(t.Context(), cc, test.plan, want)
			s := &said{}
			if err == nil {
				err = x.Do(t.Context(), cc, s.say, func(string) error { t.Error("it says that it was pushed"); return nil })
			}
			text := fmt.Sprint(err)
			if !strings.Contains(text, test.want) || strings.Contains(text+strings.Join(s.lines, ""), word) {
				t.Errorf("error %q, said %q, want %q", text, s.lines, test.want)
			}
			c.Mend()
		})
	}
}
