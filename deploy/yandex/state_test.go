package yandex_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"

	"pgha-gen/deploy/yandex"
	"pgha-gen/deploy/yandex/yandextest"
	"pgha-gen/generator/cloud"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloudapi"
)

// TestStates is a table of machines, by how the cloud and their consoles show
// them.
func TestStates(t *testing.T) {
	c := yandextest.New(t, cloudapi.Config{})
	cc, p := connect(t, c), cloud.New(demo.Cluster(t))
	_, err := deploy(t.Context(), cc, p, &said{})
	testkit.OK(t, err)
	found, err := yandex.Look(t.Context(), cc, p)
	testkit.OK(t, err)
	_, err = compute.NewInstanceServiceClient(cc).Stop(t.Context(), &compute.StopInstanceRequest{InstanceId: found.Machines["demo-pg-2"].Id})
	testkit.OK(t, err)
	yandextest.Deleted(t, cc, found.Machines["demo-pg-3"].Id)
	c.Say("demo-etcd-1", "join wait for others")
	c.Say("demo-etcd-2", "secrets fail Lockbox refuses")
	states, err := yandex.States(t.Context(), cc, p)
	testkit.OK(t, err)
	got := map[string][]any{}
	for _, s := range states {
		got[s.Name] = []any{s.Instance, s.Last.Name + " " + s.Last.Status, s.Well()}
	}
	want := map[string][]any{
		"demo-etcd-1":    {"running", "disk warn", false},
		"demo-etcd-2":    {"running", "secrets fail", false},
		"demo-etcd-3":    {"running", "ready ok", true},
		"demo-pg-1":      {"running", "ready ok", true},
		"demo-pg-2":      {"stopped", "ready ok", false},
		"demo-pg-3":      {"", " ", false},
		"demo-haproxy-1": {"running", "ready ok", true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
