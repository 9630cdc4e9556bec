package role

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDefects(t *testing.T) {
	store := Defects{
		Component: "store", From: "1.0.0", Upgrade: "first the replicas",
		Known: []Defect{{"1.0.7", "loses what it keeps"}, {"1.1.1", "forgets its name"}},
	}
	const (
		loses   = "loses what it keeps (fixed in 1.0.7)"
		forgets = "forgets its name (fixed in 1.1.1)"
		advice  = "should give way to 1.1.1 or later, which has none of these (first the replicas)"
	)
	tests := []struct {
		version, reason string
		want            []string
	}{
		{"1.0.6-1.pgdg24.04+1", "one less", []string{loses, forgets, advice}},
		{"1.0.7-1.pgdg24.04+1", "the distribution's own part is no later fix", []string{forgets, advice}},
		{"1.0.7~rc1-1", "a candidate comes before its release", []string{loses, forgets, advice}},
		{"1.0.10-1", "numbers, not text", []string{forgets, advice}},
		{"1.1-1", "a number that is missing is less than any", []string{forgets, advice}},
		{"1.1.1", "the last fix", nil},
		{"1.1.1.1-1", "one more is not less", nil},
		{"1:1.0.0", "an epoch comes first", nil},
		{"0.9.9", "nobody has said anything about it", nil},
		{"1.x-1", "a form that nobody knows", nil},
		{"", "no version", nil},
	}
	for _, test := range tests {
		t.Run(test.version, func(t *testing.T) {
			if diff := cmp.Diff(test.want, store.Of(test.version)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
	if got := (Defects{Known: store.Known}).Of("0.1"); len(got) != 3 || !strings.HasPrefix(got[0], "loses") {
		t.Errorf("a table without a first version is about all: have %q", got)
	}
}
