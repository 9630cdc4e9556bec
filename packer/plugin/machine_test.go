package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"pgha-gen/internal/testkit"
)

// machine is a communicator to a machine that is a folder of this host. It has
// these programs and no others: a bake that runs for real finds nothing there
// that could change the host.
type machine struct {
	t   *testing.T
	dir string
	mu  sync.Mutex
	all []*exec.Cmd
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir()}
	testkit.OK(t, os.Mkdir(filepath.Join(m.dir, "bin"), 0o755))
	for _, program := range []string{"cat", "cp", "dirname", "env", "mkdir", "rm", "sh", "sleep"} {
		found, err := exec.LookPath(program)
		if err != nil {
			t.Fatal(err)
		}
		testkit.OK(t, os.Symlink(found, m.path("bin", program)))
	}
	m.fake("id", "echo 1000")
	t.Cleanup(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, cmd := range m.all {
			// The whole group; it is gone if the command has ended.
			if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Error(err)
			}
		}
	})
	return m
}

func (m *machine) path(elements ...string) string {
	return filepath.Join(append([]string{m.dir}, elements...)...)
}

// fake puts a script in the place of a program.
func (m *machine) fake(program, script string) {
	m.t.Helper()
	file := m.path("bin", program)
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.t.Fatal(err)
	}
	testkit.OK(m.t, os.WriteFile(file, []byte("#!/bin/sh\n"+script+"\n"), 0o755))
}

func (m *machine) command(line string, stdout, stderr io.Writer) *exec.Cmd {
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.Dir = m.dir
	cmd.Env = []string{"PATH=" + m.path("bin")}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// begin starts a command; the status arrives when it has ended.
func (m *machine) begin(line string, stdout, stderr io.Writer) (<-chan int, error) {
	cmd := m.command(line, stdout, stderr)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	m.all = append(m.all, cmd)
	ended := make(chan int, 1)
	go func() {
		_ = cmd.Wait() // the status says it all
		ended <- cmd.ProcessState.ExitCode()
	}()
	return ended, nil
}

func (m *machine) Start(_ context.Context, remote *packersdk.RemoteCmd) error {
	ended, err := m.begin(remote.Command, remote.Stdout, remote.Stderr)
	if err != nil {
		return err
	}
	go func() { remote.SetExited(<-ended) }()
	return nil
}

func (m *machine) UploadDir(dst, src string, exclude []string) error {
	inside, ok := strings.CutSuffix(src, "/")
	if !ok || len(exclude) > 0 {
		return errors.New("want the content of the folder, all of it")
	}
	return filepath.WalkDir(inside, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == inside {
			return err
		}
		target := filepath.Join(dst, strings.TrimPrefix(name, inside))
		if entry.IsDir() {
			return os.Mkdir(target, 0o755)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o644)
	})
}

func (m *machine) Upload(string, io.Reader, *os.FileInfo) error { return errors.ErrUnsupported }

func (m *machine) Download(string, io.Writer) error { return errors.ErrUnsupported }

func (m *machine) DownloadDir(string, string, []string) error { return errors.ErrUnsupported }

// TestMachine: what else could be found there could change the host.
func TestMachine(t *testing.T) {
	m := newMachine(t)
	for _, program := range []string{"apt-get", "systemctl", "dpkg", "cloud-init", "sudo", "sed"} {
		var out bytes.Buffer
		if err := m.command("command -v "+program, &out, &out).Run(); err == nil {
			t.Errorf("the machine has %s", out.String())
		}
	}
}
