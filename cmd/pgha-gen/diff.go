package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/generator"
	"pgha-gen/generator/effect"
	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
)

func (a *app) diffCommand() *cobra.Command {
	var o operation
	var dir string
	var running, exitCode bool
	cmd := &cobra.Command{
		Use:   "diff [-o DIR | --running]",
		Short: "Say what changed in the spec, and how it takes effect",
		Long: `Compare the spec with what was rendered last, in DIR/<cluster>: every key that changed,
its old and its new value, and how the change takes effect on machines that run:
  reload     at once, and nothing is interrupted
  dynamic    the node that leads brings it to etcd or into the databases
  rolling    the machines restart the service one at a time
  restart    it waits until somebody restarts PostgreSQL
  boot       when the machine boots next
  bootstrap  only when a cluster is bootstrapped: nothing changes now
  machine    only a new machine has it
  refused    never: the machines refuse all of their new user-data
  join       a machine is created
  leave      a machine is deleted
  secrets    Lockbox needs other entries
  grow       a data disk becomes larger, while its machine runs
  image      another image is baked, and the machines are replaced
  around     what is around them in the cloud is changed, while they run
  beside     so is what has the machines for its targets
Below each stands on which machines, and what of their files, of the commands that
create them, or of the images changes. Nothing is written.

With --running, compare the spec with what is in force on the machines instead: each
says by which user-data it works, and which of its steps did not end well. It needs
what pgha-gen cluster needs: access.operators, and the operator's folder.`,
		Example: `  pgha-gen diff
  pgha-gen diff -f staging.yaml -o out --output json
  pgha-gen diff --running --exit-code`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			var differs bool
			var err error
			switch {
			case running && cmd.Flags().Changed("dir"):
				return cli.Usagef("diff takes -o or --running, not both")
			case !running && o.operator != "":
				return cli.Usagef("--operator goes with --running")
			case running:
				differs, err = a.diffRunning(cmd.Context(), &o)
			default:
				differs, err = a.diff(o.file, dir, o.output)
			}
			if err == nil && differs && exitCode {
				return cli.Reported(errors.New("it differs"))
			}
			return err
		},
	}
	o.flags(cmd)
	o.outputFlag(cmd)
	cmd.Flags().StringVarP(&dir, "dir", "o", "out", "the folder of the last render")
	cmd.Flags().BoolVar(&running, "running", false, "compare with what is in force on the machines")
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "end with status 1 if something differs")
	return cmd
}

// diff says whether something differs, beside what.
func (a *app) diff(file cli.SpecFile, dir, output string) (bool, error) {
	c, err := a.load(file)
	if err != nil {
		return false, err
	}
	target := filepath.Join(dir, c.Name)
	old, err := a.rendered(target)
	if err != nil {
		return false, err
	}
	others, err := writtenOtherwise(old, target)
	if err != nil {
		return false, err
	}
	if len(others) > 0 {
		a.Say("%s was written by another pgha-gen: of the same spec, this one writes %s in another way, and render brings that, too", target, cli.Count(len(others), "file"))
		for _, name := range others {
			fmt.Fprintln(a.Err, "  "+name)
		}
	}
	changes, err := generator.Diff(old, c, a.roles)
	if err != nil {
		return false, err
	}
	d := &difference{file.String(), target, changes, steps(c, file, dir, changes)}
	if output == asJSON {
		text, err := emit.JSON(d.value())
		if err != nil {
			return false, err
		}
		_, err = a.Out.Write(text)
		return len(changes)+len(others) > 0, err
	}
	_, err = fmt.Fprint(a.Out, d)
	return len(changes)+len(others) > 0, err
}

// rendered is the cluster that was rendered into a folder.
func (a *app) rendered(folder string) (*role.Cluster, error) {
	name := filepath.Join(folder, "cluster.yaml")
	src, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("nothing was rendered into %s yet (pgha-gen render -o %s does that)", folder, filepath.Dir(folder))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name, cli.Cause(err))
	}
	return generator.Read(name, src, a.roles)
}

// writtenOtherwise are the files of a folder that are not what this program
// makes of the spec that they were rendered from.
func writtenOtherwise(c *role.Cluster, folder string) ([]string, error) {
	files, err := generator.Generate(c)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, name := range files.Names() {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("cannot read %s: %w", filepath.Join(folder, name), cli.Cause(err))
		}
		if err != nil || !bytes.Equal(data, files[name].Data) {
			all = append(all, name)
		}
	}
	return all, nil
}

// difference is between a spec and what was rendered into a folder.
type difference struct {
	file, folder string
	changes      []generator.Change
	steps        []string
}

