package packer_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"go/build"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/internal/testkit"
	"pgha-gen/packer"
	"pgha-gen/packer/packertest"
)

const scripts = "rootfs/usr/lib/pgha"

func TestBase(t *testing.T) {
	for _, name := range []string{"base.sh", "rootfs/usr/lib/pgha/step.sh", "rootfs/etc/cloud/ds-identify.cfg"} {
		if _, err := fs.Stat(packer.Common(), name); err != nil {
			t.Error(err)
		}
	}
}

// TestImports: these are files for others, who build on them.
func TestImports(t *testing.T) {
	here, err := build.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range here.Imports {
		if strings.HasPrefix(name, "pgha-gen/") {
			t.Errorf("this package imports %s", name)
		}
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
		{
			name: "fits", reason: "both ends of the range hold", manifest: manifest,
			cluster: []string{"PGHA_REQUIRES='etcd>=3.5.0 etcd<3.6.0'"},
			console: "- contract ok role etcd, contract 1, image abc123\n",
		},
		{
			name: "distribution's version", reason: "a package's own suffix is above the bare version", manifest: manifest,
			cluster: []string{"PGHA_REQUIRES='postgresql>=18.6 postgresql<19'"},
			console: "- contract ok role etcd, contract 1, image abc123\n",
		},
		{
			name: "role", reason: "the image of another role", manifest: manifest, cluster: []string{"PGHA_ROLE=patroni"},
			console: "- contract fail user-data is for role patroni, but the image is for role etcd: create the machine from an image of role patroni\n", status: 1,
		},
		{
			name: "contract", reason: "an image of an older generator", manifest: manifest, cluster: []string{"PGHA_CONTRACT=2"},
			console: "- contract fail user-data speaks contract 2, but the image speaks contract 1: bake the image and render user-data with the same pgha-gen\n", status: 1,
		},
		{
			name: "too old", reason: "numbers are compared, not letters", manifest: manifest, cluster: []string{"PGHA_REQUIRES='etcd>=3.5.16'"},
			console: "- contract fail user-data requires etcd>=3.5.16, but the image has etcd 3.5.15: bake the image again, or render user-data for etcd 3.5.15\n", status: 1,
		},
		{
			name: "too new", reason: "the upper end is open", manifest: manifest, cluster: []string{"PGHA_REQUIRES='etcd<3.5.15'"},
			console: "- contract fail user-data requires etcd<3.5.15, but the image has etcd 3.5.15: bake the image again, or render user-data for etcd 3.5.15\n", status: 1,
		},
		{
			name: "missing", reason: "a component that is not there is too old", manifest: manifest, cluster: []string{"PGHA_REQUIRES='patroni>=4'"},
			console: "- contract fail user-data requires patroni>=4, but the image has no patroni: create the machine from an image of role etcd\n", status: 1,
		},
		{
			name: "unknown relation", reason: "what is not understood is not held", manifest: manifest, cluster: []string{"PGHA_REQUIRES='etcd<=3'"},
			console: "- contract fail user-data requires \"etcd<=3\", which this image does not understand: render user-data again with the pgha-gen that made the image\n", status: 1,
		},
		{
			name: "no manifest", reason: "a plain image with our user-data",
			console: "- contract fail cannot read LIB/manifest.json: this image was not baked by pgha-gen; bake it again\n", status: 1,
		},
		{
			name: "broken manifest", reason: "half a file", manifest: `{"format":`,
			console: "- contract fail cannot read LIB/manifest.json: this image was not baked by pgha-gen; bake it again\n", status: 1,
		},
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
		{
			name: "found", reason: "the zone is the last part of its path", metadata: with("instance/id", "x"),
			console: "demo-etcd-1 identity ok demo-etcd-1.ru-central1.internal 10.128.0.26 ru-central1-a\n",
			want:    "NODE_NAME=demo-etcd-1\nNODE_FQDN=demo-etcd-1.ru-central1.internal\nNODE_ADDRESS=10.128.0.26\nNODE_ZONE=ru-central1-a\n",
		},
		{
			name: "no address in the spec", reason: "such a node is known by its name: any address is right",
			metadata: map[string]string{"instance/hostname": "demo-etcd-3.ru-central1.internal", "instance/network-interfaces/0/ip": "10.9.9.9", "instance/zone": "projects/b1g/zones/ru-central1-b"},
			console:  "demo-etcd-3 identity ok demo-etcd-3.ru-central1.internal 10.9.9.9 ru-central1-b\n",
			want:     "NODE_NAME=demo-etcd-3\nNODE_FQDN=demo-etcd-3.ru-central1.internal\nNODE_ADDRESS=10.9.9.9\nNODE_ZONE=ru-central1-b\n",
		},
		{
			name: "another address", reason: "certificates, firewalls and pg_hba.conf of the others are for the spec's", metadata: with("instance/network-interfaces/0/ip", "10.128.0.27"),
			console: "- identity fail this machine has the address 10.128.0.27, but the spec says 10.128.0.26 for demo-etcd-1: create it with that address, or change the spec\n",
		},
		{
			name: "beginning of a name", reason: "demo-etcd is no node because demo-etcd-1 is", metadata: with("instance/hostname", "demo-etcd.ru-central1.internal"),
			console: "- identity fail this machine is called demo-etcd, but the nodes of role etcd are demo-etcd-1 demo-etcd-2 demo-etcd-3: give the machine one of these host names, or add it to the spec\n",
		},
		{
			name: "down", reason: "the network may come later; the reason is said once, not at every try",
			console: "- identity wait metadata at " + packertest.Nowhere + " does not answer\n",
		},
		{
			name: "refused", reason: "the GCE endpoint is disabled", metadata: with("instance/hostname", "HTTP 400"),
			console: "- identity wait metadata refuses instance/hostname\n",
		},
		{
			name: "absent", reason: "a cloud without this key", metadata: map[string]string{"instance/hostname": "demo-etcd-1"},
			console: "- identity wait metadata has no instance/network-interfaces/0/ip\n",
		},
		{
			name: "empty", reason: "an address that is not given yet", metadata: with("instance/network-interfaces/0/ip", ""),
			console: "- identity wait metadata has an empty instance/network-interfaces/0/ip\n",
		},
		{
			name: "unknown name", reason: "the machine belongs to nobody", metadata: with("instance/hostname", "demo-etcd-4.ru-central1.internal"),
			console: "- identity fail this machine is called demo-etcd-4, but the nodes of role etcd are demo-etcd-1 demo-etcd-2 demo-etcd-3: give the machine one of these host names, or add it to the spec\n",
		},
		{
			name: "code in the name", reason: "the value would be read by a shell", metadata: with("instance/hostname", "demo-etcd-1$(reboot)"),
			console: "- identity fail metadata gives \"demo-etcd-1$(reboot)\" as the host name of this machine, which cannot be one\n",
		},
		{
			name: "second line", reason: "another variable would be smuggled in", metadata: with("instance/hostname", "demo-etcd-1\nX=1"),
			console: "- identity fail metadata gives \"demo-etcd-1 X=1\" as the host name of this machine, which cannot be one\n",
		},
		{
			name: "address", reason: "an octet has an end", metadata: with("instance/network-interfaces/0/ip", "10.128.0.256"),
			console: "- identity fail metadata gives \"10.128.0.256\" as the address of this machine, which cannot be one\n",
		},
		{
			name: "zone", reason: "an error page is no zone", metadata: with("instance/zone", "<b>no</b> zone"),
			console: "- identity fail metadata gives \"b> zone\" as the zone of this machine, which cannot be one\n",
		},
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

func TestDisk(t *testing.T) {
	const mkfs, mount, umount = "mkfs.ext4 -q -L pgha-etcd DEV\n", "mount -t ext4 -o noatime DEV MNT\n", "umount MNT\n"
	const grow, growXFS = "resize2fs DEV\n", "xfs_growfs MNT\n"
	const look = "mount -t ext4 -o ro,noload DEV MNT\n"
	const ok, fail = "demo-etcd-1 disk ok DEV on MNT\n", "demo-etcd-1 disk fail "
	other := "nothing was changed; attach the right disk, or an empty one\n"
	tests := []struct {
		name, reason string
		noDevice     bool
		blkid        string // what it prints; its status is that of the last command
		mounted      string // the device that is mounted already
		files        map[string]string
		fakes        map[string]string
		calls        string
		console      string
		marker       string
	}{
		{
			name: "empty", reason: "nothing at all: ours to format", blkid: "exit 2",
			calls: mkfs + mount + grow, console: ok, marker: "demo-1a2b3c4d\n",
		},
		{
			name: "ours", reason: "a machine was replaced and its disk kept", blkid: "echo TYPE=ext4",
			files: map[string]string{".pgha": "demo-1a2b3c4d\n", "data/x": "1"},
			calls: look + umount + mount + grow, console: ok, marker: "demo-1a2b3c4d\n",
		},
		{
			name: "xfs", reason: "a disk that was formatted by hand", blkid: "echo TYPE=xfs",
			files: map[string]string{".pgha": "demo-1a2b3c4d\n"},
			calls: "mount -t xfs -o noatime DEV MNT\n" + growXFS, console: ok, marker: "demo-1a2b3c4d\n",
		},
		{
			name: "interrupted", reason: "power was lost between mkfs and the mark", blkid: "echo TYPE=ext4",
			files: map[string]string{"lost+found/.keep": "", ".pgha.new": ""},
			calls: look + umount + mount + grow, console: ok, marker: "demo-1a2b3c4d\n",
		},
		{
			name: "another cluster's", reason: "the wrong disk was attached", blkid: "echo TYPE=ext4",
			files: map[string]string{".pgha": "prod-99999999\n"},
			calls: look + umount, console: fail + "DEV belongs to cluster prod-99999999, not to demo-1a2b3c4d: " + other, marker: "prod-99999999\n",
		},
		{
			name: "somebody's files", reason: "a disk with files and no mark is not ours", blkid: "echo TYPE=ext4",
			files: map[string]string{"thesis.tex": "x"},
			calls: look + umount, console: fail + "DEV holds files but no cluster's mark: " + other,
		},
		{
			name: "another cluster's, cut off", reason: "its journal has to be replayed: only the mount to write shows all", blkid: "echo TYPE=ext4",
			files: map[string]string{".pgha": "prod-99999999\n"},
			fakes: map[string]string{"dumpe2fs": "echo 'Filesystem features: has_journal needs_recovery'"},
			calls: mount + umount, console: fail + "DEV belongs to cluster prod-99999999, not to demo-1a2b3c4d: " + other, marker: "prod-99999999\n",
		},
		{
			name: "partitions", reason: "a partition table is not nothing", blkid: "echo PTTYPE=gpt",
			console: fail + "DEV holds something else than a data file system (PTTYPE=gpt blkid status 0): " + other,
		},
		{
			name: "luks", reason: "a signature that is not a data file system", blkid: "echo TYPE=crypto_LUKS",
			console: fail + "DEV holds something else than a data file system (TYPE=crypto_LUKS blkid status 0): " + other,
		},
		{
			name: "ambivalent", reason: "two signatures at once", blkid: "exit 8",
			console: fail + "DEV holds something else than a data file system (blkid status 8): " + other,
		},
		{
			name: "unreadable", reason: "blkid says 2, as for an empty disk, when it cannot read", blkid: "exit 2",
			fakes:   map[string]string{"dd": "exit 1"},
			console: fail + "cannot read DEV: nothing was changed; replace the disk\n",
		},
		{
			name: "mkfs fails", reason: "its own words say why", blkid: "exit 2",
			fakes:   map[string]string{"mkfs.ext4": "echo 'device is in use' >&2; exit 1"},
			console: fail + "cannot format DEV: device is in use\n",
		},
		{
			name: "mount fails", reason: "its own words say why", blkid: "echo TYPE=ext4",
			fakes:   map[string]string{"mount": "echo 'bad superblock' >&2; exit 32"},
			console: fail + "cannot mount DEV on MNT: bad superblock\n",
		},
		{
			name: "mounted", reason: "the unit was restarted", mounted: "DEV",
			files: map[string]string{".pgha": "demo-1a2b3c4d\n"},
			calls: grow, console: ok, marker: "demo-1a2b3c4d\n",
		},
		{
			name: "does not grow", reason: "a file system that stays small is a file system all the same", blkid: "echo TYPE=ext4",
			files: map[string]string{".pgha": "demo-1a2b3c4d\n"},
			fakes: map[string]string{"resize2fs": "echo resize2fs 1.47.2 >&2; echo 'no space for it' >&2; echo old_desc_blocks = 1; exit 1"},
			calls: look + umount + mount, marker: "demo-1a2b3c4d\n",
			console: "demo-etcd-1 disk wait DEV is larger than its file system, which does not grow: no space for it\n" + ok,
		},
		{
			name: "xfs does not grow", reason: "the same", blkid: "echo TYPE=xfs",
			files: map[string]string{".pgha": "demo-1a2b3c4d\n"},
			fakes: map[string]string{"xfs_growfs": "echo 'bad geometry' >&2; exit 1"},
			calls: "mount -t xfs -o noatime DEV MNT\n", marker: "demo-1a2b3c4d\n",
			console: "demo-etcd-1 disk wait DEV is larger than its file system, which does not grow: bad geometry\n" + ok,
		},
		{
			name: "another one mounted", reason: "something else sits on the data directory", mounted: "/dev/vdz1",
			console: fail + "MNT is mounted from /dev/vdz1, not from DEV: unmount it\n",
		},
		{
			name: "no device", reason: "the disk is attached later, if at all", noDevice: true,
			console: "demo-etcd-1 disk wait there is no DEV: attach the data disk to this machine under the device name data\n",
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := packertest.New(t, scripts)
			dir := t.TempDir()
			device, target := dir+"/virtio-data", dir+"/mnt"
			names := strings.NewReplacer("DEV", device, "MNT", target)
			if !tc.noDevice {
				m.Write(device, "")
			}
			for name, text := range tc.files {
				m.Write(filepath.Join(target, name), text)
			}
			m.Patience(60)
			m.Identity()
			m.Cluster("PGHA_DATA_DEVICE="+device, "PGHA_DATA_MOUNT="+target)
			calls := dir + "/calls"
			for _, program := range []string{"mkfs.ext4", "mount", "umount", "resize2fs", "xfs_growfs"} {
				m.Fake(program, fmt.Sprintf("echo %s \"$@\" >>%s", program, calls))
			}
			m.Fake("blkid", tc.blkid)
			m.Fake("chown", "")
			m.Fake("mountpoint", fmt.Sprintf("[ -n %q ]", tc.mounted))
			kind := "ext4"
			if strings.Contains(tc.blkid, "xfs") {
				kind = "xfs"
			}
			m.Fake("findmnt", `case "$*" in *FSTYPE*) echo `+kind+` ;; *) echo `+names.Replace(tc.mounted)+` ;; esac`)
			for name, text := range tc.fakes {
				m.Fake(name, text)
			}
			got := m.Boot("disk.sh")
			if diff := cmp.Diff(names.Replace(tc.console), got.Console); diff != "" {
				t.Errorf("%s: console (-want +got):\n%s\n%s", tc.reason, diff, got.Output)
			}
			if diff := cmp.Diff(names.Replace(tc.calls), m.Read(calls)); diff != "" {
				t.Errorf("%s: programs run (-want +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.marker, m.Read(target+"/.pgha")); diff != "" {
				t.Errorf("%s: marker (-want +got):\n%s", tc.reason, diff)
			}
			if wantOK := strings.Contains(tc.console, " ok "); wantOK != (got.Status == 0) {
				t.Errorf("%s: status %d", tc.reason, got.Status)
			}
		})
	}
}

func TestNoDataDisk(t *testing.T) {
	m := packertest.New(t, scripts)
	m.Identity()
	m.Cluster()
	got := m.Boot("disk.sh")
	want := "demo-etcd-1 disk ok role etcd keeps no data on a disk\n"
	if got.Console != want || got.Status != 0 {
		t.Errorf("status %d, console %q, want 0, %q", got.Status, got.Console, want)
	}
}

// A real disk, as far as this host has loop devices.
func TestDiskForReal(t *testing.T) {
	testkit.Need(t, "mkfs.ext4", "blkid", "losetup", "findmnt")
	testkit.Root(t)
	dir := t.TempDir()
	image, target := dir+"/image", dir+"/mnt"
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		t.Skipf("no loop device can be had: %s", out)
	}
	device := strings.TrimSpace(string(out))
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %s", name, args, out)
		}
	}
	t.Cleanup(func() {
		// Not mounted at the end of every path; the loop device must go in any case.
		if out, err := exec.Command("umount", target).CombinedOutput(); err != nil && !strings.Contains(string(out), "not mounted") {
			t.Errorf("umount: %s", out)
		}
		run("losetup", "-d", device)
	})
	boot := func(token string) packertest.Result {
		m := packertest.New(t, scripts)
		m.Identity()
		m.Cluster("PGHA_DATA_DEVICE="+device, "PGHA_DATA_MOUNT="+target, "PGHA_TOKEN="+token)
		return m.Boot("disk.sh")
	}
	ok := "demo-etcd-1 disk ok " + device + " on " + target + "\n"

	if got := boot("demo-1a2b3c4d"); got.Console != ok {
		t.Fatalf("an empty disk: %s", got.Output)
	}
	if err := os.WriteFile(target+"/kept", []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := boot("demo-1a2b3c4d"); got.Console != ok {
		t.Fatalf("mounted already: %s", got.Output)
	}
	run("umount", target)
	got := boot("prod-99999999")
	if want := "belongs to cluster demo-1a2b3c4d, not to prod-99999999"; !strings.Contains(got.Console, want) || got.Status != 1 {
		t.Fatalf("another cluster's disk: status %d, %s", got.Status, got.Output)
	}
	if _, err := os.Stat(target + "/kept"); err == nil {
		t.Fatal("another cluster's disk is still mounted")
	}
	if got := boot("demo-1a2b3c4d"); got.Console != ok {
		t.Fatalf("a kept disk: %s", got.Output)
	}
	if kept, err := os.ReadFile(target + "/kept"); string(kept) != "data" {
		t.Fatalf("a kept disk lost its files: %q, %v", kept, err)
	}
	run("umount", target)
	run("mkswap", "-f", device)
	before, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if got := boot("demo-1a2b3c4d"); !strings.Contains(got.Console, "holds something else") || got.Status != 1 {
		t.Fatalf("swap: status %d, %s", got.Status, got.Output)
	}
	if after, err := os.ReadFile(image); err != nil || string(after) != string(before) {
		t.Fatalf("a disk that was refused was changed (%v)", err)
	}
}

