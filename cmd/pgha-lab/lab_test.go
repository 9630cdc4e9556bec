//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/isolate"
	"pgha-gen/lab/labtest"
	"pgha-gen/lab/machine"
	"pgha-gen/lab/netns"
	"pgha-gen/lab/session"
)

// user is a person at a shell with a lab.
type user struct {
	t       *testing.T
	bin     string
	folder  session.Folder
	network string
}

func newUser(t *testing.T) user {
	t.Helper()
	labtest.Need(t, "mmdebstrap", "systemd-nspawn", "ip", "go")
	// These tests may run twice at once on one host.
	network := fmt.Sprintf("pgha%04x", os.Getpid()&0xffff)
	u := user{t, build(t), session.Folder(filepath.Join(labtest.State(t), "lab")), network}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(u.folder.Log())
			t.Logf("lab.log:\n%s", log)
		}
		u.command(context.Background(), "down").Run()
	})
	return u
}

func (u user) command(ctx context.Context, args ...string) *exec.Cmd {
	flags := []string{"--dir", string(u.folder), "--cache", labtest.Cache, "--network", u.network}
	return exec.CommandContext(ctx, u.bin, append(flags, args...)...)
}

func (u user) up(ctx context.Context) *exec.Cmd {
	return u.command(ctx, "up", "-f", "../../docs/reference.yaml", "--etcd", "../../lab/etcd")
}

// does runs a command that must end with this status, and gives what it says.
func (u user) does(status int, args ...string) (out, err string) {
	u.t.Helper()
	return u.ends(status, u.command(u.t.Context(), args...))
}

func (u user) ends(status int, cmd *exec.Cmd) (out, err string) {
	u.t.Helper()
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	failure := cmd.Run()
	var exit *exec.ExitError
	if failure != nil && !errors.As(failure, &exit) {
		u.t.Fatal(failure)
	}
	if got := cmd.ProcessState.ExitCode(); got != status {
		u.t.Fatalf("%q: status %d, want %d\n%s\n%s", cmd.Args[7:], got, status, o.String(), e.String())
	}
	return o.String(), e.String()
}

// nothingLeft looks by itself, not through the command: at processes, cgroups,
// namespaces, mounts and loop devices.
func (u user) nothingLeft() {
	u.t.Helper()
	states, err := filepath.Glob(filepath.Join(string(u.folder), "machines", "demo-*"))
	if err != nil {
		u.t.Fatal(err)
	}
	if len(states) != 7 {
		u.t.Errorf("there are traces of %d machines, want 7: this looks at nothing", len(states))
	}
	for _, state := range states {
		group, err := isolate.Find(machine.ID(state))
		if err != nil {
			u.t.Fatal(err)
		}
		if busy, err := group.Busy(); busy || err != nil {
			u.t.Errorf("%s still runs (%v)", state, err)
		}
	}
	if left, err := netns.Leftovers(u.network); len(left) > 0 || err != nil {
		u.t.Errorf("namespaces are left: %v (%v)", left, err)
	}
	if left, err := machine.Loops(string(u.folder)); len(left) > 0 || err != nil {
		u.t.Errorf("loop devices are left: %v (%v)", left, err)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		u.t.Fatal(err)
	}
	for _, file := range processes {
		command, _ := os.ReadFile(file) // it may have ended
		if bytes.Contains(command, []byte(u.folder)) {
			u.t.Errorf("a process is left: %q", command)
		}
		mounts, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "mountinfo"))
		if bytes.Contains(mounts, []byte(u.folder)) {
			u.t.Errorf("a mount is left in the namespace of %q", command)
		}
	}
}

