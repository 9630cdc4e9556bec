//go:build linux

package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/lab/client"
	"pgha-gen/lab/labtest"
	"pgha-gen/lab/netns"
	"pgha-gen/lab/session"
	"pgha-gen/lab/workload"
)

// theDay is what docs/operations.md shows of it: a command, and what it said.
var theDay = regexp.MustCompile("(?m)^\\$ (.*)\n((?:[^$`\n].*\n|\n)*)")

// A day of a person who operates a cluster, as docs/operations.md has it, under
// load: nothing that was acknowledged is lost, and the commands say what is
// shown, but for numbers. With -update the document gets what they say.
func TestDay(t *testing.T) {
	const document = "../../docs/operations.md"
	text := testkit.Text(t, document)
	before, day, found := strings.Cut(text, "\n## A day in the lab\n")
	if !found {
		t.Fatal("the document has no such section")
	}
	u := newUser(t)
	ctx, cancel := labtest.Begin(t, 65*time.Second)
	defer cancel()
	u.ends(0, u.up(ctx))
	if _, said := u.does(0, "run", "--", "true"); !strings.Contains(said, "access.operators does not admit 10.128.0.1: ") {
		t.Errorf("an operator whom nobody admits is told %q", said)
	}
	const operators = "operators: [] #=>operators: [10.128.0.0/29] #"
	spec := func(edits ...string) string {
		file := filepath.Join(t.TempDir(), "pgha.yaml")
		testkit.OK(t, os.WriteFile(file, []byte(demo.Spec(t, edits...)), 0o600))
		return file
	}
	u.does(0, "refresh", "-f", spec(operators))
	bin, password := u.programs(), password(t, u.folder)

	l := u.load(ctx)
	shell := func(line string) string {
		cmd := u.command(ctx, "run", "--", "sh", "-c", line)
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(out), u.bin+" --dir "+string(u.folder), "pgha-lab")
	}
	// In the document demo-pg-1 leads at first.
	shell("pgha-gen cluster switchover --to demo-pg-1 --yes")
	number, blanks := regexp.MustCompile(`\b[0-9a-f]{16}\b|[0-9]+/[0-9A-F]+|[0-9]+(\.[0-9]+)?( [kMG]?B)?`), regexp.MustCompile(`\s+`)
	// But for numbers, those of nodes included: which of them leads is chance. What has
	// come from the leader when a node says what took effect is chance, too, and so is
	// whether a change is still so new, on a slow host, that a command waits for it.
	pending := regexp.MustCompile(`; PostgreSQL has to be restarted for [a-z_ ]+|(?m)^pgha-gen: waiting: demo-pg-[0-9] took over a change [0-9]+ s ago, and whether that needs a restart shows after [0-9]+ s\n`)
	plain := func(text string) []string {
		var lines []string
		for line := range strings.Lines(pending.ReplaceAllString(text, "")) {
			lines = append(lines, strings.TrimSpace(blanks.ReplaceAllString(number.ReplaceAllString(line, "N"), " ")))
		}
		slices.Sort(lines) // machines say it in any order
		return lines
	}
	real := theDay.ReplaceAllStringFunc(day, func(block string) string {
		m := theDay.FindStringSubmatch(block)
		line, want := m[1], m[2]
		if strings.HasPrefix(line, "pgha-lab grow ") && !mayGrow(t) {
			t.Logf("left out: %s: this host's root may not grow an ext4 that is mounted", line)
			return block
		}
		began := time.Now()
		said := shell(line)
		// What changed is on its way for some seconds.
		for was := said; strings.HasSuffix(line, "cluster status") && time.Since(began) < time.Minute; was = said {
			if !testkit.Update() && slices.Equal(plain(want), plain(said)) {
				break
			}
			time.Sleep(time.Second)
			said = shell(line)
			if testkit.Update() && time.Since(began) > 20*time.Second && slices.Equal(plain(was), plain(said)) {
				break
			}
		}
		t.Logf("%s: %.1f s\n%s", line, time.Since(began).Seconds(), said)
		if diff := cmp.Diff(plain(want), plain(said)); diff != "" && !testkit.Update() {
			t.Errorf("%s (-docs/operations.md +got):\n%s", line, diff)
		}
		return "$ " + line + "\n" + said
	})
	if testkit.Update() {
		testkit.OK(t, os.WriteFile(document, []byte(before+"\n## A day in the lab\n"+real), 0o644))
	}
	rows, err := l.Check(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rows were acknowledged, %d of them are lost; writers were told %v", rows.Acked, len(rows.Lost), l.Told().Errs)
	if rows.Acked < 1000 || len(rows.Lost) > 0 || rows.Gone > 0 {
		t.Errorf("of %d acknowledged rows %v are lost, %d more of those that were there before", rows.Acked, rows.Lost, rows.Gone)
	}
	l.Stop()
	u.isRefused(spec, operators)
	if testkit.Text(t, u.folder.Passfile()) == password {
		t.Error("the lab's own clients have the old password")
	}
}