const token = "t1.9euelZqPSECRETTOKEN"

// lockbox answers as Lockbox does, to the token alone.
func lockbox(t *testing.T, status int, entries map[string]string) *httptest.Server {
	type entry struct {
		Key    string `json:"key"`
		Text   string `json:"textValue,omitempty"`
		Binary string `json:"binaryValue,omitempty"`
	}
	payload := struct {
		Version string  `json:"versionId"`
		Entries []entry `json:"entries"`
	}{Version: "e6v", Entries: []entry{}}
	for k, v := range entries {
		e := entry{Key: k, Text: v}
		if k == "binary" {
			e = entry{Key: k, Binary: base64.StdEncoding.EncodeToString([]byte(v))}
		}
		payload.Entries = append(payload.Entries, e)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/lockbox/v1/secrets/e6qa/payload":
			http.NotFound(w, r)
		case r.Header.Get("Authorization") != "Bearer "+token:
			w.WriteHeader(http.StatusUnauthorized)
		case status != http.StatusOK:
			w.WriteHeader(status)
		case entries == nil:
			fmt.Fprint(w, "<html>")
		default:
			if err := json.NewEncoder(w).Encode(payload); err != nil {
				t.Error(err)
			}
		}
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	ca := packertest.NewCA(t)
	s.TLS = ca.ServerConfig()
	s.TLS.ClientAuth = 0
	s.StartTLS()
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "lockbox-ca.crt")
	if err := os.WriteFile(file, []byte(ca.PEM), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Config.Addr = file
	return s
}

