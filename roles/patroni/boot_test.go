package patroni_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
	"pgha-gen/packer/packertest"
)

const lib = "rootfs/usr/lib/pgha"

// passwords is the secret patroni.env.
const passwords = "PATRONI_SUPERUSER_PASSWORD=one\nPATRONI_REPLICATION_PASSWORD=2\nPATRONI_REWIND_PASSWORD=1e3\nPATRONI_RESTAPI_PASSWORD=Four4\n"

// node is a machine of the role, as user-data left it, with an empty data disk
// and enough huge pages.
func node(t *testing.T, lines ...string) (m *packertest.Machine, data string) {
	t.Helper()
	m = packertest.New(t, "../../packer/rootfs/usr/lib/pgha", lib)
	m.Identity()
	data = filepath.Join(t.TempDir(), "data")
	m.Cluster(append([]string{
		"PGHA_ROLE=patroni", "PGHA_PGDATA=" + data + "/18/main", "PGHA_POSTGRESQL_PORT=5432", "PGHA_REST_PORT=8008",
		"PGHA_REACHED_BY=address", "PGHA_WATCHDOG=automatic", "PGHA_HUGE_PAGES=100",
	}, lines...)...)
	for _, name := range []string{"config.yml", "bootstrap.yml", "databases.json"} {
		m.Write(m.Etc+"/patroni/"+name, name)
	}
	m.Write(m.Run+"/secrets.d/7/patroni.env", passwords)
	testkit.OK(t, os.Symlink("secrets.d/7", m.Run+"/secrets"))
	m.Write(m.Lib+"/adopt.py", "#!/bin/sh\necho \"$1\" >>"+m.Run+"/adopted\n")
	m.Write(m.Lib+"/complaint.py", testkit.Text(t, lib+"/complaint.py"))
	m.Write(m.Etc+"/watchdog", "")
	me, err := user.Current()
	testkit.OK(t, err)
	m.Env = append(m.Env, "PGHA_SERVICE_USER="+me.Username, "PGHA_PATRONI_ETC="+m.Etc+"/patroni", "PGHA_WATCHDOG_DEVICE="+m.Etc+"/watchdog", "PGHA_HUGE_PAGES_POOL="+m.Etc+"/pool")
	m.Write(m.Etc+"/pool", "0")
	m.Fake("install", `for last; do :; done; mkdir -p "$last"`)
	m.Fake("modprobe", "echo modprobe \"$@\" >>"+m.Run+"/watchdog; exit 1")
	m.Fake("chown", "echo chown \"$@\" >>"+m.Run+"/watchdog")
	return m, data
}

