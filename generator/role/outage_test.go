package role_test

import (
	"testing"
	"time"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

func between(least, most time.Duration) role.Interval { return role.Interval{Least: least, Most: most} }

func TestInterval(t *testing.T) {
	const s = time.Second
	for _, test := range []struct {
		name string
		i    role.Interval
		want string
		in   []time.Duration
		out  []time.Duration
	}{
		{"both", between(18*s, 24800*time.Millisecond), "18 to 24.8 s", []time.Duration{18 * s, 20 * s, 24800 * time.Millisecond}, []time.Duration{0, 17 * s, 25 * s}},
		{"nothing at least", between(0, s/2), "at most 0.5 s", []time.Duration{0, s / 2}, []time.Duration{s}},
		{"time is saved", between(-s, s), "at most 1 s", []time.Duration{0, s}, []time.Duration{2 * s}},
		{"no end", between(s, role.Unbounded), "1 s or more", []time.Duration{s, 1000 * time.Hour}, []time.Duration{0}},
		{"nothing is known", between(0, role.Unbounded), "any time", []time.Duration{0, 1000 * time.Hour}, nil},
		{"no end, and more", between(s, role.Unbounded).Plus(between(s, s)), "2 s or more", []time.Duration{2 * s}, []time.Duration{s}},
		{"more, and no end", between(s, s).Plus(between(s, role.Unbounded)), "2 s or more", []time.Duration{2 * s}, []time.Duration{s}},
		{"one after the other", between(s, 2*s).Plus(between(3*s, 5*s)), "4 to 7 s", []time.Duration{4 * s, 7 * s}, []time.Duration{3 * s, 8 * s}},
	} {
		if got := test.i.String(); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
		for _, d := range test.in {
			if !test.i.Holds(d) {
				t.Errorf("%s: %s is not in %s", test.name, d, test.i)
			}
		}
		for _, d := range test.out {
			if test.i.Holds(d) {
				t.Errorf("%s: %s is in %s", test.name, d, test.i)
			}
		}
	}
}

func TestLoss(t *testing.T) {
	var none *role.Loss
	if got := none.String(); got != "none" {
		t.Errorf("%s, want none", got)
	}
	some := &role.Loss{Behind: specfile.MiB, Written: 2 * time.Second}
	if got, want := some.String(), "those in 1MB of WAL, and of 2 s"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestOutagesThroughTheProxy: the proxy's part is added where sessions end, and
// what sessions do meanwhile counts.
func TestOutagesThroughTheProxy(t *testing.T) {
	const s = time.Second
	proxy := &role.ProxyOffer{Follows: between(0, s), Ends: between(3*s, 8*s)}
	slow := &role.ProxyOffer{Follows: between(0, s), Ends: between(3*s, 60*s), EndsEarly: between(0, 25*s)}
	for _, test := range []struct {
		name, reason string
		sessions     role.Sessions
		takes        role.Interval
		fences       time.Duration
		moves        bool
		proxy        *role.ProxyOffer
		want         string
	}{
		{"stay", "nobody has to find anything", role.Stay, between(0, s), 0, false, proxy, "at most 1 s"},
		{"end", "10 to 20, the proxy's 1 and the client's 0.5", role.End, between(10*s, 20*s), 0, false, proxy, "10 to 21.5 s"},
		{"end, no proxy", "the client's 0.5 alone", role.End, between(10*s, 20*s), 0, false, nil, "10 to 20.5 s"},
		{"hang", "they end before somebody leads", role.Hang, between(10*s, 20*s), 0, false, proxy, "10 to 21.5 s"},
		{"hang for long", "the proxy ends them after 60 s", role.Hang, between(10*s, 20*s), 0, false, slow, "10 to 60.5 s"},
		{"hang, another leads", "they end as soon as it does", role.Hang, between(10*s, 30*s), 0, true, slow, "10 to 31.5 s"},
		{"hang, another leads soon", "they end when the last one counts as silent, after 25 s", role.Hang, between(s, 20*s), 0, true, slow, "1 to 25.5 s"},
		{"live, another leads", "it takes writes until its sessions end, after 3 to 60 s", role.Live, between(10*s, 20*s), 0, true, slow, "at most 18.5 s"},
		{"hang, no proxy", "how long is the client's own", role.Hang, between(10*s, 20*s), 0, false, nil, "10 to 20.5 s"},
		{"live", "writes go on for 3 to 8 s of it", role.Live, between(10*s, 20*s), 0, false, proxy, "2 to 18.5 s"},
		{"live for long", "writes may never stop", role.Live, between(10*s, 20*s), 0, false, slow, "at most 18.5 s"},
		{"live, fenced", "the node ends them after 6 s at the latest", role.Live, between(10*s, 20*s), 6 * s, false, slow, "4 to 18.5 s"},
		{"live, no proxy", "nobody ends them", role.Live, between(10*s, 20*s), 0, false, nil, "at most 20.5 s"},
		{"no end", "it is away", role.Hang, between(0, role.Unbounded), 0, false, slow, "any time"},
	} {
		o := role.Outage{Fault: role.LeaderLost, Moves: test.moves, Sessions: test.sessions, Fences: test.fences, Terms: []role.Term{{For: "it", Interval: test.takes}}}
		c := &role.Cluster{Groups: []*role.Group{{Plan: &role.Plan{Proxy: test.proxy, Outages: []role.Outage{o}}}}}
		got, ok := c.Outage(role.LeaderLost)
		if !ok || got.Gap().String() != test.want {
			t.Errorf("%s: %s, want %s: %s", test.name, got.Gap(), test.want, test.reason)
		}
		if len(o.Terms) != 1 {
			t.Errorf("%s: the plan itself is changed", test.name)
		}
	}
	if _, ok := (&role.Cluster{}).Outage(role.LeaderLost); ok {
		t.Error("a cluster with no plan predicts something")
	}
}
