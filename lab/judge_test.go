//go:build linux

package lab_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgha-gen/generator"
	"pgha-gen/generator/tree"
	"pgha-gen/lab"
	"pgha-gen/lab/labtest"
)

// The consumers of what we write judge it, in the images that it is for: each
// image is baked, and its own programs read the files that a machine of the
// role would get.

// baked is the example as generated for the lab, and the images of all roles.
type baked struct {
	files  tree.Tree
	images map[string]string
}

func bake(t *testing.T, ctx context.Context) baked {
	t.Helper()
	labtest.Need(t, "mmdebstrap", "systemd-nspawn", "ip", "losetup", "nsenter")
	c := readExample(t)
	workshop := lab.Workshop{Cache: labtest.Cache, EtcdModule: "etcd", Now: time.Now, Log: bakeLog(t)}
	archive, err := workshop.Adapt(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	files, err := generator.Generate(c)
	if err != nil {
		t.Fatal(err)
	}
	images, err := workshop.Images(ctx, files, archive, []string{"etcd", "patroni", "haproxy"})
	if err != nil {
		t.Fatal(err)
	}
	return baked{files, images}
}

func TestJudges(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	b := bake(t, ctx)
	for _, role := range []string{"etcd", "patroni", "haproxy"} {
		t.Run(role, func(t *testing.T) {
			t.Run("versions", func(t *testing.T) {
				t.Log(strings.TrimSpace(b.in(t, ctx, role, nil, "jq", "-r",
					`[.components[] | "\(.name) \(.version)"] | join(", ")`, "/usr/lib/pgha/manifest.json")))
			})
			t.Run("cloud-init schema", func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "user-data")
				if err := os.WriteFile(file, b.files["user-data/"+role+".yaml"].Data, 0o644); err != nil {
					t.Fatal(err)
				}
				out := b.in(t, ctx, role, []string{file + ":/run/user-data"}, "cloud-init", "schema", "--config-file", "/run/user-data")
				if !strings.Contains(out, "Valid schema") {
					t.Errorf("cloud-init says:\n%s", out)
				}
			})
			t.Run("systemd-analyze verify", func(t *testing.T) {
				// By its output: the status is 0 for a misspelt key, too.
				out := b.in(t, ctx, role, nil, "sh", "-c", "systemd-analyze verify --man=no --recursive-errors=no "+
					"/usr/lib/systemd/system/pgha* "+role+".service 2>&1")
				if strings.TrimSpace(out) != "" {
					t.Errorf("systemd says:\n%s", out)
				}
			})
		})
	}
	t.Run("haproxy -c", func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "ca.crt"), authorityForJudges(t))
		config := userDataFile(t, b.files["user-data/haproxy.yaml"].Data, "/etc/haproxy/haproxy.cfg")
		write(t, filepath.Join(dir, "haproxy.cfg"), config)
		binds := []string{dir + "/haproxy.cfg:/etc/haproxy/haproxy.cfg", dir + ":/run/pgha/secrets"}
		out := b.in(t, ctx, "haproxy", binds, "sh", "-c", "mkdir -p /run/haproxy && haproxy -c -V -f /etc/haproxy/haproxy.cfg 2>&1")
		if strings.Contains(out, "WARNING") || strings.Contains(out, "ALERT") {
			t.Errorf("haproxy says:\n%s", out)
		}
	})
	t.Run("patroni --validate-config", func(t *testing.T) {
		// Against a live etcd, which it insists on. It calls "quorum" not a
		// boolean up to 4.1.4; anything else that it says is ours.
		dir := t.TempDir()
		secrets := judgeSecrets(t)
		for name, data := range secrets {
			write(t, filepath.Join(dir, name), data)
		}
		write(t, filepath.Join(dir, "config.yml"), userDataFile(t, b.files["user-data/patroni.yaml"].Data, "/etc/patroni/config.yml"))
		write(t, filepath.Join(dir, "etcd.env"), userDataFile(t, b.files["user-data/etcd.yaml"].Data, "/etc/etcd/etcd.env"))
		script, err := filepath.Abs("testdata/validate-patroni.sh")
		if err != nil {
			t.Fatal(err)
		}
		binds := []string{dir + ":/run/judge", script + ":/run/validate-patroni.sh",
			b.images["etcd"] + "/usr/bin/etcd:/usr/bin/etcd"}
		out := b.in(t, ctx, "patroni", binds, "sh", "/run/validate-patroni.sh")
		if strings.TrimSpace(out) != "" {
			t.Errorf("patroni says:\n%s", out)
		}
		write(t, filepath.Join(dir, "config.yml"), bytes.Replace(
			userDataFile(t, b.files["user-data/patroni.yaml"].Data, "/etc/patroni/config.yml"), []byte("protocol: https"), []byte("protocol: ftp"), 1))
		if out := b.in(t, ctx, "patroni", binds, "sh", "/run/validate-patroni.sh"); strings.TrimSpace(out) == "" {
			t.Error("patroni has nothing to say against etcd by ftp: it judges nothing here")
		}
	})
}

// in runs a command in a throw-away copy of a role's image, without network,
// and gives what it says on standard output.
func (b baked) in(t *testing.T, ctx context.Context, role string, binds []string, args ...string) string {
	t.Helper()
	command := []string{"-q", "--register=no", "--keep-unit", "--volatile=overlay", "--private-network", "--as-pid2", "-D", b.images[role]}
	for _, bind := range binds {
		command = append(command, "--bind-ro="+bind)
	}
	cmd := exec.CommandContext(ctx, "systemd-nspawn", append(append(command, "--"), args...)...)
	cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
