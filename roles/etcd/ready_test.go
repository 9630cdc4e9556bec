package etcd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
	"pgha-gen/packer/packertest"
)

func TestReadyCheck(t *testing.T) {
	const node = "ETCD_ADVERTISE_CLIENT_URLS=" + client + "\n"
	// list is etcdctl's member list; health goes well.
	list := func(lines ...string) string {
		return "case \"$*\" in *'member list'*) cat <<'END'\n" + strings.Join(lines, "\n") + "\nEND\n;; esac"
	}
	const one = "8e9e05c52164694d, started, demo-etcd-1, https://10.128.0.26:2380, https://10.128.0.26:2379, false"
	const two = "91bc3c398fb3c146, started, demo-etcd-2, https://10.129.0.27:2380, https://10.129.0.27:2379, false"
	tests := []struct {
		name, reason, node, env, etcdctl, want string
		status                                 int
	}{
		{name: "not started", reason: "etcd-join still waits",
			want: "etcd has not been started: see what etcd-join says\n", status: 1},
		{name: "healthy", reason: "a linearizable read went through, and all members are the spec's",
			node: node, etcdctl: list(one, two),
			want: "etcd answers at " + client + "\n"},
		{name: "member too many", reason: "a member that was taken out of the spec still votes",
			node: node, etcdctl: list(one, two,
				"aa, started, demo-etcd-9, https://10.128.0.99:2380, https://10.128.0.99:2379, false",
				"bb, unstarted, , https://10.128.0.98:2380, , false"),
			want: "etcd answers at " + client + "; not in the spec, and still a voter: demo-etcd-9, bb\n"},
		{name: "name of the spec, another address", reason: "a member is its address: this one is not the spec's",
			node: node, etcdctl: list(one, "aa, started, demo-etcd-2, https://10.128.0.99:2380, https://10.128.0.99:2379, false"),
			want: "etcd answers at " + client + "; not in the spec, and still a voter: demo-etcd-2\n"},
		{name: "no list", reason: "that it answers is true all the same",
			node: node, etcdctl: "case \"$*\" in *'member list'*) echo 'Error: context deadline exceeded' >&2; exit 1 ;; esac",
			want: "etcd answers at " + client + "\n"},
		{name: "no quorum", reason: "etcdctl's own words say why", node: node,
			etcdctl: `echo "` + client + ` is unhealthy: failed to commit proposal: context deadline exceeded" >&2
echo "Error: unhealthy cluster" >&2
exit 1`,
			want: client + " is unhealthy: failed to commit proposal: context deadline exceeded\n", status: 1},
		{name: "silence", reason: "a reason is given even when etcdctl gives none", node: node,
			etcdctl: "exit 1", want: client + " does not answer\n", status: 1},
		{name: "code in node.env", reason: "nothing is run, whoever wrote it", node: "ETCD_ADVERTISE_CLIENT_URLS=https://$(touch hurt):2379\n",
			want: "etcd's settings hold the line \"ETCD_ADVERTISE_CLIENT_URLS=https://$(touch hurt):2379\", which etcd-join did not write\n", status: 1},
		{name: "code in etcd.env", reason: "nor what user-data wrote", node: node, env: "ETCD_INITIAL_CLUSTER=`touch hurt`\n",
			want: "etcd's settings hold the line \"ETCD_INITIAL_CLUSTER=`touch hurt`\", which etcd-join did not write\n", status: 1},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := packertest.New(t, "../../packer/rootfs/usr/lib/pgha", "rootfs/usr/lib/pgha")
			m.Env = append(m.Env, "PGHA_ETCD_ENV="+m.Etc+"/etcd.env")
			m.Write(m.Etc+"/etcd.env", "ETCD_INITIAL_CLUSTER=demo-etcd-1=https://10.128.0.26:2380,demo-etcd-2=https://10.129.0.27:2380\n"+tc.env)
			m.Fake("etcdctl", tc.etcdctl)
			if tc.node != "" {
				m.Write(m.Run+"/etcd/node.env", tc.node)
			}
			got := m.Boot("ready-check.sh")
			if diff := cmp.Diff(tc.want, got.Output); diff != "" || got.Status != tc.status {
				t.Errorf("%s: status %d, want %d; output (-want +got):\n%s", tc.reason, got.Status, tc.status, diff)
			}
		})
	}
}

