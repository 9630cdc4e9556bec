package packertest

import "testing"

// What is said again is dropped only if the step had to say it again.
func TestOnce(t *testing.T) {
	const a, b = "n disk wait there is none\n", "n disk ok there is one\n"
	for _, test := range []struct {
		name, reason string
		console      []string
		want         string
	}{
		{"after 15 s", "its tries take long", []string{"pgha: 1795787028120 " + a, "pgha: 1795787042468 " + a, "pgha: 1795787057468 " + a, "pgha: 1795787058000 " + b}, a + b},
		{"sooner", "say drops that, and a test shall see it if it does not", []string{"pgha: 1795787028120 " + a, "pgha: 1795787033120 " + a}, a + a},
		{"something else between", "it is news again", []string{"pgha: 1795787028120 " + a, "pgha: 1795787043120 " + b, "pgha: 1795787058120 " + a}, a + b + a},
		{"nothing", "no line is none", nil, ""},
	} {
		if got := (Result{console: test.console}).Once(); got != test.want {
			t.Errorf("%s (%s): %q, want %q", test.name, test.reason, got, test.want)
		}
	}
}