func TestSecrets(t *testing.T) {
	testkit.Need(t, "base64")
	ca, otherCA := packertest.NewCA(t), packertest.NewCA(t)
	cert, key := ca.Issue(time.Now().Add(time.Hour))
	cert2, key2 := ca.Issue(time.Now().Add(time.Hour))
	expired, expiredKey := ca.Issue(time.Now().Add(-time.Hour))
	strange, strangeKey := otherCA.Issue(time.Now().Add(time.Hour))
	good := func(change ...string) map[string]string {
		all := map[string]string{
			"ca.crt": ca.PEM, "demo-etcd-1.server.crt": cert, "demo-etcd-1.server.key": key,
			"demo-etcd-2.server.crt": cert2, "demo-etcd-2.server.key": key2,
		}
		for i := 0; i < len(change); i += 2 {
			all[change[i]] = change[i+1]
		}
		return all
	}
	without := func(key string) map[string]string {
		all := good()
		delete(all, key)
		return all
	}
	account := map[string]string{"instance/service-accounts/default/token": `{"access_token":"` + token + `","expires_in":42617,"token_type":"Bearer"}`}
	const standard = "ca.crt server.crt server.key"
	const ok, wait, fail = "demo-etcd-1 secrets ok ", "demo-etcd-1 secrets wait ", "demo-etcd-1 secrets fail "
	const again = "run pgha-gen secrets generate, and what it says next\n"

	tests := []struct {
		name, reason string
		metadata     map[string]string
		status       int // of Lockbox; 0: 200
		entries      map[string]string
		files        string
		id           string
		down         bool // nobody at Lockbox's address
		untrusted    bool
		disk         bool // /run is no tmpfs
		user         string
		console      string
		want         map[string]string
	}{
		{
			name: "own and shared", reason: "the node's own entry, else everybody's", entries: good(), files: standard,
			console: ok + standard + "\n",
			want:    map[string]string{"ca.crt": ca.PEM, "server.crt": cert, "server.key": key},
		},
		{
			name: "two authorities", reason: "while one is replaced, certificates are of the one or the other",
			entries: good("ca.crt", otherCA.PEM+ca.PEM, "demo-etcd-1.peer.crt", strange, "demo-etcd-1.peer.key", strangeKey), files: standard + " peer.crt peer.key",
			console: ok + standard + " peer.crt peer.key\n",
			want:    map[string]string{"ca.crt": otherCA.PEM + ca.PEM, "server.crt": cert, "server.key": key, "peer.crt": strange, "peer.key": strangeKey},
		},
		{
			name: "own wins", reason: "an entry for all must not hide the node's", entries: good("server.crt", cert2, "server.key", key2), files: standard,
			console: ok + standard + "\n",
			want:    map[string]string{"ca.crt": ca.PEM, "server.crt": cert, "server.key": key},
		},
		{
			name: "exact bytes", reason: "a password has no line feed at its end, and binary values are bytes",
			entries: good("password", "p'ä\"$\\ \n\n", "binary", "\x00\xff\n"), files: "password binary",
			console: ok + "password binary\n",
			want:    map[string]string{"password": "p'ä\"$\\ \n\n", "binary": "\x00\xff\n"},
		},
		{
			name: "missing entry", reason: "it is added to Lockbox later, and the node goes on by itself", entries: without("demo-etcd-1.server.key"), files: standard,
			console: wait + "secret e6qa has neither an entry demo-etcd-1.server.key nor an entry server.key: " + again,
		},
		{
			name: "empty entry", reason: "an empty password would be a password", entries: good("password", ""), files: "password",
			console: wait + "entry password of secret e6qa is empty: " + again,
		},
		{
			name: "path", reason: "a name from user-data stays in its directory", entries: good("../x", "y"), files: "../x",
			console: fail + "user-data asks for a secret file \"../x\", which cannot be a file's name\n",
		},
		{
			name: "expired", reason: "found at boot, and not by a handshake at night", entries: good("demo-etcd-1.server.crt", expired, "demo-etcd-1.server.key", expiredKey), files: standard,
			console: wait + "server.crt is not valid under ca.crt: certificate has expired; " + again,
		},
		{
			name: "another CA", reason: "certificates of two clusters were mixed", entries: good("demo-etcd-1.server.crt", strange, "demo-etcd-1.server.key", strangeKey), files: standard,
			console: wait + "server.crt is not valid under ca.crt: unable to get local issuer certificate; " + again,
		},
		{
			name: "another key", reason: "certificate and key of two nodes were mixed", entries: good("demo-etcd-1.server.key", key2), files: standard,
			console: wait + "server.key is not the key of server.crt: " + again,
		},
		{
			name: "no key", reason: "what is no key fits no certificate", entries: good("demo-etcd-1.server.key", "hello"), files: standard,
			console: wait + "server.key is not the key of server.crt: " + again,
		},
		{
			name: "no ca.crt", reason: "nothing to verify with is not verified", entries: good(), files: "server.crt server.key",
			console: wait + "server.crt cannot be verified without ca.crt: render user-data again\n",
		},
		{
			name: "not allowed", reason: "the right is given later, and the node goes on by itself", status: 403, entries: good(), files: standard,
			console: wait + "Lockbox answers 403: the service account of this machine may not read secret e6qa; give it lockbox.payloadViewer on that secret\n",
		},
		{
			name: "wrong token", reason: "the service was told nothing else", entries: good(), files: standard,
			metadata: map[string]string{"instance/service-accounts/default/token": `{"access_token":"stale"}`},
			console:  wait + "Lockbox answers 401: the service account of this machine may not read secret e6qa; give it lockbox.payloadViewer on that secret\n",
		},
		{
			name: "no such secret", reason: "secrets are pushed after the machines were made", id: "e6qz", entries: good(), files: standard,
			console: wait + "Lockbox answers 404: there is no secret e6qz, or it has no version yet\n",
		},
		{
			name: "trouble there", reason: "the service has its own bad day", status: 503, entries: good(), files: standard,
			console: wait + "Lockbox answers 503 for secret e6qa\n",
		},
		{
			name: "a page", reason: "a proxy's page is no payload", files: standard,
			console: wait + "Lockbox answers for secret e6qa with something that is not a payload\n",
		},
		{
			name: "untrusted", reason: "a token is not sent to whoever answers", entries: good(), files: standard, untrusted: true,
			console: wait + "TLS to Lockbox at LOCKBOX fails: …",
		},
		{
			name: "no route", reason: "a node without a public address", entries: good(), files: standard, down: true,
			console: wait + "Lockbox at LOCKBOX cannot be reached (a node without a public address needs a NAT gateway): …",
		},
		{
			name: "no service account", reason: "404 of the token", entries: good(), files: standard, metadata: map[string]string{},
			console: wait + "no service account is attached to this machine: attach the one that may read the secret\n",
		},
		{
			name: "no token", reason: "the GCE token is disabled", entries: good(), files: standard,
			metadata: map[string]string{"instance/service-accounts/default/token": "HTTP 400"},
			console:  wait + "metadata refuses a token: enable the GCE token in the metadata options of this machine\n",
		},
		{
			name: "odd token", reason: "an answer without a token", entries: good(), files: standard,
			metadata: map[string]string{"instance/service-accounts/default/token": "{}"},
			console:  wait + "metadata gives no access_token\n",
		},
		{
			name: "disk", reason: "secrets must not reach one", entries: good(), files: standard, disk: true,
			console: fail + "RUN is not on a tmpfs: secrets would reach a disk\n",
		},
		{
			name: "no user", reason: "the image of another role", entries: good(), files: standard, user: "nobody-of-that-name",
			console: fail + "this image has no user nobody-of-that-name: create the machine from an image of role etcd\n",
		},
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			m := packertest.New(t, scripts)
			m.Identity()
			if tc.metadata == nil {
				tc.metadata = account
			}
			if tc.status == 0 {
				tc.status = http.StatusOK
			}
			if tc.id == "" {
				tc.id = "e6qa"
			}
			if tc.user == "" {
				tc.user = me.Username
			}
			m.Cluster("PGHA_SECRET_ID="+tc.id, "PGHA_SECRET_FILES='"+tc.files+"'", "PGHA_SERVICE_USER="+tc.user)
			m.Serve(tc.metadata)
			if tc.disk {
				m.Fake("stat", "echo ext2/ext3")
			}
			box := lockbox(t, tc.status, tc.entries)
			url, trust := box.URL, box.Config.Addr
			if tc.down {
				url = "https://127.0.0.1:1"
			}
			if tc.untrusted {
				trust = filepath.Join(t.TempDir(), "other.crt")
				m.Write(trust, otherCA.PEM)
			}
			m.Env = append(m.Env, "PGHA_LOCKBOX="+url, "CURL_CA_BUNDLE="+trust)
			// Every program that comes near a value leaves its arguments here.
			argv := filepath.Join(t.TempDir(), "argv")
			for _, program := range []string{"curl", "jq", "openssl", "base64", "chown", "mv"} {
				real, err := exec.LookPath(program)
				if err != nil {
					t.Fatal(err)
				}
				m.Fake(program, fmt.Sprintf("printf '%%s\\n' \"$@\" >>%s; exec %s \"$@\"", argv, real))
			}

			got := m.Boot("secrets.sh")

			want := strings.NewReplacer("LOCKBOX", url, "RUN", m.Run).Replace(tc.console)
			if head, _, cut := strings.Cut(want, "…"); cut && strings.HasPrefix(got.Console, head) && strings.Count(got.Console, "\n") == 1 {
				want = got.Console // the rest is curl's wording
			}
			if diff := cmp.Diff(want, got.Console); diff != "" {
				t.Errorf("%s: console (-want +got):\n%s\n%s", tc.reason, diff, got.Output)
			}
			files := map[string]string{}
			for _, f := range strings.Fields(tc.files) {
				if text := m.Read(filepath.Join(m.Run, "secrets", f)); text != "" {
					files[f] = text
				}
			}
			if tc.want == nil {
				tc.want = map[string]string{}
			}
			if diff := cmp.Diff(tc.want, files); diff != "" {
				t.Errorf("%s: files (-want +got):\n%s", tc.reason, diff)
			}
			if (got.Status == 0) != (len(tc.want) > 0) {
				t.Errorf("%s: status %d", tc.reason, got.Status)
			}
			if _, err := os.Stat(m.Run + "/secrets.new"); err == nil {
				t.Error("an unfinished directory is left")
			}
			seen := got.Output + got.Console + m.Read(argv)
			for what, value := range map[string]string{"the token": token, "a password": "p'ä", "a key": strings.Split(key, "\n")[1]} {
				if strings.Contains(seen, value) {
					t.Errorf("%s can be seen in the output or in a program's arguments", what)
				}
			}
		})
	}
}

