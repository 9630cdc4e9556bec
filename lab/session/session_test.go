//go:build linux

package session

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/bootlog"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/client"
)

// The test program holds a lock when it is told to: a process does not see its
// own locks.
func TestMain(m *testing.M) {
	if path := os.Getenv("TEST_ONLY_HOLD"); path != "" {
		if _, err := take(path, "test"); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("held")
		time.Sleep(time.Minute)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

func hold(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TEST_ONLY_HOLD="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the other process says %q", line)
	}
	return cmd
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if pid, err := holder(path); pid != 0 || err != nil {
		t.Errorf("a lock that was never taken is held by %d, %v", pid, err)
	}
	if pid, err := end(t.Context(), path); pid != 0 || err != nil {
		t.Errorf("nobody was ended: %d, %v", pid, err)
	}
	other := hold(t, path)
	if pid, err := holder(path); pid != other.Process.Pid || err != nil {
		t.Errorf("held by %d, %v, want %d", pid, err, other.Process.Pid)
	}
	_, err := take(path, "somebody is here")
	var taken *TakenError
	if !errors.As(err, &taken) || taken.PID != other.Process.Pid {
		t.Fatalf("have %v, want a refusal that names %d", err, other.Process.Pid)
	}
	if want := fmt.Sprintf("somebody is here (process %d): take it down first (pgha-lab down)", other.Process.Pid); err.Error() != want {
		t.Errorf("have %q, want %q", err, want)
	}
	pid, err := end(t.Context(), path)
	if pid != other.Process.Pid || err != nil {
		t.Errorf("ended %d, %v, want %d", pid, err, other.Process.Pid)
	}
	if state, _ := other.Process.Wait(); state == nil || state.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("it ended by %v, want SIGTERM", state)
	}
	// A file that names a process is not enough to be ended for.
	if err := os.WriteFile(path, fmt.Appendln(nil, os.Getpid()), 0o600); err != nil {
		t.Fatal(err)
	}
	if pid, err := end(t.Context(), path); pid != 0 || err != nil {
		t.Errorf("ended %d, %v for a file that nobody holds", pid, err)
	}
	killed := hold(t, path)
	killed.Process.Kill()
	killed.Wait()
	l, err := take(path, "")
	if err != nil {
		t.Fatalf("a lock outlives its process: %v", err)
	}
	l.drop()
	if l, err = take(path, ""); err != nil {
		t.Fatalf("a lock that was dropped cannot be taken again: %v", err)
	}
	defer l.give()
	if !current(l.file) {
		t.Errorf("the lock is on another file than %s", path)
	}
	os.Remove(path)
	if current(l.file) {
		t.Error("a removed file counts as the lock")
	}
}

func TestLockIsWaitedForNoLongerThanAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	other := hold(t, path)
	// A stopped process takes no SIGTERM.
	other.Process.Signal(syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if pid, err := end(ctx, path); pid != other.Process.Pid || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("have %d, %v, want the deadline's error", pid, err)
	}
}

