package main

import (
	"bytes"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"pgha-gen/deploy/operate"
	"pgha-gen/deploy/operate/operatetest"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
)

// machinesVariable has the address behind which a script's machines are.
const machinesVariable = "PGHA_TEST_MACHINES"

// machinesDial is how the command of a script reaches machines.
func machinesDial() operate.Dial {
	if at := os.Getenv(machinesVariable); at != "" {
		return operatetest.Behind(at)
	}
	return new(net.Dialer).DialContext
}

// machines [CHANGE...]: from here on there are the spec pgha.yaml, the operator's
// folder secrets/demo/operator, and the machines of them, where a change is
// refuse=NODE, out=NODE (of the quorum), behind=NODE (has refused the spec),
// pending=NODE, stuck=NODE (does not restart when it is told to), thief=NODE (says
// what commands a terminal) or paused.
func machines(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		a := operatetest.NewAuthority(t)
		m := operatetest.New(t, a)
		ts.Check(os.MkdirAll(ts.MkAbs("secrets/demo"), 0o700))
		ts.Check(os.RemoveAll(ts.MkAbs("secrets/demo/operator")))
		ts.Check(os.CopyFS(ts.MkAbs("secrets/demo/operator"), os.DirFS(operatetest.Folder(t, a))))
		for _, name := range []string{"operator.key", "restapi.password"} {
			ts.Check(os.Chmod(ts.MkAbs("secrets/demo/operator/"+name), 0o600))
		}
		ts.Check(os.WriteFile(ts.MkAbs("pgha.yaml"), []byte(demo.Spec(t, operatetest.Operators)), 0o600))
		for _, arg := range args {
			what, node, _ := strings.Cut(arg, "=")
			switch what {
			case "refuse":
				m.Refuse[node] = true
			case "out":
				m.Out[node] = true
			case "pending":
				m.Pending[node] = true
			case "behind":
				m.Behind[node] = true
			case "thief":
				m.Answer[node+" GET /status"] = `{"role": "patroni", "cluster_token": "demo-a6125ab9", "node": "` + node + `", "ready": true, "user_data": "\u001b[2J", "steps": {"refresh": {"status": "fail", "detail": "\u001b]0;x\u0007\u009b31m"}}}`
			case "paused":
				m.Paused = true
			case "stuck":
				m.Answer[node+" POST /restart"] = "restarted successfully"
			default:
				ts.Fatalf("unknown change %q", arg)
			}
		}
		ts.Setenv(machinesVariable, operatetest.Relay(t, m.Dial))
	}
}

// What docs/operations.md shows is what the commands say, but for numbers and
// for which node it is.
func TestOperations(t *testing.T) {
	text, _, _ := strings.Cut(testkit.Text(t, "../../docs/operations.md"), "\n## A day in the lab\n") // see TestDay
	a := operatetest.NewAuthority(t)
	t.Chdir(t.TempDir())
	testkit.OK(t, os.MkdirAll("secrets/demo", 0o700))
	testkit.OK(t, os.Rename(operatetest.Folder(t, a), "secrets/demo/operator"))
	testkit.OK(t, os.WriteFile("pgha.yaml", []byte(demo.Spec(t, operatetest.Operators)), 0o600))
	number, node := regexp.MustCompile(`[0-9]+/[0-9A-F]+|[0-9]+(\.[0-9]+)?( [kMG]?B)?`), regexp.MustCompile(`demo-(pg|etcd|haproxy)-[0-9]`)
	plain := func(text string) []string {
		text = number.ReplaceAllString(node.ReplaceAllString(text, "demo-$1"), "N")
		var lines []string
		for line := range strings.Lines(text) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		slices.Sort(lines)
		return lines
	}
	for _, m := range regexp.MustCompile(`(?m)^\$ pgha-gen (cluster .*)\n((?:[^$`+"`"+`\n].*\n|\n)+)`).FindAllStringSubmatch(text, -1) {
		args, want := strings.Fields(m[1]), m[2]
		t.Run(m[1], func(t *testing.T) {
			machines := operatetest.New(t, a)
			machines.Leader = "demo-pg-1"
			for _, name := range []string{"demo-pg-1", "demo-pg-2", "demo-pg-3"} {
				machines.Pending[name] = slices.Contains(args, "--pending")
			}
			machines.Paused = slices.Contains(args, "resume")
			machines.Refuse["demo-pg-2"] = strings.Contains(want, "connection refused")
			if strings.Contains(want, "is made the leader") {
				machines.Leader, machines.Refuse["demo-pg-1"] = "", true
			}
			machines.Answer["demo-pg-1 GET /history"] = `[[1, 84017632, "no recovery target specified", "2026-11-26T18:11:50.254055+00:00", "demo-pg-2"],
				[2, 85020008, "no recovery target specified", "2026-11-26T18:12:21.084572+00:00", "demo-pg-1"]]`
			if slices.Contains(args, "backups") {
				machines.Answer["demo-pg-1 GET /status"] = `{"cluster_token": "demo-a6125ab9", "backup": {"at": 1772456010, "last_archived": 1772456000.5, "gaps": [], "backups": [
					{"label": "20260301-120000F", "type": "full", "start": 1772366400, "stop": 1772366460, "size": 31516548, "stored": 3835072,
						"proof": {"status": "ok", "at": 1772366520, "node": "demo-pg-2", "restored": 12.4, "checked": 5, "rows": 500055, "tables": 4, "of": 4}},
					{"label": "20260301-120000F_20260302-120000I", "type": "incr", "start": 1772452800, "stop": 1772452803, "size": 31516548, "stored": 408}]}}`
			}
			var said bytes.Buffer
			status := run(args, demo.Roles(), machines.Dial, strings.NewReader(""), &said, &said)
			if diff := cmp.Diff(plain(want), plain(said.String())); diff != "" {
				t.Errorf("status %d (-docs/operations.md +got):\n%s", status, diff)
			}
		})
	}
}
