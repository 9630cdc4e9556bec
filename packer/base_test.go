package packer_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
)

// shell runs a piece of shell with the bake's functions, none of which is called
// here that would change this host.
func shell(t *testing.T, piece string, env ...string) (status int, output string) {
	t.Helper()
	cmd := exec.Command("sh", "-euc", ". ./base.sh; . ./seal.sh; "+piece)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func TestResolve(t *testing.T) {
	testkit.Need(t, "sh", "awk")
	const offered = `printf '%s\n' ' patroni | 4.1.5-2 | http://mirror forky/main' ' patroni |  4.1.4+dfsg-1 | http://mirror old/main'`
	bin := t.TempDir()
	testkit.OK(t, os.WriteFile(bin+"/apt-cache", []byte("#!/bin/sh\n"+offered+"\n"), 0o755))
	tests := []struct {
		name, reason, version, want string
		status                      int
	}{
		{name: "newest", reason: "no version is asked for", version: "", want: "patroni\n"},
		{name: "upstream", reason: "the distribution's suffix is found", version: "4.1.5", want: "patroni=4.1.5-2\n"},
		{name: "repacked", reason: "another form of suffix", version: "4.1.4", want: "patroni=4.1.4+dfsg-1\n"},
		{name: "whole", reason: "the distribution's own version", version: "4.1.5-2", want: "patroni=4.1.5-2\n"},
		{name: "gone", reason: "4.1 is no beginning of 4.1.5", version: "4.1", status: 1,
			want: "bake: there is no version 4.1 of patroni (any more): the package lists have 4.1.5-2 4.1.4+dfsg-1; change the version in the spec, or bake from a mirror that keeps it\n"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			status, got := shell(t, `apt_get() { printf '%s\n' "$@" | tail -n 1; }; install_packages patroni=`+tc.version, "PATH="+bin+":"+os.Getenv("PATH"))
			if diff := cmp.Diff(tc.want, got); diff != "" || status != tc.status {
				t.Errorf("%s: status %d, want %d (-want +got):\n%s", tc.reason, status, tc.status, diff)
			}
		})
	}
}

func TestRefuseMisfits(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		testkit.OK(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	debian := write("debian", "ID=debian\nVERSION_ID=12\n")
	old := write("old", "ID=ubuntu\nVERSION_ID=22.04\n")
	manifest := write("manifest", "{\n  \"format\": \"pgha-image/v1\",\n  \"role\": \"patroni\",\n")
	nowhere := dir + "/nowhere"
	env := []string{"PGHA_ROLE=etcd", "PGHA_CONTRACT=1", "PGHA_REQUIRES=etcd>=3.5.0", "PGHA_RECIPE=abc", "PGHA_ARCHITECTURE=amd64"}
	plain := "id() { echo 0; }; dpkg() { echo amd64; }; os_release=" + debian + "; user_data=" + nowhere + "; manifest=" + nowhere + "; "
	tests := []struct {
		name, reason, piece, want string
		env                       []string
	}{
		{name: "variable", reason: "bake.sh was run by hand", env: env[1:],
			want: "bake: PGHA_ROLE is not set: run the bake by the template that was generated with it\n"},
		{name: "user", reason: "not root", env: env, piece: "id() { echo 1000; }; ",
			want: "bake: the bake changes the system: run it as root\n"},
		{name: "no system", reason: "a system that does not say what it is", env: env, piece: "os_release=" + nowhere + "; ",
			want: "bake: this is no known system: bake on Ubuntu 24.04 or Debian 12 or later\n"},
		{name: "old system", reason: "its packages are other ones", env: env, piece: "os_release=" + old + "; ",
			want: "bake: this is ubuntu 22.04: bake on Ubuntu 24.04 or Debian 12 or later\n"},
		{name: "architecture", reason: "etcd would not run there", env: env, piece: "dpkg() { echo arm64; }; ",
			want: "bake: this machine is arm64, the recipe is for amd64: change images.architecture\n"},
		{name: "node", reason: "the bake would seal a node that serves", env: env, piece: "user_data=" + debian + "; ",
			want: "bake: this machine is a node of a cluster: bake on a machine of its own\n"},
		{name: "another role", reason: "an image is of one role", env: env, piece: "manifest=" + manifest + "; ",
			want: "bake: this image was baked for role patroni: bake role etcd from the plain base image\n"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			status, got := shell(t, plain+tc.piece+"refuse_misfits", tc.env...)
			if diff := cmp.Diff(tc.want, got); diff != "" || status != 1 {
				t.Errorf("%s: status %d (-want +got):\n%s", tc.reason, status, diff)
			}
		})
	}
}
