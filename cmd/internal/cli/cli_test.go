package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"pgha-gen/cmd/internal/cli"
	"pgha-gen/generator/specfile"
)

// command ends with err; it has a flag, a spec and a group.
func command(err error) *cobra.Command {
	var file cli.SpecFile
	act := &cobra.Command{Use: "act", Args: cli.NoArguments, RunE: func(*cobra.Command, []string) error { return err }}
	act.Flags().Bool("strict", false, "")
	file.Flag(act)
	one := &cobra.Command{Use: "one", Args: cli.OneArgument("name"), RunE: func(*cobra.Command, []string) error { return nil }}
	bare := &cobra.Command{Use: "bare", Args: cli.NoArguments, RunE: func(*cobra.Command, []string) error { return nil }}
	root := &cobra.Command{Use: "prog", Long: "It acts."}
	root.AddCommand(act, cli.Group(&cobra.Command{Use: "group"}, one, bare))
	return root
}

func TestRun(t *testing.T) {
	doc := specfile.Parse("x.yaml", []byte("a: 1\nb: 2\n"))
	doc.Root().Key("a").Problem("no")
	doc.Root().Key("b").Problem("no")
	two, _ := doc.Problems()
	tests := []struct {
		name, reason string
		args         []string
		err          error
		status       int
		want         string
	}{
		{"done", "nothing is said", []string{"act"}, nil, cli.Done, ""},
		{"failure", "one sentence", []string{"act"}, errors.New("the disk is full"), cli.Wrong, "prog: the disk is full\n"},
		{"reported", "it was said already", []string{"act"}, cli.Reported(errors.New("x")), cli.Wrong, ""},
		{"problems", "each at its place", []string{"act"}, fmt.Errorf("read: %w", two), cli.Wrong, "x.yaml:1:4: a: no\nx.yaml:2:4: b: no\nprog: 2 problems\n"},
		{"one problem", "singular", []string{"act"}, two[:1], cli.Wrong, "x.yaml:1:4: a: no\nprog: 1 problem\n"},
		{"cancelled by itself", "nobody interrupted it", []string{"act"}, context.Canceled, cli.Wrong, "prog: context canceled\n"},
		{"misuse", "found by the command", []string{"act"}, cli.Usagef("give %d", 1), cli.Usage, "prog: give 1\n"},
		{"misuse below", "wrapped", []string{"act"}, fmt.Errorf("act: %w", cli.UsageError(errors.New("no"))), cli.Usage, "prog: act: no\n"},
		{"no command", "nothing to do", nil, nil, cli.Usage, "prog: no command given (see prog --help)\n"},
		{"misspelt", "a near one", []string{"atc"}, nil, cli.Usage, "prog: unknown command \"atc\" (did you mean act?)\n"},
		{"unknown", "none is near", []string{"xxxxxxx"}, nil, cli.Usage, "prog: unknown command \"xxxxxxx\" (see prog --help)\n"},
		{"group", "which of them?", []string{"group"}, nil, cli.Usage, "prog: group needs a command: one, bare (see prog group --help)\n"},
		{"misspelt in a group", "a near one", []string{"group", "noe"}, nil, cli.Usage, "prog: unknown command \"noe\" (did you mean one?)\n"},
		{"unknown in a group", "none is near", []string{"group", "xxxxxxx"}, nil, cli.Usage, "prog: unknown command \"xxxxxxx\" (see prog group --help)\n"},
		{"argument", "the spec is a flag's", []string{"act", "x.yaml"}, nil, cli.Usage, "prog: act takes no argument, but got \"x.yaml\" (-f names the spec)\n"},
		{"argument without a spec", "no hint", []string{"group", "bare", "x"}, nil, cli.Usage, "prog: bare takes no argument, but got \"x\"\n"},
		{"two arguments", "one at most", []string{"group", "one", "a", "b"}, nil, cli.Usage, "prog: one takes one name, but got 2: [\"a\" \"b\"]\n"},
		{"flag", "unknown", []string{"act", "--no"}, nil, cli.Usage, "prog: unknown flag: --no (see prog act --help)\n"},
		{"value of a switch", "it has none", []string{"act", "--strict=x"}, nil, cli.Usage, "prog: --strict cannot be \"x\" (it takes no value) (see prog act --help)\n"},
		{"help", "of what is not there", []string{"help", "atc"}, nil, cli.Usage, "prog: unknown command \"atc\" (did you mean act?)\n"},
		{"completion", "no shell", []string{"completion"}, nil, cli.Usage, "prog: completion needs a shell: bash, fish, powershell or zsh\n"},
		{"completion of a shell", "unknown", []string{"completion", "tcsh"}, nil, cli.Usage, "prog: unknown shell \"tcsh\" (want bash, fish, powershell or zsh)\n"},
		{"completion with more", "it takes none", []string{"completion", "bash", "x"}, nil, cli.Usage, "prog: bash takes no argument, but got \"x\"\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out, said bytes.Buffer
			status := cli.Run(t.Context(), command(test.err), test.args, cli.Streams{Name: "prog", In: strings.NewReader(""), Out: &out, Err: &said})
			if diff := cmp.Diff(test.want, said.String()); diff != "" || status != test.status || out.Len() > 0 {
				t.Errorf("%s: status %d, want %d; on standard output: %q (-want +got):\n%s", test.reason, status, test.status, out.String(), diff)
			}
		})
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var said bytes.Buffer
	status := cli.Run(ctx, command(fmt.Errorf("bake: %w", ctx.Err())), []string{"act"}, cli.Streams{Name: "prog", Out: &said, Err: &said})
	if want := "prog: interrupted\n"; status != cli.Wrong || said.String() != want {
		t.Errorf("status %d, %q, want %q", status, said.String(), want)
	}
}

