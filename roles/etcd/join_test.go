package etcd_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/packer/packertest"
)

const (
	own    = "https://127.0.0.1:2"
	other  = "https://127.0.0.1:3"
	before = "https://127.0.0.1:1"
	oldID  = 0x8211f1d0f64f3269 // beyond 2^53, as real ones are
	client = "https://127.0.0.1:2379"
)

func TestJoin(t *testing.T) {
	started := func(id uint64, name, url string) member {
		return member{ID: id, Name: name, PeerURLs: []string{url}, ClientURLs: []string{client}}
	}
	// P2 and P3 stand for the URLs of the two peers.
	two, three := started(2, "demo-etcd-2", "P2"), started(3, "demo-etcd-3", "P3")
	const initial = "demo-etcd-1=" + own + ",demo-etcd-2=P2,demo-etcd-3=P3"
	const wait, ok, fail = "demo-etcd-1 etcd-join wait ", "demo-etcd-1 etcd-join ok ", "demo-etcd-1 etcd-join fail "
	const alone = "no other member answers, and "
	const others = ": start the other members, and let them take the user-data in which demo-etcd-1 is"
	const strange = "the list of members has one that no machine of this cluster can be: "

	tests := []struct {
		name, reason string
		cluster      *cluster          // nil: no peer answers
		metadata     map[string]string // nil: no service
		prepare      func(*testing.T, *packertest.Machine, string)
		env          string // more of etcd.env
		clusterEnv   []string
		strangers    bool   // peers of another CA
		state        string // "" if etcd must not start
		initial      string
		console      string
		calls        []string
		check        func(*testing.T, *packertest.Machine, string)
		order        string // what etcd_recover.py says; "": there is no order
		force        bool
		counts       bool // of the force: etcd is to make a snapshot soon
		later        bool // it waits once, and that takes half a minute
	}{
		{name: "recovery by this member", reason: "for this one start etcd forgets the others",
			order: "force 2026: this member goes on alone",
			prepare: func(t *testing.T, m *packertest.Machine, data string) {
				m.Write(data+"/member/wal/0000000000000000-0000000000000000.wal", "")
			},
			state: "own log", force: true, counts: true,
			console: "demo-etcd-1 recover ok 2026: this member goes on alone\n" + ok + "own log: this member has started before, and is the only one now\n"},
		{name: "recovery by this member, which has made a snapshot", reason: "its log begins behind that, so others get its data in any case",
			order: "force 2026: this member goes on alone",
			prepare: func(t *testing.T, m *packertest.Machine, data string) {
				m.Write(data+"/member/wal/0000000000000000-0000000000000000.wal", "")
				m.Write(data+"/member/snap/0000000000000002-00000000000186a1.snap", "")
			},
			state: "own log", force: true,
			console: "demo-etcd-1 recover ok 2026: this member goes on alone\n" + ok + "own log: this member has started before, and is the only one now\n"},
		{name: "recovery by another, not yet done", reason: "the log may be one of two that would form the old quorum",
			order: "wait pgha-recover 2026: demo-etcd-2 has not recovered the cluster yet",
			prepare: func(t *testing.T, m *packertest.Machine, data string) {
				m.Write(data+"/member/wal/0000000000000000-0000000000000000.wal", "")
			},
			console: wait + "pgha-recover 2026: demo-etcd-2 has not recovered the cluster yet\n"},
		{name: "recovery by another", reason: "its old log is aside: it joins like any other new member",
			order:   "aside 2026: the log here is older",
			cluster: &cluster{members: []member{two}},
			state:   "existing", initial: "demo-etcd-2=P2,demo-etcd-1=" + own,
			calls: []string{"member add demo-etcd-1 --peer-urls " + own},
			console: "demo-etcd-1 recover ok 2026: the log here is older\n" +
				wait + "this machine was not a member: added it\n" + ok + "existing: added to the running cluster\n"},
		{name: "wrong order", reason: "a mistake in metadata stops nobody",
			order: "refuse pgha-recover is for cluster prod-99999999, not demo-1a2b3c4d",
			prepare: func(t *testing.T, m *packertest.Machine, data string) {
				m.Write(data+"/member/wal/0000000000000000-0000000000000000.wal", "")
			},
			state: "own log",
			console: "demo-etcd-1 recover warn pgha-recover is for cluster prod-99999999, not demo-1a2b3c4d\n" +
				ok + "own log: this member has started before\n"},
		{name: "wal", reason: "a member with a log needs nobody's permission, and asks nobody",
			prepare: func(t *testing.T, m *packertest.Machine, data string) {
				m.Write(data+"/member/wal/0000000000000000-0000000000000000.wal", "")
			},
			state:   "own log",
			console: ok + "own log: this member has started before\n",
			check: func(t *testing.T, m *packertest.Machine, _ string) {
				if _, err := os.Stat(m.State + "/served"); err != nil {
					t.Error("nothing remembers that this machine has served")
				}
				if got := m.Read(m.State + "/etcd-members"); got != "ETCD_INITIAL_CLUSTER=demo-etcd-1="+own+",demo-etcd-2=https://127.0.0.1:4,demo-etcd-3=https://127.0.0.1:5\n" {
					t.Errorf("the members of the spec are remembered as %q", got)
				}
				if m.Read(m.Run+"/etcd/etcd.env") != m.Read(m.Etc+"/etcd.env") {
					t.Error("nothing remembers the settings that etcd starts with")
				}
			}},
		{name: "mount missing", reason: "etcd on the boot disk would be a member that forgets its votes",
			clusterEnv: []string{"PGHA_DATA_DEVICE=/dev/disk/by-id/virtio-data", "PGHA_DATA_MOUNT=/nonexistent/data"},
			metadata:   map[string]string{"instance/attributes/pgha-bootstrap": "demo-1a2b3c4d"},
			console:    fail + "the data disk is not mounted on /nonexistent/data: see what pgha-disk said\n"},
		{name: "not in the initial cluster", reason: "user-data and host name disagree",
			env:     "ETCD_INITIAL_CLUSTER=demo-etcd-9=https://127.0.0.1:9\n",
			console: fail + "demo-etcd-1 is not in ETCD_INITIAL_CLUSTER (demo-etcd-9=https://127.0.0.1:9): add it to the spec and render user-data again\n"},
		{name: "bootstrap", reason: "the first machine of a new cluster",
			metadata: map[string]string{"instance/attributes/pgha-bootstrap": "demo-1a2b3c4d"},
			state:    "new", initial: initial,
			console: ok + "new: no other member answers, and pgha-bootstrap permits a new cluster\n"},
		{name: "bootstrap of another cluster", reason: "the attribute was copied from another cluster's machine",
			metadata: map[string]string{"instance/attributes/pgha-bootstrap": "prod-99999999"},
			console:  wait + alone + "pgha-bootstrap permits cluster prod-99999999, not demo-1a2b3c4d" + others + "\n"},
		{name: "no bootstrap", reason: "an empty disk while all others are down must not begin a second cluster",
			metadata: map[string]string{},
			console:  wait + alone + "metadata has no pgha-bootstrap that would permit a new cluster" + others + "\n"},
		{name: "metadata down", reason: "no answer is no permission",
			console: wait + alone + "metadata at " + packertest.Nowhere + " does not answer" + others + "\n"},
		{name: "metadata refuses", reason: "neither is an error",
			metadata: map[string]string{"instance/attributes/pgha-bootstrap": "HTTP 503"},
			console:  wait + alone + "metadata at META does not answer" + others + "\n"},
		{name: "single member", reason: "a cluster of one has no peers to ask",
			env:      "ETCD_INITIAL_CLUSTER=demo-etcd-1=" + own + "\n",
			metadata: map[string]string{"instance/attributes/pgha-bootstrap": "demo-1a2b3c4d"},
			state:    "new", initial: "demo-etcd-1=" + own,
			console: ok + "new: no other member answers, and pgha-bootstrap permits a new cluster\n"},
		{name: "served before", reason: "a machine that was a member never bootstraps, whatever metadata still says",
			metadata: map[string]string{"instance/attributes/pgha-bootstrap": "demo-1a2b3c4d"},
			prepare:  func(_ *testing.T, m *packertest.Machine, _ string) { m.Write(m.State+"/served", "") },
			console:  wait + alone + "this machine has served in the cluster before, so it never bootstraps one" + others + "\n"},
		{name: "command in etcd.env", reason: "nothing that is read is run",
			env:     "ETCD_DATA_DIR=$(touch hurt)\n",
			console: fail + "ETCD/etcd.env has the line \"ETCD_DATA_DIR=$(touch hurt)\", which is no plain NAME=value: render user-data again\n"},
		{name: "node.env of an earlier start", reason: "it is written anew and never read",
			prepare: func(_ *testing.T, m *packertest.Machine, data string) {
				m.Write(data+"/member/wal/0000000000000000-0000000000000000.wal", "")
				m.Write(m.Run+"/etcd/node.env", "PGHA_LIB=$(touch hurt)\nETCD_INITIAL_CLUSTER=`touch hurt`\n")
			},
			state:   "own log",
			console: ok + "own log: this member has started before\n"},
		{name: "never started", reason: "the others formed a quorum first",
			cluster: &cluster{members: []member{{ID: oldID, Name: "demo-etcd-1", PeerURLs: []string{own}}, two, three}},
			state:   "new", initial: initial,
			console: ok + "new: the others know this member, and it never started\n"},
		{name: "disk lost", reason: "remove, add, existing: and the id is not what a float makes of it",
			cluster: &cluster{members: []member{started(oldID, "demo-etcd-1", own), two, three}},
			state:   "existing", initial: "demo-etcd-2=P2,demo-etcd-3=P3,demo-etcd-1=" + own,
			calls: []string{"member remove 8211f1d0f64f3269", "member add demo-etcd-1 --peer-urls " + own},
			console: wait + "the disk of this member is lost: removed the old member 8211f1d0f64f3269\n" +
				wait + "this machine was not a member: added it\n" +
				ok + "existing: added to the running cluster\n"},
		{name: "disk lost and moved", reason: "the same name at a new address is the same member",
			cluster: &cluster{members: []member{started(oldID, "demo-etcd-1", "https://127.0.0.1:9"), two, three}},
			state:   "existing", initial: "demo-etcd-2=P2,demo-etcd-3=P3,demo-etcd-1=" + own,
			calls: []string{"member remove 8211f1d0f64f3269", "member add demo-etcd-1 --peer-urls " + own},
			console: wait + "the disk of this member is lost: removed the old member 8211f1d0f64f3269\n" +
				wait + "this machine was not a member: added it\n" +
				ok + "existing: added to the running cluster\n"},
		{name: "added before", reason: "an earlier machine was added and died before it started",
			cluster: &cluster{members: []member{{ID: oldID, PeerURLs: []string{own}}, two, three}},
			state:   "existing", initial: "demo-etcd-1=" + own + ",demo-etcd-2=P2,demo-etcd-3=P3",
			console: ok + "existing: added to the running cluster\n"},
		{name: "unknown", reason: "a new node of a cluster that runs",
			cluster: &cluster{members: []member{two, three}},
			state:   "existing", initial: "demo-etcd-2=P2,demo-etcd-3=P3,demo-etcd-1=" + own,
			calls:   []string{"member add demo-etcd-1 --peer-urls " + own},
			console: wait + "this machine was not a member: added it\n" + ok + "existing: added to the running cluster\n"},
		{name: "command in the list", reason: "who has a client certificate writes the list: it is neither run nor taken over",
			cluster: &cluster{members: []member{{ID: oldID, PeerURLs: []string{own}}, two, {ID: 9, PeerURLs: []string{"https://10.128.0.99:2380?$(touch hurt)"}}}},
			console: wait + strange + "9 ( at https://10.128.0.99:2380?$(touch hurt)); remove it with etcdctl member remove\n"},
		{name: "command in a name", reason: "a name ends up in the same line",
			cluster: &cluster{members: []member{{ID: oldID, PeerURLs: []string{own}}, started(9, "x`touch hurt`", "https://10.128.0.99:2380")}},
			console: wait + strange + "9 (x`touch hurt` at https://10.128.0.99:2380); remove it with etcdctl member remove\n"},
		{name: "second line in a name", reason: "systemd would read another variable in node.env",
			cluster: &cluster{members: []member{{ID: oldID, PeerURLs: []string{own}}, started(9, "x\nETCD_FORCE_NEW_CLUSTER=true", "https://10.128.0.99:2380")}},
			console: wait + strange + "9 (x at ); remove it with etcdctl member remove\n"},
		{name: "another joins too", reason: "etcd wants a name for every URL, and the list has none for it yet",
			cluster: &cluster{members: []member{
				{ID: oldID, PeerURLs: []string{own}}, two, {ID: 8, PeerURLs: []string{"P3"}}, {ID: 9, PeerURLs: []string{other}},
			}},
			state: "existing", initial: "demo-etcd-1=" + own + ",demo-etcd-2=P2,demo-etcd-3=P3,joining=" + other,
			console: ok + "existing: added to the running cluster\n"},
		{name: "another joins first", reason: "two that start at the same time would wait for each other's version for ever",
			cluster: &cluster{members: []member{{ID: oldID, PeerURLs: []string{own}}, two, {ID: 9, PeerURLs: []string{before}}}},
			console: wait + before + " was added too, and starts first\n"},
		{name: "another was to join first and does not", reason: "its machine may have died for good: that must not keep this one",
			cluster: &cluster{members: []member{{ID: oldID, PeerURLs: []string{own}}, two, {ID: 9, PeerURLs: []string{before}}}},
			later:   true,
			state:   "existing", initial: "demo-etcd-1=" + own + ",demo-etcd-2=P2,joining=" + before,
			console: wait + before + " was added too, and starts first\n" + ok + "existing: added to the running cluster\n"},
		{name: "added by the only other member", reason: "it has no quorum until this one starts, and cannot be asked for the list again",
			cluster: &cluster{members: []member{two, {ID: 8, PeerURLs: []string{own}}}, refuse: []string{"list"}, silent: true},
			state:   "existing", initial: "demo-etcd-2=P2,demo-etcd-1=" + own,
			console: ok + "existing: added to the running cluster\n"},
		{name: "another was added by the only other member", reason: "that one must start first",
			cluster: &cluster{members: []member{two, {ID: 8, PeerURLs: []string{"P3"}}}, refuse: []string{"list"}, silent: true},
			console: wait + "cannot list the members: Error: etcdserver: unhealthy cluster; a quorum of the members must run\n"},
		{name: "peers disagree", reason: "one peer missed that this member started: the quorum decides",
			cluster: &cluster{
				members: []member{started(oldID, "demo-etcd-1", own), two, three},
				stale:   []member{{ID: oldID, Name: "demo-etcd-1", PeerURLs: []string{own}}, two, three},
			},
			state: "existing", initial: "demo-etcd-2=P2,demo-etcd-3=P3,demo-etcd-1=" + own,
			calls: []string{"member remove 8211f1d0f64f3269", "member add demo-etcd-1 --peer-urls " + own},
			console: wait + "the disk of this member is lost: removed the old member 8211f1d0f64f3269\n" +
				wait + "this machine was not a member: added it\n" +
				ok + "existing: added to the running cluster\n"},
		{name: "quorum knows it as new", reason: "one peer does not know this member yet: the quorum decides",
			cluster: &cluster{
				members: []member{{ID: oldID, Name: "demo-etcd-1", PeerURLs: []string{own}}, two, three},
				stale:   []member{two, three},
			},
			state: "new", initial: initial,
			console: ok + "new: listed and never started\n"},
		{name: "no quorum", reason: "nothing may be decided by a minority",
			cluster: &cluster{members: []member{two, three}, refuse: []string{"list"}},
			console: wait + "cannot list the members: Error: etcdserver: unhealthy cluster; a quorum of the members must run\n"},
		{name: "remove refused", reason: "the dead member counts until the quorum agrees",
			cluster: &cluster{members: []member{started(oldID, "demo-etcd-1", own), two, three}, refuse: []string{"remove"}},
			console: wait + "cannot remove the old member 8211f1d0f64f3269, whose disk is lost: Error: etcdserver: unhealthy cluster; a quorum of the members must run\n"},
		{name: "add refused", reason: "etcd refuses a new voter while another is down",
			cluster: &cluster{members: []member{two, three}, refuse: []string{"add"}},
			console: wait + "cannot add this machine as a member: Error: etcdserver: unhealthy cluster; a quorum of the members must run\n"},
		{name: "peers of another CA", reason: "somebody is there: permission to begin must not help",
			cluster: &cluster{members: []member{two, three}}, strangers: true,
			metadata: map[string]string{"instance/attributes/pgha-bootstrap": "demo-1a2b3c4d"},
			console:  wait + "a member is there and cannot be asked: P2: curl: (60) …\n"},
		{name: "own address taken", reason: "two machines of one name must not share a membership",
			cluster: &cluster{members: []member{two, three}},
			env:     "ETCD_INITIAL_CLUSTER=demo-etcd-1=P2,demo-etcd-3=P3\n",
			console: wait + "another machine answers at P2: stop it\n"},
		{name: "left over without a log", reason: "etcd died at its very first start: its directory is moved, not trusted and not lost",
			metadata: map[string]string{"instance/attributes/pgha-bootstrap": "demo-1a2b3c4d"},
			prepare: func(t *testing.T, m *packertest.Machine, data string) {
				m.Write(data+"/member/snap/db", "first")
				m.Write(data+"/member/wal.tmp/0.wal", "")
			},
			state: "new", initial: initial,
			console: ok + "new: no other member answers, and pgha-bootstrap permits a new cluster\n",
			check: func(t *testing.T, m *packertest.Machine, data string) {
				if got := m.Read(data+"/member.aside/snap/db") + m.Read(data+"/member/snap/db"); got != "first" {
					t.Errorf("the left over db is %q, want it in member.aside alone", got)
				}
			}},
		{name: "left over again", reason: "what is moved aside first may be somebody's; the next are etcd's own tries and would fill the disk",
			metadata: map[string]string{"instance/attributes/pgha-bootstrap": "demo-1a2b3c4d"},
			prepare: func(t *testing.T, m *packertest.Machine, data string) {
				m.Write(data+"/member.aside/snap/db", "first")
				m.Write(data+"/member/snap/db", "second")
			},
			state: "new", initial: initial,
			console: ok + "new: no other member answers, and pgha-bootstrap permits a new cluster\n",
			check: func(t *testing.T, m *packertest.Machine, data string) {
				if got := m.Read(data+"/member.aside/snap/db") + m.Read(data+"/member/snap/db"); got != "first" {
					t.Errorf("the left over db is %q, want the first one alone", got)
				}
			}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := packertest.New(t, "../../packer/rootfs/usr/lib/pgha", "rootfs/usr/lib/pgha")
			slept := ""
			m.Patience(3)
			if tc.later {
				slept = "1"
				m.Later(30 * time.Second)
			}
			m.Identity()
			m.Cluster(tc.clusterEnv...)
			m.Write(m.Lib+"/etcd_recover.py", "#!/bin/sh\necho '"+tc.order+"'\n")
			ca := packertest.NewCA(t)
			cert, key := ca.Issue(time.Now().Add(time.Hour))
			for name, text := range map[string]string{"ca.crt": ca.PEM, "peer.crt": cert, "peer.key": key, "server.crt": cert, "server.key": key} {
				m.Write(filepath.Join(m.Run, "secrets", name), text)
			}
			names := strings.NewReplacer("P2", "https://127.0.0.1:4", "P3", "https://127.0.0.1:5")
			if tc.cluster != nil {
				serverCA := ca
				if tc.strangers {
					serverCA = packertest.NewCA(t)
				}
				urls := [2]string{}
				for i := range urls {
					if urls[i] = "https://127.0.0.1:5"; i == 0 || !tc.cluster.silent {
						urls[i] = servePeer(t, serverCA, tc.cluster.peer(i == 0))
					}
				}
				names = strings.NewReplacer("P2", urls[0], "P3", urls[1])
				tc.cluster.members = named(names, tc.cluster.members)
				tc.cluster.stale = named(names, tc.cluster.stale)
				ctl := httptest.NewServer(tc.cluster.etcdctl())
				t.Cleanup(ctl.Close)
				m.Fake("etcdctl", `curl -s -G -o "$0.out" -w '%{http_code}' --data-urlencode "args=$*" `+ctl.URL+` >"$0.code"
if [ "$(cat "$0.code")" = 200 ]; then cat "$0.out"; else cat "$0.out" >&2; exit 1; fi`)
			}
			if tc.order != "" {
				m.Serve(map[string]string{"instance/attributes/pgha-recover": "what etcd_recover.py reads"})
			} else if tc.metadata != nil {
				m.Serve(tc.metadata)
			} else {
				m.Env = append(m.Env, "PGHA_METADATA="+packertest.Nowhere)
			}
			meta := strings.TrimPrefix(m.Env[0], "PGHA_METADATA=")
			data := filepath.Join(t.TempDir(), "data")
			m.Env = append(m.Env, "PGHA_ETCD_ENV="+m.Etc+"/etcd.env")
			m.Write(m.Etc+"/etcd.env", names.Replace("ETCD_DATA_DIR="+data+"\nETCD_INITIAL_CLUSTER="+initial+"\nETCD_INITIAL_CLUSTER_STATE=new\n"+tc.env))
			if tc.prepare != nil {
				tc.prepare(t, m, data)
			}

			got := m.Boot("etcd-join.sh")

			want := names.Replace(strings.NewReplacer("META", meta, "ETCD/", m.Etc+"/").Replace(tc.console))
			said := got.Once()
			if head, _, cut := strings.Cut(want, "…"); cut && strings.HasPrefix(said, head) && strings.Count(said, "\n") == 1 {
				want = said // the rest is curl's wording
			}
			if diff := cmp.Diff(want, said); diff != "" {
				t.Errorf("%s: console (-want +got):\n%s\n%s", tc.reason, diff, got.Output)
			}
			if tc.cluster != nil {
				if diff := cmp.Diff(tc.calls, tc.cluster.calls); diff != "" {
					t.Errorf("%s: changes of membership (-want +got):\n%s", tc.reason, diff)
				}
			}
			env := ""
			if tc.state != "" {
				env = "ETCD_NAME=demo-etcd-1\nETCD_LISTEN_PEER_URLS=https://127.0.0.1:2380\n" +
					"ETCD_LISTEN_CLIENT_URLS=https://127.0.0.1:2379,https://127.0.0.1:2379\n"
				env += "ETCD_LISTEN_METRICS_URLS=http://127.0.0.1:2381\nETCD_INITIAL_ADVERTISE_PEER_URLS=" + own + "\nETCD_ADVERTISE_CLIENT_URLS=" + client + "\n"
			}
			if tc.initial != "" {
				env += "ETCD_INITIAL_CLUSTER_STATE=" + tc.state + "\nETCD_INITIAL_CLUSTER=" + names.Replace(tc.initial) + "\n"
			}
			if tc.force {
				env += "ETCD_FORCE_NEW_CLUSTER=true\n"
			}
			if tc.counts {
				env += "ETCD_SNAPSHOT_COUNT=10\n"
			}
			if diff := cmp.Diff(env, m.Read(m.Run+"/etcd/node.env")); diff != "" {
				t.Errorf("%s: node.env (-want +got):\n%s", tc.reason, diff)
			}
			if started := got.Status == 0; started != (tc.state != "") {
				t.Errorf("%s: status %d", tc.reason, got.Status)
			}
			if tc.state != "" && m.Slept() != slept {
				t.Errorf("%s: slept %q, want %q", tc.reason, m.Slept(), slept)
			}
			if tc.check != nil {
				tc.check(t, m, data)
			}
		})
	}
}

