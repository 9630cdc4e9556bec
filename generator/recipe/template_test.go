package recipe_test

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"pgha-gen/generator/role"
	"pgha-gen/internal/testkit"
)

func TestTemplate(t *testing.T) {
	every(t, func(t *testing.T, b role.Builder, _ *role.Group, files map[string]string) {
		for _, trouble := range judge(b, files) {
			t.Error(trouble)
		}
	})
}

func TestImageIDWins(t *testing.T) {
	c := cluster(t, role.Yandex)
	c.Images.Base.ImageID = "fd8example"
	files := folder(t, c, c.Groups[0])
	if text := files["image.auto.pkrvars.json"]; !strings.Contains(text, `"source_image_id": "fd8example"`) {
		t.Errorf("the id is not in the values:\n%s", text)
	}
	for _, trouble := range judge(role.Yandex, files) {
		t.Error(trouble)
	}
}

func TestLongestName(t *testing.T) {
	c := cluster(t, role.Yandex)
	all := c.Groups
	for _, group := range all {
		c.Groups = []*role.Group{group}
		c.Name = strings.Repeat("n", role.LongestClusterName(group.Name))
		for _, trouble := range judge(role.Yandex, folder(t, c, group)) {
			t.Errorf("%s: %s", group.Name, trouble)
		}
		c.Name += "n"
		if troubles := judge(role.Yandex, folder(t, c, group)); len(troubles) != 1 || !strings.Contains(troubles[0], "is refused by the cloud") {
			t.Errorf("%s: a name of %d characters is as good: %q", group.Name, len(c.Name), troubles)
		}
	}
}

// TestJudge plants one defect at a time.
func TestJudge(t *testing.T) {
	tests := []struct {
		name    string
		builder role.Builder
		file    string
		old     string
		new     string
		want    string
	}{
		{"misspelt key", role.Yandex, "image.pkr.hcl", "use_ipv4_nat =", "use_ipv4_net =", `"use_ipv4_net" is not expected here`},
		{"wrong type", role.Yandex, "image.pkr.hcl", "instance_cores  = 2", `instance_cores  = "two"`, "number is required"},
		{"required key", role.Yandex, "image.pkr.hcl", "folder_id                = var.folder_id", "", `"folder_id" is required`},
		{"key stays", role.Yandex, "image.pkr.hcl", "ssh_clear_authorized_keys = true", "ssh_clear_authorized_keys = false", "key stays in the image"},
		{"key stays in QEMU", role.QEMU, "image.pkr.hcl", "  ssh_clear_authorized_keys = true\n", "", "key stays in the image"},
		{"metadata", role.Yandex, "image.pkr.hcl", "  zone  ", "  metadata = { user-data = \"\" }\n  zone  ", "metadata can take"},
		{"format", role.SSH, "image.pkr.hcl", "ssh_port             =", "ssh_port =", "packer fmt would change it"},
		{"plugins in the image", role.QEMU, "image.pkr.hcl", `source "qemu"`, "packer {\n}\nsource \"qemu\"", "Unsupported block type"},
		{"status lost", role.SSH, "image.pkr.hcl", `bake.sh && rm`, `bake.sh", "rm`, "only the last one's status counts"},
		{"unused variable", role.QEMU, "image.pkr.hcl", "accelerator = var.accelerator", "accelerator = \"kvm\"", "variable accelerator is not used"},
		{"variable without a value", role.SSH, "image.pkr.hcl", "  default = 22\n", "", "variable port has no value"},
		{"value without a variable", role.SSH, "image.auto.pkrvars.json", `"host"`, `"hots"`, "value hots has no variable"},
		{"value of another type", role.Yandex, "image.auto.pkrvars.json", `"disk_size_gb": 10`, `"disk_size_gb": "10"`, "variable disk_size_gb is string, want number"},
		{"token", role.Yandex, "image.auto.pkrvars.json", `"folder_id"`, `"token": "t1.x.y", "folder_id"`, "token has a value"},
		{"visible token", role.Yandex, "image.pkr.hcl", "  sensitive   = true\n", "", "token is not sensitive"},
		{"both base images", role.Yandex, "image.auto.pkrvars.json", `"source_image_id": ""`, `"source_image_id": "fd8x"`, "not both"},
		{"missing upload", role.SSH, "image.pkr.hcl", "root}/bake.sh", "root}/bakes.sh", "bakes.sh is uploaded and not in the recipe"},
		{"missing folder", role.SSH, "image.pkr.hcl", "      \"${path.root}/../common/rootfs\",\n", "", "../common/rootfs/usr/lib/pgha/step.sh is not uploaded"},
		{"all into one file", role.SSH, "image.pkr.hcl", `"/tmp/pgha/"`, `"/tmp/pgha"`, "each would replace the one before"},
		{"another source", role.SSH, "image.pkr.hcl", `"source.null.image"`, `"source.null.other"`, "sources are not the one"},
		{"unknown provisioner", role.SSH, "image.pkr.hcl", `provisioner "file"`, `provisioner "flie"`, "unknown provisioner flie"},
		{"misspelt key of a provisioner", role.SSH, "image.pkr.hcl", "destination =", "destinaton =", `"destinaton" is not expected here`},
		{"any later plugin", role.Yandex, "plugins.pkr.hcl", `"= 1.1.3"`, `">= 1.1.3"`, `plugin yandex is not pinned: version ">= 1.1.3"`},
		{"any plugin", role.Yandex, "plugins.pkr.hcl", "      version = \"= 1.1.3\"\n", "", `plugin yandex is not pinned: version "none"`},
		{"any later plugin of QEMU", role.QEMU, "plugins.pkr.hcl", `"= 1.1.4"`, `"~> 1.1.4"`, `plugin qemu is not pinned: version "~> 1.1.4"`},
		{"image in the rendered folder", role.QEMU, "image.pkr.hcl", "/../../../", "/", "and render would refuse to replace that folder"},
		{"not HCL", role.SSH, "plugins.pkr.hcl", "packer {", "packer", "Argument or block definition required"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := cluster(t, test.builder)
			files := folder(t, c, c.Groups[0])
			planted := strings.Replace(files[test.file], test.old, test.new, 1)
			if planted == files[test.file] {
				t.Fatalf("there is no %q in %s", test.old, test.file)
			}
			files[test.file] = planted
			got := strings.Join(judge(test.builder, files), "\n")
			if !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q in it", got, test.want)
			}
		})
	}
}

