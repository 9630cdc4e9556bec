package yandex_test

import (
	"slices"
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

// TestPlan is a table of how what is there is to what the spec wants, by what
// becomes of a cluster that was deployed.
func TestPlan(t *testing.T) {
	c := yandextest.New(t, cloudapi.Config{})
	cc, p := connect(t, c), cloud.New(demo.Cluster(t))
	_, err := deploy(t.Context(), cc, p, &said{})
	testkit.OK(t, err)
	tests := []struct {
		name   string
		change func(*yandex.Found)
		want   []yandex.Item // beside those that exist
	}{
		{"nothing", func(*yandex.Found) {}, nil},
		{"a smaller machine, stopped", func(f *yandex.Found) {
			f.Machines["demo-pg-3"].Resources.Cores = 2
			f.Machines["demo-pg-3"].Status = compute.Instance_STOPPED
		}, []yandex.Item{{Verb: yandex.Differs, Kind: "machine", Name: "demo-pg-3", Says: "it is stopped, cores is 2, and the spec wants 4"}}},
		{"another disk", func(f *yandex.Found) { f.Disks["demo-pg-3-data"].TypeId = "network-hdd" },
			[]yandex.Item{{Verb: yandex.Differs, Kind: "disk", Name: "demo-pg-3-data", Says: "type is network-hdd, and the spec wants network-ssd"}}},
		{"a lost machine", func(f *yandex.Found) { delete(f.Machines, "demo-pg-3") },
			[]yandex.Item{{Verb: yandex.Create, Kind: "machine", Name: "demo-pg-3"}}},
		{"a lost disk under a machine", func(f *yandex.Found) { delete(f.Disks, "demo-pg-3-data") },
			[]yandex.Item{{Verb: yandex.Differs, Kind: "machine", Name: "demo-pg-3", Says: "it has no data disk demo-pg-3-data"}}},
		{"a machine that the spec dropped", func(f *yandex.Found) {
			f.Machines["demo-pg-4"] = &compute.Instance{Name: "demo-pg-4", Labels: map[string]string{"pgha-cluster": "demo"}}
			f.Machines["other"] = &compute.Instance{Name: "other"}
		}, []yandex.Item{{Verb: yandex.Extra, Kind: "machine", Name: "demo-pg-4"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			found, err := yandex.Look(t.Context(), cc, p)
			testkit.OK(t, err)
			test.change(found)
			steps, err := yandex.Plan(p, found)
			testkit.OK(t, err)
			got := slices.DeleteFunc(steps.Items, func(i yandex.Item) bool { return i.Verb == yandex.Exists })
			if diff := cmp.Diff(test.want, got, cmp.Transformer("empty", func(all []yandex.Item) []yandex.Item { return append([]yandex.Item{}, all...) })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestBootstrap: a machine that is made beside those of a cluster that was there
// may not bootstrap, and asks nobody's permission back.
func TestBootstrap(t *testing.T) {
	tests := []struct {
		name   string
		before func(*yandex.Found, string)
		want   bool
	}{
		{"the others have no permission", func(*yandex.Found, string) {}, false},
		{"they have one and are ready", func(f *yandex.Found, token string) { permit(f, token, true) }, false},
		{"they have another cluster's", func(f *yandex.Found, _ string) { permit(f, "other", false) }, false},
		{"they have one and never were ready", func(f *yandex.Found, token string) { permit(f, token, false) }, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := yandextest.New(t, cloudapi.Config{})
			cc, p := connect(t, c), cloud.New(demo.Cluster(t))
			_, err := deploy(t.Context(), cc, p, &said{})
			testkit.OK(t, err)
			found, err := yandex.Look(t.Context(), cc, p)
			testkit.OK(t, err)
			gone := found.Machines["demo-etcd-2"]
			delete(found.Machines, "demo-etcd-2")
			test.before(found, p.Token)
			yandextest.Deleted(t, cc, gone.Id)
			steps, err := yandex.Plan(p, found)
			testkit.OK(t, err)
			testkit.OK(t, steps.Do(t.Context(), cc, p, yandex.World{UserData: map[string]string{"etcd": "#cloud-config\n"}, Said: (&said{}).say, Between: 1}))
			created := requests[*compute.CreateInstanceRequest](c, "InstanceService.Create")
			if got := created[len(created)-1].Metadata["pgha-bootstrap"] != ""; got != test.want {
				t.Errorf("it may bootstrap: %v, want %v", got, test.want)
			}
			whole(t, cc, p)
		})
	}
}

func permit(f *yandex.Found, token string, ready bool) {
	for name, m := range f.Machines {
		m.Metadata = map[string]string{"pgha-bootstrap": token}
		last := f.Consoles[name]
		last.Name, last.Status = "join", "wait"
		if ready {
			last.Name, last.Status = "ready", "ok"
		}
		f.Consoles[name] = last
	}
}
