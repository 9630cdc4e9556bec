package packer_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	"mvdan.cc/sh/v3/syntax"

	"pgha-gen/generator"
	"pgha-gen/generator/role"
	"pgha-gen/generator/tree"
	"pgha-gen/packer"
	"pgha-gen/packer/packertest"
	"pgha-gen/roles"
)

// cluster is the reference's cluster, for a builder.
func cluster(t *testing.T, b role.Builder) *role.Cluster {
	t.Helper()
	src, err := os.ReadFile("../generator/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := generator.Read("example.yaml", src, roles.All())
	if err != nil {
		t.Fatal(err)
	}
	c.Images.Builder = b
	c.Images.Base.URL = "https://example.com/base.qcow2"
	c.Images.Base.Checksum = "sha256:" + strings.Repeat("0", 64)
	c.Images.Base.Host = "192.0.2.1"
	return c
}

// recipe is the recipe of one role, by path below its folder.
func recipe(t *testing.T, c *role.Cluster, part *role.Group) map[string]string {
	t.Helper()
	out := tree.Tree{}
	if err := newTemplate(t, c).Add(out, "packer/"+part.Name, c, part); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for name, file := range out {
		below, ok := strings.CutPrefix(name, "packer/"+part.Name+"/")
		if !ok {
			t.Fatalf("%s is outside of its folder", name)
		}
		files[below] = string(file.Data)
	}
	return files
}

// every runs a test for each role and builder.
func every(t *testing.T, test func(t *testing.T, b role.Builder, part *role.Group, files map[string]string)) {
	for _, b := range []role.Builder{role.Yandex, role.QEMU, role.SSH} {
		c := cluster(t, b)
		for _, part := range c.Groups {
			t.Run(string(b)+"/"+part.Name, func(t *testing.T) {
				test(t, b, part, recipe(t, c, part))
			})
		}
	}
}

func TestRecipe(t *testing.T) {
	every(t, func(t *testing.T, b role.Builder, _ *role.Group, files map[string]string) {
		for _, trouble := range judge(b, files) {
			t.Error(trouble)
		}
	})
}

// keys are the attributes of a builder or provisioner, as its documentation
// lists them; those that must be given end in "!".
type keys map[string]cty.Type

func (k keys) spec() hcldec.ObjectSpec {
	spec := hcldec.ObjectSpec{}
	for name, typ := range k {
		name, required := strings.CutSuffix(name, "!")
		spec[name] = &hcldec.AttrSpec{Name: name, Type: typ, Required: required}
	}
	return spec
}

func keysOf(typ cty.Type, names string) keys {
	k := keys{}
	for _, name := range strings.Fields(names) {
		k[name] = typ
	}
	return k
}

func union(all ...keys) keys {
	k := keys{}
	for _, one := range all {
		maps.Copy(k, one)
	}
	return k
}

func texts() cty.Type { return cty.List(cty.String) }

func textMap() cty.Type { return cty.Map(cty.String) }

// communicator are the keys of Packer's SSH connections (packer-plugin-sdk,
// communicator). Durations are texts.
func communicator() keys {
	return union(
		keysOf(cty.String, `communicator pause_before_connecting ssh_host ssh_username! ssh_password
			ssh_keypair_name temporary_key_pair_name temporary_key_pair_type ssh_private_key_file
			ssh_certificate_file ssh_timeout ssh_wait_timeout ssh_bastion_host ssh_bastion_username
			ssh_bastion_password ssh_bastion_private_key_file ssh_bastion_certificate_file
			ssh_file_transfer_method ssh_proxy_host ssh_proxy_username ssh_proxy_password
			ssh_keep_alive_interval ssh_read_write_timeout`),
		keysOf(cty.Number, `ssh_port temporary_key_pair_bits ssh_handshake_attempts ssh_bastion_port ssh_proxy_port`),
		keysOf(cty.Bool, `ssh_clear_authorized_keys ssh_pty ssh_agent_auth ssh_disable_agent_forwarding
			ssh_bastion_agent_auth ssh_bastion_interactive`),
		keysOf(texts(), `ssh_ciphers ssh_key_exchange_algorithms ssh_remote_tunnels ssh_local_tunnels`),
	)
}

// builderKeys are those of packer-plugin-yandex 1.1.3, packer-plugin-qemu 1.1.4
// (as far as a bake from a disk image needs them), and Packer's own null builder.
func builderKeys(kind string) keys {
	switch kind {
	case "yandex":
		return union(communicator(),
			keysOf(cty.String, `endpoint service_account_key_file token folder_id! serial_log_file state_timeout
				instance_name platform_id service_account_id disk_name disk_type subnet_id zone image_name
				image_description image_family target_image_folder_id source_image_family source_image_name
				source_image_id source_image_folder_id`),
			keysOf(cty.Number, `max_retries instance_cores instance_core_fraction instance_gpus instance_mem_gb
				disk_size_gb image_min_disk_size_gb`),
			keysOf(cty.Bool, `preemptible use_ipv4_nat use_ipv6 use_internal_ip image_pooled skip_create_image`),
			keysOf(texts(), `security_group_ids image_product_ids`),
			keysOf(textMap(), `labels metadata metadata_from_file disk_labels image_labels`))
	case "qemu":
		return union(communicator(),
			keysOf(cty.String, `iso_url! iso_checksum! format disk_size accelerator cpu_model machine_type net_device
				disk_interface disk_discard disk_detect_zeroes efi_firmware_code efi_firmware_vars
				output_directory vm_name qemu_binary shutdown_command shutdown_timeout boot_wait
				http_directory cd_label`),
			keysOf(cty.Number, `memory cpus`),
			keysOf(cty.Bool, `disk_image skip_resize_disk use_backing_file skip_compaction disk_compression headless efi_boot`),
			keysOf(texts(), `iso_urls boot_command cd_files`),
			keysOf(textMap(), `http_content cd_content`))
	case "null":
		k := communicator()
		delete(k, "ssh_host")
		k["ssh_host!"] = cty.String
		return k
	}
	return nil
}

func provisionerKeys(kind string) keys {
	switch kind {
	case "shell":
		return union(
			keysOf(cty.String, `script inline_shebang execute_command remote_folder remote_file remote_path
				start_retry_timeout env_var_format pause_before pause_after timeout`),
			keysOf(cty.Bool, `binary use_env_var_file skip_clean expect_disconnect`),
			keysOf(cty.Number, `max_retries`),
			keysOf(texts(), `inline scripts environment_vars only except`),
			keys{"valid_exit_codes": cty.List(cty.Number), "env": textMap()})
	case "file":
		return union(
			keysOf(cty.String, `source content destination! direction pause_before timeout`),
			keysOf(cty.Bool, `generated`),
			keysOf(cty.Number, `max_retries`),
			keysOf(texts(), `sources only except`))
	}
	return nil
}

// exactly is a version constraint that one version meets.
var exactly = regexp.MustCompile(`^= \d+\.\d+\.\d+$`)

// required are the plugins that a block packer requires: name to version.
func required(block *hclsyntax.Block) map[string]string {
	versions := map[string]string{}
	for _, plugins := range block.Body.Blocks {
		for name, plugin := range plugins.Body.Attributes {
			versions[name] = "none"
			if value, errs := plugin.Expr.Value(nil); !errs.HasErrors() && value.Type().IsObjectType() && value.Type().HasAttribute("version") {
				versions[name] = value.GetAttr("version").AsString()
			}
		}
	}
	return versions
}

// judge is everything that is wrong with the templates of a recipe.
func judge(b role.Builder, files map[string]string) (troubles []string) {
	trouble := func(format string, args ...any) { troubles = append(troubles, fmt.Sprintf(format, args...)) }
	kind := string(b)
	if b == role.SSH {
		kind = "null"
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".pkr.hcl") && string(hclwrite.Format([]byte(files[name]))) != files[name] {
			trouble("%s: packer fmt would change it", name)
		}
	}
	parser := hclparse.NewParser()
	image, errs := parser.ParseHCL([]byte(files["image.pkr.hcl"]), "image.pkr.hcl")
	if errs.HasErrors() {
		return append(troubles, all(errs))
	}
	plugins, errs := parser.ParseHCL([]byte(files["plugins.pkr.hcl"]), "plugins.pkr.hcl")
	if errs.HasErrors() {
		return append(troubles, all(errs))
	}
	values, errs := parser.ParseJSON([]byte(files["image.auto.pkrvars.json"]), "image.auto.pkrvars.json")
	if errs.HasErrors() {
		return append(troubles, all(errs))
	}

	for _, block := range plugins.Body.(*hclsyntax.Body).Blocks {
		if block.Type != "packer" {
			trouble("plugins.pkr.hcl: has a block %s", block.Type)
		}
		for name, version := range required(block) {
			if !exactly.MatchString(version) {
				// It gets the cloud's token: a later one is somebody's choice, not the registry's.
				trouble("plugins.pkr.hcl: plugin %s is not pinned: version %q", name, version)
			}
		}
	}
	content, errs := image.Body.Content(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
		{Type: "variable", LabelNames: []string{"name"}},
		{Type: "source", LabelNames: []string{"type", "name"}},
		{Type: "build"},
	}})
	if errs.HasErrors() {
		trouble("%s", all(errs))
	}

	vars := variables(content.Blocks.OfType("variable"), values.Body, trouble)
	used := map[string]bool{}
	for _, block := range image.Body.(*hclsyntax.Body).Blocks {
		if block.Type == "variable" {
			continue
		}
		hclsyntax.VisitAll(block.Body, func(node hclsyntax.Node) hcl.Diagnostics {
			if e, ok := node.(*hclsyntax.ScopeTraversalExpr); ok && e.Traversal.RootName() == "var" {
				used[e.Traversal[1].(hcl.TraverseAttr).Name] = true
			}
			return nil
		})
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if !used[name] {
			trouble("variable %s is not used", name)
		}
	}
	context := &hcl.EvalContext{
		Variables: map[string]cty.Value{
			"var":  cty.ObjectVal(vars),
			"path": cty.ObjectVal(map[string]cty.Value{"root": cty.StringVal("/out/demo/packer/role")}),
		},
		Functions: map[string]function.Function{
			"formatdate": stdlib.FormatDateFunc,
			"timestamp": function.New(&function.Spec{
				Type: function.StaticReturnType(cty.String),
				Impl: func([]cty.Value, cty.Type) (cty.Value, error) {
					return cty.StringVal(time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC).Format(time.RFC3339)), nil
				},
			}),
		},
	}

	sources := content.Blocks.OfType("source")
	if len(sources) != 1 || sources[0].Labels[0] != kind || sources[0].Labels[1] != "image" {
		return append(troubles, "want one source, "+kind+" image")
	}
	source, errs := hcldec.Decode(sources[0].Body, builderKeys(kind).spec(), context)
	if errs.HasErrors() {
		return append(troubles, all(errs))
	}
	get := func(name string) cty.Value { return source.GetAttr(name) }
	if kind != "null" && !get("ssh_clear_authorized_keys").RawEquals(cty.True) {
		trouble("the build's key stays in the image: ssh_clear_authorized_keys is not true")
	}
	if kind == "qemu" {
		// The recipe's folder is packer/<role> in the rendered one.
		if out := path.Clean(get("output_directory").AsString()); strings.HasPrefix(out, "/out/demo/") || !strings.HasPrefix(out, "/out/") {
			trouble("the image goes to %s, and render would refuse to replace that folder", out)
		}
	}
	if kind == "yandex" {
		if !get("metadata").IsNull() || !get("metadata_from_file").IsNull() {
			trouble("metadata can take the build's key away")
		}
		if name := get("image_name").AsString(); !regexp.MustCompile(`^[a-z][-a-z0-9]{0,61}[a-z0-9]$`).MatchString(name) {
			trouble("image_name %q is refused by the cloud", name)
		}
		if (get("source_image_id").AsString() == "") == (get("source_image_family").AsString() == "") {
			trouble("want a base image's id or family, and not both")
		}
		for _, name := range []string{"token", "service_account_key_file", "endpoint"} {
			if get(name).AsString() != "" {
				trouble("%s has a value", name)
			}
		}
	}

	builds := content.Blocks.OfType("build")
	if len(builds) != 1 {
		return append(troubles, "want one build")
	}
	build, errs := builds[0].Body.Content(&hcl.BodySchema{
		Attributes: []hcl.AttributeSchema{{Name: "name"}, {Name: "sources", Required: true}},
		Blocks:     []hcl.BlockHeaderSchema{{Type: "provisioner", LabelNames: []string{"type"}}},
	})
	if errs.HasErrors() {
		return append(troubles, all(errs))
	}
	if got, errs := build.Attributes["sources"].Expr.Value(context); errs.HasErrors() || got.LengthInt() != 1 ||
		got.Index(cty.Zero).AsString() != "source."+kind+".image" {
		trouble("sources are not the one that there is")
	}
	for _, p := range build.Blocks {
		known := provisionerKeys(p.Labels[0])
		if known == nil {
			trouble("unknown provisioner %s", p.Labels[0])
			continue
		}
		got, errs := hcldec.Decode(p.Body, known.spec(), context)
		if errs.HasErrors() {
			trouble("%s", all(errs))
			continue
		}
		if p.Labels[0] == "shell" && !got.GetAttr("execute_command").IsNull() && got.GetAttr("inline").LengthInt() > 1 {
			trouble("execute_command goes past the shebang, which has -e: of several commands only the last one's status counts")
		}
		if p.Labels[0] == "file" {
			local := strings.TrimPrefix(got.GetAttr("source").AsString(), "/out/demo/packer/role/")
			if !slices.ContainsFunc(slices.Collect(maps.Keys(files)), func(f string) bool {
				return f == local || strings.HasPrefix(f, local+"/")
			}) {
				trouble("%s is uploaded and not in the recipe", local)
			}
		}
	}
	return troubles
}

