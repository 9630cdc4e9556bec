package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/deploy/operate"
	"pgha-gen/generator/emit"
)

// diffRunning says what is in force on each machine, and whether that differs
// from the spec anywhere.
func (a *app) diffRunning(ctx context.Context, o *operation) (bool, error) {
	r, err := a.connect(o)
	if err != nil {
		return false, err
	}
	defer r.Close()
	machines := r.Look(ctx).Machines
	inForce := 0
	for _, m := range machines {
		if worksBySpec(m) {
			inForce++
		}
	}
	if o.output == asJSON {
		list := []any{}
		for _, m := range machines {
			list = append(list, machineValue(m))
		}
		text, err := emit.JSON(emit.Map{{Key: "machines", Value: list}})
		if err != nil {
			return false, err
		}
		_, err = a.Out.Write(text)
		return inForce < len(machines), err
	}
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	for _, m := range machines {
		fmt.Fprintf(w, "%s\t%s\t%s\n", m.Name, m.Role, cli.Printable(force(m)))
		for _, line := range complaints(m) {
			fmt.Fprintf(w, "\t\t%s\n", cli.Printable(line))
		}
	}
	fmt.Fprintf(w, "%d of %d machines work by the spec\n", inForce, len(machines))
	return inForce < len(machines), w.Flush()
}

func worksBySpec(m operate.Machine) bool {
	return m.Error == "" && m.Spec != "" && m.UserData == m.Spec
}

// force says what a machine works by.
func force(m operate.Machine) string {
	switch {
	case m.Error != "":
		return "does not answer: " + m.Error
	case m.UserData == "":
		return "does not know yet what is in force"
	case m.Spec == "":
		return m.UserData + " is in force; the spec has no user-data for it"
	case m.UserData == m.Spec:
		return "the spec is in force (" + m.Spec + ")"
	}
	said := m.UserData + " is in force, and " + m.Spec + " is the spec's"
	if m.Steps["refresh"].Status == "ok" {
		said += " (sh deploy/refresh.sh brings it)"
	}
	return said
}

// complaints are the steps whose last line was not that they ended well.
func complaints(m operate.Machine) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(m.Steps)) {
		if s := m.Steps[name]; s.Status != "ok" {
			all = append(all, strings.Join([]string{name, s.Status, s.Detail}, " "))
		}
	}
	return all
}

func machineValue(m operate.Machine) emit.Map {
	steps := emit.Map{}
	for _, name := range slices.Sorted(maps.Keys(m.Steps)) {
		if s := m.Steps[name]; s.Status != "ok" {
			steps = append(steps, emit.Pair{Key: name, Value: emit.Map{{Key: "status", Value: s.Status}, {Key: "detail", Value: s.Detail}}})
		}
	}
	return emit.Map{
		{Key: "name", Value: m.Name}, {Key: "role", Value: m.Role}, {Key: "error", Value: m.Error},
		{Key: "works_by_spec", Value: worksBySpec(m)}, {Key: "user_data", Value: m.UserData}, {Key: "spec_user_data", Value: m.Spec},
		{Key: "steps", Value: steps},
	}
}