// The data directory is the service's: root must not be led elsewhere by it.
func TestJoinSetsAsideAsTheService(t *testing.T) {
	testkit.Root(t)
	nobody := packertest.LookUp(t, "nobody")
	tests := []struct {
		name, reason string
		links        map[string]string // in the data directory
	}{
		{name: "plain", reason: "the service's own directory is its own to move"},
		{name: "aside leads elsewhere", reason: "nothing is moved into where member.aside leads", links: map[string]string{"member.aside": "ELSEWHERE"}},
		{name: "aside leads nowhere", reason: "a link that leads nowhere is a link all the same", links: map[string]string{"member.aside": "/nonexistent"}},
		{name: "member leads elsewhere", reason: "the link is moved, not what it leads to", links: map[string]string{"member": "ELSEWHERE"}},
		{name: "both", reason: "the link is removed, not what it leads to", links: map[string]string{"member": "ELSEWHERE", "member.aside": "ELSEWHERE"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := packertest.New(t, "../../packer/rootfs/usr/lib/pgha", "rootfs/usr/lib/pgha")
			m.Identity()
			m.Cluster("PGHA_SERVICE_USER=nobody")
			m.Serve(map[string]string{"instance/attributes/pgha-bootstrap": "demo-1a2b3c4d"})
			ids := filepath.Join(t.TempDir(), "ids")
			m.Write(ids, "")
			m.Fake("mv", `case " $*" in *" member"*) id -u >>`+ids+` ;; esac; exec /bin/mv "$@"`)
			m.Fake("rm", `case " $*" in *" member"*) id -u >>`+ids+` ;; esac; exec /bin/rm "$@"`)
			m.Open(ids)
			data, elsewhere := t.TempDir()+"/data", t.TempDir()
			m.Write(elsewhere+"/thesis.tex", "x")
			m.Write(data+"/member/snap/db", "first")
			for link, to := range tc.links {
				testkit.OK(t, os.RemoveAll(data+"/"+link))
				testkit.OK(t, os.Symlink(strings.ReplaceAll(to, "ELSEWHERE", elsewhere), data+"/"+link))
			}
			m.Give(data, nobody)
			m.Open(data)
			m.Write(m.Etc+"/etcd.env", "ETCD_DATA_DIR="+data+"\nETCD_INITIAL_CLUSTER=demo-etcd-1="+own+"\n")
			m.Env = append(m.Env, "PGHA_ETCD_ENV="+m.Etc+"/etcd.env")

			if got := m.Boot("etcd-join.sh"); got.Status != 0 {
				t.Errorf("status %d: %s", got.Status, got.Output)
			}
			entries, err := os.ReadDir(elsewhere)
			if err != nil || len(entries) != 1 || m.Read(elsewhere+"/thesis.tex") != "x" {
				t.Errorf("%s: another directory was changed: %v, %v", tc.reason, entries, err)
			}
			if _, err := os.Lstat(data + "/member"); err == nil {
				t.Errorf("%s: member is still there, and etcd would trip over it", tc.reason)
			}
			if _, err := os.Lstat(data + "/member.aside"); err != nil {
				t.Errorf("%s: member.aside: %v", tc.reason, err)
			}
			for _, id := range strings.Fields(m.Read(ids)) {
				if id != fmt.Sprint(nobody.UID) {
					t.Errorf("uid %s works in the service's directory, want %d", id, nobody.UID)
				}
			}
		})
	}
}
