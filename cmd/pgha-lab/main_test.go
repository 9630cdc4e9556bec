//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/lab/labtest"
)

// build gives the command as people have it: up starts it a second time.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "pgha-lab")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// Refusals are one sentence, on standard error, and change nothing.
func TestRefusals(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lab")
	example := "../../docs/reference.yaml"
	tests := []struct {
		name, reason string
		args         []string
		status       int
		want         string
		root         bool // without it, that is what is refused
	}{
		{"no command", "there is nothing to do", nil, cli.Usage, "no command given (see pgha-lab --help)", false},
		{"unknown", "a misspelt command", []string{"dwon"}, cli.Usage, `unknown command "dwon" (did you mean down?)`, false},
		{"flag", "a misspelt flag", []string{"up", "--fiel", "x"}, cli.Usage, "unknown flag: --fiel (see pgha-lab up --help)", false},
		{"argument", "the spec is a flag's", []string{"up", "x.yaml"}, cli.Usage, `up takes no argument, but got "x.yaml" (-f names the spec)`, false},
		{"argument of down", "it has no spec", []string{"down", "x"}, cli.Usage, `down takes no argument, but got "x"`, false},
		{"no folder", "an unset variable", []string{"up", "-f", example, "--dir", ""}, cli.Usage, "--dir needs a folder", false},
		{"folder", "an overlay's options cannot name it", []string{"up", "-f", example, "--dir", "/tmp/a:b"}, cli.Usage, `--dir "/tmp/a:b": want a path without colon, comma and backslash`, false},
		{"network", "interfaces' names are short", []string{"up", "-f", example, "--network", "much-too-long"}, cli.Usage, `--network "much-too-long": want a name of at most 8 characters`, false},
		{"no spec", "it is not in this folder", []string{"up"}, cli.Wrong, `there is no file "pgha.yaml" (pgha-gen init writes pgha.yaml; -f names another)`, false},
		{"etcd", "started outside of the project", []string{"image", "-f", example, "--etcd", "/nowhere"}, cli.Wrong,
			`"/nowhere" is not the Go module that pins etcd: run this in the project's folder, or --etcd names its lab/etcd`, true},
		{"status", "no lab is up", []string{"status"}, cli.Wrong, "no lab is up in " + dir + " (pgha-lab --dir " + dir + " up starts one)", true},
		{"run", "there is nothing to run", []string{"run"}, cli.Usage, "run needs a command (as in: run -- pgha-gen cluster status)", false},
		{"delete", "which one?", []string{"delete"}, cli.Usage, "delete needs the name of a node", false},
		{"grow", "by how much?", []string{"grow", "demo-pg-1"}, cli.Usage, "grow needs a node and a size (as in: grow demo-pg-1 200GB)", false},
		{"grow to nothing", "that is no size", []string{"grow", "demo-pg-1", "much"}, cli.Wrong, `want a size such as 512MB or 8GB, have "much"`, false},
		{"refresh", "it is not in this folder", []string{"refresh"}, cli.Wrong, `there is no file "pgha.yaml" (pgha-gen init writes pgha.yaml; -f names another)`, false},
		{"refresh without a lab", "no lab is up", []string{"refresh", "-f", example}, cli.Wrong, "no lab is up in " + dir + " (pgha-lab --dir " + dir + " up starts one)", true},
		{"psql", "no lab is up", []string{"psql"}, cli.Wrong, "no lab is up in " + dir + " (pgha-lab --dir " + dir + " up starts one)", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.root {
				labtest.Need(t, "mmdebstrap", "systemd-nspawn", "ip")
			}
			var out, err bytes.Buffer
			status := run(t.Context(), "pgha-lab", append([]string{"--dir", dir}, test.args...), strings.NewReader(""), &out, &err)
			if status != test.status || err.String() != "pgha-lab: "+test.want+"\n" || out.Len() > 0 {
				t.Errorf("%s: status %d, %q, %q\nwant %d, %q", test.reason, status, err.String(), out.String(), test.status, test.want)
			}
		})
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a refusal made the folder")
	}
}

// A folder of somebody else is neither used nor believed.
func TestForeignFolder(t *testing.T) {
	labtest.Need(t, "mmdebstrap", "systemd-nspawn", "ip", "go")
	dir := filepath.Join(t.TempDir(), "lab")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "lab.json"), []byte(`{"Phase": "up"}`), 0o644), os.Chown(dir, 1234, 1234)); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("pgha-lab: %q belongs to user 1234, who may have put anything there (remove it, or name another folder)\n", dir)
	for _, args := range [][]string{
		{"up", "-f", "../../docs/reference.yaml", "--etcd", "../../lab/etcd"}, {"image", "-f", "../../docs/reference.yaml", "--etcd", "../../lab/etcd"},
		{"status"}, {"psql"}, {"run", "true"}, {"refresh", "-f", "../../docs/reference.yaml"}, {"delete", "demo-pg-4"}, {"down"}, {"down", "--purge"},
	} {
		var out, err bytes.Buffer
		status := run(t.Context(), "pgha-lab", append([]string{"--dir", dir}, args...), strings.NewReader(""), &out, &err)
		if status != cli.Wrong || err.String() != want || out.Len() > 0 {
			t.Errorf("%v: status %d, %q, %q, want %q", args, status, err.String(), out.String(), want)
		}
	}
	if left, err := os.ReadDir(dir); len(left) != 1 || err != nil {
		t.Errorf("the folder changed: %v, %v", left, err)
	}
}

// Problems of the spec are shown at their places, a line each.
func TestSpec(t *testing.T) {
	var out, err bytes.Buffer
	status := run(t.Context(), "pgha-lab", []string{"up", "-f", "-"}, strings.NewReader("format: pgha/v1\nnmae: x\n"), &out, &err)
	if want := "<stdin>:2:1: nmae: unknown key (did you mean name?)\n"; status != cli.Wrong || !strings.Contains(err.String(), want) {
		t.Errorf("status %d, %q, want %q in it", status, err.String(), want)
	}
}

func TestNotRoot(t *testing.T) {
	bin := build(t)
	example, err := filepath.Abs("../../docs/reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"up", "-f", "-"}, {"status"}, {"psql"}, {"down"}} {
		spec, err := os.Open(example)
		if err != nil {
			t.Fatal(err)
		}
		defer spec.Close()
		cmd := exec.Command(bin, args...)
		if os.Getuid() == 0 {
			if _, err := exec.LookPath("setpriv"); err != nil {
				t.Skip("no setpriv (util-linux), by which root becomes another user")
			}
			// Another user cannot reach the test's folder: the shell opens
			// the program before.
			cmd = exec.Command("setpriv", append([]string{"--reuid=65534", "--clear-groups", "--", "/proc/self/fd/3"}, args...)...)
			program, err := os.Open(bin)
			if err != nil {
				t.Fatal(err)
			}
			defer program.Close()
			cmd.ExtraFiles = []*os.File{program}
		}
		cmd.Stdin = spec
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "as root") || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%v: %v, %q, want one sentence that says root", args, err, out)
		}
	}
}
