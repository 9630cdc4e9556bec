package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"pgha-gen/internal/testkit"
)

// host is a folder with a template and the plugin, where Packer runs.
type host struct {
	t       *testing.T
	dir     string
	program string
}

// newHost has a program there under a name by which Packer finds plugins.
func newHost(t *testing.T, program, name string) *host {
	t.Helper()
	testkit.Need(t, "packer")
	h := &host{t, t.TempDir(), program}
	testkit.OK(t, os.Symlink(program, filepath.Join(h.dir, name)))
	return h
}

func (h *host) write(name, text string) {
	h.t.Helper()
	testkit.OK(h.t, os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600))
}

// packer runs Packer and gives what it says, and its status.
func (h *host) packer(args ...string) (string, int) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "packer", args...)
	// Packer runs itself once more, and plugins: all in one group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Dir = h.dir
	cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "HOME="+h.dir, "PACKER_CONFIG_DIR="+h.dir+"/.packer",
		"PACKER_CACHE_DIR="+h.dir+"/cache", "TMPDIR="+h.dir, "PACKER_NO_COLOR=1", "SSH_AUTH_SOCK=", "PGHA_PLUGIN="+h.program)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		h.t.Fatalf("packer %q: %v %v\n%s", args, err, ctx.Err(), out.String())
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// version is the minor version of Packer 1.
func (h *host) version() int {
	h.t.Helper()
	out, _ := h.packer("version")
	var minor int
	if _, err := fmt.Sscanf(out, "Packer v1.%d.", &minor); err != nil {
		h.t.Fatalf("packer version says %q", out)
	}
	return minor
}

// template is one that bakes etcd over SSH.
func (h *host) template(m *machine, port int, role string) {
	h.t.Helper()
	spec, err := filepath.Abs(exampleSpec)
	if err != nil {
		h.t.Fatal(err)
	}
	h.write("build.pkr.hcl", fmt.Sprintf(`
source "null" "x" {
  communicator             = "ssh"
  ssh_host                 = "127.0.0.1"
  ssh_port                 = %d
  ssh_username             = "x"
  ssh_private_key_file     = "key"
  ssh_file_transfer_method = "sftp"
}

build {
  sources = ["source.null.x"]

  provisioner "pgha" {
    spec          = %q
    role          = %q
    remote_folder = %q
  }
}
`, port, spec, role, m.path("recipe")))
}

// oldPacker: Packer before 1.7 finds the plugin and cannot talk to it. It has no
// notion of a default name, and its first line of the protocol has no minor
// version: it takes that for the kind of the address.
func oldPacker(t *testing.T, program string) {
	h := newHost(t, program, "packer-plugin-pgha")
	if v := h.version(); v >= 7 {
		t.Skipf("this is Packer 1.%d, which knows the protocol", v)
	}
	h.write("build.pkr.hcl", `
source "null" "x" {
  communicator = "none"
}

build {
  sources = ["source.null.x"]
  provisioner "pgha--packer-default-plugin-name-" {
  }
}
`)
	// It says so, and that the template is fine.
	if out, _ := h.packer("validate", "."); !strings.Contains(out, "Unknown address type: 0") {
		t.Errorf("Packer says:\n%s", out)
	}
}

// realPacker is the real one, its SSH and our plugin.
func realPacker(t *testing.T, program string) {
	h := oneThatLoads(t, program)
	m := newMachine(t)
	port := serve(t, h, m)

	h.template(m, port, "etdc")
	out, status := h.packer("validate", ".")
	if status == 0 || !strings.Contains(out, `role is "etdc", which is unknown (did you mean etcd?)`) {
		t.Errorf("misspelt role: status %d:\n%s", status, out)
	}

	h.template(m, port, "etcd")
	if out, status := h.packer("validate", "."); status != 0 {
		t.Errorf("validate: status %d:\n%s", status, out)
	}
	out, status = h.packer("build", ".")
	if status == 0 || !strings.Contains(out, "role etcd: the bake changes the system: run it as root") {
		t.Errorf("a bake that stops: status %d:\n%s", status, out)
	}
	m.fake("sh", record)
	out, status = h.packer("build", ".")
	if status != 0 {
		t.Errorf("build: status %d:\n%s", status, out)
	}
	asInTheTemplate(t, m)
}

