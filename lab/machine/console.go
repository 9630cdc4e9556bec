//go:build linux

package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Line is one line of a machine's serial console.
type Line struct {
	At   time.Time // when it was seen whole
	Text string    // without colours and carriage returns
}

// Console keeps every line that a machine wrote on its console, in order. It
// is filled through Write.
type Console struct {
	now func() time.Time
	log io.Writer // each line again, with its time; what it refuses is not reported

	mu      sync.Mutex
	part    []byte // a line that has not ended yet
	lines   []Line
	ended   bool
	changed chan struct{} // closed, and made anew, whenever something above changes
}

// maxLine ends a line that never ends, so that a guest cannot fill the memory
// of the lab.
const maxLine = 64 << 10

func newConsole(now func() time.Time, log io.Writer) *Console {
	return &Console{now: now, log: log, changed: make(chan struct{})}
}

// Write takes what the machine wrote. It never fails: a console that blocks
// would stop the machine.
func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range p {
		if b == '\n' || len(c.part) >= maxLine {
			c.endLine()
		}
		if b != '\n' {
			c.part = append(c.part, b)
		}
	}
	return len(p), nil
}

func (c *Console) endLine() {
	l := Line{At: c.now(), Text: plain(string(c.part))}
	c.part = c.part[:0]
	c.lines = append(c.lines, l)
	fmt.Fprintf(c.log, "%s %s\n", l.At.Format("2006-01-02T15:04:05.000Z07:00"), l.Text)
	c.notify()
}

func (c *Console) notify() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// end says that no more will come.
func (c *Console) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.part) > 0 {
		c.endLine()
	}
	c.ended = true
	c.notify()
}

// escapes are terminal control sequences (ECMA-48): CSI, OSC, and the
// two-byte ones.
var escapes = regexp.MustCompile("\x1b(\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(\x07|\x1b\\\\)|[ -/]*[0-~])")

func plain(s string) string {
	return strings.TrimRight(strings.ReplaceAll(escapes.ReplaceAllString(s, ""), "\r", ""), " ")
}

// Lines gives all lines so far.
func (c *Console) Lines() []Line {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lines[:len(c.lines):len(c.lines)]
}

// Follow gives every line from the first on, and waits for more until the
// machine has ended or the context is done.
func (c *Console) Follow(ctx context.Context) iter.Seq[Line] {
	return func(yield func(Line) bool) {
		for next := 0; ; {
			c.mu.Lock()
			lines, ended, changed := c.lines[next:], c.ended, c.changed
			c.mu.Unlock()
			for _, l := range lines {
				if !yield(l) {
					return
				}
			}
			next += len(lines)
			if ended {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

// ErrEnded says that a machine ended before it wrote the line that was waited
// for.
var ErrEnded = errors.New("the machine has ended")

// WaitLine gives the first line, of those already there and those to come,
// that match accepts. When there is none, the error is the context's, or
// ErrEnded, with the last line that was seen.
func (c *Console) WaitLine(ctx context.Context, match func(text string) bool) (Line, error) {
	last := Line{}
	for l := range c.Follow(ctx) {
		if match(l.Text) {
			return l, nil
		}
		last = l
	}
	err := ctx.Err()
	if err == nil {
		err = ErrEnded
	}
	return Line{}, fmt.Errorf("no such line on the console, the last one is %q: %w", last.Text, err)
}