func TestCheck(t *testing.T) {
	has := func(programs ...string) func(string) (string, error) {
		return func(name string) (string, error) {
			for _, p := range programs {
				if p == name {
					return "/bin/" + p, nil
				}
			}
			return "", exec.ErrNotFound
		}
	}
	all := has("ip", "systemd-nspawn", "mmdebstrap", "go")
	tests := []struct {
		name, reason string
		host         Host
		want         string
	}{
		{"good", "nothing is missing", Host{0, all, true}, ""},
		{"user", "machines need root", Host{1000, all, true}, "the lab starts machines and networks: run it as root"},
		{"cgroups", "an old host", Host{0, all, false}, "the lab's machines need cgroup version 2, and it is not mounted on this host"},
		{"packages", "each is named, with the line that installs it", Host{0, has("mmdebstrap"), true},
			"this host has no ip, systemd-nspawn: apt-get install iproute2 systemd-container"},
		{"go", "Debian's may be too old", Host{0, has("ip", "systemd-nspawn", "mmdebstrap"), true},
			"this host has no go, which builds a program for the lab: see https://go.dev/doc/install"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if err := test.host.Check(); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

func TestPsql(t *testing.T) {
	none := func(string) (string, error) { return "", exec.ErrNotFound }
	root := t.TempDir()
	if _, err := Psql(none, ""); err == nil || !strings.Contains(err.Error(), "apt-get install postgresql-client") {
		t.Errorf("have %v, want what to install", err)
	}
	if _, err := Psql(none, root); err == nil || !strings.Contains(err.Error(), "apt-get install postgresql-client") {
		t.Errorf("have %v, want what to install", err)
	}
	for _, file := range []string{"lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu/libpq.so.5", "usr/lib/postgresql/18/bin/psql"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(root, file)), 0o755), os.WriteFile(filepath.Join(root, file), nil, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Psql(none, root)
	want := []string{root + "/lib64/ld-linux-x86-64.so.2", "--library-path", root + "/usr/lib/x86_64-linux-gnu", root + "/usr/lib/postgresql/18/bin/psql"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	host := func(string) (string, error) { return "/usr/bin/psql", nil }
	if got, err := Psql(host, root); err != nil || len(got) != 1 {
		t.Errorf("have %v, %v, want the host's own", got, err)
	}
}

func at(ms int) time.Time { return time.UnixMilli(1795383740000 + int64(ms)) }

func example() Record {
	step := func(ms int, name, status, detail string) bootlog.Step {
		return bootlog.Step{At: at(ms), Name: name, Status: status, Detail: detail}
	}
	return Record{
		PID: 42, Cluster: "demo", Network: "pgha", Cache: "/cache", Phase: Up, PoweredOn: at(0), FirstWrite: at(10040),
		Progress: []Progress{{at(-9000), "image of etcd", "is there after 8.2 s"}, {at(-500), "image of patroni", "is there"}},
		Machines: []Machine{
			{Name: "demo-etcd-1", Role: "etcd", Address: netip.MustParseAddr("10.128.0.26"),
				Steps: []bootlog.Step{step(800, "systemd", "ok", ""), step(7000, "ready", "ok", "etcd answers at https://10.128.0.26:2379")}},
			{Name: "demo-pg-1", Role: "patroni", Address: netip.MustParseAddr("10.128.0.21"),
				Steps: []bootlog.Step{step(9100, "ready", "ok", "PostgreSQL: primary running")}},
			{Name: "demo-pg-2", Role: "patroni", Address: netip.MustParseAddr("10.128.0.22"),
				Steps: []bootlog.Step{step(6900, "ready", "wait", "PostgreSQL is not there yet: uninitialized stopped")}},
			{Name: "demo-pg-3", Role: "patroni", Address: netip.MustParseAddr("10.128.0.23"), Off: true,
				Steps: []bootlog.Step{step(9000, "ready", "ok", "PostgreSQL: replica running")}},
			{Name: "demo-haproxy-1", Role: "haproxy", Address: netip.MustParseAddr("10.128.0.40")},
		},
	}
}

func TestShow(t *testing.T) {
	members := []client.Member{{Name: "demo-pg-1", Role: "leader", State: "running"},
		{Name: "demo-pg-2", Role: "quorum_standby", State: "streaming", Lag: "1024"},
		{Name: "demo-pg-3", Role: "replica", State: "stopped", Lag: "unknown"}}
	for name, got := range map[string]string{
		"table.txt":  example().Table(0),
		"narrow.txt": example().Table(60),
		"status.txt": example().Status(members, 0),
		"lines.txt":  strings.Join(example().Lines(Record{}), "\n") + "\n",
	} {
		testkit.Golden(t, name, got)
	}
}

func TestLinesSaysThingsOnce(t *testing.T) {
	before, now := example(), example()
	before.Progress = []Progress{before.Progress[0], {at(-500), "image of patroni", ""}}
	before.Machines[0].Steps = before.Machines[0].Steps[:1]
	before.FirstWrite = time.Time{}
	want := []string{"image of patroni: is there", "  7.0 s  demo-etcd-1 ready ok etcd answers at https://10.128.0.26:2379", " 10.0 s  a write is acknowledged"}
	if diff := cmp.Diff(want, now.Lines(before)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := now.Lines(now); len(got) > 0 {
		t.Errorf("nothing happened, but it says %q", got)
	}
	if got := before.Doing(at(1600)); got != "image of patroni: 2 s" {
		t.Errorf("it is doing %q", got)
	}
	if got := now.Doing(at(0)); got != "" {
		t.Errorf("nothing is being done, but it says %q", got)
	}
}

// A machine that says something of its disk later is ready all the same.
func TestReadyStays(t *testing.T) {
	ready := bootlog.Step{Name: "ready", Status: "ok", At: at(9000)}
	for _, test := range []struct {
		name  string
		steps []bootlog.Step
		off   bool
		want  bool
	}{
		{"ready", []bootlog.Step{ready}, false, true},
		{"warns later", []bootlog.Step{ready, {Name: "disk", Status: "warn", At: at(9900)}}, false, true},
		{"warns before", []bootlog.Step{{Name: "certificates", Status: "warn", At: at(8000)}}, false, false},
		{"off", []bootlog.Step{ready}, true, false},
	} {
		r := Record{Machines: []Machine{{Name: "a", Steps: test.steps, Off: test.off}}}
		if got := r.Machines[0].Ready(); got != test.want {
			t.Errorf("%s: ready %t, want %t", test.name, got, test.want)
		}
		if got := r.AllReady(); test.want && !got.Equal(at(9000)) || !test.want && !got.IsZero() {
			t.Errorf("%s: all ready at %s", test.name, got)
		}
	}
}

func TestTrouble(t *testing.T) {
	ready := Record{Machines: []Machine{{Name: "a", Steps: []bootlog.Step{{Name: "ready", Status: "ok"}}}}}
	leader := client.Member{Name: "a", Role: "leader", State: "running"}
	tests := []struct {
		name, reason string
		record       Record
		members      []client.Member
		want         string
	}{
		{"well", "all is as it should be", ready, []client.Member{leader}, ""},
		{"early", "images are baked", Record{}, nil, "there are no machines yet"},
		{"unready", "one waits, one is off, one said nothing", example(), nil, "not ready: demo-pg-2, demo-pg-3, demo-haproxy-1"},
		{"no leader", "a failover is under way", ready, nil, "the cluster has 0 leaders"},
		{"stopped", "its PostgreSQL, not its machine", ready, []client.Member{leader, {Name: "b", State: "stopped"}}, "b is stopped"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.record.Trouble(test.members)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

func TestRecord(t *testing.T) {
	f := Folder(t.TempDir())
	if _, ok, err := f.Load(); ok || err != nil {
		t.Errorf("an empty folder has a record: %v, %v", ok, err)
	}
	if err := f.save(example()); err != nil {
		t.Fatal(err)
	}
	got, ok, err := f.Load()
	if !ok || err != nil {
		t.Fatalf("the record is lost: %v, %v", ok, err)
	}
	if network, cache := f.recorded("n", "c"); network != "pgha" || cache != "/cache" {
		t.Errorf("the record names network %q and cache %q", network, cache)
	}
	addresses := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if diff := cmp.Diff(example(), got, addresses); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := os.WriteFile(f.path("lab.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Load(); err == nil || !strings.Contains(err.Error(), "lab.json is damaged") {
		t.Errorf("have %v, want a refusal of a damaged record", err)
	}
	if network, cache := f.recorded("n", "c"); network != "n" || cache != "c" {
		t.Errorf("a damaged record names network %q and cache %q", network, cache)
	}
}

// Purge removes what is the lab's, and nothing else.
func TestPurge(t *testing.T) {
	f := Folder(filepath.Join(t.TempDir(), "lab"))
	if err := f.Purge(); err != nil {
		t.Errorf("a folder that is not there: %v", err)
	}
	for _, name := range []string{"machines/a/console.log", "cache/image-1/etc/passwd", "lab.json", "pgpass", "mine"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(f.path(name)), 0o755), os.WriteFile(f.path(name), nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	other := hold(t, f.path("lock"))
	var taken *TakenError
	if err := f.Purge(); !errors.As(err, &taken) {
		t.Errorf("have %v, want a refusal while a lab is up", err)
	}
	other.Process.Kill()
	other.Wait()
	if err := f.Purge(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(string(f))
	if err != nil || len(left) != 1 || left[0].Name() != "mine" {
		t.Errorf("left is %v, %v, want what the lab did not write", left, err)
	}
	os.Remove(f.path("mine"))
	if err := f.Purge(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(string(f)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty folder stays: %v", err)
	}
}

func TestInventory(t *testing.T) {
	got := Inventory{1, []string{"a", "b"}, []string{"n"}, nil, 1}.String() + "; " + Inventory{}.String()
	if want := "process 1, 2 machines, 1 network namespace, 1 unfinished image; nothing"; got != want {
		t.Errorf("have %q, want %q", got, want)
	}
}

func TestLast(t *testing.T) {
	step := func(name, status string) bootlog.Step { return bootlog.Step{Name: name, Status: status} }
	ready := step("ready", "ok")
	for _, test := range []struct {
		name, reason string
		steps        []bootlog.Step
		want         bootlog.Step
	}{
		{"none", "it was never powered on", nil, bootlog.Step{}},
		{"booting", "the newest says how far it is", []bootlog.Step{step("contract", "ok"), step("identity", "ok")}, step("identity", "ok")},
		{"ready", "what goes well later tells nothing", []bootlog.Step{ready, step("converge", "ok"), step("refresh", "ok")}, ready},
		{"trouble", "what does not, does", []bootlog.Step{ready, step("refresh", "fail")}, step("refresh", "fail")},
		{"mended", "and that it is over", []bootlog.Step{ready, step("refresh", "fail"), step("refresh", "ok")}, step("refresh", "ok")},
	} {
		if got := (Machine{Steps: test.steps}).Last(); got != test.want {
			t.Errorf("%s: %v, want %v: %s", test.name, got, test.want, test.reason)
		}
	}
}
