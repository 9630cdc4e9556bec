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

// TestDestroy: the cluster's machines go, and its data disks if they are asked
// for; what is others' stays, also under a name of the spec. A fault in the
// middle leaves what the next run completes.
func TestDestroy(t *testing.T) {
	c := yandextest.New(t, cloudapi.Config{})
	cc, p := connect(t, c), cloud.New(demo.Cluster(t))
	_, err := deploy(t.Context(), cc, p, &said{})
	testkit.OK(t, err)
	c.Has(t, &compute.Instance{Id: "fhmother", Name: "other", Labels: map[string]string{"pgha-cluster": "other"}}, &compute.Disk{Id: "epdother", Name: "other"})
	found, err := yandex.Look(t.Context(), cc, p)
	testkit.OK(t, err)
	_, err = compute.NewInstanceServiceClient(cc).Update(t.Context(), &compute.UpdateInstanceRequest{InstanceId: found.Machines["demo-pg-3"].Id, Labels: map[string]string{"pgha-cluster": "other"}})
	testkit.OK(t, err)

	c.Break(cloudapi.Fault{Method: "InstanceService.Delete", After: 3, Code: codes.Unavailable, Message: "away"})
	err = yandex.Destroy(t.Context(), cc, p, yandex.Doomed{Disks: true}, (&said{}).say)
	if text := fmt.Sprint(err); !strings.Contains(text, "cannot delete machine demo-") || !strings.Contains(text, "run this again") {
		t.Errorf("error %q", text)
	}
	if n := len(requests[*compute.DeleteDiskRequest](c, "DiskService.Delete")); n != 0 {
		t.Errorf("%d disks deleted while machines are there", n)
	}
	c.Mend()
	// Six data disks, one of others, and the boot disk of the machine that stays.
	for _, step := range []struct {
		disks bool
		want  map[string]int
	}{{false, map[string]int{"machines": 2, "disks": 8}}, {true, map[string]int{"machines": 2, "disks": 3}}} {
		s := &said{}
		err := yandex.Destroy(t.Context(), cc, p, yandex.Doomed{Disks: step.disks}, s.say)
		if step.disks { // that of the machine that is another's now is in use
			if text := fmt.Sprint(err); !strings.Contains(text, "cannot delete disk demo-pg-3-data") {
				t.Errorf("error %q", text)
			}
		} else {
			testkit.OK(t, err)
			if !s.has("demo-pg-1-data: kept") || !s.has("demo-pg-3: not there, or not this cluster's") {
				t.Errorf("it said %q", s.lines)
			}
		}
		found, err := yandex.Look(t.Context(), cc, p)
		testkit.OK(t, err)
		if diff := cmp.Diff(step.want, map[string]int{"machines": len(found.Machines), "disks": len(found.Disks)}); diff != "" {
			t.Errorf("disks %v: left (-want +got):\n%s", step.disks, diff)
		}
	}
}
