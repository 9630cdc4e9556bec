//go:build linux

package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/generator/specfile"
	"pgha-gen/lab/session"
)

// takeOverTime is how long machines may take to take new user-data over; a
// service that restarts on one after the other takes a while.
const takeOverTime = 2 * time.Minute

func (a *app) refreshCommand() *cobra.Command {
	s := &source{}
	cmd := &cobra.Command{
		Use:   "refresh",
		Short: "Give the running machines a changed spec",
		Long: `Put the user-data of a changed spec into the metadata of the machines, which take
it over while they run, and show what each says of it. Secrets that are
missing are made; what is new in the folder of secrets, which pgha-lab run shows, is
put into Lockbox; machines of new nodes are created and powered on. A machine whose
node the spec has no more stays: pgha-lab delete deletes it. The exit status is 1 if
a machine refuses the user-data.`,
		Args: cli.NoArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := s.file.Read(a.In)
			if err != nil {
				return err
			}
			if _, err := s.read(text); err != nil {
				return err
			}
			f, before, err := a.running()
			if err != nil {
				return err
			}
			answer, err := f.Ask(cmd.Context(), session.Request{Spec: text})
			if err != nil {
				return err
			}
			err = a.watchRefresh(cmd.Context(), f, before, answer.Told)
			for _, name := range answer.New {
				a.Say("%s is new, and powered on", name)
			}
			for _, name := range answer.Gone {
				a.Say("%s is not in the spec any more (%s delete %[1]s deletes its machine)", name, a.self())
			}
			if len(answer.Secrets) > 0 {
				a.Say("Lockbox has new secrets of %s: machines without new user-data look for them within 6 minutes", strings.Join(answer.Secrets, " and "))
			}
			if len(answer.Told)+len(answer.New)+len(answer.Gone)+len(answer.Secrets) == 0 {
				a.Say("no machine has anything new")
			}
			return err
		},
	}
	s.file.Flag(cmd)
	return cmd
}

// watchRefresh shows what each of these machines says of its new user-data, by
// the digest of that, until all have it in force or one refuses it.
func (a *app) watchRefresh(ctx context.Context, f session.Folder, before session.Record, told map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, takeOverTime)
	defer cancel()
	seen := map[string]int{}
	for _, m := range before.Machines {
		seen[m.Name] = len(m.Steps)
	}
	taken, refused := map[string]bool{}, map[string]bool{} // by what each said last
	for {
		r, _, err := f.Load()
		if err != nil {
			return err
		}
		var refuse, late []string
		for _, m := range r.Machines {
			for _, s := range m.Steps[min(seen[m.Name], len(m.Steps)):] {
				if s.Name == "refresh" && told[m.Name] != "" {
					fmt.Fprintf(a.Out, "%s %s %s\n", m.Name, s.Status, s.Detail)
					taken[m.Name] = s.Status == "ok" && strings.HasPrefix(s.Detail, told[m.Name])
					refused[m.Name] = s.Status == "fail"
				}
			}
			seen[m.Name] = len(m.Steps)
		}
		for _, name := range slices.Sorted(maps.Keys(told)) {
			switch {
			case taken[name]:
			case refused[name]:
				refuse = append(refuse, name)
			default:
				late = append(late, name)
			}
		}
		switch {
		case len(late) == 0 && len(refuse) > 0:
			return fmt.Errorf("refused by %s: what was in force there stays", strings.Join(refuse, ", "))
		case len(late) == 0:
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not in force yet: %s", strings.Join(late, ", "))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (a *app) deleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "delete NODE",
		Short: "Delete the machine of a node that the spec has no more",
		Long: `Cut the power of a machine and delete it, as yc compute instance delete does. Its
data disk stays. Refused for a node that is in the spec.`,
		Args: cli.OneArgument("node"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cli.Usagef("delete needs the name of a node")
			}
			f, _, err := a.running()
			if err != nil {
				return err
			}
			if _, err := f.Ask(cmd.Context(), session.Request{Delete: args[0]}); err != nil {
				return err
			}
			a.Say("deleted the machine of %s", args[0])
			return nil
		},
	}
}

func (a *app) growCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "grow NODE SIZE",
		Short: "Make a data disk larger while its machine runs",
		Long: `Make the data disk of a node larger, as yc compute disk update does. The machine
sees it at once, and its file system follows.`,
		Example: "  pgha-lab grow demo-pg-1 200GB",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return cli.Usagef("grow needs a node and a size (as in: grow demo-pg-1 200GB)")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var size specfile.Size
			if err := size.UnmarshalText([]byte(args[1])); err != nil {
				return err
			}
			f, _, err := a.running()
			if err != nil {
				return err
			}
			if _, err := f.Ask(cmd.Context(), session.Request{Grow: args[0], Size: int64(size)}); err != nil {
				return err
			}
			a.Say("the data disk of %s has %s", args[0], size)
			return nil
		},
	}
}
