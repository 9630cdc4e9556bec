package operate

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pgha-gen/deploy/operate/operatetest"
)

var seconds = regexp.MustCompile(`[0-9]+\.[0-9] s`)

// What each plan tells whom, and what it says meanwhile.
func TestDo(t *testing.T) {
	tests := []struct {
		name, reason string
		change       func(*operatetest.Machines)
		plan         func(*State) (*Plan, error)
		told, said   []string
		err          string
	}{
		{"switchover", "the leader is told, and the old one waited for", nil, func(s *State) (*Plan, error) { return s.PlanSwitchover("demo-pg-2", time.Time{}) },
			[]string{`demo-pg-2 POST /switchover {"candidate":"demo-pg-2","leader":"demo-pg-3"}`},
			[]string{"demo-pg-2 leads after N", "demo-pg-3 follows it after N"}, ""},
		{"scheduled", "Patroni keeps it", nil, func(s *State) (*Plan, error) {
			return s.PlanSwitchover("demo-pg-2", time.Date(2099, 1, 2, 3, 4, 5, 0, time.UTC))
		}, []string{`demo-pg-2 POST /switchover {"candidate":"demo-pg-2","leader":"demo-pg-3","scheduled_at":"2099-01-02T03:04:05Z"}`},
			[]string{"Switchover scheduled: demo-pg-3 hands over to demo-pg-2 at 2099-01-02T03:04:05Z"}, ""},
		{"cancel", "any node that answers", nil, func(s *State) (*Plan, error) {
			s.Scheduled = &ScheduledSwitchover{At: "2099-01-02T03:04:05+00:00"}
			return s.PlanCancel()
		}, []string{"demo-pg-3 DELETE /switchover "}, []string{"the switchover is taken back"}, ""},
		{"restart of all", "the replicas, then the leader by handing over", nil, func(s *State) (*Plan, error) { return s.PlanRestart(Which{}) },
			[]string{"demo-pg-1 POST /restart {}", "demo-pg-2 POST /restart {}", `demo-pg-1 POST /switchover {"candidate":"demo-pg-1","leader":"demo-pg-3"}`},
			[]string{"demo-pg-1 restarted, and streams again after N", "demo-pg-2 restarted, and streams again after N", "demo-pg-1 leads after N", "demo-pg-3 follows it after N"}, ""},
		{"restart in place", "the leader", nil, func(s *State) (*Plan, error) {
			s.Member("demo-pg-3").Pending = map[string]Change{"max_connections": {"310", "300"}}
			return s.PlanRestart(Which{Pending: true})
		}, []string{"demo-pg-3 POST /restart {}"}, []string{"demo-pg-3 restarted, and leads again with its replicas after N"}, ""},
		{"restart of those that wait", "no other", func(f *operatetest.Machines) { f.Pending["demo-pg-2"] = true }, func(s *State) (*Plan, error) { return s.PlanRestart(Which{Pending: true}) },
			[]string{"demo-pg-2 POST /restart {}"}, []string{"demo-pg-2 restarted, and streams again after N"}, ""},
		{"reinit", "until the copy streams", nil, func(s *State) (*Plan, error) { return s.PlanReinit("demo-pg-1") },
			[]string{"demo-pg-1 POST /reinitialize {}"}, []string{"demo-pg-1 is a fresh copy and streams after N"}, ""},
		{"failover", "the new leader is told", func(f *operatetest.Machines) { f.Out["demo-pg-1"] = true }, func(s *State) (*Plan, error) { return s.PlanFailover("demo-pg-1") },
			[]string{`demo-pg-1 POST /failover {"candidate":"demo-pg-1"}`}, []string{"demo-pg-1 leads after N"}, ""},
		{"pause", "all nodes go by it", nil, func(s *State) (*Plan, error) { return s.PlanPause(true) },
			[]string{`demo-pg-3 PATCH /config {"pause":true}`}, []string{"Patroni is paused on all nodes"}, ""},
		{"resume", "by taking the key away", func(f *operatetest.Machines) { f.Paused = true }, func(s *State) (*Plan, error) { return s.PlanPause(false) },
			[]string{`demo-pg-3 PATCH /config {"pause":null}`}, []string{"Patroni works again on all nodes"}, ""},
		{"resume, the leader away", "any node that answers", func(f *operatetest.Machines) { f.Paused = true; f.Refuse["demo-pg-3"] = true }, func(s *State) (*Plan, error) { return s.PlanPause(false) },
			[]string{`demo-pg-1 PATCH /config {"pause":null}`}, []string{"Patroni works again on all nodes"}, ""},

		{"password", "another cluster's, or an old one", func(f *operatetest.Machines) { f.Answer["demo-pg-2 POST /switchover"] = "401 not authenticated" }, func(s *State) (*Plan, error) { return s.PlanSwitchover("demo-pg-2", time.Time{}) },
			nil, nil, "demo-pg-2 does not take the password (restapi.password of the operator's folder is not the one that the nodes have)"},
		{"access", "not admitted", func(f *operatetest.Machines) { f.Answer["demo-pg-2 POST /switchover"] = "403 Access is denied" }, func(s *State) (*Plan, error) { return s.PlanSwitchover("demo-pg-2", time.Time{}) },
			nil, nil, "demo-pg-2 refuses this host: Access is denied (is it in access.operators, and is that in force?)"},
		{"refused", "by Patroni, in its words", func(f *operatetest.Machines) {
			f.Answer["demo-pg-2 POST /switchover"] = "412 leader name does not match"
		}, func(s *State) (*Plan, error) { return s.PlanSwitchover("demo-pg-2", time.Time{}) },
			nil, nil, "demo-pg-2 refuses: leader name does not match"},
		{"a page", "no words in it", func(f *operatetest.Machines) { f.Answer["demo-pg-2 POST /switchover"] = "502 <html>no</html>" }, func(s *State) (*Plan, error) { return s.PlanSwitchover("demo-pg-2", time.Time{}) },
			nil, nil, "demo-pg-2 answers 502 Bad Gateway"},
		{"half of it", "what was done is said", func(f *operatetest.Machines) { f.Answer["demo-pg-2 POST /restart"] = "503 restart failed" }, func(s *State) (*Plan, error) { return s.PlanRestart(Which{}) },
			[]string{"demo-pg-1 POST /restart {}"}, []string{"demo-pg-1 restarted, and streams again after N"}, "demo-pg-2 refuses: restart failed (1 of 3 turns were done: run it again once this is mended)"},
	}
	a := operatetest.NewAuthority(t)
	dir := operatetest.Folder(t, a)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := operatetest.New(t, a)
			if test.change != nil {
				test.change(f)
			}
			c := client(t, f, dir)
			p, err := test.plan(c.Look(t.Context()))
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			err = c.Do(t.Context(), p, func(format string, args ...any) {
				said = append(said, seconds.ReplaceAllString(fmt.Sprintf(format, args...), "N"))
			})
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != test.err {
				t.Errorf("%s\nhave %s\nwant %s", test.reason, got, test.err)
			}
			if diff := cmp.Diff(test.told, f.Told, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.said, said, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("said (-want +got):\n%s", diff)
			}
		})
	}
}