// all are the problems, one a line; HCL's own text has the first only.
func all(errs hcl.Diagnostics) string {
	var list []string
	for _, e := range errs {
		list = append(list, e.Error())
	}
	return strings.Join(list, "\n")
}

// variables are those that blocks declare, with their values.
func variables(blocks hcl.Blocks, given hcl.Body, trouble func(string, ...any)) map[string]cty.Value {
	values := map[string]cty.Value{}
	attributes, errs := given.JustAttributes()
	if errs.HasErrors() {
		trouble("%s", all(errs))
	}
	for _, block := range blocks {
		name := block.Labels[0]
		content, errs := block.Body.Content(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{
			{Name: "type", Required: true}, {Name: "default"}, {Name: "description"}, {Name: "sensitive"},
		}})
		if errs.HasErrors() {
			trouble("%s", all(errs))
			continue
		}
		if sensitive := content.Attributes["sensitive"]; name == "token" && sensitive == nil {
			trouble("variable token is not sensitive: Packer would print it")
		}
		want, errs := typeexpr.TypeConstraint(content.Attributes["type"].Expr)
		if errs.HasErrors() {
			trouble("%s", all(errs))
			continue
		}
		attribute := attributes[name]
		if attribute == nil {
			attribute = content.Attributes["default"]
		}
		values[name] = cty.UnknownVal(want)
		if attribute == nil {
			trouble("variable %s has no value and no default", name)
			continue
		}
		got, errs := attribute.Expr.Value(nil)
		if errs.HasErrors() {
			trouble("%s", all(errs))
			continue
		}
		value, err := convert.Convert(got, want)
		// Packer would take "10" for a number, too; we do not write such.
		if err != nil || want.IsPrimitiveType() && got.Type() != want {
			trouble("variable %s is %s, want %s", name, got.Type().FriendlyName(), want.FriendlyName())
			continue
		}
		values[name] = value
	}
	for name := range attributes {
		if _, declared := values[name]; !declared {
			trouble("value %s has no variable", name)
		}
	}
	return values
}