// String is the difference for people.
func (d *difference) String() string {
	if len(d.changes) == 0 {
		return fmt.Sprintf("%s: no difference from %s\n", d.file, d.folder)
	}
	var b strings.Builder
	for _, change := range d.changes {
		for _, k := range change.Keys {
			fmt.Fprintln(&b, keyLine(k))
		}
		if len(change.Effects) == 0 {
			b.WriteString("  nothing on the machines follows from it alone\n")
		}
		for _, c := range change.Effects {
			first := strings.TrimSpace(fmt.Sprintf("%-9s  %s: %s", c.Effect, c.Role, c.What))
			lines := append([]string{strings.TrimSuffix(first, ":")}, c.Of...)
			if len(c.Nodes) > 0 {
				lines = slices.Insert(lines, 1, "on "+strings.Join(c.Nodes, ", "))
			}
			for i, line := range lines {
				b.WriteString(map[bool]string{true: "  ", false: "             "}[i == 0] + line + "\n")
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("What to do, in this order:\n")
	for i, step := range d.steps {
		fmt.Fprintf(&b, "  %d. %s\n", i+1, step)
	}
	return b.String()
}

// keyLine says what became of a key.
func keyLine(k generator.Difference) string {
	switch {
	case k.Old == nil:
		return fmt.Sprintf("%s: added: %s", k.Key, value(k.New))
	case k.New == nil:
		return fmt.Sprintf("%s: taken out: %s", k.Key, value(k.Old))
	}
	return fmt.Sprintf("%s: %s -> %s", k.Key, value(k.Old), value(k.New))
}

// value is a value in one line, cut where it gets long.
func value(v any) string {
	const most = 60
	if word, ok := v.(string); ok && word != "" && !strings.ContainsAny(word, " \n\"") {
		return word
	}
	text, err := json.Marshal(plain(v))
	if err != nil {
		return err.Error()
	}
	s := string(text)
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "…"
	}
	return s
}

// plain is a value of a spec as encoding/json takes it.
func plain(v any) any {
	switch v := v.(type) {
	case emit.Map:
		m := map[string]any{}
		for _, p := range v {
			m[p.Key] = plain(p.Value)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = plain(v[i])
		}
		return list
	}
	return v
}

// value is the difference for programs.
func (d *difference) value() emit.Map {
	changes := []any{}
	for _, change := range d.changes {
		keys, effects := []any{}, []any{}
		for _, k := range change.Keys {
			keys = append(keys, emit.Map{{Key: "key", Value: k.Key}, {Key: "old", Value: k.Old}, {Key: "new", Value: k.New}})
		}
		for _, c := range change.Effects {
			effects = append(effects, emit.Map{
				{Key: "effect", Value: string(c.Effect)}, {Key: "role", Value: c.Role}, {Key: "nodes", Value: c.Nodes},
				{Key: "what", Value: c.What}, {Key: "of", Value: c.Of},
			})
		}
		changes = append(changes, emit.Map{{Key: "keys", Value: keys}, {Key: "effects", Value: effects}})
	}
	return emit.Map{
		{Key: "file", Value: d.file}, {Key: "rendered", Value: d.folder},
		{Key: "changes", Value: changes}, {Key: "steps", Value: d.steps},
	}
}

// steps are what a person does to bring changes to the machines.
func steps(c *role.Cluster, file cli.SpecFile, dir string, changes []generator.Change) []string {
	of := map[effect.Effect][]generator.Consequence{}
	files := false
	for _, change := range changes {
		for _, e := range change.Effects {
			of[e.Effect] = append(of[e.Effect], e)
			files = files || slices.ContainsFunc(e.Of, func(name string) bool { return strings.HasPrefix(name, "/") })
		}
	}
	if refused := of[effect.Refused]; len(refused) > 0 {
		return []string{fmt.Sprintf("take back what is refused: while it is in the spec, the machines of %s take over nothing else", list(refused, roleOf))}
	}
	deploy := filepath.Join(dir, c.Name, "deploy")
	command := func(words ...string) string {
		if file != cli.DefaultSpec && file != "-" {
			words = append(words, "-f", string(file))
		}
		text, err := emit.Shell(words...)
		if err != nil { // a name that no shell takes
			return strings.Join(words, " ")
		}
		return text
	}
	var all []string
	add := func(needed bool, format string, args ...any) {
		if needed {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	needs := func(kinds ...effect.Effect) bool {
		return slices.ContainsFunc(kinds, func(k effect.Effect) bool { return len(of[k]) > 0 })
	}
	add(needs(generator.Secrets), "%s, and put into Lockbox what it names", command("pgha-gen", "secrets", "generate"))
	add(len(changes) > 0, "%s", command("pgha-gen", "render", "-o", dir))
	add(needs(generator.Image), "bake the images of %s (%s)", list(of[generator.Image], roleOf), filepath.Join(dir, c.Name, "README.md"))
	add(needs(generator.Around), "sh %s base", filepath.Join(deploy, "create.sh"))
	add(files, "sh %s", filepath.Join(deploy, "refresh.sh"))
	for _, e := range of[generator.Grow] {
		all = append(all, e.What)
	}
	add(needs(generator.Join), "sh %s, for %s", filepath.Join(deploy, "create.sh"), list(of[generator.Join], nodesOf))
	add(needs(generator.Beside) && !needs(generator.Join), "sh %s", filepath.Join(deploy, "create.sh"))
	add(needs(effect.Restart), "%s", command("pgha-gen", "cluster", "restart", "--pending"))
	replaced := append(slices.Clone(of[effect.Machine]), of[generator.Image]...)
	add(len(replaced) > 0, "replace %s: sh %s NODE; one at a time, in the order above; or pgha-cloud roll", list(replaced, nodesOf), filepath.Join(deploy, "replace.sh"))
	add(needs(generator.Leave), "delete %s", list(of[generator.Leave], nodesOf))
	return all
}

func roleOf(c generator.Consequence) []string  { return []string{c.Role} }
func nodesOf(c generator.Consequence) []string { return c.Nodes }

// list is what of gives, each once.
func list(all []generator.Consequence, of func(generator.Consequence) []string) string {
	var names []string
	for _, c := range all {
		for _, name := range of(c) {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return strings.Join(names, ", ")
}
