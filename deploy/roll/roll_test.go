package roll_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/compute/v1"
	"google.golang.org/grpc/codes"

	"pgha-gen/deploy/operate"
	"pgha-gen/deploy/operate/operatetest"
	"pgha-gen/deploy/roll"
	"pgha-gen/deploy/yandex"
	"pgha-gen/deploy/yandex/yandextest"
	"pgha-gen/generator/cloud"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/cloudapi"
)

// world is a cloud whose machines run a cluster.
type world struct {
	*roll.Cluster
	cloud    *yandextest.Cloud
	machines *operatetest.Machines

	mu   sync.Mutex
	said []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	a := operatetest.NewAuthority(t)
	w := &world{cloud: yandextest.New(t, cloudapi.Config{}), machines: operatetest.New(t, a)}
	w.cloud.Power = w.machines.Power
	operator, err := operate.Open(operatetest.Folder(t, a), time.Now())
	testkit.OK(t, err)
	running, err := operate.NewClient(w.machines.Cluster, operator, w.machines.Digests, operate.World{Dial: w.machines.Dial, Now: time.Now, Patience: w.machines.Patience})
	testkit.OK(t, err)
	t.Cleanup(running.Close)
	api, err := yandextest.Connect(t.Context(), w.cloud.Address, yandextest.Token)
	testkit.OK(t, err)
	w.Cluster = &roll.Cluster{Plan: cloud.New(w.machines.Cluster), API: api, Running: running, Now: time.Now, Limit: time.Minute, World: yandex.World{
		UserData: map[string]string{"etcd": "#cloud-config\n# etcd\n", "patroni": "#cloud-config\n# patroni\n", "haproxy": "#cloud-config\n# haproxy\n"},
		Between:  5 * time.Millisecond,
		Said: func(name, sentence string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.said = append(w.said, name+": "+sentence)
		},
	}}
	found, err := yandex.Look(t.Context(), api, w.Plan)
	testkit.OK(t, err)
	steps, err := yandex.Plan(w.Plan, found)
	testkit.OK(t, err)
	testkit.OK(t, steps.Do(t.Context(), api, w.Plan, w.World))
	return w
}

// replaced are the machines that were created since the deployment, in order.
func (w *world) replaced() (names []string) {
	for _, call := range w.cloud.Calls() {
		if r, ok := call.Request.(*compute.CreateInstanceRequest); ok {
			names = append(names, r.Name)
		}
	}
	return names[len(w.Plan.Machines):]
}