// Between a plan and its turn the cluster may change: each guard is asked again,
// and nobody is told anything.
func TestDoLooksAgain(t *testing.T) {
	tests := []struct {
		name   string
		plan   func(*State) (*Plan, error)
		change func(*operatetest.Machines)
		want   string
	}{
		{"switchover, another leads", func(s *State) (*Plan, error) { return s.PlanSwitchover("demo-pg-2", time.Time{}) }, func(f *operatetest.Machines) { f.Leader = "demo-pg-1" },
			"cannot switch over: demo-pg-1 leads now, and demo-pg-3 did when this was planned (look again)"},
		{"switchover, not in the quorum any more", func(s *State) (*Plan, error) { return s.PlanSwitchover("demo-pg-2", time.Time{}) }, func(f *operatetest.Machines) { f.Out["demo-pg-2"] = true },
			"cannot switch over to demo-pg-2: it is not in the quorum yet, and may lack commits (demo-pg-1 could)"},
		{"restart, it leads", func(s *State) (*Plan, error) { return s.PlanRestart(Which{Node: "demo-pg-2"}) }, func(f *operatetest.Machines) { f.Leader = "demo-pg-2" },
			"cannot restart demo-pg-2: demo-pg-2 leads now, which the plan did not expect (look again)"},
		{"restart, the other standby is away", func(s *State) (*Plan, error) { return s.PlanRestart(Which{Node: "demo-pg-2"}) }, func(f *operatetest.Machines) { f.Refuse["demo-pg-1"] = true },
			"cannot restart demo-pg-2: no other standby streams, so none could be synchronous meanwhile (bring another one back first; with --force, commits are on the leader's disk alone for that time)"},
		{"restart, etcd is at risk", func(s *State) (*Plan, error) { return s.PlanRestart(Which{Node: "demo-pg-2"}) }, func(f *operatetest.Machines) { f.Refuse["demo-etcd-1"] = true },
			"cannot restart demo-pg-2: etcd's quorum is at risk, 2 of 3 members are healthy and none may be lost (bring the others back first, or --force)"},
		{"restart, it is away", func(s *State) (*Plan, error) { return s.PlanRestart(Which{Node: "demo-pg-2"}) }, func(f *operatetest.Machines) { f.Refuse["demo-pg-2"] = true },
			"cannot restart demo-pg-2: it does not answer"},
		{"reinit, it leads", func(s *State) (*Plan, error) { return s.PlanReinit("demo-pg-2") }, func(f *operatetest.Machines) { f.Leader = "demo-pg-2" },
			"cannot copy demo-pg-2 anew: it leads, and has the data that the others copy (pgha-gen cluster switchover first)"},
		{"failover, no quorum", func(s *State) (*Plan, error) {
			s.Member("demo-pg-2").Role = "replica"
			return s.PlanFailover("demo-pg-2")
		}, func(f *operatetest.Machines) { f.Refuse["demo-etcd-1"], f.Refuse["demo-etcd-2"] = true, true },
			"cannot fail over: etcd has no quorum, 1 of 3 members are healthy (start 1 more first; pgha-gen cluster status says which)"},
		{"pause, nobody answers", func(s *State) (*Plan, error) { return s.PlanPause(true) }, func(f *operatetest.Machines) {
			f.Refuse["demo-pg-1"], f.Refuse["demo-pg-2"], f.Refuse["demo-pg-3"] = true, true, true
		}, "no node's REST API answers (see pgha-gen cluster status)"},
	}
	a := operatetest.NewAuthority(t)
	dir := operatetest.Folder(t, a)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := operatetest.New(t, a)
			c := client(t, f, dir)
			p, err := test.plan(c.Look(t.Context()))
			if err != nil {
				t.Fatal(err)
			}
			test.change(f)
			err = c.Do(t.Context(), p, t.Logf)
			if err == nil || err.Error() != test.want && !strings.HasPrefix(err.Error(), test.want+" (") {
				t.Errorf("\nhave %v\nwant %s", err, test.want)
			}
			if len(f.Told) > 0 {
				t.Errorf("somebody was told: %q", f.Told)
			}
		})
	}
}