// example: the one that people start from is as packer fmt leaves it, and valid.
func example(t *testing.T, program string) {
	h := oneThatLoads(t, program)
	for _, name := range []string{"build.pkr.hcl", "plugins.pkr.hcl"} {
		text, err := os.ReadFile(filepath.Join("example", name))
		if err != nil {
			t.Fatal(err)
		}
		h.write(name, string(text))
	}
	if out, status := h.packer("fmt", "-check", "-diff", "."); status != 0 {
		t.Errorf("packer fmt would change it:\n%s", out)
	}
	if v := h.version(); v >= 7 {
		t.Skipf("this is Packer 1.%d, whose QEMU builder is a plugin that must be downloaded", v)
	}
	testkit.OK(t, os.Remove(filepath.Join(h.dir, "plugins.pkr.hcl")))
	h.write("base.qcow2", "")
	arguments := []string{"validate", "-var", "base_url=base.qcow2", "-var", "base_checksum=none", "-var", "ssh_private_key_file=", "."}
	if out, status := h.packer(arguments...); status == 0 || !strings.Contains(out, "there is no file ") {
		t.Errorf("without a spec: status %d:\n%s", status, out)
	}
	text := testkit.Text(t, exampleSpec)
	h.write("pgha.yaml", text)
	if out, status := h.packer(arguments...); status != 0 {
		t.Errorf("status %d:\n%s", status, out)
	}
}

// oneThatLoads is a host whose Packer can talk to the plugin. One before 1.7 is
// given the first line of the protocol as it wants it.
func oneThatLoads(t *testing.T, program string) *host {
	t.Helper()
	h := newHost(t, program, "packer-plugin-pgha")
	switch v := h.version(); {
	case v >= 11:
		if out, status := h.packer("plugins", "install", "--path", program, "example.com/pgha-gen/pgha"); status != 0 {
			t.Fatalf("status %d:\n%s", status, out)
		}
		return h
	case v >= 7:
		return h
	}
	shim, err := os.ReadFile("testdata/old-packer.sh")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "shim")
	testkit.OK(t, os.WriteFile(file, shim, 0o755))
	h = newHost(t, file, "packer-provisioner-pgha")
	h.program = program
	return h
}

// serve lets one key into the machine, by SSH on the loopback, and writes the
// key into Packer's folder.
func serve(t *testing.T, h *host, m *machine) (port int) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	h.write("key", string(pem.EncodeToMemory(block)))
	mine, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if !bytes.Equal(key.Marshal(), mine.Marshal()) {
				return nil, errors.New("another key")
			}
			return nil, nil
		},
	}
	config.AddHostKey(signer)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // the test is over
			}
			go connection(conn, config, m)
		}
	}()
	_, text, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if port, err = strconv.Atoi(text); err != nil {
		t.Fatal(err)
	}
	return port
}

// connection ends with its client; what goes wrong, Packer says.
func connection(conn net.Conn, config *ssh.ServerConfig, m *machine) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for channel := range channels {
		if channel.ChannelType() != "session" {
			_ = channel.Reject(ssh.UnknownChannelType, "sessions only")
			continue
		}
		session, requests, err := channel.Accept()
		if err != nil {
			return
		}
		go converse(session, requests, m)
	}
}

func converse(session ssh.Channel, requests <-chan *ssh.Request, m *machine) {
	defer session.Close()
	for request := range requests {
		var what struct{ Text string }
		if (request.Type != "exec" && request.Type != "subsystem") || ssh.Unmarshal(request.Payload, &what) != nil {
			_ = request.Reply(false, nil)
			continue
		}
		_ = request.Reply(true, nil)
		if request.Type == "subsystem" {
			if server, err := sftp.NewServer(session); err == nil && what.Text == "sftp" {
				_ = server.Serve()
			}
			return
		}
		status := 255
		if ended, err := m.begin(what.Text, session, session.Stderr()); err == nil {
			status = <-ended
		}
		_, _ = session.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, uint32(status)))
		return
	}
}
