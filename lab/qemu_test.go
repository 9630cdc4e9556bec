//go:build linux

package lab_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgha-gen/generator"
	"pgha-gen/internal/bootlog"
	"pgha-gen/internal/demo"
	"pgha-gen/lab"
	"pgha-gen/lab/isolate"
	"pgha-gen/lab/labtest"
	"pgha-gen/lab/vm"
	"pgha-gen/roles"
	"pgha-gen/roles/etcd"
)

// TestQEMU bakes the etcd image as a person without a cloud would, in a virtual
// machine, and boots it in another one, which sees the lab's cloud. Slow: it
// emulates the processor. make test-bake.
func TestQEMU(t *testing.T) {
	if os.Getenv("PGHA_TEST_QEMU") == "" {
		t.Skip("this test emulates two machines, which takes minutes: make test-bake")
	}
	labtest.Need(t, append(vm.Tools(), "mmdebstrap", "packer", "qemu-system-x86_64", "qemu-img", "xorriso", "ssh-keygen", "ip")...)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	dir := labtest.State(t)
	clock := newStopwatch(t)

	src, err := os.ReadFile("testdata/qemu.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := generator.Read("qemu.yaml", src, roles.All())
	if err != nil {
		t.Fatal(err)
	}
	baker := lab.Baker{Cache: labtest.Cache, Program: "etcd", Now: time.Now, Log: bakeLog(t)}
	archive, err := baker.Release(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mirror := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(archive.Path))))
	t.Cleanup(mirror.Close)
	address, err := url.Parse(mirror.URL)
	if err != nil {
		t.Fatal(err)
	}
	c.Group(etcd.Name).Settings.(*etcd.Settings).Artifacts.Etcd = etcd.Artifact{
		// QEMU's name for the loopback of the host.
		URL: "http://10.0.2.2:" + address.Port() + "/" + filepath.Base(archive.Path), SHA256: archive.SHA256}
	clock.lap("etcd's archive")

	root, err := baker.Base(ctx, vm.Packages()...)
	if err != nil {
		t.Fatal(err)
	}
	clock.lap("root of the base image (kept for the next run)")
	if err := vm.Disk(ctx, filepath.Join(dir, "nowhere"), filepath.Join(dir, "none.raw")); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a disk of a root that is not there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "none.raw")); !os.IsNotExist(err) {
		t.Errorf("a disk that could not be made is left: %v", err)
	}
	base := filepath.Join(dir, "base.qcow2")
	if err := vm.Disk(ctx, root, filepath.Join(dir, "base.raw")); err != nil {
		t.Fatal(err)
	}
	tool(t, ctx, dir, "qemu-img", "convert", "-O", "qcow2", "base.raw", base)
	c.Images.Base.URL, c.Images.Base.Checksum = base, "sha256:"+sum(t, base)
	clock.lap("disk of the base image")

	if err := c.Plan(); err != nil {
		t.Fatal(err)
	}
	files := demo.Files(t, c)
	out := filepath.Join(dir, "out")
	if err := files.Write(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	image := packByQEMU(t, ctx, dir, filepath.Join(out, "packer", "etcd"), c.ImageFamily("etcd"))
	write(t, filepath.Join(out, "packer", "etcd", "plugins.pkr.hcl"), files["packer/etcd/plugins.pkr.hcl"].Data)
	if err := files.Write(t.Context(), out); err != nil {
		t.Errorf("the bake is in the way of the next render: %v", err)
	}
	clock.lap("packer build")

	tool(t, ctx, dir, "qemu-img", "convert", "-O", "raw", image, "image.raw")
	tool(t, ctx, dir, "unshare", "--mount", "sh", "-c", "mount -o loop,ro,noload,offset=1048576 image.raw /mnt && cp -a /mnt sealed")
	fits(t, filepath.Join(dir, "sealed"), c)
	clock.lap("check of the image")

	l, err := lab.New(ctx, lab.Config{
		Cluster: c, Images: map[string]string{"etcd": root}, State: filepath.Join(dir, "lab"), Cache: labtest.Cache, Name: "pghaq", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	console := boot(t, ctx, l, dir, image, string(files["user-data/etcd.yaml"].Data))
	began := time.Now()
	seen := 0
	wait := func(name, part string) {
		t.Helper()
		for {
			lines := strings.Split(strings.ReplaceAll(read(t, console), "\r", ""), "\n")
			for ; seen < len(lines)-1; seen++ {
				step, ok := bootlog.Parse(lines[seen])
				if !ok {
					continue
				}
				t.Logf("  %5.1f s  %s %s %s", time.Since(began).Seconds(), step.Name, step.Status, step.Detail)
				if step.Status == "fail" {
					t.Fatalf("%s failed: %s", step.Name, step.Detail)
				}
				if step.Name == name && step.Status == "ok" && strings.Contains(step.Detail, part) {
					seen++
					return
				}
			}
			select {
			case <-ctx.Done():
				t.Fatalf("no %s: %v; the end of its console:\n%s", name, ctx.Err(), end(read(t, console)))
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	wait("ready", "")
	clock.lap("boot of the image, to ready")

	monitor, err := net.Dial("unix", filepath.Join(dir, "monitor"))
	if err != nil {
		t.Fatal(err)
	}
	defer monitor.Close()
	if _, err := io.WriteString(monitor, "block_resize data 3G\n"); err != nil {
		t.Fatal(err)
	}
	wait("disk", "/var/lib/etcd has grown from ")
	clock.lap("growth of the data disk, while the machine runs")
	clock.total()
}

// packByQEMU runs packer build in a recipe's folder, as README.md tells to, and
// gives the image.
func packByQEMU(t *testing.T, ctx context.Context, dir, recipe, name string) string {
	t.Helper()
	// Packer before 1.7 has the qemu builder within, and refuses this file.
	if err := os.Remove(filepath.Join(recipe, "plugins.pkr.hcl")); err != nil {
		t.Fatal(err)
	}
	key, seed, scratch := filepath.Join(dir, "key"), filepath.Join(dir, "seed"), filepath.Join(dir, "tmp")
	for _, d := range []string{seed, scratch} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tool(t, ctx, dir, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	write(t, filepath.Join(seed, "user-data"), []byte("#cloud-config\nssh_authorized_keys: ["+strings.TrimSpace(read(t, key+".pub"))+"]\n"))
	write(t, filepath.Join(seed, "meta-data"), []byte("instance-id: bake\n"))
	var said bytes.Buffer
	runToEnd(t, ctx, isolate.Config{
		ID: "pgha-qemu-packer",
		Args: []string{"env", "-C", recipe, "packer", "build", "-color=false", "-timestamp-ui", "-var=accelerator=tcg",
			"-var=seed_directory=" + seed, "-var=ssh_private_key_file=" + key, "."},
		Env: []string{"CHECKPOINT_DISABLE=1", "HOME=" + scratch, "TMPDIR=" + scratch,
			"PACKER_CONFIG_DIR=" + scratch, "PACKER_CACHE_DIR=" + scratch},
		Output: io.MultiWriter(&said, bakeLog(t)),
	}, &said)
	return filepath.Join(recipe, "../../..", name+".image", name+".qcow2")
}

// boot starts a virtual machine with a copy-on-write copy of the image in the
// place of the lab's only node, and gives the file of its console. It has the
// node's address and data disk; its user-data comes from a seed.
func boot(t *testing.T, ctx context.Context, l *lab.Lab, dir, image, userData string) string {
	t.Helper()
	const mac = "d0:0d:0a:80:00:1a"
	node := l.Names()[0]
	network := l.Network.Name
	if err := l.Network.Detach(node); err != nil {
		t.Fatal(err)
	}
	tool(t, ctx, dir, "ip", "-n", network, "tuntap", "add", "vm0", "mode", "tap")
	tool(t, ctx, dir, "ip", "-n", network, "link", "set", "vm0", "master", "br0", "up")
	for name, text := range map[string]string{
		"user-data": userData,
		"meta-data": "instance-id: " + l.InstanceID(node) + "\nlocal-hostname: " + node + "\n",
		"network-config": fmt.Sprintf(`version: 2
ethernets:
  eth0:
    match: {macaddress: %q}
    addresses: [10.128.0.26/24]
    routes: [{to: 0.0.0.0/0, via: 10.128.0.1}]
    nameservers: {addresses: [10.128.0.2], search: [ru-central1.internal]}
`, mac),
	} {
		write(t, filepath.Join(dir, name), []byte(text))
	}
	tool(t, ctx, dir, "xorriso", "-as", "mkisofs", "-quiet", "-V", "cidata", "-J", "-r", "-o", "seed.iso", "user-data", "meta-data", "network-config")
	tool(t, ctx, dir, "qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F", "qcow2", "boot.qcow2")
	tool(t, ctx, dir, "truncate", "-s", "1G", "data.raw")
	console := filepath.Join(dir, "console")
	var said bytes.Buffer
	machine, err := isolate.Start(isolate.Config{
		ID: "pgha-qemu-boot",
		Args: []string{"ip", "netns", "exec", network, "env", "-C", dir, "qemu-system-x86_64",
			"-accel", "tcg", "-smp", "2", "-m", "1024", "-display", "none", "-monitor", "unix:monitor,server,nowait", "-serial", "file:" + console,
			"-drive", "file=boot.qcow2,if=none,id=boot,format=qcow2,discard=unmap", "-device", "virtio-blk-pci,drive=boot,bootindex=1",
			"-drive", "file=data.raw,if=none,id=data,format=raw", "-device", "virtio-blk-pci,drive=data,serial=data",
			"-cdrom", "seed.iso",
			"-netdev", "tap,id=net,ifname=vm0,script=no,downscript=no", "-device", "virtio-net-pci,netdev=net,mac=" + mac},
		Output: &said,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := machine.Kill(); err != nil {
			t.Error(err)
		}
		if err := machine.Left(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("qemu says: %s", said.String())
		}
	})
	for {
		if _, err := os.Stat(console); err == nil {
			return console
		}
		select {
		case <-machine.Done():
			t.Fatalf("qemu ended at once: %v %s", machine.Status(), said.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// runToEnd runs a command, and ends it if the test does.
func runToEnd(t *testing.T, ctx context.Context, cfg isolate.Config, said *bytes.Buffer) {
	t.Helper()
	r, err := isolate.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	stop := context.AfterFunc(ctx, func() { r.Kill() })
	defer stop()
	if err := r.Left(); err != nil {
		t.Error(err)
	}
	if err := r.Status(); err != nil {
		t.Fatalf("%q: %v %v\n%s", cfg.Args, err, ctx.Err(), end(said.String()))
	}
}

func tool(t *testing.T, ctx context.Context, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

func end(s string) string { return s[max(0, len(s)-4000):] }

func sum(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// stopwatch prints how long each part took.
type stopwatch struct {
	t           *testing.T
	start, last time.Time
}

func newStopwatch(t *testing.T) *stopwatch {
	now := time.Now()
	return &stopwatch{t, now, now}
}

func (s *stopwatch) lap(what string) {
	s.t.Helper()
	now := time.Now()
	s.t.Logf("%6.1f s  %s", now.Sub(s.last).Seconds(), what)
	s.last = now
}

func (s *stopwatch) total() {
	s.t.Helper()
	s.t.Logf("%6.1f s  in all", time.Since(s.start).Seconds())
}
