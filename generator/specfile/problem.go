package specfile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Problem is one thing that is wrong with a file, or that deserves a warning.
type Problem struct {
	File         string
	Line, Column int    // from 1; the column counts characters
	Path         string // where in the document, such as roles.x.nodes[0].zone; empty for the file as a whole
	Text         string // what, and in parentheses what instead
	Warning      bool   // advice that fails nothing unless the user asks for it

	source string // the source line
	width  int    // characters to mark in it, at least 1
}

// String is the problem on one line: file:line:col: path: what (what
// instead).
func (p Problem) String() string {
	text := p.Text
	if p.Path != "" {
		text = p.Path + ": " + text
	}
	if p.Warning {
		text = "warning: " + text
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, text)
}

// Excerpt is the source line with a caret line below it, for a terminal:
//
//	7 |   versoin: 3.5.15
//	  |   ^^^^^^^
//
// It is empty if the file has no such line.
func (p Problem) Excerpt() string {
	if strings.TrimSpace(p.source) == "" {
		return ""
	}
	// Tabs stay tabs above the caret, or it would point at the wrong column.
	var below strings.Builder
	column := 1
	for _, r := range p.source {
		switch {
		case column >= p.Column+p.width:
		case column >= p.Column:
			below.WriteString(strings.Repeat("^", cells(r)))
		case r == '\t':
			below.WriteByte('\t')
		default:
			below.WriteString(strings.Repeat(" ", cells(r)))
		}
		column++
	}
	if column <= p.Column { // just behind the line's end
		below.WriteByte('^')
	}
	number := fmt.Sprintf("%5d", p.Line)
	return fmt.Sprintf("%s | %s\n%*s | %s\n", number, p.source, len(number), "", below.String())
}

// cells is how many columns of a terminal a character takes.
func cells(r rune) int {
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	if unicode.Is(unicode.Mn, r) {
		return 0
	}
	return 1
}

// Problems is a list of problems in file order; as an error, one line each.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Sort puts them in file order.
func (ps Problems) Sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
