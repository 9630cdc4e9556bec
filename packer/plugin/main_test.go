package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/packer-plugin-sdk/plugin"

	"pgha-gen/generator"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles"
)

// TestPlugin judges the program itself, built once, as Packer uses it.
func TestPlugin(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "packer-plugin-pgha")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, test := range []struct {
		name string
		test func(t *testing.T, binary string)
	}{
		{"describe", describe},
		{"alone", alone},
		{"sdc", sdc},
		{"encodings", encodings},
		{"bake", bake},
		{"cancel", cancel},
		{"real Packer", realPacker},
		{"example", example},
		{"real old Packer", oldPacker},
	} {
		t.Run(test.name, func(t *testing.T) { test.test(t, binary) })
	}
}

func describe(t *testing.T, binary string) {
	out, err := exec.Command(binary, "describe").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got plugin.SetDescription
	testkit.OK(t, json.Unmarshal(out, &got))
	want := plugin.SetDescription{
		Version: "0.1.0", SDKVersion: "0.6.10", APIVersion: "x5.0", ProtocolVersion: "v2",
		Builders: []string{}, PostProcessors: []string{}, Datasources: []string{},
		Provisioners: []string{plugin.DEFAULT_NAME},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// alone: a person who starts the plugin is told what it is.
func alone(t *testing.T, binary string) {
	for _, test := range []struct {
		name, reason string
		args         []string
		want         string
	}{
		{"nothing", "as a person would start it", nil, "needs at least one argument"},
		{"no Packer", "the cookie is missing", []string{"start", "provisioner", plugin.DEFAULT_NAME}, "do not execute plugins directly"},
		{"misspelt", "unknown to the SDK", []string{"descrbe"}, `Unknown command: "descrbe"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, err := exec.Command(binary, test.args...).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), test.want) {
				t.Errorf("%s: got %v, %q, want status 1 and %q", test.reason, err, out, test.want)
			}
		})
	}
}

// sdc asks the SDK's own checker.
func sdc(t *testing.T, binary string) {
	sdc := filepath.Join(t.TempDir(), "packer-sdc")
	if out, err := exec.Command("go", "build", "-o", sdc, "github.com/hashicorp/packer-plugin-sdk/cmd/packer-sdc").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// It takes a name, and the file of that name where it runs.
	cmd := exec.Command(sdc, "plugin-check", filepath.Base(binary))
	cmd.Dir = filepath.Dir(binary)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// record is a sh that keeps what it was told to run, and with what.
const record = `cp -R "${1%/*}" uploaded
env >environment
echo 'bake: install etcd'
echo 'apt: 3 packages'
echo 'W: slow mirror' >&2`

const exampleSpec = "../../docs/reference.yaml"

func encodings(t *testing.T, binary string) {
	for _, test := range []struct {
		name, reason string
		protobuf     bool
	}{
		{"gob", "Packer before 1.12", false},
		{"protobuf", "Packer since 1.12", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, s := newMachine(t), &screen{}
			m.fake("sh", record)
			p := start(t, binary, test.protobuf)
			if err := prepare(t, p, map[string]string{"spec": exampleSpec, "role": "etcd", "remote_folder": m.path("recipe")}); err != nil {
				t.Fatalf("%s: %v", test.reason, err)
			}
			if err := p.Provision(t.Context(), s.ui(), m, map[string]any{"ID": "x"}); err != nil {
				t.Fatalf("%s: %v", test.reason, err)
			}
			asInTheTemplate(t, m)
			for _, line := range []string{"Baking role etcd, recipe ", "bake: install etcd\n", "apt: 3 packages\n", "W: slow mirror\n"} {
				if !strings.Contains(s.String(), line) {
					t.Errorf("%s: there is no %q on the screen:\n%s", test.reason, line, s)
				}
			}
		})
	}
}

// asInTheTemplate: what reached the machine is what the generated template of
// the same spec would have brought there, and nothing stays.
func asInTheTemplate(t *testing.T, m *machine) {
	t.Helper()
	want, got := template(t), files(t, m.path("uploaded"))
	values := want["image.auto.pkrvars.json"]
	for _, name := range []string{"image.pkr.hcl", "plugins.pkr.hcl", "image.auto.pkrvars.json"} {
		delete(want, name)
	}
	delete(got, "SHA256SUMS")
	if diff := cmp.Diff(want, got); diff != "" || len(got) < 10 {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	var told struct{ Environment map[string]string }
	testkit.OK(t, json.Unmarshal([]byte(values), &told))
	environment := variables(t, m)
	delete(environment, "PATH")
	delete(environment, "PWD")
	if diff := cmp.Diff(told.Environment, environment); diff != "" || len(environment) < 4 {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(m.path("recipe")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the recipe stays on the machine (%v)", err)
	}
}

// template is the generated template of etcd, by path below its folder or that
// of all roles.
func template(t *testing.T) map[string]string {
	t.Helper()
	src, err := os.ReadFile(exampleSpec)
	if err != nil {
		t.Fatal(err)
	}
	c, err := generator.Read(exampleSpec, src, roles.All())
	if err != nil {
		t.Fatal(err)
	}
	out, err := generator.Generate(c)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for name, file := range out {
		for _, folder := range []string{"packer/common/", "packer/etcd/"} {
			if below, ok := strings.CutPrefix(name, folder); ok {
				all[below] = string(file.Data)
			}
		}
	}
	return all
}

func bake(t *testing.T, binary string) {
	tests := []struct {
		name, reason string
		role         string
		command      string
		machine      func(m *machine)
		want         string // the error; "" for none
		screen       string
	}{
		{
			name: "its own sentence", reason: "what base.sh's stop says last is the cause", role: "haproxy",
			machine: func(m *machine) {
				m.fake("sh", "echo 'bake: install haproxy'; echo 'bake: mirror down' >&2; echo 'bake: cannot go on: the disk is full at /' >&2; exit 1")
			},
			want: "role haproxy: cannot go on: the disk is full at /", screen: "bake: mirror down\n",
		},
		{
			name: "real scripts", reason: "base.sh is beside bake.sh, the environment is there, and this is not root", role: "etcd",
			machine: func(*machine) {},
			want:    "role etcd: the bake changes the system: run it as root",
		},
		{
			name: "terminal", reason: "ssh_pty makes one output of both", role: "patroni",
			machine: func(m *machine) { m.fake("sh", `printf 'bake: there is no cloud-init\r\n'; exit 1`) },
			want:    `role patroni: the bake ended with status 1 after "there is no cloud-init" (the lines above say why)`,
		},
		{
			name: "sudo refuses", reason: "bake.sh says nothing", role: "etcd",
			machine: func(m *machine) { m.fake("sudo", "echo 'sudo: a password is required' >&2; exit 1") },
			want:    "role etcd: the bake ended with status 1 before it began (the lines above say why)", screen: "a password is required\n",
		},
		{
			name: "sudo", reason: "the bake runs through it", role: "etcd",
			machine: func(m *machine) { m.fake("sudo", `echo "sudo $1"; exec "$@"`); m.fake("sh", record) },
			screen:  "sudo env\n",
		},
		{
			name: "another way to root", reason: "a sudo that wants a password", role: "etcd",
			command: "echo secret | su-as-root env {{ .Vars }} sh {{ .Path }}",
			machine: func(m *machine) {
				m.fake("su-as-root", `read -r p; echo "password $p"; exec "$@"`)
				m.fake("sh", record)
			},
			screen: "password secret\n",
		},
		{
			name: "folder is there", reason: "it may be somebody's", role: "etcd",
			machine: func(m *machine) {
				testkit.OK(t, os.Mkdir(m.path("recipe"), 0o755))
			},
			want:   "cannot make the folder FOLDER on the machine (remove what is there, or name another by remote_folder)",
			screen: "File exists\n",
		},
		{
			name: "upload fails", reason: "somebody took the folder away", role: "etcd",
			machine: func(m *machine) { m.fake("mkdir", "exit 0") },
			want:    "cannot upload the recipe to FOLDER: open FOLDER/SHA256SUMS: no such file or directory",
		},
		{
			name: "folder stays", reason: "it would be in the image", role: "etcd",
			machine: func(m *machine) { m.fake("sh", record); m.fake("rm", "exit 1") },
			want:    "cannot remove the folder FOLDER of the machine",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, s := newMachine(t), &screen{}
			test.machine(m)
			p := start(t, binary, true)
			attributes := map[string]string{"spec": exampleSpec, "role": test.role, "remote_folder": m.path("recipe")}
			if test.command != "" {
				attributes["execute_command"] = test.command
			}
			testkit.OK(t, prepare(t, p, attributes))
			got := ""
			if err := p.Provision(t.Context(), s.ui(), m, nil); err != nil {
				got = strings.ReplaceAll(err.Error(), m.path("recipe"), "FOLDER")
			}
			if got != test.want {
				t.Errorf("%s: got %q, want %q", test.reason, got, test.want)
			}
			if !strings.Contains(s.String(), test.screen) {
				t.Errorf("%s: there is no %q on the screen:\n%s", test.reason, test.screen, s)
			}
			_, err := os.Stat(m.path("recipe"))
			if stays := err == nil; stays != (test.name == "folder is there" || test.name == "folder stays") {
				t.Errorf("%s: the folder is there: %t", test.reason, stays)
			}
		})
	}
}

// cancel: a bake that is interrupted ends at once, whatever the machine does.
func cancel(t *testing.T, binary string) {
	m, s := newMachine(t), &screen{}
	m.fake("sh", "echo 'bake: wait'; exec sleep 600")
	p := start(t, binary, true)
	testkit.OK(t, prepare(t, p, map[string]string{"spec": exampleSpec, "role": "etcd", "remote_folder": m.path("recipe")}))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- p.Provision(ctx, s.ui(), m, nil) }()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(s.String(), "bake: wait"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the bake does not begin:\n%s", s)
		}
	}
	stop()
	select {
	case err := <-ended:
		if err == nil || err.Error() != context.Canceled.Error() {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
	case <-time.After(20 * time.Second):
		t.Error("the bake goes on")
	}
}
