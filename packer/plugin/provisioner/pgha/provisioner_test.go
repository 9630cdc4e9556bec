package pgha

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2/hcldec"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/zclconf/go-cty/cty"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/recipe"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles"
)

// reference is a file with the reference of the roles that these tests know.
func reference(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "reference.yaml")
	testkit.OK(t, os.WriteFile(file, []byte(demo.Spec(t)), 0o644))
	return file
}

// TestConfigSpec: a template may have what Config has, and nothing else.
func TestConfigSpec(t *testing.T) {
	want := map[string]string{}
	for _, of := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[Config]().Field(0).Type} {
		for i := range of.NumField() {
			field := of.Field(i)
			name := field.Tag.Get("mapstructure")
			if !field.IsExported() || strings.HasPrefix(name, ",") {
				continue
			}
			want[name] = map[reflect.Kind]string{
				reflect.String: "string", reflect.Bool: "bool",
				reflect.Map: "map of string", reflect.Slice: "list of string",
			}[field.Type.Kind()]
		}
	}
	got := map[string]string{}
	for name, spec := range new(Provisioner).ConfigSpec() {
		attribute := spec.(*hcldec.AttrSpec)
		if attribute.Name != name || attribute.Required {
			t.Errorf("%s: named %s, required %t: Prepare says what is missing, all at once", name, attribute.Name, attribute.Required)
		}
		got[name] = attribute.Type.FriendlyName()
	}
	if diff := cmp.Diff(want, got); diff != "" || got["spec"] != "string" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestGenerated: the code for HCL is what the SDK's generator makes of Config.
