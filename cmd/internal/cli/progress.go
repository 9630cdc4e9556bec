package cli

import (
	"fmt"
	"io"
	"strings"
)

// Progress shows how something goes on: a line for each thing as it happens and,
// on a terminal, below them a view that is drawn again in place.
type Progress struct {
	Width int // of the terminal; 0: there is none

	out   io.Writer
	drawn int // lines of the view on the screen
}

// NewProgress shows it on out, a terminal of this width; 0: it is none.
func NewProgress(out io.Writer, width int) *Progress { return &Progress{Width: width, out: out} }

// Show adds lines and replaces the view, whose lines end in a newline and must
// fit the width.
func (p *Progress) Show(lines []string, view string) {
	var b strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", p.drawn)
	}
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	if p.Width == 0 {
		view = ""
	}
	b.WriteString(view)
	p.drawn = strings.Count(view, "\n")
	io.WriteString(p.out, b.String())
}