// TestReplaceOne: a leader hands over first, and a machine counts as replaced once
// the cluster counts on it.
func TestReplaceOne(t *testing.T) {
	w := newWorld(t)
	w.machines.Out["demo-pg-3"] = false
	p, err := w.Replace(t.Context(), "demo-pg-3", false)
	testkit.OK(t, err)
	want := []string{
		"1. demo-pg-3 hands over to demo-pg-1 (streams, 0 B behind, in the quorum)",
		"2. machine demo-pg-3 is deleted, and created anew from image fd8patroni; it keeps its disk demo-pg-3-data",
	}
	if diff := cmp.Diff(want, p.Lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	testkit.OK(t, w.Do(t.Context(), p))
	if diff := cmp.Diff([]string{"demo-pg-3"}, w.replaced()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if w.machines.Leader != "demo-pg-1" || !strings.Contains(w.said[len(w.said)-1], "demo-pg-3: replaced, and the cluster counts it as whole, after ") {
		t.Errorf("%s leads; it said last: %s", w.machines.Leader, w.said[len(w.said)-1])
	}
}

// TestReplaceOneRefused: nothing is done where the cluster would not survive it.
func TestReplaceOneRefused(t *testing.T) {
	w := newWorld(t)
	tests := []struct {
		name, of string
		spoil    func(bool)
		want     string
	}{
		{"another member of etcd is lost", "demo-etcd-1", func(on bool) { w.machines.Refuse["demo-etcd-2"] = on }, "cannot replace demo-etcd-1: demo-etcd-2 is not well: etcd: connection refused"},
		{"another standby is lost", "demo-pg-1", func(on bool) { w.machines.Refuse["demo-pg-2"] = on }, "cannot replace demo-pg-1: demo-pg-2 is not well: it does not answer: connection refused"},
		{"no standby is in the quorum", "demo-pg-3", func(on bool) { w.machines.Out["demo-pg-1"], w.machines.Out["demo-pg-2"] = on, on }, "cannot replace demo-pg-3: demo-pg-1 is not well"},
		{"paused", "demo-pg-1", func(on bool) { w.machines.Paused = on }, "cannot replace demo-pg-1: Patroni is paused"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.spoil(true)
			defer test.spoil(false)
			_, err := w.Replace(t.Context(), test.of, false)
			if text := fmt.Sprint(err); !strings.HasPrefix(text, test.want) || strings.Contains(text, "\n") {
				t.Errorf("error %q, want %q", text, test.want)
			}
		})
	}
	t.Run("somebody else replaces another", func(t *testing.T) {
		found, err := yandex.Look(t.Context(), w.API, w.Plan)
		testkit.OK(t, err)
		holds := make(chan bool)
		w.cloud.Power = func(string, bool) { <-holds }
		_, err = compute.NewInstanceServiceClient(w.API).Delete(t.Context(), &compute.DeleteInstanceRequest{InstanceId: found.Machines["demo-pg-2"].Id})
		testkit.OK(t, err)
		_, err = w.Replace(t.Context(), "demo-etcd-1", false)
		if text := fmt.Sprint(err); text != "machine demo-pg-2 is deleting just now: one at a time (run this again once it is ready)" {
			t.Errorf("error %q", text)
		}
		close(holds)
	})
	if len(w.replaced()) > 0 || len(w.machines.Told) > 0 {
		t.Errorf("%q were replaced; the nodes were told %q", w.replaced(), w.machines.Told)
	}
}

// TestReplaceOneFaults: a fault behind the deletion leaves what the next run
// completes, and a machine that is ready and does not count is said.
func TestReplaceOneFaults(t *testing.T) {
	w := newWorld(t)
	p, err := w.Replace(t.Context(), "demo-pg-1", false)
	testkit.OK(t, err)
	w.cloud.Break(cloudapi.Fault{Method: "InstanceService.Create", Code: codes.ResourceExhausted, Message: "Quota exceeded"})
	if err := w.Do(t.Context(), p); !strings.HasPrefix(fmt.Sprint(err), "cannot create machine demo-pg-1: Quota exceeded (") {
		t.Errorf("error %v", err)
	}
	w.cloud.Mend()
	// The machine is away now, and is what is replaced.
	p, err = w.Replace(t.Context(), "demo-pg-1", false)
	testkit.OK(t, err)
	if diff := cmp.Diff([]string{"1. machine demo-pg-1 is created from image fd8patroni; it keeps its disk demo-pg-1-data"}, p.Lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	testkit.OK(t, w.Do(t.Context(), p))

	w.machines.Out["demo-pg-1"] = true
	w.Limit = 6 * time.Second
	err = w.Do(t.Context(), p)
	if text := fmt.Sprint(err); !strings.HasPrefix(text, "machine demo-pg-1 is ready, but after 6s the cluster does not count it as whole: it does not stream yet (it may still come: pgha-gen cluster status)") {
		t.Errorf("error %q", text)
	}

	// What was true when it was planned is looked at again.
	w.machines.Out["demo-pg-1"] = false
	p, err = w.Replace(t.Context(), "demo-pg-1", false)
	testkit.OK(t, err)
	w.machines.Refuse["demo-pg-2"] = true
	before := len(w.replaced())
	if err := w.Do(t.Context(), p); !strings.HasPrefix(fmt.Sprint(err), "cannot replace demo-pg-1: demo-pg-2 is not well") {
		t.Errorf("error %v", err)
	}
	w.machines.Refuse["demo-pg-2"] = false
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Do(ctx, p); err == nil || len(w.replaced()) != before {
		t.Errorf("error %v; replaced %q", err, w.replaced())
	}
}

// newer adds a newer image for each role.
func (w *world) newer(t *testing.T, roles ...string) {
	for _, role := range roles {
		w.cloud.Has(t, &compute.Image{Id: "fd8newer" + role, Name: "newer-" + role, Family: "demo-" + role, Status: compute.Image_READY})
	}
}

// TestRoll: members of the DCS first and their leader behind them, then the
// proxy, then the replicas, then the leader, by one switchover.
func TestRoll(t *testing.T) {
	w := newWorld(t)
	p, err := w.Roll(t.Context(), "")
	testkit.OK(t, err)
	if !p.Nothing() || len(p.Lines) != 7 || p.Lines[0] != "keep     demo-etcd-2" {
		t.Errorf("it would do something: %q", p.Lines)
	}
	w.newer(t, "etcd", "patroni", "haproxy")
	p, err = w.Roll(t.Context(), "haproxy")
	testkit.OK(t, err)
	if diff := cmp.Diff([]string{"replace  demo-haproxy-1: its image is fd8haproxy, and the newest is fd8newerhaproxy"}, p.Lines); diff != "" {
		t.Errorf("a role (-want +got):\n%s", diff)
	}
	p, err = w.Roll(t.Context(), "")
	testkit.OK(t, err)
	if diff := cmp.Diff("replace  demo-pg-3: its image is fd8patroni, and the newest is fd8newerpatroni; it leads, and hands over first", p.Lines[6]); diff != "" {
		t.Errorf("the leader (-want +got):\n%s", diff)
	}
	testkit.OK(t, w.Do(t.Context(), p))
	want := []string{"demo-etcd-2", "demo-etcd-3", "demo-etcd-1", "demo-haproxy-1", "demo-pg-1", "demo-pg-2", "demo-pg-3"}
	if diff := cmp.Diff(want, w.replaced()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := len(w.machines.Told); n != 1 {
		t.Errorf("the nodes were told %q", w.machines.Told)
	}
	p, err = w.Roll(t.Context(), "")
	testkit.OK(t, err)
	if !p.Nothing() {
		t.Errorf("a second run would do something: %q", p.Lines)
	}

	w.World.UserData["etcd"] = "#cloud-config\n# another\n"
	p, err = w.Roll(t.Context(), "")
	testkit.OK(t, err)
	if diff := cmp.Diff("replace  demo-etcd-2: its user-data is not the spec's", p.Lines[0]); diff != "" {
		t.Errorf("user-data (-want +got):\n%s", diff)
	}
}

// TestRollFaults: it stops at the first machine that does not get whole, says
// how far it came, and the next run goes on.
func TestRollFaults(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(w *world)
		want  string // of the error
		done  []string
		mend  func(w *world)
		next  []string // that the next run does, in order
	}{
		{"one is not created", func(w *world) {
			w.cloud.Break(cloudapi.Fault{Method: "InstanceService.Create", After: 4, Code: codes.ResourceExhausted, Message: "Quota exceeded"})
		}, "cannot create machine demo-pg-1: Quota exceeded (ask for a higher quota in the console, or want less in the spec; then run this again: it goes on where it stopped); 4 of 7 machines are done",
			[]string{"demo-etcd-2", "demo-etcd-3", "demo-etcd-1", "demo-haproxy-1", "demo-pg-1"}, func(w *world) { w.cloud.Mend() },
			[]string{"create   demo-pg-1: it is not there", "replace  demo-pg-2", "replace  demo-pg-3"}},
		{"one does not get ready", func(w *world) { w.cloud.Say("demo-etcd-3", "disk fail no file system") },
			"machine demo-etcd-3: disk failed: no file system (mend it, delete the machine, and run this again: it goes on where it stopped); 1 of 7 machines are done",
			[]string{"demo-etcd-2", "demo-etcd-3"}, func(w *world) { w.cloud.Say("demo-etcd-3", "ready ok") },
			[]string{"replace  demo-etcd-1", "replace  demo-haproxy-1", "replace  demo-pg-1", "replace  demo-pg-2", "replace  demo-pg-3"}},
		{"one does not count", func(w *world) { w.machines.Out["demo-pg-1"], w.Limit = true, 6*time.Second }, "machine demo-pg-1 is ready, but after 6s the cluster does not count it as whole: it does not stream yet (it may still come: pgha-gen cluster status); 0 of 7 machines are done",
			[]string{"demo-pg-1"}, func(w *world) { w.machines.Out["demo-pg-1"] = false },
			[]string{"replace  demo-etcd-2", "replace  demo-etcd-3", "replace  demo-etcd-1", "replace  demo-haproxy-1", "replace  demo-pg-2", "replace  demo-pg-3"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.newer(t, "etcd", "patroni", "haproxy")
			test.spoil(w)
			p, err := w.Roll(t.Context(), "")
			testkit.OK(t, err)
			err = w.Do(t.Context(), p)
			if text := fmt.Sprint(err); text != test.want {
				t.Errorf("error %q\nwant  %q", text, test.want)
			}
			if diff := cmp.Diff(test.done, w.replaced()); diff != "" {
				t.Errorf("done (-want +got):\n%s", diff)
			}
			test.mend(w)
			p, err = w.Roll(t.Context(), "")
			testkit.OK(t, err)
			var next []string
			for _, line := range p.Lines {
				if verb, _, _ := strings.Cut(line, " "); verb != "keep" {
					name, _, _ := strings.Cut(line, ": its")
					next = append(next, name)
				}
			}
			if diff := cmp.Diff(test.next, next); diff != "" {
				t.Errorf("next (-want +got):\n%s", diff)
			}
			w.Limit = time.Minute
			testkit.OK(t, w.Do(t.Context(), p))
		})
	}
}

// TestRollWaits: a machine that is as it should be, and does not count yet, is
// waited for, unless its boot has failed.
func TestRollWaits(t *testing.T) {
	w := newWorld(t)
	w.machines.Out["demo-pg-1"] = true
	p, err := w.Roll(t.Context(), "")
	testkit.OK(t, err)
	if diff := cmp.Diff("wait     demo-pg-1: it does not stream yet", p.Lines[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	w.cloud.Say("demo-pg-1", "disk fail no file system")
	if err := w.Do(t.Context(), p); !strings.HasPrefix(fmt.Sprint(err), "machine demo-pg-1: disk failed: no file system (mend it, delete the machine, and run this again") {
		t.Errorf("error %v", err)
	}
	w.cloud.Say("demo-pg-1", "ready ok")
	time.AfterFunc(300*time.Millisecond, func() { w.machines.Join("demo-pg-1") })
	testkit.OK(t, w.Do(t.Context(), p))
	if len(w.replaced()) > 0 {
		t.Errorf("%q were replaced", w.replaced())
	}
}

// TestRollRefused: nothing is planned where the first machine could not go.
func TestRollRefused(t *testing.T) {
	w := newWorld(t)
	w.newer(t, "etcd")
	w.machines.Paused = true
	_, err := w.Roll(t.Context(), "etcd")
	testkit.OK(t, err) // that is nothing to etcd
	w.newer(t, "patroni")
	if _, err := w.Roll(t.Context(), "patroni"); !strings.HasPrefix(fmt.Sprint(err), "cannot replace demo-pg-1: Patroni is paused") {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{
		"etcd: 2 other members are healthy, and go on",
		"HAProxy is on no other machine: clients cannot connect meanwhile",
	}, notes(t, w, "etcd", "haproxy")); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}

	// A node that never was needs more than a machine.
	found, err := yandex.Look(t.Context(), w.API, w.Plan)
	testkit.OK(t, err)
	yandextest.Deleted(t, w.API, found.Machines["demo-pg-2"].Id)
	yandextest.DiskDeleted(t, w.API, found.Disks["demo-pg-2-data"].Id)
	if _, err := w.Roll(t.Context(), ""); fmt.Sprint(err) != "machine demo-pg-2 is not there, nor is its data disk (if the node is new: pgha-cloud refresh, then pgha-cloud deploy; else pgha-cloud replace demo-pg-2)" {
		t.Errorf("error %v", err)
	}
	for _, m := range w.Plan.Machines {
		w.machines.Refuse[m.Name] = true
	}
	if _, err := w.Roll(t.Context(), ""); !strings.HasPrefix(fmt.Sprint(err), "no machine answers this host: demo-etcd-1 says: connection refused") {
		t.Errorf("error %v", err)
	}
}

// notes are those of a roll with newer images of these roles.
func notes(t *testing.T, w *world, roles ...string) []string {
	t.Helper()
	var all []string
	for _, role := range roles {
		w.newer(t, role)
		p, err := w.Roll(t.Context(), role)
		testkit.OK(t, err)
		all = append(all, p.Notes...)
	}
	return all
}
