//go:build linux

package session

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The operator's spec is what was given, with the authority that the machines have.
func TestWithAuthority(t *testing.T) {
	const text, pem = "# ours\nname: demo # short\nnodes:\n  - {name: demo-pg-1, zone: a}\n", "-----BEGIN-----\nabc\n-----END-----\n"
	const block = "  ca: |\n    -----BEGIN-----\n    abc\n    -----END-----\n"
	for _, tt := range []struct{ name, reason, spec, want string }{
		{"there", "it is another's", text + "secrets:\n  ca: | # theirs\n    -----BEGIN-----\n    x\n  lockbox: {etcd: e6q}\n", text + "secrets:\n" + strings.Replace(block, "|", "| # theirs", 1) + "  lockbox: {etcd: e6q}\n"},
		{"missing", "a spec before secrets generate has none", text + "secrets:\n  lockbox: {etcd: e6q}\n", text + "secrets:\n  lockbox: {etcd: e6q}\n" + block},
		{"no secrets", "nor this", text, text + "secrets:\n" + block},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := withAuthority([]byte(tt.spec), pem)
			if diff := cmp.Diff(tt.want, string(got)); diff != "" || err != nil {
				t.Errorf("%s: %v (-want +got):\n%s", tt.reason, err, diff)
			}
		})
	}
	for _, bad := range []string{"", "a: ["} {
		if got, err := withAuthority([]byte(bad), pem); err == nil {
			t.Errorf("%q becomes %q", bad, got)
		}
	}
}
