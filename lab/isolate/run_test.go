//go:build linux

package isolate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pgha-gen/lab/isolate"
	"pgha-gen/lab/labtest"
)

func id(name string) string { return fmt.Sprintf("pgha-ct%d-%s", os.Getpid(), name) }

// gone looks into every mounted hierarchy for a group of this name.
func gone(t *testing.T, id string) {
	t.Helper()
	for _, pattern := range []string{"/sys/fs/cgroup/" + id, "/sys/fs/cgroup/*/" + id} {
		left, err := filepath.Glob(pattern)
		if err != nil || len(left) > 0 {
			t.Errorf("cgroups left: %q, %v", left, err)
		}
	}
}

func TestRun(t *testing.T) {
	labtest.Need(t)
	dir := labtest.State(t)
	hidden := filepath.Join(dir, "hidden")
	for _, d := range []string{"mnt", "hidden"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(hidden, "host"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	mnt := filepath.Join(dir, "mnt")
	r, err := isolate.Start(isolate.Config{
		ID:     id("run"),
		Args:   []string{"sh", "-c", `ls "$1" "$2"; touch "$2/new"; echo "$WORD" >&2; (trap '' HUP; sleep 300) & exit 3`, "sh", mnt, hidden},
		Env:    []string{"WORD=said"},
		Output: &out,
		Hide:   []string{hidden},
		Before: func() error {
			if err := unix.Mount("tmpfs", mnt, "tmpfs", 0, ""); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(mnt, "inside"), nil, 0o644)
		},
		After: func() error { return unix.Unmount(mnt, 0) }, // busy if anything were left
	})
	if err != nil {
		t.Fatal(err)
	}
	var status *exec.ExitError
	if err := r.Status(); !errors.As(err, &status) || status.ExitCode() != 3 {
		t.Errorf("status is %v, want exit status 3", err)
	}
	if err := r.Left(); err != nil {
		t.Error(err)
	}
	want := fmt.Sprintf("%s:\n\n%s:\ninside\nsaid\n", hidden, mnt)
	if out.String() != want {
		t.Errorf("output is %q, want %q", out.String(), want)
	}
	for d, want := range map[string]int{mnt: 0, hidden: 1} {
		if entries, err := os.ReadDir(d); err != nil || len(entries) != want {
			t.Errorf("on the host %q has %v, %v: want %d files", d, entries, err, want)
		}
	}
	if _, _, found := r.Init(); found {
		t.Error("a run that has ended has an init")
	}
	gone(t, id("run"))
}

func TestEnd(t *testing.T) {
	labtest.Need(t)
	for _, tt := range []struct {
		name, reason, script string
		end                  func(*isolate.Run) error
	}{
		{"kill", "nothing can refuse it, and children go too", `trap '' TERM; setsid sleep 300 & echo up; wait; sleep 300`, (*isolate.Run).Kill},
		{"terminate", "the command ends as it likes", `trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done`, (*isolate.Run).Terminate},
	} {
		t.Run(tt.name, func(t *testing.T) {
			up := make(said, 1)
			r, err := isolate.Start(isolate.Config{ID: id(tt.name), Args: []string{"sh", "-c", tt.script}, Output: up})
			if err != nil {
				t.Fatal(err)
			}
			<-up
			if _, err := isolate.Start(isolate.Config{ID: id(tt.name), Args: []string{"true"}, Output: up}); err == nil || !strings.Contains(err.Error(), "still runs") {
				t.Errorf("a second start under the same ID: %v, want it refused", err)
			}
			if err := tt.end(r); err != nil {
				t.Error(err)
			}
			select {
			case <-r.Done():
			case <-time.After(20 * time.Second):
				t.Fatalf("it does not end: %s", tt.reason)
			}
			if err := r.Left(); err != nil {
				t.Error(err)
			}
			gone(t, id(tt.name))
			if err := errors.Join(r.Kill(), r.Freeze(true), r.Freeze(false), isolate.Clear(t.Context(), id(tt.name))); err != nil {
				t.Errorf("ending and stopping what has ended: %v", err)
			}
		})
	}
}

// said tells that something was written.
type said chan struct{}

func (s said) Write(p []byte) (int, error) {
	select {
	case s <- struct{}{}:
	default:
	}
	return len(p), nil
}

func TestRefused(t *testing.T) {
	labtest.Need(t)
	broken := errors.New("broken")
	file := filepath.Join(labtest.State(t), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	after := 0
	for _, tt := range []struct {
		name, reason string
		cfg          isolate.Config
		want         string
		after        int
	}{
		{"id", "it becomes a path", isolate.Config{ID: "../x", Args: []string{"true"}}, `"../x"`, 0},
		{"before", "what was begun must be taken back", isolate.Config{ID: id("b"), Args: []string{"true"}, Before: func() error { return broken }}, "broken", 1},
		{"command", "it is not there", isolate.Config{ID: id("c"), Args: []string{"/pgha/gone"}}, "/pgha/gone", 1},
		{"hide", "nothing can be laid over a file", isolate.Config{ID: id("h"), Args: []string{"true"}, Hide: []string{file}}, file, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			after = 0
			tt.cfg.After = func() error { after++; return nil }
			if _, err := isolate.Start(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("have error %v, want one with %q: %s", err, tt.want, tt.reason)
			}
			if after != tt.after {
				t.Errorf("After ran %d times, want %d", after, tt.after)
			}
			if tt.name != "id" {
				gone(t, tt.cfg.ID)
			}
		})
	}
	r, err := isolate.Start(isolate.Config{ID: id("left"), Args: []string{"true"}, Output: io.Discard, After: func() error { return broken }})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Left(); !errors.Is(err, broken) {
		t.Errorf("what After says is lost: %v", err)
	}
	if err := r.Status(); err != nil {
		t.Error(err)
	}
	r, err = isolate.Start(isolate.Config{ID: id("full"), Args: []string{"head", "-c", "1000000", "/dev/zero"}, Output: full{broken}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Left(); !errors.Is(err, broken) {
		t.Errorf("what Output says is lost: %v", err)
	}
	if err := r.Status(); err != nil {
		t.Errorf("a full output stops the command: %v", err)
	}
	if err := isolate.Clear(t.Context(), "../x"); err == nil {
		t.Error("clearing an ID that is a path is not refused")
	}
}

type full struct{ error }

func (f full) Write([]byte) (int, error) { return 0, f.error }

// TestClear ends processes whose starter is no more.
func TestClear(t *testing.T) {
	labtest.Need(t)
	g, err := isolate.Find(id("clear"))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Make(); err != nil {
		t.Fatal(err)
	}
	dir, err := g.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.Command("sleep", "300")
	cmd.SysProcAttr = &unix.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := g.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for a process that runs: %v, want %v", err, context.DeadlineExceeded)
	}
	if err := g.Remove(); err == nil {
		t.Error("a group with a process in it was removed")
	}
	go cmd.Wait() // a zombie is not in a cgroup any more, but leave none
	if err := isolate.Clear(t.Context(), id("clear")); err != nil {
		t.Error(err)
	}
	gone(t, id("clear"))
}
