package yandex_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"google.golang.org/grpc/codes"

	"pgha-gen/deploy/yandex"
	"pgha-gen/deploy/yandex/yandextest"
	"pgha-gen/generator/cloud"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloudapi"
)

// TestRefresh: machines get their role's user-data, one role behind another, and
// keep all else of their metadata; a fault in the middle leaves what the next
// run completes.
func TestRefresh(t *testing.T) {
	c := yandextest.New(t, cloudapi.Config{})
	cc, p := connect(t, c), cloud.New(demo.Cluster(t))
	_, err := deploy(t.Context(), cc, p, &said{})
	testkit.OK(t, err)
	found, err := yandex.Look(t.Context(), cc, p)
	testkit.OK(t, err)
	_, err = compute.NewInstanceServiceClient(cc).UpdateMetadata(t.Context(), &compute.UpdateInstanceMetadataRequest{InstanceId: found.Machines["demo-pg-1"].Id, Upsert: map[string]string{"of-somebody": "else"}})
	testkit.OK(t, err)
	before := len(requests[*compute.UpdateInstanceMetadataRequest](c, "InstanceService.UpdateMetadata"))

	data := map[string]string{"etcd": "#cloud-config\n# new\n", "patroni": "#cloud-config\n# new\n", "haproxy": "#cloud-config\n# haproxy\n"}
	one, err := yandex.NewRefresh(t.Context(), cc, p, data, "demo-pg-2")
	testkit.OK(t, err)
	if diff := cmp.Diff([]string{"demo-pg-2"}, one.Changes); diff != "" {
		t.Errorf("a machine (-want +got):\n%s", diff)
	}
	all, err := yandex.NewRefresh(t.Context(), cc, p, data, "")
	testkit.OK(t, err)
	if diff := cmp.Diff([]string{"demo-haproxy-1"}, all.Same); diff != "" || len(all.Changes) != 6 {
		t.Errorf("%q change; the same (-want +got):\n%s", all.Changes, diff)
	}
	c.Break(cloudapi.Fault{Method: "InstanceService.UpdateMetadata", After: 4, Code: codes.Unavailable, Message: "away"})
	err = all.Do(t.Context(), cc, (&said{}).say)
	if text := fmt.Sprint(err); !strings.Contains(text, "cannot give machine demo-pg-") || !strings.Contains(text, "run this again") {
		t.Errorf("error %q", text)
	}
	c.Mend()
	rest, err := yandex.NewRefresh(t.Context(), cc, p, data, "")
	testkit.OK(t, err)
	if len(rest.Changes) != 2 {
		t.Errorf("%q are left, want two", rest.Changes)
	}
	testkit.OK(t, rest.Do(t.Context(), cc, (&said{}).say))
	found, err = yandex.Look(t.Context(), cc, p)
	testkit.OK(t, err)
	if diff := cmp.Diff(map[string]string{"user-data": data["patroni"], "of-somebody": "else"}, found.Machines["demo-pg-1"].Metadata); diff != "" {
		t.Errorf("demo-pg-1 (-want +got):\n%s", diff)
	}
	etcd := map[string]bool{}
	for _, m := range p.Machines[:3] {
		etcd[found.Machines[m.Name].Id] = true
	}
	for i, r := range requests[*compute.UpdateInstanceMetadataRequest](c, "InstanceService.UpdateMetadata")[before:] {
		if etcd[r.InstanceId] != (i < 3) {
			t.Errorf("change %d is of %s: etcd's machines come first", i+1, r.InstanceId)
		}
	}
}