// TestExamplePinned: whoever copies the example gets one version, too.
func TestExamplePinned(t *testing.T) {
	file, errs := hclparse.NewParser().ParseHCLFile("plugin/example/plugins.pkr.hcl")
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
		{"missing upload", role.SSH, "image.pkr.hcl", "root}/base.sh", "root}/bases.sh", "bases.sh is uploaded and not in the recipe"},
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
			files := recipe(t, c, c.Groups[0])
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

func TestImageIDWins(t *testing.T) {
	c := cluster(t, role.Yandex)
	c.Images.Base.ImageID = "fd8example"
	files := recipe(t, c, c.Groups[0])
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
	for _, part := range all {
		c.Groups = []*role.Group{part}
		c.Name = strings.Repeat("n", role.LongestClusterName(part.Name))
		for _, trouble := range judge(role.Yandex, recipe(t, c, part)) {
			t.Errorf("%s: %s", part.Name, trouble)
		}
		c.Name += "n"
		if troubles := judge(role.Yandex, recipe(t, c, part)); len(troubles) != 1 || !strings.Contains(troubles[0], "is refused by the cloud") {
			t.Errorf("%s: a name of %d characters is as good: %q", part.Name, len(c.Name), troubles)
		}
	}
}

// TestEnvironment: the environment of a bake has what its scripts read.
func TestEnvironment(t *testing.T) {
	// What a script reads and neither sets nor is told by the recipe.
	elsewhere := map[string]string{
		"ID":               "os-release, which base.sh reads",
		"VERSION_ID":       "os-release",
		"VERSION_CODENAME": "os-release",
	}
	every(t, func(t *testing.T, _ role.Builder, part *role.Group, files map[string]string) {
		var values struct{ Environment map[string]string }
		if err := json.Unmarshal([]byte(files["image.auto.pkrvars.json"]), &values); err != nil {
			t.Fatal(err)
		}
		wanted := demands(t, files["base.sh"]+"\n"+files["bake.sh"])
		for _, name := range wanted {
			if _, ok := values.Environment[name]; !ok && elsewhere[name] == "" {
				t.Errorf("the scripts need %s, and the recipe does not tell it", name)
			}
		}
		for _, name := range []string{"PGHA_ROLE", "PGHA_RECIPE"} {
			if !slices.Contains(wanted, name) {
				t.Errorf("the scripts do not need %s: does this test still see what they read?", name)
			}
		}
		for name, value := range values.Environment {
			if !strings.Contains(files["base.sh"]+files["bake.sh"], name) {
				t.Errorf("no script reads %s", name)
			}
			if strings.HasPrefix(name, "PGHA_") && value == "" {
				t.Errorf("%s is empty", name)
			}
		}
		if values.Environment["PGHA_ROLE"] != part.Name {
			t.Errorf("PGHA_ROLE is %q", values.Environment["PGHA_ROLE"])
		}
	})
}

// demands are the variables in capitals that a script reads without a default
// and does not set, and those whose names it goes through itself.
func demands(t *testing.T, script string) []string {
	t.Helper()
	file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(script), "scripts")
	if err != nil {
		t.Fatal(err)
	}
	capitals := regexp.MustCompile(`^[A-Z][A-Z0-9_]+$`)
	read, set := map[string]bool{}, map[string]bool{}
	syntax.Walk(file, func(node syntax.Node) bool {
		switch n := node.(type) {
		case *syntax.Assign:
			if n.Name != nil {
				set[n.Name.Value] = true
			}
		case *syntax.ParamExp:
			if capitals.MatchString(n.Param.Value) && n.Exp == nil {
				read[n.Param.Value] = true
			}
		case *syntax.WordIter:
			for _, w := range n.Items {
				if strings.HasPrefix(w.Lit(), "PGHA_") {
					read[w.Lit()] = true
				}
			}
		}
		return true
	})
	for name := range set {
		delete(read, name)
	}
	return slices.Sorted(maps.Keys(read))
}