// A peer that answers with anything but a member list is a peer all the same.
func TestJoinStrangeAnswers(t *testing.T) {
	tests := []struct {
		name, reason string
		handler      http.HandlerFunc
		console      string
	}{
		{name: "error", reason: "an error is not a member list",
			handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
			console: "a member is there and cannot be asked: PEER answers 500"},
		{name: "not etcd", reason: "a page is not a member list",
			handler: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
			console: "a member is there and cannot be asked: PEER does not answer as etcd does"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := packertest.New(t, "../../packer/rootfs/usr/lib/pgha", "rootfs/usr/lib/pgha")
			m.Identity()
			m.Cluster()
			ca := packertest.NewCA(t)
			cert, key := ca.Issue(time.Now().Add(time.Hour))
			for name, text := range map[string]string{"ca.crt": ca.PEM, "peer.crt": cert, "peer.key": key} {
				m.Write(filepath.Join(m.Run, "secrets", name), text)
			}
			peer := servePeer(t, ca, tc.handler)
			m.Serve(map[string]string{"instance/attributes/pgha-bootstrap": "demo-1a2b3c4d"})
			m.Env = append(m.Env, "PGHA_ETCD_ENV="+m.Etc+"/etcd.env")
			m.Write(m.Etc+"/etcd.env", "ETCD_DATA_DIR="+m.Run+"/data\nETCD_INITIAL_CLUSTER=demo-etcd-1="+own+",demo-etcd-2="+peer+"\n")

			got := m.Boot("etcd-join.sh")

			want := "demo-etcd-1 etcd-join wait " + strings.ReplaceAll(tc.console, "PEER", peer) + "\n"
			if diff := cmp.Diff(want, got.Console); diff != "" {
				t.Errorf("%s: console (-want +got):\n%s\n%s", tc.reason, diff, got.Output)
			}
			if diff := cmp.Diff("1 2 4 8 15", m.Slept()); diff != "" {
				t.Errorf("pauses (-want +got):\n%s", diff)
			}
		})
	}
}