// The lab as a new user would try it; then it is killed, and taken down.
func TestLab(t *testing.T) {
	u := newUser(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	began := time.Now()
	out, progress := u.ends(0, u.up(ctx))
	t.Logf("up took %.1f s and says:\n%s", time.Since(began).Seconds(), out)
	if n := strings.Count(out, " ready ok "); n != 7 {
		t.Errorf("%d machines are ready, want 7", n)
	}
	if !strings.Contains(out, "\nfirst acknowledged write: ") || !strings.Contains(progress, " demo-pg-1 secrets ok ") {
		t.Errorf("it does not say what it did:\n%s", progress)
	}

	out, _ = u.does(0, "status")
	if strings.Count(out, " leader ") != 1 {
		t.Errorf("status shows no leader, or several:\n%s", out)
	}
	r, _, err := u.folder.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{u.folder.Timeline(), u.folder.CA()} {
		if data, err := os.ReadFile(file); err != nil || len(data) == 0 {
			t.Errorf("%s: %d bytes, %v", file, len(data), err)
		}
	}
	u.secret(r, out+progress)

	for _, psql := range [][]string{{"psql"}, {"psql", "--replicas"}} {
		cmd := u.command(ctx, append(psql, "--", "-Atc", "SELECT 1")...)
		cmd.Env = append(os.Environ(), "PATH="+t.TempDir()) // no psql: the image's is run
		if out, _ := u.ends(0, cmd); out != "1\n" {
			t.Errorf("%v says %q, want 1", psql, out)
		}
	}
	if out, _ := u.does(0, "psql", "--", "-AtXc", "SELECT count(*) > 0 FROM pgha_lab"); out != "t\n" {
		t.Errorf("the first write is not there: %q", out)
	}
	if _, said := u.ends(1, u.up(ctx)); said != fmt.Sprintf("pgha-lab: a lab is up in %s (process %d): take it down first (pgha-lab down)\n", u.folder, r.PID) {
		t.Errorf("a second up says %q", said)
	}
	other := u
	other.folder = session.Folder(filepath.Join(labtest.State(t), "other"))
	if _, said := other.ends(1, other.up(ctx)); !strings.Contains(said, fmt.Sprintf("a lab in another folder has the network %q", u.network)) {
		t.Errorf("up with the same network says %q", said)
	}
	if _, said := other.does(0, "down"); said != "pgha-lab: no lab was there\n" {
		t.Errorf("down in another folder says %q", said)
	}

	results := t.TempDir()
	if _, said := u.ends(1, u.command(ctx, "drill", "--failover", "safe")); said != "pgha-lab: the lab that is up has the failover and durability of its spec (take it down first: pgha-lab down)\n" {
		t.Errorf("a drill with another preset says %q", said)
	}
	out, _ = u.does(0, "drill", "haproxy-restart", "etcd-follower-replaced", "--results", results)
	t.Logf("a drill of the lab that is up:\n%s", out)
	if !strings.HasPrefix(out, "haproxy-restart 1: ") || !strings.Contains(out, "\netcd-follower-replaced 1: ") || !strings.HasSuffix(out, "report.html\n") {
		t.Errorf("a drill says:\n%s", out)
	}
	if again, _ := u.does(0, "drill", "haproxy-restart", "--results", results); strings.Contains(again, "haproxy-restart 1") {
		t.Errorf("a round that is kept is run again:\n%s", again)
	}
	if out, _ := u.does(0, "status"); strings.Count(out, " ready ok ") != 7 {
		t.Errorf("after a drill, status says:\n%s", out)
	}

	if err := syscall.Kill(r.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for pid := r.PID; pid != 0 && ctx.Err() == nil; time.Sleep(time.Millisecond) {
		if pid, err = u.folder.Keeper(); err != nil {
			t.Fatal(err)
		}
	}
	if _, said := u.does(1, "status"); !strings.Contains(said, " died (") {
		t.Errorf("status of a lab that died says %q", said)
	}
	_, said := u.does(0, "down")
	if !strings.HasPrefix(said, "pgha-lab: removed ") || !strings.Contains(said, "8 network namespaces") {
		t.Errorf("down says %q", said)
	}
	t.Logf("after SIGKILL: %s", said)
	u.nothingLeft()
	if _, said := u.does(0, "down"); said != "pgha-lab: no lab was there\n" {
		t.Errorf("down once more says %q", said)
	}
}

// A changed spec reaches the machines of a lab that is up: as an operator would
// try it, who adds a node and takes it out again.
func TestRefresh(t *testing.T) {
	u := newUser(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	u.ends(0, u.up(ctx))
	if _, said := u.does(0, "run", "--", "true"); !strings.Contains(said, "access.operators does not admit 10.128.0.1: ") {
		t.Errorf("an operator whom nobody admits is told %q", said)
	}
	spec := func(name string, edits ...string) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(demo.Spec(t, edits...)), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	const last = "      - {name: demo-pg-3, zone: ru-central1-a, address: 10.128.0.23}\n"
	operators := "operators: [] #=>operators: [10.128.0.0/29] #"
	four := spec("four.yaml", operators, last+"=>"+last+"      - {name: demo-pg-4, zone: ru-central1-a, address: 10.128.0.24}\n")

	began := time.Now()
	out, said := u.does(0, "refresh", "-f", four)
	t.Logf("%.1f s until all machines have it in force\n%s", time.Since(began).Seconds(), out)
	for _, name := range []string{"demo-etcd-1", "demo-pg-1", "demo-pg-2", "demo-pg-3", "demo-haproxy-1"} {
		if !strings.Contains(out, name+" ok ") {
			t.Errorf("%s does not say that it has it", name)
		}
	}
	if said != "pgha-lab: demo-pg-4 is new, and powered on\n"+
		"pgha-lab: Lockbox has new secrets of patroni: machines without new user-data look for them within 6 minutes\n" {
		t.Errorf("it says %q", said)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		var status bytes.Buffer
		cmd := u.command(ctx, "status")
		cmd.Stdout = &status
		if cmd.Run() == nil && strings.Count(status.String(), " quorum standby, lag 0 B ") == 3 {
			t.Logf("%.1f s until demo-pg-4 is in the quorum", time.Since(began).Seconds())
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("demo-pg-4 does not join:\n%s", status.String())
		}
	}

	out, said = u.does(7, "run", "--", "sh", "-c", "pwd; ls pgha.yaml secrets/demo/operator; getent hosts demo-pg-4 | tr -s ' '; exit 7")
	want := u.folder.Work() + "\npgha.yaml\n\nsecrets/demo/operator:\nca.crt\noperator.crt\noperator.key\nrestapi.password\n10.128.0.24 demo-pg-4.ru-central1.internal\n"
	if out != want || said != "" {
		t.Errorf("run says %q, %q, want %q", out, said, want)
	}
	if _, said := u.does(1, "run", "no-such-program"); !strings.Contains(said, "cannot run no-such-program: ") {
		t.Errorf("run of nothing says %q", said)
	}

	if _, said := u.does(0, "grow", "demo-pg-4", "200GB"); said != "pgha-lab: the data disk of demo-pg-4 has 200GB\n" {
		t.Errorf("grow says %q", said)
	}
	if _, said := u.does(1, "grow", "demo-pg-4", "100GB"); !strings.HasSuffix(said, " bytes already (a disk can only become larger)\n") {
		t.Errorf("a smaller disk: %q", said)
	}
	if _, said := u.does(1, "grow", "demo-haproxy-1", "100GB"); said != "pgha-lab: demo-haproxy-1 has no data disk\n" {
		t.Errorf("no disk: %q", said)
	}

	for _, refused := range []struct{ name, want string }{
		{spec("other.yaml", "name: demo #=>name: demo2 #"), "the lab runs cluster demo-"},
		{spec("moved.yaml", operators, "address: 10.128.0.22}=>address: 10.128.0.99}"), "demo-pg-2 has the address 10.128.0.22"},
	} {
		if _, said := u.does(1, "refresh", "-f", refused.name); !strings.Contains(said, refused.want) {
			t.Errorf("%s: it says %q, want %q", refused.name, said, refused.want)
		}
	}
	if _, said := u.does(1, "delete", "demo-pg-4"); !strings.HasPrefix(said, "pgha-lab: demo-pg-4 is a node of the spec (") {
		t.Errorf("a node of the spec is deleted: %q", said)
	}
	out, said = u.does(0, "refresh", "-f", spec("three.yaml", operators))
	if !strings.HasPrefix(said, "pgha-lab: demo-pg-4 is not in the spec any more (") {
		t.Errorf("it says %q, %s", said, out)
	}
	if _, said := u.does(0, "delete", "demo-pg-4"); said != "pgha-lab: deleted the machine of demo-pg-4\n" {
		t.Errorf("delete says %q", said)
	}
	if out, _ := u.does(0, "status"); strings.Contains(out, "demo-pg-4") {
		t.Errorf("it is still there:\n%s", out)
	}
	if _, said := u.does(0, "refresh", "-f", spec("three.yaml", operators)); said != "pgha-lab: no machine has anything new\n" {
		t.Errorf("the same again says %q", said)
	}

	// Secrets are rotated where the operator has them, and go to Lockbox with a refresh.
	gen := filepath.Join(t.TempDir(), "pgha-gen")
	if out, err := exec.Command("go", "build", "-o", gen, "../pgha-gen").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// The operator's spec is the one in force.
	if out, _ := u.does(0, "run", "--", gen, "diff", "--running", "--exit-code"); !strings.HasSuffix(out, "\n7 of 7 machines work by the spec\n") {
		t.Errorf("in force is:\n%s", out)
	}
	was, password := testkit.Text(t, filepath.Join(u.folder.Secrets(), "demo", "etcd.json")), testkit.Text(t, u.folder.Passfile())
	u.does(0, "run", "--", gen, "secrets", "generate", "--rotate", "certificates", "--rotate", "passwords")
	if testkit.Text(t, filepath.Join(u.folder.Secrets(), "demo", "etcd.json")) == was {
		t.Error("nothing was rotated")
	}
	if _, said := u.does(0, "refresh", "-f", spec("three.yaml", operators)); said !=
		"pgha-lab: Lockbox has new secrets of etcd and patroni: machines without new user-data look for them within 6 minutes\n" {
		t.Errorf("after a rotation it says %q", said)
	}
	if testkit.Text(t, u.folder.Passfile()) == password {
		t.Error("the lab's own clients have the old password")
	}
	u.does(0, "down")
}

// secret: nobody but root reads a password, and nothing but the file has it.
func (u user) secret(r session.Record, said string) {
	u.t.Helper()
	info, err := os.Stat(u.folder.Passfile())
	if err != nil || info.Mode() != 0o600 {
		u.t.Fatalf("the passwords: %v, %v, want mode 0600", info, err)
	}
	data := testkit.Text(u.t, u.folder.Passfile())
	fields := strings.Split(strings.TrimSpace(data), ":")
	password := fields[len(fields)-1]
	if len(password) < 20 {
		u.t.Fatalf("a password of %d characters: this sees nothing", len(password))
	}
	for _, name := range []string{"lab.json", "lab.log", "bake.log", "timeline.svg", "timeline.txt"} {
		text, err := os.ReadFile(filepath.Join(string(u.folder), name))
		if err != nil || bytes.Contains(text, []byte(password)) {
			u.t.Errorf("%s has a password, or %v", name, err)
		}
	}
	command, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(r.PID), "cmdline"))
	if err != nil || bytes.Contains(command, []byte(password)) || strings.Contains(said, password) {
		u.t.Errorf("a password is on the screen or a command line, or %v", err)
	}
}

// booting starts up and returns while the machines boot.
func (u user) booting(ctx context.Context) (up *exec.Cmd, said *bytes.Buffer) {
	u.t.Helper()
	up, said = u.up(ctx), new(bytes.Buffer)
	up.Stderr = said
	if err := up.Start(); err != nil {
		u.t.Fatal(err)
	}
	for booting := false; !booting; time.Sleep(20 * time.Millisecond) {
		r, _, err := u.folder.Load()
		if err != nil || ctx.Err() != nil {
			u.t.Fatal(err, ctx.Err())
		}
		for _, m := range r.Machines {
			booting = booting || m.Last().Name == "identity"
		}
	}
	return up, said
}

// An interrupt in the middle of up takes everything down; down then removes the
// files.
func TestInterrupt(t *testing.T) {
	u := newUser(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	up, said := u.booting(ctx)
	if err := up.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err := up.Wait()
	if up.ProcessState.ExitCode() != 1 || !strings.HasSuffix(said.String(), "pgha-lab: interrupted, and everything was taken down\n") {
		t.Errorf("%v, and it says:\n%s", err, said)
	}
	u.nothingLeft()
	if _, said := u.does(0, "down", "--purge"); said != fmt.Sprintf("pgha-lab: no lab was there\npgha-lab: removed what the lab kept in %s\n", u.folder) {
		t.Errorf("down --purge says %q", said)
	}
	if _, err := os.Stat(string(u.folder)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder stays: %v", err)
	}
}

// A machine that ends while it boots ends up, which leaves nothing but what
// tells why.
func TestFailedUp(t *testing.T) {
	u := newUser(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	up, said := u.booting(ctx)
	group, err := isolate.Find(machine.ID(filepath.Join(string(u.folder), "machines", "demo-pg-2")))
	if err != nil {
		t.Fatal(err)
	}
	if err := group.Kill(); err != nil {
		t.Fatal(err)
	}
	err = up.Wait()
	want := "pgha-lab: demo-pg-2 ended before it was ready (the consoles are " + u.folder.Console("*") + ")\n"
	if up.ProcessState.ExitCode() != 1 || !strings.HasSuffix(said.String(), want) {
		t.Errorf("%v, and it says:\n%s\nwant at its end:\n%s", err, said, want)
	}
	u.nothingLeft()
	if _, err := os.Stat(u.folder.Timeline()); err != nil {
		t.Errorf("there is no timeline: %v", err)
	}
}
