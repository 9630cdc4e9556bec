package patroni_test

import (
	"strings"
	"testing"
	"time"

	"pgha-gen/generator/role"
	"pgha-gen/internal/demo"
)

// With an agreement a lost leader's lease is in no prediction, and the machines are
// told of it; without one nothing of it is in user-data.
func TestAgreement(t *testing.T) {
	for _, test := range []struct {
		after string
		least time.Duration
		told  bool
	}{{"0s", 18 * time.Second, false}, {"3s", 2 * time.Second, true}, {"10s", 9 * time.Second, true}} {
		c := demo.Read(t, strings.Replace(demo.Spec(t), "    after: 0s", "    after: "+test.after, 1))
		for _, fault := range []role.Fault{role.LeaderLost, role.LeaderIsolated} {
			o, ok := c.Outage(fault)
			if !ok || o.Gap().Least != test.least {
				t.Errorf("after %s: %s: %s, want %s at least", test.after, fault, o.Gap(), test.least)
			}
		}
		hung, _ := c.Outage(role.ManagerHung)
		if without, _ := demo.Read(t, demo.Spec(t)).Outage(role.ManagerHung); hung.Gap() != without.Gap() {
			t.Errorf("after %s: a Patroni that hangs costs %s, want %s: its machine answers", test.after, hung.Gap(), without.Gap())
		}
		if paused, want := facts(c)["leader paused"], map[bool]string{false: "18 s (ttl 20", true: test.after + " (agreement.after)"}[test.told]; !strings.Contains(paused, "longer than "+want) {
			t.Errorf("after %s: a paused leader is %s; want %s", test.after, paused, want)
		}
		told := false
		for _, f := range demo.Files(t, c) {
			told = told || strings.Contains(string(f.Data), "PGHA_AGREEMENT="+strings.TrimSuffix(test.after, "s")+"000\n")
		}
		if told != test.told {
			t.Errorf("after %s: user-data says so: %t, want %t", test.after, told, test.told)
		}
	}
}