func TestDemands(t *testing.T) {
	got := demands(t, "for n in PGHA_A word; do :; done\nB1=x\necho \"$B1 ${CC} ${DD:-x} $lower $1\"\ncat <<END\n$EE\nEND\n")
	if diff := cmp.Diff([]string{"CC", "EE", "PGHA_A"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRecipeHasOneDigest(t *testing.T) {
	digest := func(change func(*role.Cluster)) string {
		c := cluster(t, role.Yandex)
		change(c)
		if err := c.Plan(); err != nil {
			t.Fatal(err)
		}
		var values struct {
			Environment map[string]string
			Labels      map[string]string `json:"image_labels"`
		}
		if err := json.Unmarshal([]byte(recipe(t, c, c.Groups[0])["image.auto.pkrvars.json"]), &values); err != nil {
			t.Fatal(err)
		}
		if values.Environment["PGHA_RECIPE"] != values.Labels["pgha-recipe"] || len(values.Labels["pgha-recipe"]) != 12 {
			t.Errorf("the image says %q, its label %q", values.Environment["PGHA_RECIPE"], values.Labels["pgha-recipe"])
		}
		return values.Labels["pgha-recipe"]
	}
	plain := digest(func(*role.Cluster) {})
	if got := digest(func(c *role.Cluster) { c.Images.Bake.SubnetID = "e9b2" }); got != plain {
		t.Error("where it is baked changes the digest; it is for what is baked")
	}
	if got := digest(func(c *role.Cluster) { c.Images.Architecture = role.ARM64 }); got == plain {
		t.Error("another architecture has the same digest")
	}
}

func TestAddTwice(t *testing.T) {
	c := cluster(t, role.Yandex)
	out := tree.Tree{}
	template := newTemplate(t, c)
	if err := template.Add(out, "x", c, c.Groups[0]); err != nil {
		t.Fatal(err)
	}
	if err := template.Add(out, "x", c, c.Groups[1]); err == nil {
		t.Error("two recipes in one folder are taken")
	}
	if _, err := packer.NewTemplate("vmware"); err == nil {
		t.Error("an unknown builder is taken")
	}
}

func newTemplate(t *testing.T, c *role.Cluster) *packer.Template {
	t.Helper()
	template, err := packer.NewTemplate(c.Images.Builder)
	if err != nil {
		t.Fatal(err)
	}
	return template
}

// TestPacker asks Packer itself. Debian's 1.6 has the qemu builder within and
// knows no required_plugins; later ones need the plugin to do more than parse.
func TestPacker(t *testing.T) {
	packertest.Need(t, "packer")
	version, err := exec.Command("packer", "version").Output()
	if err != nil {
		t.Fatal(err)
	}
	old := strings.HasPrefix(string(version), "Packer v1.6.")
	every(t, func(t *testing.T, b role.Builder, _ *role.Group, files map[string]string) {
		dir := t.TempDir()
		for name, text := range files {
			file := filepath.Join(dir, filepath.FromSlash(name))
			if err := os.MkdirAll(path.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
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
			if err := os.Remove(filepath.Join(dir, "plugins.pkr.hcl")); err != nil {
				t.Fatal(err)
			}
		}
		switch {
		case b == role.SSH, b == role.QEMU && old:
			ask("validate", ".")
		case !old:
			ask("validate", "-syntax-only", ".")
		}
	})
}