// TestExamplePinned: whoever copies the example gets one version, too.
func TestExamplePinned(t *testing.T) {
	file, errs := hclparse.NewParser().ParseHCLFile("../../packer/plugin/example/plugins.pkr.hcl")
	if errs.HasErrors() {
		t.Fatal(errs)
	}
	versions := map[string]string{}
	for _, block := range file.Body.(*hclsyntax.Body).Blocks {
		maps.Copy(versions, required(block))
	}
	for name, version := range versions {
		if !exactly.MatchString(version) {
			t.Errorf("plugin %s is not pinned: version %q", name, version)
		}
	}
	if len(versions) == 0 {
		t.Error("it requires no plugin: this looks at nothing")
	}
}

// TestPacker asks Packer itself. Debian's 1.6 has the qemu builder within and
// knows no required_plugins; later ones need the plugin to do more than parse.
func TestPacker(t *testing.T) {
	testkit.Need(t, "packer")
	version, err := exec.Command("packer", "version").Output()
	if err != nil {
		t.Fatal(err)
	}
	old := strings.HasPrefix(string(version), "Packer v1.6.")
	every(t, func(t *testing.T, b role.Builder, _ *role.Group, files map[string]string) {
		dir := filepath.Join(t.TempDir(), "role")
		for name, text := range files {
			file := filepath.Join(dir, filepath.FromSlash(name))
			testkit.OK(t, os.MkdirAll(path.Dir(file), 0o755))
			testkit.OK(t, os.WriteFile(file, []byte(text), 0o644))
		}
		ask := func(args ...string) {
			t.Helper()
			cmd := exec.Command("packer", args...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "PACKER_CONFIG_DIR="+dir+"/.packer", "HOME="+dir)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); err != nil {
				t.Errorf("packer %q: %v\n%s", args, err, out.Bytes())
			}
		}
		ask("fmt", "-check", "-diff", ".")
		if old {
			testkit.OK(t, os.Remove(filepath.Join(dir, "plugins.pkr.hcl")))
		}
		if b == role.SSH || b == role.QEMU && old {
			ask("validate", ".")
		} else {
			ask("validate", "-syntax-only", ".")
		}
	})
}
