// Package packertest runs an image's boot scripts against services that exist
// only on this host's loopback.
package packertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgha-gen/internal/testkit"
)

// Machine is the part of a node that the boot scripts see, in a directory of
// the test's own.
type Machine struct {
	Etc, Run, Lib, State string
	// Env is what the scripts find in the environment, besides the paths.
	Env []string

	t                 *testing.T
	bin, cwd, console string
}

// New gives a machine with the scripts of these directories, whose sleep
// takes no time and ends the script at the fifth call, and whose /run is a
// tmpfs.
func New(t *testing.T, scripts ...string) *Machine {
	t.Helper()
	testkit.Need(t, "sh", "curl", "jq", "openssl")
	dir := t.TempDir()
	m := &Machine{
		Etc: filepath.Join(dir, "etc"), Run: filepath.Join(dir, "run"), Lib: filepath.Join(dir, "lib"),
		State: filepath.Join(dir, "state"),
		t:     t, bin: filepath.Join(dir, "bin"), cwd: filepath.Join(dir, "cwd"), console: filepath.Join(dir, "console"),
	}
	for _, d := range []string{m.Etc, m.Run, m.Lib, m.bin, m.cwd} {
		testkit.OK(t, os.Mkdir(d, 0o755))
	}
	for _, from := range scripts {
		files, err := filepath.Glob(filepath.Join(from, "*.sh"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no scripts in %s (%v)", from, err)
		}
		for _, f := range files {
			m.Write(filepath.Join(m.Lib, filepath.Base(f)), testkit.Text(t, f))
		}
	}
	m.Patience(4)
	m.Fake("stat", `[ "$1" = -f ] && exec echo tmpfs; exec "$(PATH=${PATH#*:} command -v stat)" "$@"`)
	if os.Getuid() != 0 {
		// Who is not root is the service's user already.
		m.Fake("setpriv", `while [ "$1" != -- ]; do shift; done; shift; exec "$@"`)
	}
	return m
}

// Patience lets sleep be called n times before it ends the script.
func (m *Machine) Patience(n int) {
	m.sleep(n, "")
}

// Later is Patience for 4 calls of sleep, each of which takes this long by the
// machine's clock.
func (m *Machine) Later(each time.Duration) {
	uptime := m.bin + "/uptime"
	m.Write(uptime, "100.00 150.00\n")
	m.Env = append(m.Env, "PGHA_UPTIME="+uptime)
	m.sleep(4, fmt.Sprintf(`; IFS=. read -r now rest <%[1]q; echo "$((now + %[2]d)).$rest" >%[1]q`, uptime, int(each.Seconds())))
}

func (m *Machine) sleep(patience int, then string) {
	m.Fake("sleep", fmt.Sprintf(`echo "$1" >>%[1]q; [ "$(wc -l <%[1]q)" -le %[2]d ] || kill "$PPID"%[3]s`, m.bin+"/slept", patience, then))
}

// Slept are the arguments of sleep so far.
func (m *Machine) Slept() string {
	return strings.Join(strings.Fields(m.Read(m.bin+"/slept")), " ")
}

// Fake puts a program before the real one of that name.
func (m *Machine) Fake(name, script string) {
	m.t.Helper()
	m.Write(filepath.Join(m.bin, name), "#!/bin/sh\n"+script+"\n")
}

// Write makes a file and its directories.
func (m *Machine) Write(path, text string) {
	m.t.Helper()
	testkit.OK(m.t, os.MkdirAll(filepath.Dir(path), 0o755))
	testkit.OK(m.t, os.WriteFile(path, []byte(text), 0o755))
}

// Read gives a file's text, or "" if there is none.
func (m *Machine) Read(path string) string {
	m.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.t.Fatal(err)
	}
	return string(text)
}

// Cluster writes cluster.env for demo-etcd-1..3, with these lines added.
func (m *Machine) Cluster(lines ...string) {
	m.t.Helper()
	m.Write(filepath.Join(m.Etc, "cluster.env"), strings.Join(append([]string{
		"PGHA_CONTRACT=1", "PGHA_ROLE=etcd", "PGHA_TOKEN=demo-1a2b3c4d",
		"PGHA_NODES='demo-etcd-1=10.128.0.26 demo-etcd-2=10.129.0.27 demo-etcd-3'", "PGHA_SERVICE=etcd.service", "PGHA_SERVICE_USER=" + user(m.t),
	}, lines...), "\n")+"\n")
}

// Identity writes identity.env for demo-etcd-1.
func (m *Machine) Identity() {
	m.t.Helper()
	m.Write(filepath.Join(m.Run, "identity.env"),
		"NODE_NAME=demo-etcd-1\nNODE_FQDN=demo-etcd-1.ru-central1.internal\nNODE_ADDRESS=127.0.0.1\nNODE_ZONE=ru-central1-a\n")
}