// Help and version are results, and help says what the exit status means.
func TestResults(t *testing.T) {
	for flag, want := range map[string]string{"--help": "It acts.\n\nExit status: 0 success, 1 ", "--version": "prog "} {
		var out, said bytes.Buffer
		status := cli.Run(t.Context(), command(nil), []string{flag}, cli.Streams{Out: &out, Err: &said})
		if status != cli.Done || !strings.HasPrefix(out.String(), want) || said.Len() > 0 {
			t.Errorf("%s: status %d, %q, %q, want %q", flag, status, out.String(), said.String(), want)
		}
	}
}

// brokenPipe is a standard output that is closed.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestReportJSON(t *testing.T) {
	doc := specfile.Parse("x.yaml", []byte("a: 1\nb: 2\n"))
	doc.Root().Key("a").Problem("no")
	doc.Root().Key("b").Warn("hm")
	problems, warnings := doc.Problems()
	tests := []struct {
		name, reason string
		problems     specfile.Problems
		notes        specfile.Problems
		want         string
	}{
		{"none", "a list all the same", nil, nil, "[]\n"},
		{"a note", "it is no problem", nil, specfile.Problems{{File: "x.yaml", Line: 1, Column: 1, Text: "by the way"}}, `[
  {
    "file": "x.yaml",
    "line": 1,
    "column": 1,
    "path": "",
    "text": "by the way",
    "severity": "note"
  }
]
`},
		{"both", "told apart by their severity", append(problems, warnings...), nil, `[
  {
    "file": "x.yaml",
    "line": 1,
    "column": 4,
    "path": "a",
    "text": "no",
    "severity": "problem"
  },
  {
    "file": "x.yaml",
    "line": 2,
    "column": 4,
    "path": "b",
    "text": "hm",
    "severity": "warning"
  }
]
`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			err := cli.Streams{Out: &out}.ReportJSON(test.problems, test.notes)
			if diff := cmp.Diff(test.want, out.String()); diff != "" || err != nil {
				t.Errorf("%s: %v (-want +got):\n%s", test.reason, err, diff)
			}
		})
	}
	if err := (cli.Streams{Out: brokenPipe{}}).ReportJSON(nil, nil); err == nil {
		t.Error("no error where nothing can be written")
	}
}
