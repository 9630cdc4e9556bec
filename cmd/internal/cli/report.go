package cli

import (
	"fmt"
	"os"
	"slices"

	"golang.org/x/term"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/specfile"
)

// Report says problems and warnings, one a line; on a terminal with the source
// line and a caret below each.
func (s Streams) Report(problems specfile.Problems) {
	_, terminal := s.terminal()
	for _, p := range problems {
		fmt.Fprintln(s.Err, p)
		if terminal {
			fmt.Fprint(s.Err, p.Excerpt())
		}
	}
}

// ReportJSON writes problems and warnings to Out, as a list for programs, and what
// else there is to say as notes.
func (s Streams) ReportJSON(problems, notes specfile.Problems) error {
	list := []any{}
	for i, p := range slices.Concat(problems, notes) {
		severity := "problem"
		switch {
		case i >= len(problems):
			severity = "note"
		case p.Warning:
			severity = "warning"
		}
		list = append(list, emit.Map{
			{Key: "file", Value: p.File}, {Key: "line", Value: p.Line}, {Key: "column", Value: p.Column},
			{Key: "path", Value: p.Path}, {Key: "text", Value: p.Text}, {Key: "severity", Value: severity},
		})
	}
	data, err := emit.JSON(list)
	if err != nil {
		return err
	}
	_, err = s.Out.Write(data)
	return err
}

// narrowest is the width of a terminal below which nothing is drawn in place.
const narrowest = 20

// Width is that of the terminal that Err is; 0: it is none, or too narrow.
func (s Streams) Width() int {
	if width, _ := s.terminal(); width >= narrowest {
		return width
	}
	return 0
}

// terminal says whether Err is a terminal, and how wide; 0: not known.
func (s Streams) terminal() (width int, ok bool) {
	f, ok := s.Err.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, true
	}
	return width, true
}
