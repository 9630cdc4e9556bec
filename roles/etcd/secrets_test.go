package etcd_test

import (
	"testing"

	"pgha-gen/packer/packertest"
)

// Only other authorities make etcd restart.
func TestSecretsApply(t *testing.T) {
	for _, test := range []struct {
		name, reason, roll string
		files              []string
		output             string
		status             int
	}{
		{"certificates", "they are read at each handshake", "exit 9", []string{"peer.crt", "peer.key", "server.crt", "server.key"}, "etcd reads them at each handshake\n", 0},
		{"authorities", "they are read at the start", "echo 'etcd restarted in 0.5 s'", []string{"ca.crt", "peer.crt"}, "etcd restarted in 0.5 s\n", 0},
		{"not yet", "another member has its turn", "echo 'demo-etcd-2 is done first'; exit 75", []string{"ca.crt"}, "demo-etcd-2 is done first\n", 75},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := packertest.New(t, "../../packer/rootfs/usr/lib/pgha", "rootfs/usr/lib/pgha")
			m.Write(m.Lib+"/etcd-roll.sh", "#!/bin/sh\n"+test.roll+"\n")
			if got := m.Boot("secrets-apply.sh", test.files...); got.Status != test.status || got.Output != test.output {
				t.Errorf("%s: status %d, want %d; output %q, want %q", test.reason, got.Status, test.status, got.Output, test.output)
			}
		})
	}
}
