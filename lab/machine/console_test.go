//go:build linux

package machine

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// clock gives a second more each time it is asked.
func clock() func() time.Time {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	return func() time.Time { now = now.Add(time.Second); return now }
}

func texts(c *Console) []string {
	var all []string
	for _, l := range c.Lines() {
		all = append(all, l.Text)
	}
	return all
}

func TestConsole(t *testing.T) {
	for _, tt := range []struct {
		name, reason string
		writes       []string
		want         []string
	}{
		{"lines", "the usual", []string{"a\nb\n"}, []string{"a", "b"}},
		{"in pieces", "a pipe keeps no lines together", []string{"a", "b\nc", "\n"}, []string{"ab", "c"}},
		{"carriage returns", "a terminal wants them, once and twice", []string{"a\r\nb\r\r\n"}, []string{"a", "b"}},
		{"colours", "systemd marks its words", []string{"[\x1b[0;32m  OK  \x1b[0m] x\n"}, []string{"[  OK  ] x"}},
		{"titles", "systemd names sessions to the terminal", []string{"\x1b]3008;start=1\x1b\\a\x1b]0;t\x07b\x1b7\x1b(Bc\n"}, []string{"abc"}},
		{"prompt", "it has no end of line", []string{"a\nlogin: "}, []string{"a", "login:"}},
		{"endless line", "a guest must not fill the lab's memory", []string{strings.Repeat("x", maxLine+1)}, []string{strings.Repeat("x", maxLine), "x"}},
		{"nothing", "a machine that says nothing", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log bytes.Buffer
			c := newConsole(clock(), &log)
			for _, w := range tt.writes {
				if n, err := c.Write([]byte(w)); n != len(w) || err != nil {
					t.Errorf("Write gives %d, %v", n, err)
				}
			}
			c.end()
			if diff := cmp.Diff(tt.want, texts(c)); diff != "" {
				t.Errorf("lines (-want +got), %s:\n%s", tt.reason, diff)
			}
			if n := strings.Count(log.String(), "\n"); n != len(tt.want) {
				t.Errorf("the log has %d lines, want %d", n, len(tt.want))
			}
		})
	}
}

func TestConsoleLog(t *testing.T) {
	var log bytes.Buffer
	newConsole(clock(), &log).Write([]byte("a\nb\n"))
	if diff := cmp.Diff("2030-01-02T03:04:06.000Z a\n2030-01-02T03:04:07.000Z b\n", log.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

func TestWaitLine(t *testing.T) {
	c := newConsole(clock(), &bytes.Buffer{})
	is := func(want string) func(string) bool { return func(s string) bool { return s == want } }
	c.Write([]byte("early\n"))
	if l, err := c.WaitLine(t.Context(), is("early")); err != nil || l.Text != "early" || l.At.IsZero() {
		t.Errorf("a line that is there: %v, %v", l, err)
	}
	go c.Write([]byte("late\n"))
	if l, err := c.WaitLine(t.Context(), is("late")); err != nil || l.Text != "late" {
		t.Errorf("a line that comes: %v, %v", l, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.WaitLine(ctx, is("never")); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `"late"`) {
		t.Errorf("a line that does not come: %v, want %v and the last line", err, context.DeadlineExceeded)
	}
	go c.end()
	if _, err := c.WaitLine(t.Context(), is("never")); !errors.Is(err, ErrEnded) {
		t.Errorf("a machine that ended: %v, want %v", err, ErrEnded)
	}
}

func FuzzConsole(f *testing.F) {
	for _, s := range []string{"", "a\nb", "\x1b[0m\r\n", "\x1b]x\x1b\\y\x1b", "\x1b\n[0m"} {
		f.Add([]byte(s), 1)
	}
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		whole, pieces := newConsole(clock(), &bytes.Buffer{}), newConsole(clock(), &bytes.Buffer{})
		whole.Write(data)
		cut = max(0, min(cut, len(data)))
		pieces.Write(data[:cut])
		pieces.Write(data[cut:])
		whole.end()
		pieces.end()
		if diff := cmp.Diff(texts(whole), texts(pieces)); diff != "" {
			t.Errorf("lines depend on how they were written (-whole +pieces):\n%s", diff)
		}
		for _, text := range texts(whole) {
			if strings.ContainsAny(text, "\n\r") {
				t.Errorf("line %q has an end of line in it", text)
			}
		}
	})
}