// Result is how a script ended.
type Result struct {
	Status int
	// Console is what it said there, without the times.
	Console string
	// Output is everything it printed.
	Output string

	console []string // its lines, with the times
}

// Once is the console without what a step said again after 15 s (again in step.sh),
// as it does when its tries take long on a busy host. What is said again sooner stays.
func (r Result) Once() string {
	const again = 14 * time.Second // it counts whole seconds
	at := func(line string) (ms int64) {
		fmt.Sscanf(line, "pgha: %d ", &ms)
		return ms
	}
	lines := slices.CompactFunc(slices.Clone(r.console), func(later, line string) bool {
		return when.ReplaceAllString(later, "") == when.ReplaceAllString(line, "") && at(later)-at(line) >= again.Milliseconds()
	})
	return when.ReplaceAllString(strings.Join(lines, ""), "")
}

var when = regexp.MustCompile(`(?m)^pgha: \d{13} `)

// Boot runs a script of the machine with these arguments.
func (m *Machine) Boot(script string, args ...string) Result {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	testkit.OK(m.t, os.WriteFile(m.console, nil, 0o600))
	cmd := exec.CommandContext(ctx, "sh", append([]string{filepath.Join(m.Lib, script)}, args...)...)
	cmd.Dir = m.cwd
	cmd.Env = append([]string{
		"PATH=" + m.bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
		"PGHA_ETC=" + m.Etc, "PGHA_RUN=" + m.Run, "PGHA_LIB=" + m.Lib, "PGHA_STATE=" + m.State, "PGHA_CONSOLE=" + m.console,
	}, m.Env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		m.t.Fatalf("%s: %v %v\n%s", script, err, ctx.Err(), out.String())
	}
	// What a hostile file has in its lines is touch hurt.
	if left, err := os.ReadDir(m.cwd); err != nil || len(left) > 0 {
		m.t.Errorf("%s left %v in its working directory (%v): a command was run that a file brought", script, left, err)
	}
	console := m.Read(m.console)
	return Result{
		Status:  cmd.ProcessState.ExitCode(),
		Console: when.ReplaceAllString(console, ""),
		Output:  out.String(),
		console: strings.SplitAfter(console, "\n"),
	}
}

// Serve starts a metadata service with these values; a value of the form
// "HTTP 503" is an answer of that status. It tells the machine where it is.
func (m *Machine) Serve(values map[string]string) {
	m.t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		value, ok := values[strings.TrimPrefix(r.URL.Path, "/computeMetadata/v1/")]
		var status int
		switch n, _ := fmt.Sscanf(value, "HTTP %d", &status); {
		case r.Header.Get("Metadata-Flavor") != "Google":
			http.Error(w, "no flavor", http.StatusForbidden)
		case !ok:
			http.NotFound(w, r)
		case n == 1:
			w.WriteHeader(status)
		default:
			fmt.Fprint(w, value)
		}
	}))
	m.t.Cleanup(s.Close)
	m.Env = append(m.Env, "PGHA_METADATA="+s.URL)
}

// User is a user of this host that can stand for a service's.
type User struct{ UID, GID int }

// LookUp finds a user of this host, or skips the test.
func LookUp(t testing.TB, name string) User {
	t.Helper()
	u, err := osuser.Lookup(name)
	if err != nil {
		testkit.Missing(t, "%v", err)
	}
	var found User
	if _, err := fmt.Sscan(u.Uid+" "+u.Gid, &found.UID, &found.GID); err != nil {
		t.Fatal(err)
	}
	return found
}

// Owner is who a file belongs to, as uid:gid.
func Owner(info fs.FileInfo) string {
	s := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", s.Uid, s.Gid)
}

// Give gives a file, or a directory with all in it, to a user.
func (m *Machine) Give(path string, to User) {
	m.t.Helper()
	err := filepath.WalkDir(path, func(p string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(p, to.UID, to.GID))
	})
	testkit.OK(m.t, err)
}

// Age makes a file as old as if it had been written so many minutes ago.
func (m *Machine) Age(path string, minutes int) {
	m.t.Helper()
	then := time.Now().Add(-time.Duration(minutes) * time.Minute)
	testkit.OK(m.t, os.Chtimes(path, then, then))
}

// Open lets every user get to a path, through the test's own directories.
func (m *Machine) Open(path string) {
	m.t.Helper()
	for dir := filepath.Dir(path); strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		testkit.OK(m.t, os.Chmod(dir, 0o755))
	}
}

// Nowhere is a URL at which nobody listens.
const Nowhere = "http://127.0.0.1:1"

// user is who runs the test, and so can stand for a service's user.
func user(t testing.TB) string {
	t.Helper()
	me, err := osuser.Current()
	testkit.OK(t, err)
	return me.Username
}
