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

// well waits until status says that all is well, and gives what it says. What a
// machine has said of itself, the other nodes' Patroni tell up to a loop later.
func (u user) well(ctx context.Context) string {
	u.t.Helper()
	for deadline := time.Now().Add(labtest.Here(30 * time.Second)); ; time.Sleep(500 * time.Millisecond) {
		out, err := u.command(ctx, "status").Output()
		if err == nil && strings.Count(string(out), " ready ok ") == 7 {
			return string(out)
		}
		if time.Now().After(deadline) {
			u.t.Fatalf("status says (%v):\n%s", err, out)
		}
	}
}

// The lab as a new user would try it; then it is killed, and taken down.
func TestLab(t *testing.T) {
	u := newUser(t)
	ctx, cancel := labtest.Begin(t, 30*time.Second)
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

	out = u.well(ctx)
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
	// The machine that was replaced serves before it says that it is ready.
	u.well(ctx)

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

// secret: nobody but root reads a password, and nothing but the file has it.
func (u user) secret(r session.Record, said string) {
	u.t.Helper()
	info, err := os.Stat(u.folder.Passfile())
	if err != nil || info.Mode() != 0o600 {
		u.t.Fatalf("the passwords: %v, %v, want mode 0600", info, err)
	}
	password := password(u.t, u.folder)
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
	ctx, cancel := labtest.Begin(t, 15*time.Second)
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
	ctx, cancel := labtest.Begin(t, 15*time.Second)
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
