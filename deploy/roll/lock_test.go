package roll_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/deploy/roll"
)

// TestTwoAtOnce: of two who replace machines in the same second one is told who
// the other is, and no second machine is away.
func TestTwoAtOnce(t *testing.T) {
	w := newWorld(t)
	away, most := 0, 0
	var mu sync.Mutex
	one := make(chan struct{}) // of both has ended
	ended := sync.OnceFunc(func() { close(one) })
	power := w.cloud.Power
	w.cloud.Power = func(name string, on bool) {
		mu.Lock()
		if on {
			away--
		} else {
			away++
		}
		most = max(most, away)
		mu.Unlock()
		select {
		case <-one:
		case <-time.After(20 * time.Second):
		}
		power(name, on)
	}
	names := []string{"demo-pg-1", "demo-pg-2"}
	var plans [2]*roll.Plan
	clusters := [2]roll.Cluster{*w.Cluster, *w.Cluster}
	for i, name := range names {
		clusters[i].Who = "person" + fmt.Sprint(i) + "@example"
		p, err := clusters[i].Replace(t.Context(), name, false)
		if err != nil {
			t.Fatal(err)
		}
		plans[i] = p
	}
	var errs [2]error
	var both sync.WaitGroup
	for i := range names {
		both.Go(func() {
			defer ended()
			errs[i] = clusters[i].Do(t.Context(), plans[i])
		})
	}
	both.Wait()
	first, second := 0, 1
	if errs[0] != nil {
		first, second = 1, 0
	}
	want := fmt.Sprintf("one at a time: %q replaces machines of this cluster just now (run this again when that has ended; if it was killed, after a minute)", clusters[first].Who)
	if errs[first] != nil || fmt.Sprint(errs[second]) != want {
		t.Errorf("errors %v and %v, want none and %s", errs[first], errs[second], want)
	}
	if diff := cmp.Diff(names[first:first+1], w.replaced()); diff != "" || most > 1 {
		t.Errorf("at most %d were away at once; replaced (-want +got):\n%s", most, diff)
	}
	// Then it is the other's turn.
	if err := clusters[second].Do(t.Context(), plans[second]); err != nil {
		t.Error(err)
	}
}

// TestLockOfTheDead: who was killed is in nobody's way for long, and who lost the
// lock goes on only if nobody else has it.
func TestLockOfTheDead(t *testing.T) {
	w := newWorld(t)
	// Nobody releases this one, nor prolongs it.
	if _, err := w.Running.Lock(t.Context(), "dead@example"); err != nil {
		t.Fatal(err)
	}
	p, err := w.Replace(t.Context(), "demo-haproxy-1", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Do(t.Context(), p); !strings.HasPrefix(fmt.Sprint(err), `one at a time: "dead@example" replaces machines of this cluster just now`) {
		t.Errorf("error %v", err)
	}
	w.machines.EndLeases()
	if err := w.Do(t.Context(), p); err != nil {
		t.Error(err)
	}

	mine, err := w.Running.Lock(t.Context(), "slow@example")
	if err != nil {
		t.Fatal(err)
	}
	w.machines.EndLeases()
	if err := mine.Keep(t.Context()); err != nil {
		t.Errorf("nobody took it meanwhile: %v", err)
	}
	w.machines.EndLeases()
	if _, err := w.Running.Lock(t.Context(), "quick@example"); err != nil {
		t.Fatal(err)
	}
	if err := mine.Keep(t.Context()); !strings.HasPrefix(fmt.Sprint(err), `"quick@example" replaces machines`) {
		t.Errorf("error %v", err)
	}
	mine.Release()
}

// TestNoLock: where etcd does not answer, one machine can be replaced, which is
// said, and not all of them.
func TestNoLock(t *testing.T) {
	w := newWorld(t)
	w.newer(t, "haproxy", "patroni")
	one, err := w.Roll(t.Context(), "haproxy")
	if err != nil {
		t.Fatal(err)
	}
	all, err := w.Roll(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"demo-etcd-1", "demo-etcd-2", "demo-etcd-3"} {
		w.machines.Answer[name+" POST /v3/lease/grant"] = "503 no leader"
	}
	if err := w.Do(t.Context(), all); fmt.Sprint(err) != "one at a time: demo-etcd-3: answers 503: no leader" || len(w.replaced()) > 0 {
		t.Errorf("error %v; replaced %q", err, w.replaced())
	}
	if err := w.Do(t.Context(), one); err != nil {
		t.Error(err)
	}
	if want := "demo-haproxy-1: there is no lock (demo-etcd-3: answers 503: no leader): see that nobody else replaces machines just now"; w.said[0] != want && !strings.Contains(strings.Join(w.said, "\n"), want) {
		t.Errorf("it said %q, want %q", w.said, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Do(ctx, one); err == nil {
		t.Error("it goes on though it was interrupted")
	}
}

// TestLockThroughAnElection: a roll goes on where etcd gives no answer for a moment,
// as when the member that led was replaced.
func TestLockThroughAnElection(t *testing.T) {
	w := newWorld(t)
	w.newer(t, "etcd")
	p, err := w.Roll(t.Context(), "etcd")
	if err != nil {
		t.Fatal(err)
	}
	const question = " POST /v3/lease/keepalive"
	power := w.cloud.Power
	w.cloud.Power = func(name string, on bool) {
		power(name, on)
		for _, member := range []string{"demo-etcd-1", "demo-etcd-2", "demo-etcd-3"} {
			w.machines.Set(member+question, "503 no leader")
			time.AfterFunc(2*time.Second, func() { w.machines.Set(member+question, "") })
		}
	}
	if err := w.Do(t.Context(), p); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"demo-etcd-2", "demo-etcd-3", "demo-etcd-1"}, w.replaced()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
