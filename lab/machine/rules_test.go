//go:build linux

package machine

import (
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pgha-gen/lab/isolate"
	"pgha-gen/lab/labtest"
)

// A namespace is used again at the next power-on, and must not bring the rules
// of the last one: nft says what there is.
func TestForgetRules(t *testing.T) {
	labtest.Need(t, "nft")
	done := make(chan struct{})
	isolate.Go(func() { // it ends with its namespace
		defer close(done)
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		if err := forgetRules(); err != nil {
			t.Errorf("of a namespace without rules: %v", err)
		}
		nft := func(args ...string) string {
			out, err := exec.Command("nft", args...).CombinedOutput()
			if err != nil {
				t.Errorf("nft %q: %v: %s", args, err, out)
			}
			return string(out)
		}
		nft("add table inet pgha; add chain inet pgha input { type filter hook input priority 0; policy drop; }; add table ip other")
		if got := nft("list", "ruleset"); !strings.Contains(got, "policy drop") {
			t.Errorf("there are no rules to forget: %q", got)
		}
		if err := forgetRules(); err != nil {
			t.Error(err)
		}
		if got := nft("list", "ruleset"); got != "" {
			t.Errorf("left:\n%s", got)
		}
	})
	<-done
}
