// Package pgha is a Packer provisioner that makes the machine of any build a
// role of a cluster: it renders the role's recipe from the spec, uploads it
// and runs it there.
package pgha

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2/hcldec"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"
	"github.com/hashicorp/packer-plugin-sdk/tmp"

	"pgha-gen/generator/emit"
)

// Provisioner implements the interface of Packer's SDK of this name.
type Provisioner struct {
	config Config
	work   *work
}

// ConfigSpec are the attributes that a template may have.
func (p *Provisioner) ConfigSpec() hcldec.ObjectSpec {
	return p.config.FlatMapstructure().HCL2Spec()
}

// Prepare reads the template's attributes and the spec, and says all that is
// wrong with them. Nothing of the machine is needed: packer validate calls
// it.
func (p *Provisioner) Prepare(raws ...any) error {
	err := config.Decode(&p.config, &config.DecodeOpts{
		PluginType:         "pgha",
		Interpolate:        true,
		InterpolateContext: &p.config.ctx,
		InterpolateFilter:  &interpolate.RenderFilter{Exclude: []string{"execute_command"}},
	}, raws...)
	if err != nil {
		return err
	}
	work, wrong := p.config.work()
	if len(wrong) > 0 {
		return &packersdk.MultiError{Errors: wrong}
	}
	p.work = work
	return nil
}

// Provision bakes the role on the machine that comm leads to. When the bake
// stops, its own sentence is the error.
func (p *Provisioner) Provision(ctx context.Context, ui packersdk.Ui, comm packersdk.Communicator, _ map[string]any) error {
	for _, warning := range p.work.warnings {
		ui.Say(warning.String())
	}
	ui.Sayf("Baking role %s, recipe %s", p.config.Role, p.work.recipe.Digest)
	folder, err := emit.Shell(p.work.folder)
	if err != nil {
		return err
	}
	// Not one that is there: it may be somebody's, and is removed in the end.
	made, err := run(ctx, ui, comm, "mkdir -m 0700 "+folder)
	if err != nil {
		return err
	}
	if made.status != 0 {
		return fmt.Errorf("cannot make the folder %s on the machine (remove what is there, or name another by remote_folder)", p.work.folder)
	}
	if err := p.bake(ctx, ui, comm); err != nil {
		if ctx.Err() == nil {
			// What matters is why there is no image.
			_, _ = run(ctx, ui, comm, "rm -rf "+folder)
		}
		return err
	}
	removed, err := run(ctx, ui, comm, "rm -rf "+folder)
	if err != nil {
		return err
	}
	if removed.status != 0 {
		return fmt.Errorf("cannot remove the folder %s of the machine", p.work.folder)
	}
	return nil
}

func (p *Provisioner) bake(ctx context.Context, ui packersdk.Ui, comm packersdk.Communicator) error {
	local, err := tmp.Dir("packer-pgha")
	if err != nil {
		return err
	}
	defer os.RemoveAll(local)
	recipe := filepath.Join(local, "recipe")
	if err := p.work.recipe.Files.Write(ctx, recipe); err != nil {
		return err
	}
	// With the slash: what is in the folder, not the folder.
	if err := comm.UploadDir(p.work.folder, recipe+"/", nil); err != nil {
		return fmt.Errorf("cannot upload the recipe to %s: %w", p.work.folder, err)
	}
	end, err := run(ctx, ui, comm, p.work.command)
	if err != nil {
		return err
	}
	said := end.stderr.last
	switch {
	case end.status == 0:
		return nil
	case end.status == packersdk.CmdDisconnect:
		said = "the connection to the machine was lost" + after(end.stdout.last)
	case said == "":
		said = fmt.Sprintf("the bake ended with status %d%s (the lines above say why)", end.status, after(end.stdout.last))
	}
	return fmt.Errorf("role %s: %s", p.config.Role, said)
}

// after is for a command that did not say what went wrong. On a terminal all
// that it says is on its standard output.
func after(said string) string {
	if said == "" {
		return " before it began"
	}
	return fmt.Sprintf(" after %q", said)
}

// end is how a command ended.
type end struct {
	status         int
	stdout, stderr sentences
}

// run runs a command on the machine, its output said line by line.
func run(ctx context.Context, ui packersdk.Ui, comm packersdk.Communicator, command string) (*end, error) {
	var e end
	cmd := &packersdk.RemoteCmd{Command: command, Stdout: &e.stdout, Stderr: &e.stderr}
	if err := cmd.RunWithUi(ctx, comm, ui); err != nil {
		return nil, err
	}
	e.status = cmd.ExitStatus()
	return &e, nil
}

// sentences remembers the last line of an output that bake.sh itself said.
type sentences struct {
	last string
	line []byte
}

func (s *sentences) Write(p []byte) (int, error) {
	s.line = append(s.line, p...)
	for {
		line, rest, whole := bytes.Cut(s.line, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		// A terminal ends lines with \r\n.
		if sentence, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "bake: "); ok {
			s.last = sentence
		}
		s.line = rest
	}
}