func TestSecretsAgain(t *testing.T) {
	testkit.Need(t, "base64")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	m := packertest.New(t, scripts)
	m.Identity()
	m.Serve(map[string]string{"instance/service-accounts/default/token": `{"access_token":"` + token + `"}`})
	box := lockbox(t, http.StatusOK, map[string]string{"password": "new"})
	m.Env = append(m.Env, "PGHA_LOCKBOX="+box.URL, "CURL_CA_BUNDLE="+box.Config.Addr)
	m.Cluster("PGHA_SECRET_ID=e6qa", "PGHA_SECRET_FILES=password", "PGHA_SERVICE_USER="+me.Username)
	m.Write(m.Run+"/secrets/password", "old")
	m.Write(m.Run+"/secrets/gone", "old")
	m.Write(m.Run+"/secrets.new/half", "power was lost here")

	if got := m.Boot("secrets.sh"); got.Status != 0 {
		t.Fatal(got.Output)
	}

	var found []string
	for _, pattern := range []string{"secrets*", "secrets/*", "secrets/.*"} {
		paths, err := filepath.Glob(m.Run + "/" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			info, err := os.Stat(p)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, fmt.Sprintf("%s %s", strings.TrimPrefix(p, m.Run+"/"), info.Mode()))
		}
	}
	if diff := cmp.Diff([]string{"secrets drwxr-x---", "secrets/password -rw-r-----"}, found); diff != "" {
		t.Errorf("what is there (-want +got):\n%s", diff)
	}
	if got := m.Read(m.Run + "/secrets/password"); got != "new" {
		t.Errorf("password is %q, want the new one", got)
	}
}