// links are the files that Patroni merges, in its order.
func links(t *testing.T, m *packertest.Machine) string {
	t.Helper()
	found, err := os.ReadDir(m.Run + "/patroni/config")
	if err != nil {
		return ""
	}
	var all []string
	for _, f := range found {
		if f.Name() == "25-secrets.yml" { // TestPatroniSecrets
			continue
		}
		to, err := os.Readlink(m.Run + "/patroni/config/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		to = strings.Replace(to, m.Lib, "LIB", 1)
		all = append(all, f.Name()+"="+strings.TrimPrefix(to, m.Etc+"/patroni/"))
	}
	return strings.Join(all, " ")
}

// The watchdog is made ready for Patroni, which is not root.
func TestWatchdog(t *testing.T) {
	tests := []struct {
		name, reason, watchdog string
		module                 string // what modprobe does
		want, console          string // of RUN/watchdog; at the end of the console's line
	}{
		{"there", "it need not be softdog's", "automatic", "exit 1", "modprobe softdog\nchown USER DEVICE\n", ""},
		{"of the module", "the device comes with it", "required", `: >"$PGHA_WATCHDOG_DEVICE"`, "modprobe softdog\nchown USER DEVICE\n", ""},
		{"none", "a kernel without one", "automatic", `rm -f "$PGHA_WATCHDOG_DEVICE"; exit 1`, "modprobe softdog\n", ", no watchdog"},
		{"not to be given", "PostgreSQL starts all the same", "automatic", `printf '#!/bin/sh\nexit 1\n' >"${0%/*}/chown"`, "modprobe softdog\n", ", a watchdog that Patroni cannot have"},
		{"off", "nothing is loaded that nobody wants", "off", "exit 0", "", ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m, data := node(t, "PGHA_WATCHDOG="+tc.watchdog)
			m.Serve(map[string]string{})
			m.Write(data+"/18/main/PG_VERSION", "18")
			m.Fake("modprobe", "echo modprobe \"$@\" >>"+m.Run+"/watchdog; "+tc.module)
			if tc.watchdog == "required" {
				testkit.OK(t, os.Remove(m.Etc+"/watchdog"))
			}
			got := m.Boot("patroni-node.sh")
			if want := "demo-etcd-1 patroni-node ok demo-etcd-1 at 127.0.0.1:5432" + tc.console + "\n"; got.Console != want {
				t.Errorf("%s: console %q, want %q\n%s", tc.reason, got.Console, want, got.Output)
			}
			me, err := user.Current()
			testkit.OK(t, err)
			want := strings.NewReplacer("USER", me.Username, "DEVICE", m.Etc+"/watchdog").Replace(tc.want)
			if diff := cmp.Diff(want, m.Read(m.Run+"/watchdog")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestNode(t *testing.T) {
	told := map[string]string{"instance/attributes/pgha-bootstrap": "demo-1a2b3c4d"}
	const ok, fail = "demo-etcd-1 patroni-node ok ", "demo-etcd-1 patroni-node fail "
	const cluster = "10-cluster.yml=config.yml"
	tests := []struct {
		name, reason string
		lines        []string
		metadata     map[string]string
		prepare      func(m *packertest.Machine, data string)
		links        string
		env          string // what node.env has; "" if Patroni must not start
		console      string
		pool         string
		served       bool
	}{
		{name: "bootstraps", reason: "told so, on an empty disk, never served", metadata: told,
			links: cluster + " 30-bootstrap.yml=bootstrap.yml", env: "127.0.0.1", pool: "100",
			console: ok + "demo-etcd-1 at 127.0.0.1:5432, may bootstrap the cluster\n"},
		{name: "not told", reason: "without a bootstrap section Patroni waits for a leader, and never runs initdb", metadata: map[string]string{},
			links: cluster, env: "127.0.0.1", pool: "100",
			console: ok + "demo-etcd-1 at 127.0.0.1:5432, bootstraps no cluster: metadata has no pgha-bootstrap that would permit a new cluster\n"},
		{name: "another cluster's", reason: "the attribute of another machine permits nothing", metadata: map[string]string{"instance/attributes/pgha-bootstrap": "prod-99999999"},
			links: cluster, env: "127.0.0.1", pool: "100",
			console: ok + "demo-etcd-1 at 127.0.0.1:5432, bootstraps no cluster: pgha-bootstrap permits cluster prod-99999999, not demo-1a2b3c4d\n"},
		{name: "served before", reason: "its disk is empty now, the cluster is not", metadata: told,
			prepare: func(m *packertest.Machine, _ string) { m.Write(m.State+"/served", "") },
			links:   cluster, env: "127.0.0.1", pool: "100", served: true,
			console: ok + "demo-etcd-1 at 127.0.0.1:5432, bootstraps no cluster: this machine has served in the cluster before, so it never bootstraps one\n"},
		{name: "data", reason: "a cluster is on its disk, and it remembers that", metadata: told,
			prepare: func(m *packertest.Machine, data string) { m.Write(data+"/18/main/PG_VERSION", "18") },
			links:   cluster, env: "127.0.0.1", pool: "100", served: true,
			console: ok + "demo-etcd-1 at 127.0.0.1:5432\n"},
		{name: "permission of an earlier start", reason: "what is linked is what holds now",
			metadata: map[string]string{},
			prepare: func(m *packertest.Machine, _ string) {
				m.Write(m.Run+"/patroni/config/30-bootstrap.yml", "old")
				m.Write(m.Run+"/patroni/config.new/99-half.yml", "half")
			},
			links: cluster, env: "127.0.0.1", pool: "100",
			console: ok + "demo-etcd-1 at 127.0.0.1:5432, bootstraps no cluster: metadata has no pgha-bootstrap that would permit a new cluster\n"},
		{name: "tags", reason: "this node's file lies over the cluster's", metadata: told,
			prepare: func(m *packertest.Machine, _ string) {
				m.Write(m.Etc+"/patroni/nodes/demo-etcd-1.yml", "")
				m.Write(m.Etc+"/patroni/nodes/demo-etcd-2.yml", "")
			},
			links: cluster + " 20-node.yml=nodes/demo-etcd-1.yml 30-bootstrap.yml=bootstrap.yml", env: "127.0.0.1", pool: "100",
			console: ok + "demo-etcd-1 at 127.0.0.1:5432, may bootstrap the cluster\n"},
		{name: "full disk", reason: "such a node does not take over, whatever tags it has; they are merged", metadata: map[string]string{},
			prepare: func(m *packertest.Machine, data string) {
				m.Write(data+"/18/main/PG_VERSION", "18")
				m.Write(m.Etc+"/patroni/nodes/demo-etcd-1.yml", "")
				m.Write(m.Run+"/disk-full", "")
			},
			links: cluster + " 20-node.yml=nodes/demo-etcd-1.yml 40-disk-full.yml=LIB/nofailover.yml", env: "127.0.0.1", pool: "100", served: true,
			console: ok + "demo-etcd-1 at 127.0.0.1:5432, does not take over: its disk is full\n"},
		{name: "by name", reason: "the others connect to what the certificates say", metadata: told, lines: []string{"PGHA_REACHED_BY=name"},
			links: cluster + " 30-bootstrap.yml=bootstrap.yml", env: "demo-etcd-1.ru-central1.internal", pool: "100",
			console: ok + "demo-etcd-1 at demo-etcd-1.ru-central1.internal:5432, may bootstrap the cluster\n"},
		{name: "no data disk", reason: "a database on the boot disk would be lost with it", metadata: told,
			lines:   []string{"PGHA_DATA_DEVICE=/dev/disk/by-id/virtio-data", "PGHA_DATA_MOUNT=/nonexistent/data"},
			console: fail + "the data disk is not mounted on /nonexistent/data: see what pgha-disk said\n", pool: "0"},
		{name: "watchdog required", reason: "who asks for it would not do without", metadata: told, lines: []string{"PGHA_WATCHDOG=required"},
			prepare: func(m *packertest.Machine, _ string) {
				m.Env = append(m.Env, "PGHA_WATCHDOG_DEVICE=/nonexistent/watchdog")
			},
			console: fail + "there is no /nonexistent/watchdog, and watchdog is required: bake an image whose kernel has softdog, or choose watchdog automatic\n", pool: "0"},
		{name: "no watchdog", reason: "automatic goes on, and says so", metadata: map[string]string{},
			prepare: func(m *packertest.Machine, data string) {
				m.Env = append(m.Env, "PGHA_WATCHDOG_DEVICE=/nonexistent/watchdog")
				m.Write(data+"/18/main/PG_VERSION", "18")
			},
			links: cluster, env: "127.0.0.1", pool: "100", served: true,
			console: ok + "demo-etcd-1 at 127.0.0.1:5432, no watchdog\n"},
		{name: "watchdog off", reason: "nobody misses it", metadata: map[string]string{}, lines: []string{"PGHA_WATCHDOG=off"},
			prepare: func(m *packertest.Machine, data string) {
				m.Env = append(m.Env, "PGHA_WATCHDOG_DEVICE=/nonexistent/watchdog")
				m.Write(data+"/18/main/PG_VERSION", "18")
			},
			links: cluster, env: "127.0.0.1", pool: "100", served: true,
			console: ok + "demo-etcd-1 at 127.0.0.1:5432\n"},
		{name: "too few huge pages", reason: "the kernel gives fewer than are asked for: PostgreSQL can use none of them", metadata: map[string]string{},
			prepare: func(m *packertest.Machine, data string) {
				m.Write(data+"/18/main/PG_VERSION", "18")
				m.Fake("cat", `case $1 in */pool) echo 99 ;; *) exec /bin/cat "$@" ;; esac`)
			},
			links: cluster, env: "127.0.0.1", pool: "0", served: true,
			console: ok + "demo-etcd-1 at 127.0.0.1:5432, no huge pages: there are not 100 free ones\n"},
		{name: "no huge pages", reason: "a kernel without them", metadata: map[string]string{},
			prepare: func(m *packertest.Machine, data string) {
				m.Write(data+"/18/main/PG_VERSION", "18")
				m.Env = append(m.Env, "PGHA_HUGE_PAGES_POOL=/nonexistent/pool")
			},
			links: cluster, env: "127.0.0.1", pool: "0", served: true,
			console: ok + "demo-etcd-1 at 127.0.0.1:5432, no huge pages on this machine\n"},
		{name: "none wanted", reason: "the spec turned them off: what an earlier boot reserved is given back", metadata: map[string]string{}, lines: []string{"PGHA_HUGE_PAGES=0"},
			prepare: func(m *packertest.Machine, data string) {
				m.Write(data+"/18/main/PG_VERSION", "18")
				m.Write(m.Etc+"/pool", "100")
			},
			links: cluster, env: "127.0.0.1", pool: "0", served: true,
			console: ok + "demo-etcd-1 at 127.0.0.1:5432\n"},
		{name: "hostile node.env", reason: "what an earlier start, or somebody, wrote there is not read", metadata: map[string]string{},
			prepare: func(m *packertest.Machine, data string) {
				m.Write(data+"/18/main/PG_VERSION", "18")
				m.Write(m.Run+"/patroni/node.env", "PGHA_LIB=$(touch hurt)\nNODE_NAME=`touch hurt`\n")
			},
			links: cluster, env: "127.0.0.1", pool: "100", served: true,
			console: ok + "demo-etcd-1 at 127.0.0.1:5432\n"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m, data := node(t, tc.lines...)
			m.Serve(tc.metadata)
			if tc.prepare != nil {
				tc.prepare(m, data)
			}
			got := m.Boot("patroni-node.sh")
			if diff := cmp.Diff(tc.console, got.Console); diff != "" {
				t.Errorf("%s: console (-want +got):\n%s\n%s", tc.reason, diff, got.Output)
			}
			if diff := cmp.Diff(tc.links, links(t, m)); diff != "" {
				t.Errorf("%s: configuration (-want +got):\n%s", tc.reason, diff)
			}
			env := ""
			if tc.env != "" {
				env = "PATRONI_NAME=demo-etcd-1\nPATRONI_POSTGRESQL_LISTEN=127.0.0.1:5432\nPATRONI_POSTGRESQL_CONNECT_ADDRESS=" + tc.env + ":5432\n" +
					"PATRONI_RESTAPI_LISTEN=127.0.0.1:8008\nPATRONI_RESTAPI_CONNECT_ADDRESS=" + tc.env + ":8008\n"
			}
			if diff := cmp.Diff(env, m.Read(m.Run+"/patroni/node.env")); diff != "" {
				t.Errorf("%s: node.env (-want +got):\n%s", tc.reason, diff)
			}
			if pool := strings.TrimSpace(m.Read(m.Etc + "/pool")); pool != tc.pool {
				t.Errorf("%s: huge pages %s, want %s", tc.reason, pool, tc.pool)
			}
			if _, err := os.Stat(m.State + "/served"); (err == nil) != tc.served {
				t.Errorf("%s: remembers that it served: %v", tc.reason, err)
			}
			if (got.Status == 0) != (tc.env != "") {
				t.Errorf("%s: status %d", tc.reason, got.Status)
			}
			adopted := ""
			if _, err := os.Stat(data + "/18/main/PG_VERSION"); err == nil {
				adopted = "data\n" // it must not lead with less than others have
			} else if tc.env != "" && !strings.Contains(tc.links, "bootstrap") {
				adopted = "empty\n" // and nobody waits for what this node may have
			}
			if diff := cmp.Diff(adopted, m.Read(m.Run+"/adopted")); diff != "" {
				t.Errorf("%s: adopt.py (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// What root reads and writes at every start belongs to root; the service's user
// gets one directory, and nothing below it is touched.
func TestNodeIsRoots(t *testing.T) {
	testkit.Root(t)
	nobody := packertest.LookUp(t, "nobody")
	m, data := node(t, "PGHA_SERVICE_USER=nobody")
	m.Serve(map[string]string{})
	m.Fake("install", `[ "$*" = "-d -o nobody -g nobody -m 0700 $PGDATA_PARENT" ] && exec mkdir -p "$PGDATA_PARENT"; exit 9`)
	m.Env = append(m.Env, "PGDATA_PARENT="+data+"/18")
	m.Write(data+"/18/main/base/1", "data")
	m.Give(data+"/18", nobody)
	before := owners(t, data)
	if got := m.Boot("patroni-node.sh"); got.Status != 0 {
		t.Fatal(got.Output)
	}
	if diff := cmp.Diff(before, owners(t, data)); diff != "" {
		t.Errorf("the service's directory was changed (-want +got):\n%s", diff)
	}
	for path, owner := range owners(t, m.Run) {
		if !strings.HasPrefix(owner, "0:") || !strings.Contains(owner, " L") && strings.ContainsAny(owner[len(owner)-6:], "w") {
			t.Errorf("%s is %s: others than root may write what root reads", path, owner)
		}
	}
}

// A disk that an attacker had once must not make root give away a directory.
func TestNodeFollowsNoLink(t *testing.T) {
	testkit.Root(t)
	packertest.LookUp(t, "nobody")
	m, data := node(t, "PGHA_SERVICE_USER=nobody")
	m.Serve(map[string]string{})
	m.Fake("install", `for last; do :; done; mkdir -p "$last"; chown nobody "$last"; chmod 0700 "$last"`)
	elsewhere := t.TempDir()
	m.Write(elsewhere+"/main/PG_VERSION", "18")
	m.Write(data+"/.pgha", "")
	testkit.OK(t, os.Symlink(elsewhere, data+"/18"))
	before := owners(t, elsewhere)
	got := m.Boot("patroni-node.sh")
	want := "demo-etcd-1 patroni-node fail " + data + "/18 is a link, not a directory of the data disk: nothing was changed; remove it, or attach an empty disk\n"
	if got.Console != want || got.Status != 1 {
		t.Errorf("status %d, console %q, want 1, %q", got.Status, got.Console, want)
	}
	if diff := cmp.Diff(before, owners(t, elsewhere)); diff != "" {
		t.Errorf("another directory was given away (-want +got):\n%s", diff)
	}
}

// owners are the owners and modes of all that is below a directory.
func owners(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		all[path] = packertest.Owner(info) + " " + info.Mode().String()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What Patroni runs as programs of PostgreSQL.
func TestPrograms(t *testing.T) {
	const pins = " -c restore_command= -c archive_cleanup_command= -c recovery_end_command="
	tests := []struct {
		script, reason string
		args           []string
		want           string
	}{
		{"postgres.sh", "a server restores, and must not by etcd's word", []string{"-D", "/var/lib/postgresql/18/main", "--port=5432"}, "postgres -D /var/lib/postgresql/18/main --port=5432" + pins},
		{"postgres.sh", "only the first says what it is: what the configuration brings comes later", []string{"-D", "/data", "-c", "restore_command=touch hurt"}, "postgres -D /data -c restore_command=touch hurt" + pins},
		{"postgres.sh", "Patroni asks for it, and compares the answer", []string{"--version"}, "postgres --version"},
		{"postgres.sh", "crash recovery before a rewind: single mode takes a database at its end", []string{"--single", "-D", "/data", "template1"}, "postgres --single -D /data template1"},
		{"postgres.sh", "PostgreSQL itself says what is wrong", nil, "postgres"},
		{"pg_basebackup.sh", "all as it came", []string{"-D", "/a b", "--dbname", "host=x"}, "pg_basebackup -D /a b --dbname host=x"},
		{"pg_rewind.sh", "all as it came", []string{"--target-pgdata", "/data"}, "pg_rewind --target-pgdata /data"},
	}
	for _, tc := range tests {
		t.Run(tc.script+" "+strings.Join(tc.args, " "), func(t *testing.T) {
			m := packertest.New(t, lib)
			for _, program := range []string{"postgres", "pg_basebackup", "pg_rewind"} {
				m.Write(fmt.Sprintf("%s/postgresql/18/bin/%s", m.Etc, program), `#!/bin/sh
echo "${0##*/}${1:+ $*}"
echo "$PGREQUIREAUTH"
exit 7
`)
			}
			m.Env = append(m.Env, "PGHA_POSTGRESQL="+m.Etc+"/postgresql", "PGREQUIREAUTH=scram-sha-256,none")
			got := m.Boot(tc.script, tc.args...)
			if diff := cmp.Diff(tc.want+"\nscram-sha-256\n", got.Output); diff != "" || got.Status != 7 {
				t.Errorf("%s: status %d, want the program's own; -want +got:\n%s", tc.reason, got.Status, diff)
			}
		})
	}
}

// What a power cut leaves of a copy of the database is removed before Patroni starts
// again, and nothing else ever is.
func TestUnfinishedCopy(t *testing.T) {
	copying := func(m *packertest.Machine, folder, script string) packertest.Result {
		m.Write(m.Etc+"/postgresql/18/bin/pg_basebackup", "#!/bin/sh\n[ \"$PGREQUIREAUTH\" = scram-sha-256 ] || exit 9\n"+script)
		m.Env = append(m.Env, "PGHA_POSTGRESQL="+m.Etc+"/postgresql")
		return m.Boot("pg_basebackup.sh", "--pgdata="+folder, "-X", "stream")
	}
	for _, tt := range []struct {
		name, reason string
		script       string   // what copies
		data         []string // what is in the folder when Patroni starts
		kept         bool
	}{
		{"finished", "PostgreSQL starts with it", "exit 0", []string{"global/pg_control", "backup_label"}, true},
		{"failed", "Patroni has removed it, and what is there came later", "exit 1", []string{"global/pg_control", "backup_label"}, true},
		{"cut off", "Patroni would wait for ever beside it", "kill -9 $PPID", []string{"PG_VERSION", "base/1"}, false},
		{"cut off late", "its WAL is not there", "kill -9 $PPID", []string{"global/pg_control", "backup_label"}, false},
		{"started", "a database, whatever mark is there", "kill -9 $PPID", []string{"global/pg_control", "backup_label.old"}, true},
		{"nothing", "there was no time to begin", "kill -9 $PPID", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, data := node(t)
			folder := filepath.Join(data, "18", "main")
			testkit.OK(t, os.MkdirAll(filepath.Dir(folder), 0o755))
			got := copying(m, folder, tt.script)
			_, err := os.Stat(folder + ".unfinished")
			if left := err == nil; left != strings.HasPrefix(tt.script, "kill") || (got.Status == 0) != (tt.script == "exit 0") {
				t.Fatalf("%s: mark %v, status %d\n%s", tt.reason, left, got.Status, got.Output)
			}
			for _, name := range tt.data {
				m.Write(filepath.Join(folder, name), "x")
			}
			for range 2 { // a start of Patroni later, too
				if got := m.Boot("clone-clean.sh"); got.Status != 0 {
					t.Fatalf("%s: status %d\n%s", tt.reason, got.Status, got.Output)
				}
				if _, err := os.Stat(folder); (err == nil) != tt.kept {
					t.Errorf("%s: the folder: %v", tt.reason, err)
				}
			}
		})
	}
	t.Run("still made", func(t *testing.T) {
		m, data := node(t)
		folder := filepath.Join(data, "18", "main")
		m.Write(folder+"/base/1", "x")
		// It outlives Patroni: the start of the next one leaves it alone.
		if got := copying(m, folder, `"$PGHA_LIB"/clone-clean.sh`); got.Status != 0 {
			t.Fatal(got.Output)
		}
		if _, err := os.Stat(folder + "/base/1"); err != nil {
			t.Errorf("what somebody still writes was removed: %v", err)
		}
	})
}