// An interrupt ends the waiting, and what is not as it should be ends it, too.
func TestDoWaits(t *testing.T) {
	a := operatetest.NewAuthority(t)
	f := operatetest.New(t, a)
	c := client(t, f, operatetest.Folder(t, a))
	p, err := c.Look(t.Context()).PlanRestart(Which{Node: "demo-pg-2"})
	if err != nil {
		t.Fatal(err)
	}
	f.Answer["demo-pg-2 POST /restart"] = "restarted successfully" // and it is not
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := c.Do(ctx, p, t.Logf); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("have %v, want the end of the context", err)
	}
	early := func(s *State) string { return "it is not there yet" }
	now := time.Now()
	c.world.Now = func() time.Time { now = now.Add(time.Minute); return now }
	err = c.until(t.Context(), 2*time.Minute, "it was told", early)
	if want := "it was told, and 2m0s later it is not there yet (it may still come: pgha-gen cluster status)"; err == nil || err.Error() != want {
		t.Errorf("have %v, want %s", err, want)
	}
}

func TestHistory(t *testing.T) {
	a := operatetest.NewAuthority(t)
	f := operatetest.New(t, a)
	c := client(t, f, operatetest.Folder(t, a))
	f.Refuse["demo-pg-1"] = true
	got, err := c.History(t.Context())
	want := []Event{{Timeline: 1, Position: 83886544, Reason: "no recovery target specified", At: "2026-11-26T17:40:21.929942+00:00", Leader: "demo-pg-1"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	f.Refuse["demo-pg-2"], f.Refuse["demo-pg-3"] = true, true
	if _, err := c.History(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "cannot read the history: demo-pg-1 connection refused") || !strings.Contains(err.Error(), "demo-pg-3") {
		t.Errorf("have %v, want what each node says", err)
	}
}