func TestReady(t *testing.T) {
	tests := []struct {
		name, reason, check, console string
		ready                        bool
	}{
		{
			name: "ready", reason: "the check's last line is the detail", check: "echo asked; echo etcd answers",
			console: "demo-etcd-1 ready ok etcd answers\n", ready: true,
		},
		{
			name: "silent", reason: "a check need not say anything", check: "exit 0",
			console: "demo-etcd-1 ready ok etcd.service answers\n", ready: true,
		},
		{
			name: "later", reason: "each new reason is said, the same one is not said again",
			check:   `echo x >>"$0.n"; case $(wc -l <"$0.n") in 1 | 2) echo no leader; exit 1 ;; 3) echo lagging; exit 1 ;; esac; echo up`,
			console: "demo-etcd-1 ready wait no leader\ndemo-etcd-1 ready wait lagging\ndemo-etcd-1 ready ok up\n", ready: true,
		},
		{
			name: "never", reason: "a silent check has a reason all the same", check: "exit 1",
			console: "demo-etcd-1 ready wait etcd.service does not answer\n",
		},
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

// shell runs a piece of shell with base.sh's functions, none of which is called
// here that would change this host.
func shell(t *testing.T, piece string, env ...string) (status int, output string) {
	t.Helper()
	cmd := exec.Command("sh", "-euc", ". ./base.sh; "+piece)
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
	if err := os.WriteFile(bin+"/apt-cache", []byte("#!/bin/sh\n"+offered+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, reason, version, want string
		status                      int
	}{
		{name: "newest", reason: "no version is asked for", version: "", want: "patroni\n"},
		{name: "upstream", reason: "the distribution's suffix is found", version: "4.1.5", want: "patroni=4.1.5-2\n"},
		{name: "repacked", reason: "another form of suffix", version: "4.1.4", want: "patroni=4.1.4+dfsg-1\n"},
		{name: "whole", reason: "the distribution's own version", version: "4.1.5-2", want: "patroni=4.1.5-2\n"},
		{
			name: "gone", reason: "4.1 is no beginning of 4.1.5", version: "4.1", status: 1,
			want: "bake: there is no version 4.1 of patroni (any more): the package lists have 4.1.5-2 4.1.4+dfsg-1; change the version in the spec, or bake from a mirror that keeps it\n",
		},
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
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
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
		{
			name: "variable", reason: "bake.sh was run by hand", env: env[1:],
			want: "bake: PGHA_ROLE is not set: run the bake by the template that was generated with it\n",
		},
		{
			name: "user", reason: "not root", env: env, piece: "id() { echo 1000; }; ",
			want: "bake: the bake changes the system: run it as root\n",
		},
		{
			name: "no system", reason: "a system that does not say what it is", env: env, piece: "os_release=" + nowhere + "; ",
			want: "bake: this is no known system: bake on Ubuntu 24.04 or Debian 12 or later\n",
		},
		{
			name: "old system", reason: "its packages are other ones", env: env, piece: "os_release=" + old + "; ",
			want: "bake: this is ubuntu 22.04: bake on Ubuntu 24.04 or Debian 12 or later\n",
		},
		{
			name: "architecture", reason: "etcd would not run there", env: env, piece: "dpkg() { echo arm64; }; ",
			want: "bake: this machine is arm64, the recipe is for amd64: change images.architecture\n",
		},
		{
			name: "node", reason: "the bake would seal a node that serves", env: env, piece: "user_data=" + debian + "; ",
			want: "bake: this machine is a node of a cluster: bake on a machine of its own\n",
		},
		{
			name: "another role", reason: "an image is of one role", env: env, piece: "manifest=" + manifest + "; ",
			want: "bake: this image was baked for role patroni: bake role etcd from the plain base image\n",
		},
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

func TestShellcheck(t *testing.T) {
	testkit.Need(t, "shellcheck")
	files := []string{"base.sh"}
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