func TestGenerated(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("go", "tool", "packer-sdc", "mapstructure-to-hcl2", "-type", "Config")
	cmd.Env = append(os.Environ(), "GOFILE="+filepath.Join(dir, "config.go"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if diff := cmp.Diff(testkit.Text(t, filepath.Join(dir, "config.hcl2spec.go")), testkit.Text(t, "config.hcl2spec.go")); diff != "" {
		t.Errorf("run go generate (-want +got):\n%s", diff)
	}
}

// TestDocumented: the documentation has every attribute, each with its default.
func TestDocumented(t *testing.T) {
	page := testkit.Text(t, "../../docs/provisioners/pgha.mdx")
	for name := range new(Provisioner).ConfigSpec() {
		if !strings.HasPrefix(name, "packer_") && !strings.Contains(page, "- `"+name+"` (string) - ") {
			t.Errorf("%s is not documented", name)
		}
	}
	for _, value := range []string{remoteFolder, executeCommand} {
		if !strings.Contains(page, "`"+value+"`") {
			t.Errorf("the default %s is not documented", value)
		}
	}
}

func TestPrepare(t *testing.T) {
	example := reference(t)
	var all []string
	for _, r := range roles.All() {
		all = append(all, r.Name)
	}
	names := strings.Join(all, ", ")
	dir := t.TempDir()
	write := func(name string, edits ...string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		src := strings.NewReplacer(edits...).Replace(testkit.Text(t, example))
		testkit.OK(t, os.WriteFile(file, []byte(src), 0o600))
		return file
	}
	broken := write("broken.yaml", "version: 3.5.15", "versoin: 3.5.15", "region: ru-central1", "region: []")
	before, _, _ := strings.Cut(testkit.Text(t, broken), "versoin")
	line := 1 + strings.Count(before, "\n")
	src := testkit.Text(t, example)
	without := write("without.yaml", src[strings.Index(src, "\n  haproxy: #")+1:], "", "    haproxy: e6qexamplehaproxy\n", "")

	tests := []struct {
		name, reason string
		config       map[string]string
		want         []string
	}{
		{"good", "both that are required", map[string]string{"spec": example, "role": "etcd"}, nil},
		{"nothing", "all that is missing, at once", nil, []string{
			"role is missing: want one of " + names,
			`spec is missing: want the file that describes the cluster, such as "${path.root}/pgha.yaml"`,
		}},
		{"everything", "each has its sentence", map[string]string{"spec": broken, "role": "etdc", "remote_folder": "pgha/"}, []string{
			`remote_folder is "pgha/": want the absolute path of a folder to make, such as /tmp/pgha`,
			`role is "etdc", which is unknown (did you mean etcd?)`,
			broken + ":10:11: cloud.region: want text, have a list",
			fmt.Sprintf("%s:%d:5: roles.etcd.versoin: unknown key (did you mean version?)", broken, line),
		}},
		{"no such role", "nothing is near", map[string]string{"spec": example, "role": "pgbouncer"}, []string{
			`role is "pgbouncer", which is unknown (want one of ` + names + `)`,
		}},
		{"not in this cluster", "the role is known, and the spec is good", map[string]string{"spec": without, "role": "haproxy"}, []string{
			`role is "haproxy", which ` + without + ` does not have (it has etcd, patroni)`,
		}},
		{"no file", "the usual mistake is where it starts", map[string]string{"spec": "pgah.yaml", "role": "etcd"}, []string{
			`spec: there is no file "pgah.yaml" (a relative path starts where packer runs; ${path.root} is the template's folder)`,
		}},
		{"folder", "not a file", map[string]string{"spec": dir, "role": "etcd"}, []string{
			"spec: read " + dir + ": is a directory",
		}},
		{"root", "would be removed", map[string]string{"spec": example, "role": "etcd", "remote_folder": "/"}, []string{
			`remote_folder is "/": want the absolute path of a folder to make, such as /tmp/pgha`,
		}},
		{"dots", "not clean", map[string]string{"spec": example, "role": "etcd", "remote_folder": "/tmp/../pgha"}, []string{
			`remote_folder is "/tmp/../pgha": want the absolute path of a folder to make, such as /tmp/pgha`,
		}},
		{"no path", "nothing would run", map[string]string{"spec": example, "role": "etcd", "execute_command": "env {{ .Vars }} sh"}, []string{
			`execute_command is "env {{ .Vars }} sh": want {{ .Vars }} and {{ .Path }} in it`,
		}},
		{"no vars", "the bake would know nothing", map[string]string{"spec": example, "role": "etcd", "execute_command": "sh {{ .Path }}"}, []string{
			`execute_command is "sh {{ .Path }}": want {{ .Vars }} and {{ .Path }} in it`,
		}},
		{"template", "the name is the shell provisioner's, misspelt", map[string]string{"spec": example, "role": "etcd", "execute_command": "{{ .Var }}"}, []string{
			`execute_command: template: root:1:3: executing "root" at <.Var>: can't evaluate field Var in type struct { Vars string; Path string }`,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			hcl, json := map[string]cty.Value{}, map[string]any{}
			for name := range new(Provisioner).ConfigSpec() {
				hcl[name] = cty.NullVal(cty.String)
				if value, given := test.config[name]; given {
					hcl[name], json[name] = cty.StringVal(value), value
				}
			}
			hcl["packer_debug"], hcl["packer_force"] = cty.NullVal(cty.Bool), cty.NullVal(cty.Bool)
			hcl["packer_user_variables"] = cty.NullVal(cty.Map(cty.String))
			hcl["packer_sensitive_variables"] = cty.NullVal(cty.List(cty.String))
			for kind, raw := range map[string]any{"HCL": cty.ObjectVal(hcl), "JSON": json} {
				var got []string
				var all *packersdk.MultiError
				// Packer prepares twice.
				var p Provisioner
				_ = p.Prepare(raw)
				switch err := p.Prepare(raw); {
				case errors.As(err, &all):
					for _, e := range all.Errors {
						got = append(got, e.Error())
					}
				case err != nil:
					got = []string{err.Error()}
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("%s, %s (-want +got):\n%s", kind, test.reason, diff)
				}
			}
		})
	}
}

func TestPrepareUnknownKey(t *testing.T) {
	example := reference(t)
	err := new(Provisioner).Prepare(map[string]any{"spec": example, "roel": "etcd"})
	if err == nil || !strings.Contains(err.Error(), `"roel"`) {
		t.Errorf("got %v", err)
	}
}

// TestQuotes: what a shell would change reaches the bake unchanged.
func TestQuotes(t *testing.T) {
	values := []string{`it's "a" $HOME`, "`id`", `a\b;c&d|e(*)?`, "", " x  y ", "ü#"}
	made := &recipe.Recipe{}
	var printed strings.Builder
	for i, value := range values {
		name := fmt.Sprintf("V%d", i)
		made.Environment = append(made.Environment, emit.Pair{Key: name, Value: value})
		fmt.Fprintf(&printed, `printf '%%s\n' "$%s"; `, name)
	}
	dir := filepath.Join(t.TempDir(), "it's $a folder")
	testkit.OK(t, os.Mkdir(dir, 0o755))
	testkit.OK(t, os.WriteFile(filepath.Join(dir, "bake.sh"), []byte(printed.String()), 0o600))
	c := Config{ExecuteCommand: "env {{ .Vars }} sh {{ .Path }}"}
	line, err := c.command(&work{recipe: made, folder: dir})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("/bin/sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if diff := cmp.Diff(strings.Join(values, "\n")+"\n", string(out)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	made.Environment[0].Value = "two\nlines"
	if line, err := c.command(&work{recipe: made, folder: dir}); err == nil {
		t.Errorf("a line break is taken: %q", line)
	}
	if line, err := c.command(&work{recipe: &recipe.Recipe{Environment: emit.Map{{Key: "A", Value: "b"}}}, folder: "/a\nb"}); err == nil {
		t.Errorf("a folder with a line break is taken: %q", line)
	}
}

func TestProvision(t *testing.T) {
	example := reference(t)
	lost := errors.New("no more connection")
	tests := []struct {
		name, reason string
		ends         []int
		stderr       string
		want         string
		commands     int
	}{
		{"good", "make, bake, remove", []int{0, 0, 0}, "", "", 3},
		{"cannot start", "the first command", nil, "", lost.Error(), 1},
		{"cannot start the bake", "the second", []int{0}, "", lost.Error(), 3},
		{"cannot remove", "the last", []int{0, 0}, "", lost.Error(), 3},
		{"connection", "the machine went away", []int{0, packersdk.CmdDisconnect}, "", "role patroni: the connection to the machine was lost before it began", 3},
		{"sentence", "the cause is the bake's, whatever the removal says", []int{0, 1}, "bake: no room\n", "role patroni: no room", 3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var p Provisioner
			testkit.OK(t, p.Prepare(map[string]any{"spec": example, "role": "patroni"}))
			m := &mock{ends: test.ends, refuse: lost}
			m.StartStderr = test.stderr
			got := ""
			if err := p.Provision(t.Context(), packersdk.TestUi(t), m, nil); err != nil {
				got = err.Error()
			}
			if got != test.want || len(m.commands) != test.commands {
				t.Errorf("%s: got %q after %q, want %q", test.reason, got, m.commands, test.want)
			}
			if len(m.uploaded) == 0 {
				return
			}
			if m.UploadDirDst != remoteFolder || !strings.HasSuffix(m.UploadDirSrc, "/") || m.UploadDirExclude != nil {
				t.Errorf("uploaded %q to %q but %q", m.UploadDirSrc, m.UploadDirDst, m.UploadDirExclude)
			}
			if diff := cmp.Diff([]string{"SHA256SUMS", "bake.sh", "base.sh", "rootfs", "seal.sh"}, m.uploaded); diff != "" {
				t.Errorf("uploaded (-want +got):\n%s", diff)
			}
			if _, err := os.Stat(m.UploadDirSrc); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s stays on this host", m.UploadDirSrc)
			}
			if m.commands[0] != "mkdir -m 0700 /tmp/pgha" || !strings.HasSuffix(m.commands[1], " sh /tmp/pgha/bake.sh") ||
				!strings.HasPrefix(m.commands[1], "$(command -v sudo) env 'PGHA_ROLE=patroni' ") || m.commands[2] != "rm -rf /tmp/pgha" {
				t.Errorf("commands are %q", m.commands)
			}
		})
	}
}

// TestCancelled: the machine may still be baking, out of the folder.
func TestCancelled(t *testing.T) {
	example := reference(t)
	var p Provisioner
	testkit.OK(t, p.Prepare(map[string]any{"spec": example, "role": "etcd"}))
	ctx, cancel := context.WithCancel(t.Context())
	m := &mock{ends: []int{0}, refuse: errors.New("no more"), onBake: cancel}
	if err := p.Provision(ctx, packersdk.TestUi(t), m, nil); err == nil || len(m.commands) != 2 {
		t.Errorf("got %v after %q", err, m.commands)
	}
}

// TestWarnings: what validate would warn of is said before the bake.
func TestWarnings(t *testing.T) {
	example := reference(t)
	var p Provisioner
	testkit.OK(t, p.Prepare(map[string]any{"spec": example, "role": "etcd"}))
	var said packersdk.MockUi
	testkit.OK(t, p.Provision(t.Context(), &said, &mock{ends: []int{0, 0, 0}}, nil))
	before, _, _ := strings.Cut(testkit.Text(t, example), "    version: ")
	want := fmt.Sprintf("%s:%d:14: warning: roles.etcd.version: ", example, strings.Count(before, "\n")+1)
	if !slices.ContainsFunc(said.SayMessages, func(m packersdk.SayMessage) bool {
		return strings.HasPrefix(m.Message, want)
	}) {
		t.Errorf("said %v", said.SayMessages)
	}
}

func TestSentences(t *testing.T) {
	tests := []struct{ name, reason, output, want string }{
		{"last", "causes come before what follows from them", "bake: a\nbake: b\nc\n", "b"},
		{"none", "not ours", "a: bake: b\n bakes: c\n", ""},
		{"half a line", "it may go on", "bake: a\nbake: b", "a"},
		{"terminal", "its line ends", "bake: a\r\n", "a"},
		{"nothing", "no output at all", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var whole, bytewise sentences
			for _, write := range []struct {
				to   *sentences
				size int
			}{{&whole, len(test.output)}, {&bytewise, 1}} {
				for chunk := range slices.Chunk([]byte(test.output), max(write.size, 1)) {
					if n, err := write.to.Write(chunk); n != len(chunk) || err != nil {
						t.Fatal(n, err)
					}
				}
				if write.to.last != test.want {
					t.Errorf("%s: got %q, want %q", test.reason, write.to.last, test.want)
				}
			}
		})
	}
}
