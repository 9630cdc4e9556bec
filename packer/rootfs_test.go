package packer_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
	"pgha-gen/packer"
	"pgha-gen/packer/packertest"
)

const scripts = "rootfs/usr/lib/pgha"

// TestCommon: what all images share is embedded to the last file, those that
// begin with a dot among them.
func TestCommon(t *testing.T) {
	names := func(files fs.FS) (all []string) {
		for _, pattern := range []string{"base.sh", "seal.sh", "rootfs"} {
			err := fs.WalkDir(files, pattern, func(name string, d fs.DirEntry, err error) error {
				if !d.IsDir() {
					all = append(all, name)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	if diff := cmp.Diff(names(os.DirFS(".")), names(packer.Common())); diff != "" {
		t.Errorf("-in the folder, +embedded:\n%s", diff)
	}
}

func TestContract(t *testing.T) {
	const manifest = `{"format":"pgha-image/v1","role":"etcd","contract":1,"recipe":"abc123",
		"components":[{"name":"etcd","version":"3.5.15"},{"name":"postgresql","version":"18.6-1.pgdg24.04+1"}]}`
	tests := []struct {
		name, reason, manifest string
		cluster                []string
		console                string
		status                 int
	}{
		{name: "fits", reason: "both ends of the range hold", manifest: manifest,
			cluster: []string{"PGHA_REQUIRES='etcd>=3.5.0 etcd<3.6.0'"},
			console: "- contract ok role etcd, contract 1, image abc123\n"},
		{name: "distribution's version", reason: "a package's own suffix is above the bare version", manifest: manifest,
			cluster: []string{"PGHA_REQUIRES='postgresql>=18.6 postgresql<19'"},
			console: "- contract ok role etcd, contract 1, image abc123\n"},
		{name: "role", reason: "the image of another role", manifest: manifest, cluster: []string{"PGHA_ROLE=patroni"},
			console: "- contract fail user-data is for role patroni, but the image is for role etcd: create the machine from an image of role patroni\n", status: 1},
		{name: "contract", reason: "an image of an older generator", manifest: manifest, cluster: []string{"PGHA_CONTRACT=2"},
			console: "- contract fail user-data speaks contract 2, but the image speaks contract 1: bake the image and render user-data with the same pgha-gen\n", status: 1},
		{name: "too old", reason: "numbers are compared, not letters", manifest: manifest, cluster: []string{"PGHA_REQUIRES='etcd>=3.5.16'"},
			console: "- contract fail user-data requires etcd>=3.5.16, but the image has etcd 3.5.15: bake the image again, or render user-data for etcd 3.5.15\n", status: 1},
		{name: "too new", reason: "the upper end is open", manifest: manifest, cluster: []string{"PGHA_REQUIRES='etcd<3.5.15'"},
			console: "- contract fail user-data requires etcd<3.5.15, but the image has etcd 3.5.15: bake the image again, or render user-data for etcd 3.5.15\n", status: 1},
		{name: "missing", reason: "a component that is not there is too old", manifest: manifest, cluster: []string{"PGHA_REQUIRES='patroni>=4'"},
			console: "- contract fail user-data requires patroni>=4, but the image has no patroni: create the machine from an image of role etcd\n", status: 1},
		{name: "end of a name", reason: "sql is not postgresql", manifest: manifest, cluster: []string{"PGHA_REQUIRES='sql>=1'"},
			console: "- contract fail user-data requires sql>=1, but the image has no sql: create the machine from an image of role etcd\n", status: 1},
		{name: "no components", reason: "the image's recipe is none of them", manifest: `{"format":"pgha-image/v1","role":"etcd","contract":1,"recipe":"etcd=9","components":[]}`,
			cluster: []string{"PGHA_REQUIRES='etcd>=3.5.0'"},
			console: "- contract fail user-data requires etcd>=3.5.0, but the image has no etcd: create the machine from an image of role etcd\n", status: 1},
		{name: "another format", reason: "of a later generator, or none of ours", manifest: `{"format":"pgha-image/v9","role":"etcd","contract":1,"recipe":"abc123","components":[]}`,
			console: "- contract fail cannot read LIB/manifest.json: this image was not baked by pgha-gen; bake it again\n", status: 1},
		{name: "unknown relation", reason: "what is not understood is not held", manifest: manifest, cluster: []string{"PGHA_REQUIRES='etcd<=3'"},
			console: "- contract fail user-data requires \"etcd<=3\", which this image does not understand: render user-data again with the pgha-gen that made the image\n", status: 1},
		{name: "no manifest", reason: "a plain image with our user-data",
			console: "- contract fail cannot read LIB/manifest.json: this image was not baked by pgha-gen; bake it again\n", status: 1},
		{name: "broken manifest", reason: "half a file", manifest: `{"format":`,
			console: "- contract fail cannot read LIB/manifest.json: this image was not baked by pgha-gen; bake it again\n", status: 1},
	}
	testkit.Need(t, "dpkg")
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := packertest.New(t, scripts)
			m.Cluster(tc.cluster...)
			if tc.manifest != "" {
				m.Write(m.Lib+"/manifest.json", tc.manifest)
			}
			got := m.Boot("contract.sh")
			want := strings.ReplaceAll(tc.console, "LIB", m.Lib)
			if diff := cmp.Diff(want, got.Console); diff != "" || got.Status != tc.status {
				t.Errorf("%s: status %d, want %d; console (-want +got):\n%s\n%s", tc.reason, got.Status, tc.status, diff, got.Output)
			}
		})
	}
}

func TestNoUserData(t *testing.T) {
	m := packertest.New(t, scripts)
	got := m.Boot("identity.sh")
	want := "- identity fail there is no " + m.Etc + "/cluster.env: user-data did not reach this machine\n"
	if got.Console != want || got.Status != 1 {
		t.Errorf("status %d, console %q, want 1, %q", got.Status, got.Console, want)
	}
}

func TestIdentity(t *testing.T) {
	with := func(key, value string) map[string]string {
		all := map[string]string{
			"instance/hostname":                "demo-etcd-1.ru-central1.internal",
			"instance/network-interfaces/0/ip": "10.128.0.26",
			"instance/zone":                    "projects/b1g/zones/ru-central1-a",
		}
		all[key] = value
		return all
	}
	tests := []struct {
		name, reason  string
		metadata      map[string]string
		console, want string
	}{
		{name: "found", reason: "the zone is the last part of its path", metadata: with("instance/id", "x"),
			console: "demo-etcd-1 identity ok demo-etcd-1.ru-central1.internal 10.128.0.26 ru-central1-a\n",
			want:    "NODE_NAME=demo-etcd-1\nNODE_FQDN=demo-etcd-1.ru-central1.internal\nNODE_ADDRESS=10.128.0.26\nNODE_ZONE=ru-central1-a\n"},
		{name: "no address in the spec", reason: "such a node is known by its name: any address is right",
			metadata: map[string]string{"instance/hostname": "demo-etcd-3.ru-central1.internal", "instance/network-interfaces/0/ip": "10.9.9.9", "instance/zone": "projects/b1g/zones/ru-central1-b"},
			console:  "demo-etcd-3 identity ok demo-etcd-3.ru-central1.internal 10.9.9.9 ru-central1-b\n",
			want:     "NODE_NAME=demo-etcd-3\nNODE_FQDN=demo-etcd-3.ru-central1.internal\nNODE_ADDRESS=10.9.9.9\nNODE_ZONE=ru-central1-b\n"},
		{name: "another address", reason: "certificates, firewalls and pg_hba.conf of the others are for the spec's", metadata: with("instance/network-interfaces/0/ip", "10.128.0.27"),
			console: "- identity fail this machine has the address 10.128.0.27, but the spec says 10.128.0.26 for demo-etcd-1: create it with that address, or change the spec\n"},
		{name: "beginning of a name", reason: "demo-etcd is no node because demo-etcd-1 is", metadata: with("instance/hostname", "demo-etcd.ru-central1.internal"),
			console: "- identity fail this machine is called demo-etcd, but the nodes of role etcd are demo-etcd-1 demo-etcd-2 demo-etcd-3: give the machine one of these host names, or add it to the spec\n"},
		{name: "down", reason: "the network may come later; the reason is said once, not at every try",
			console: "- identity wait metadata at " + packertest.Nowhere + " does not answer\n"},
		{name: "refused", reason: "the GCE endpoint is disabled", metadata: with("instance/hostname", "HTTP 400"),
			console: "- identity wait metadata refuses instance/hostname\n"},
		{name: "absent", reason: "a cloud without this key", metadata: map[string]string{"instance/hostname": "demo-etcd-1"},
			console: "- identity wait metadata has no instance/network-interfaces/0/ip\n"},
		{name: "empty", reason: "an address that is not given yet", metadata: with("instance/network-interfaces/0/ip", ""),
			console: "- identity wait metadata has an empty instance/network-interfaces/0/ip\n"},
		{name: "unknown name", reason: "the machine belongs to nobody", metadata: with("instance/hostname", "demo-etcd-4.ru-central1.internal"),
			console: "- identity fail this machine is called demo-etcd-4, but the nodes of role etcd are demo-etcd-1 demo-etcd-2 demo-etcd-3: give the machine one of these host names, or add it to the spec\n"},
		{name: "code in the name", reason: "the value would be read by a shell", metadata: with("instance/hostname", "demo-etcd-1$(reboot)"),
			console: "- identity fail metadata gives \"demo-etcd-1$(reboot)\" as the host name of this machine, which cannot be one\n"},
		{name: "second line", reason: "another variable would be smuggled in", metadata: with("instance/hostname", "demo-etcd-1\nX=1"),
			console: "- identity fail metadata gives \"demo-etcd-1 X=1\" as the host name of this machine, which cannot be one\n"},
		{name: "address", reason: "an octet has an end", metadata: with("instance/network-interfaces/0/ip", "10.128.0.256"),
			console: "- identity fail metadata gives \"10.128.0.256\" as the address of this machine, which cannot be one\n"},
		{name: "zone", reason: "an error page is no zone", metadata: with("instance/zone", "<b>no</b> zone"),
			console: "- identity fail metadata gives \"b> zone\" as the zone of this machine, which cannot be one\n"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := packertest.New(t, scripts)
			m.Cluster()
			if tc.metadata != nil {
				m.Serve(tc.metadata)
			} else {
				m.Env = append(m.Env, "PGHA_METADATA="+packertest.Nowhere)
			}
			got := m.Boot("identity.sh")
			if diff := cmp.Diff(tc.console, got.Console); diff != "" {
				t.Errorf("%s: console (-want +got):\n%s\n%s", tc.reason, diff, got.Output)
			}
			if diff := cmp.Diff(tc.want, m.Read(m.Run+"/identity.env")); diff != "" {
				t.Errorf("%s: identity.env (-want +got):\n%s", tc.reason, diff)
			}
			if (got.Status == 0) != (tc.want != "") {
				t.Errorf("%s: status %d", tc.reason, got.Status)
			}
			if strings.Contains(tc.console, " wait ") {
				if diff := cmp.Diff("1 2 4 8 15", m.Slept()); diff != "" {
					t.Errorf("pauses (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestReady(t *testing.T) {
	tests := []struct {
		name, reason, check, console string
		ready                        bool
	}{
		{name: "ready", reason: "the check's last line is the detail", check: "echo asked; echo etcd answers",
			console: "demo-etcd-1 ready ok etcd answers\n", ready: true},
		{name: "silent", reason: "a check need not say anything", check: "exit 0",
			console: "demo-etcd-1 ready ok etcd.service answers\n", ready: true},
		{name: "later", reason: "each new reason is said, the same one is not said again",
			check:   `echo x >>"$0.n"; case $(wc -l <"$0.n") in 1 | 2) echo no leader; exit 1 ;; 3) echo lagging; exit 1 ;; esac; echo up`,
			console: "demo-etcd-1 ready wait no leader\ndemo-etcd-1 ready wait lagging\ndemo-etcd-1 ready ok up\n", ready: true},
		{name: "never", reason: "a silent check has a reason all the same", check: "exit 1",
			console: "demo-etcd-1 ready wait etcd.service does not answer\n"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := packertest.New(t, scripts)
			m.Identity()
			m.Cluster()
			m.Write(m.Run+"/ready", "from an earlier run")
			m.Write(m.Lib+"/ready-check.sh", "#!/bin/sh\n"+tc.check+"\n")
			got := m.Boot("ready.sh")
			if diff := cmp.Diff(tc.console, got.Console); diff != "" {
				t.Errorf("%s: console (-want +got):\n%s\n%s", tc.reason, diff, got.Output)
			}
			if _, err := os.Stat(m.Run + "/ready"); (err == nil) != tc.ready {
				t.Errorf("%s: run/ready: %v", tc.reason, err)
			}
			if _, err := os.Stat(m.State + "/served"); (err == nil) != tc.ready {
				t.Errorf("%s: a machine that has served never bootstraps a cluster, any other may: %v", tc.reason, err)
			}
		})
	}
}

func TestUnexpectedEnd(t *testing.T) {
	m := packertest.New(t, scripts)
	m.Cluster()
	m.Serve(map[string]string{
		"instance/hostname": "demo-etcd-1", "instance/network-interfaces/0/ip": "10.128.0.26", "instance/zone": "projects/b1g/zones/ru-central1-a",
	})
	m.Fake("mkdir", "exit 3")
	got := m.Boot("identity.sh")
	want := "- identity fail stopped with status 3: its journal says why\n"
	if got.Console != want || got.Status != 1 {
		t.Errorf("status %d, console %q, want 1, %q", got.Status, got.Console, want)
	}
}

// A machine whose console cannot be written must boot.
func TestNoConsole(t *testing.T) {
	m := packertest.New(t, scripts)
	m.Identity()
	m.Cluster()
	m.Env = append(m.Env, "PGHA_CONSOLE=/nonexistent/console")
	got := m.Boot("disk.sh")
	if !strings.Contains(got.Output, "disk ok") || strings.Contains(got.Output, "nonexistent") || got.Status != 0 {
		t.Errorf("status %d, output %q", got.Status, got.Output)
	}
}

func TestShellcheck(t *testing.T) {
	testkit.Need(t, "shellcheck")
	files := []string{"base.sh", "seal.sh"}
	for _, pattern := range []string{"rootfs/usr/lib/pgha/*.sh", "../roles/*/bake.sh", "../roles/*/rootfs/usr/lib/pgha/*.sh"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	if out, err := exec.Command("shellcheck", append([]string{"-x"}, files...)...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
