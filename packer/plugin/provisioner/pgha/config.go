//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config

package pgha

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/packer-plugin-sdk/common"
	"github.com/hashicorp/packer-plugin-sdk/didyoumean"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"

	"pgha-gen/generator"
	"pgha-gen/generator/emit"
	"pgha-gen/generator/recipe"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
	"pgha-gen/roles"
)

// Config is what a template says of the provisioner.
type Config struct {
	common.PackerConfig `mapstructure:",squash"`

	// The file that describes the cluster.
	Spec string `mapstructure:"spec" required:"true"`
	// Which of its roles to bake.
	Role string `mapstructure:"role" required:"true"`
	// Where the recipe lies on the machine during the bake: a folder that is
	// not there yet.
	RemoteFolder string `mapstructure:"remote_folder"`
	// The command that runs a script as root.
	ExecuteCommand string `mapstructure:"execute_command"`

	ctx interpolate.Context
}

// The defaults. Where there is no sudo, the login is root already.
const (
	remoteFolder   = "/tmp/pgha"
	executeCommand = "$(command -v sudo) env {{ .Vars }} sh {{ .Path }}"
)

// work is what Provision has to do.
type work struct {
	recipe   *recipe.Recipe
	warnings specfile.Problems
	folder   string
	command  string
}

// work reads the spec and gives what follows from it, or all that is wrong.
func (c *Config) work() (*work, []error) {
	w := &work{folder: c.RemoteFolder}
	var wrong []error
	if w.folder == "" {
		w.folder = remoteFolder
	}
	if !path.IsAbs(w.folder) || path.Clean(w.folder) != w.folder || w.folder == "/" {
		wrong = append(wrong, fmt.Errorf("remote_folder is %q: want the absolute path of a folder to make, such as %s", w.folder, remoteFolder))
	}
	known := names(roles.All())
	switch {
	case c.Role == "":
		wrong = append(wrong, fmt.Errorf("role is missing: want one of %s", strings.Join(known, ", ")))
	case !slices.Contains(known, c.Role):
		wrong = append(wrong, fmt.Errorf("role is %q, which is unknown (%s)", c.Role, instead(c.Role, known)))
	}
	cluster, problems := read(c.Spec)
	wrong = append(wrong, problems...)
	if len(wrong) > 0 {
		return nil, wrong
	}
	w.warnings = cluster.Warnings

	var given []*role.Role
	for _, g := range cluster.Groups {
		given = append(given, g.Role)
	}
	part := cluster.Group(c.Role)
	if part == nil {
		return nil, []error{fmt.Errorf("role is %q, which %s does not have (it has %s)", c.Role, c.Spec, strings.Join(names(given), ", "))}
	}
	var err error
	if w.recipe, err = recipe.New(cluster, part); err != nil {
		return nil, []error{err}
	}
	if w.command, err = c.command(w); err != nil {
		return nil, []error{err}
	}
	return w, nil
}

// command is the line that bakes, for the machine's shell.
func (c *Config) command(w *work) (string, error) {
	var vars []string
	for _, p := range w.recipe.Environment {
		vars = append(vars, fmt.Sprintf("%s=%v", p.Key, p.Value))
	}
	environment, err := emit.Shell(vars...)
	if err != nil {
		return "", err
	}
	script, err := emit.Shell(w.folder + "/bake.sh")
	if err != nil {
		return "", fmt.Errorf("remote_folder: %w", err)
	}
	text := c.ExecuteCommand
	if text == "" {
		text = executeCommand
	}
	ctx := c.ctx
	ctx.Data = struct{ Vars, Path string }{environment, script}
	line, err := interpolate.Render(text, &ctx)
	if err != nil {
		return "", fmt.Errorf("execute_command: %w", err)
	}
	if !strings.Contains(line, environment) || !strings.Contains(line, script) {
		return "", fmt.Errorf("execute_command is %q: want {{ .Vars }} and {{ .Path }} in it", text)
	}
	return line, nil
}

// read gives the cluster of a spec, or all that is wrong with the file.
func read(file string) (*role.Cluster, []error) {
	if file == "" {
		return nil, []error{errors.New(`spec is missing: want the file that describes the cluster, such as "${path.root}/pgha.yaml"`)}
	}
	src, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, []error{fmt.Errorf("spec: there is no file %q (a relative path starts where packer runs; ${path.root} is the template's folder)", file)}
	}
	if err != nil {
		return nil, []error{fmt.Errorf("spec: %w", err)}
	}
	cluster, err := generator.Read(file, src, roles.All())
	var problems specfile.Problems
	if errors.As(err, &problems) {
		var wrong []error
		for _, p := range problems {
			wrong = append(wrong, errors.New(p.String()))
		}
		return nil, wrong
	}
	if err != nil {
		return nil, []error{err}
	}
	return cluster, nil
}

func instead(name string, known []string) string {
	if near := didyoumean.NameSuggestion(name, known); near != "" {
		return "did you mean " + near + "?"
	}
	return "want one of " + strings.Join(known, ", ")
}

func names(all []*role.Role) []string {
	var list []string
	for _, r := range all {
		list = append(list, r.Name)
	}
	return list
}