// isRefused has a lab that is up refuse what it cannot do, each with its sentence.
func (u user) isRefused(spec func(edits ...string) string, operators string) {
	u.t.Helper()
	out, said := u.does(7, "run", "--", "sh", "-c", "pwd; ls secrets/demo/operator; getent hosts demo-pg-1 | tr -s ' '; exit 7")
	want := u.folder.Work() + "\nca.crt\noperator.crt\noperator.key\nrestapi.password\n10.128.0.21 demo-pg-1.ru-central1.internal\n"
	if out != want || said != "" {
		u.t.Errorf("run says %q, %q, want %q", out, said, want)
	}
	for _, refused := range []struct {
		want string
		args []string
	}{
		{"cannot run no-such-program: ", []string{"run", "no-such-program"}},
		{"pgha-lab: demo-haproxy-1 has no data disk\n", []string{"grow", "demo-haproxy-1", "100GB"}},
		{" bytes already (a disk can only become larger)\n", []string{"grow", "demo-pg-2", "100GB"}},
		{"the lab runs cluster demo-", []string{"refresh", "-f", spec(operators, "name: demo #=>name: demo2 #")}},
		{"demo-pg-2 has the address 10.128.0.22", []string{"refresh", "-f", spec(operators, "address: 10.128.0.22}=>address: 10.128.0.99}")}},
		{"pgha-lab: demo-pg-3 is a node of the spec (", []string{"delete", "demo-pg-3"}},
		{`the lab has no node "demo-pg-4"`, []string{"delete", "demo-pg-4"}},
	} {
		if _, said := u.does(1, refused.args...); !strings.Contains(said, refused.want) {
			u.t.Errorf("%q: it says %q, want %q", refused.args, said, refused.want)
		}
	}
	if _, said := u.does(0, "refresh", "-f", filepath.Join(u.folder.Work(), "pgha.yaml")); said != "pgha-lab: no machine has anything new\n" {
		u.t.Errorf("the same again says %q", said)
	}
	if out, _ := u.does(0, "status"); strings.Contains(out, "demo-pg-4") {
		u.t.Errorf("it is still there:\n%s", out)
	}
}

// mayGrow says whether root here has the capability that the kernel asks for.
func mayGrow(t *testing.T) bool {
	t.Helper()
	m := regexp.MustCompile(`(?m)^CapEff:\s+([0-9a-f]+)$`).FindStringSubmatch(testkit.Text(t, "/proc/self/status"))
	capabilities, err := strconv.ParseUint(m[1], 16, 64)
	testkit.OK(t, err)
	const sysResource = 24 // capabilities(7), linux/capability.h
	return capabilities&(1<<sysResource) != 0
}

// programs is a folder with the programs that the person calls: pgha-gen, and
// pgha-lab for this lab.
func (u user) programs() string {
	u.t.Helper()
	bin := u.t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, "pgha-gen"), "../pgha-gen").CombinedOutput(); err != nil {
		u.t.Fatalf("%v\n%s", err, out)
	}
	script := "#!/bin/sh\nexec '" + strings.Join(u.command(u.t.Context()).Args, "' '") + "' \"$@\"\n"
	testkit.OK(u.t, os.WriteFile(filepath.Join(bin, "pgha-lab"), []byte(script), 0o755))
	return bin
}

// load is four writers and two readers, who connect as pgha-lab psql does.
func (u user) load(ctx context.Context) *workload.Load {
	u.t.Helper()
	r, _, err := u.folder.Load()
	if err != nil {
		u.t.Fatal(err)
	}
	connect := func(target client.Target) workload.Connect {
		return func(ctx context.Context) (*pgx.Conn, error) {
			ca, err := os.ReadFile(u.folder.CA())
			if err != nil {
				return nil, err
			}
			dial := func(ctx context.Context, network, address string) (net.Conn, error) {
				return netns.Dial(ctx, r.Network, network, address)
			}
			return target.Connect(ctx, dial, ca, password(u.t, u.folder))
		}
	}
	l, err := workload.Start(ctx, connect(r.Access.Primary), 4, connect(r.Access.Replicas), 2)
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(l.Stop)
	return l
}

// password is that of the lab's own clients.
func password(t *testing.T, f session.Folder) string {
	t.Helper()
	fields := strings.Split(strings.TrimSpace(testkit.Text(t, f.Passfile())), ":")
	return fields[len(fields)-1]
}
