package main

import (
	"bufio"
	"bytes"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/plugin"
	"github.com/hashicorp/packer-plugin-sdk/rpc"
	"github.com/zclconf/go-cty/cty"

	"pgha-gen/internal/testkit"
)

// start runs the plugin as Packer does and gives its provisioner.
func start(t *testing.T, binary string, protobuf bool) packersdk.Provisioner {
	t.Helper()
	args := []string{"start", "provisioner", plugin.DEFAULT_NAME}
	if protobuf {
		args = append(args, "--protobuf")
	}
	cmd := exec.Command(binary, args...)
	cmd.Env = []string{plugin.MagicCookieKey + "=" + plugin.MagicCookieValue, "TMPDIR=" + t.TempDir()}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	testkit.OK(t, cmd.Start())
	kill := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	t.Cleanup(func() {
		err := cmd.Wait()
		kill.Stop()
		if err != nil {
			t.Errorf("the plugin ended with %v:\n%s", err, stderr.String())
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	hello := strings.Split(strings.TrimSpace(line), "|")
	if len(hello) != 4 || hello[0] != plugin.APIVersionMajor || hello[1] != plugin.APIVersionMinor {
		t.Fatalf("the plugin says %q", line)
	}
	conn, err := net.Dial(hello[2], hello[3])
	if err != nil {
		t.Fatal(err)
	}
	client, err := rpc.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	client.UseProto = protobuf
	return client.Provisioner()
}

// prepare gives a provisioner a block of HCL, as Packer does.
func prepare(t *testing.T, p packersdk.Provisioner, attributes map[string]string) error {
	t.Helper()
	var text strings.Builder
	variables := map[string]cty.Value{}
	for name, value := range attributes {
		text.WriteString(name + " = v." + name + "\n")
		variables[name] = cty.StringVal(value)
	}
	file, diagnostics := hclsyntax.ParseConfig([]byte(text.String()), "build.pkr.hcl", hcl.InitialPos)
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	value, diagnostics := hcldec.Decode(file.Body, p.ConfigSpec(), &hcl.EvalContext{
		Variables: map[string]cty.Value{"v": cty.ObjectVal(variables)},
	})
	if diagnostics.HasErrors() {
		return diagnostics
	}
	return p.Prepare(value, map[string]any{"packer_build_name": "x", "packer_builder_type": "null", "packer_core_version": "1.16.0"})
}

// screen is what a person sees.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *screen) ui() packersdk.Ui {
	return &packersdk.BasicUi{Writer: s, PB: &packersdk.NoopProgressTracker{}}
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		all[filepath.ToSlash(strings.TrimPrefix(name, dir+"/"))] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func variables(t *testing.T, m *machine) map[string]string {
	t.Helper()
	text := testkit.Text(t, m.path("environment"))
	all := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		all[name] = value
	}
	return all
}
