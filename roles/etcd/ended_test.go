package etcd_test

import (
	"os"
	"testing"

	"pgha-gen/packer/packertest"
)

// What is said where etcd ends by itself.
func TestEnded(t *testing.T) {
	tests := []struct {
		name, reason, code, status string
		console                    string
	}{
		{name: "removed", reason: "by itself, etcd ends without an error for no other reason", code: "exited", status: "0",
			console: "demo-etcd-1 etcd fail the cluster has removed this member, so etcd stays stopped: if the spec has no demo-etcd-1 any more, " +
				"delete this machine; if its disk is an old one, attach an empty one and start it again\n"},
		{name: "stopped", reason: "systemd asked for it", code: "killed", status: "TERM"},
		{name: "error", reason: "it is started again, and its journal says why", code: "exited", status: "1"},
		{name: "never started", reason: "etcd-join has said why"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := packertest.New(t, "../../packer/rootfs/usr/lib/pgha", "rootfs/usr/lib/pgha")
			m.Identity()
			m.Write(m.Run+"/ready", "")
			m.Env = append(m.Env, "EXIT_CODE="+tc.code, "EXIT_STATUS="+tc.status)
			got := m.Boot("etcd-ended.sh")
			if got.Console != tc.console || got.Status != 0 {
				t.Errorf("%s: status %d, console %q, want %q", tc.reason, got.Status, got.Console, tc.console)
			}
			if _, err := os.Stat(m.Run + "/ready"); (err == nil) != (tc.console == "") {
				t.Errorf("%s: the mark that it answers: %v", tc.reason, err)
			}
		})
	}
}
