package emit

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Section is a header line and the lines indented below it. Without a header
// the lines stand at the margin.
type Section struct {
	Header []string
	Lines  [][]string
}

// Sections returns a configuration of one keyword per line, in the format in
// which '#' starts a comment, a backslash escapes, single quotes keep all as
// it is, and the environment is expanded in double quotes alone.
//
// A word means itself, whatever it holds, with one exception: where it holds
// ${NAME} and NAME is one of env, the reader puts in the value of that
// variable. Refused are control characters, text that is not UTF-8, an empty
// line or section, and a name in env that is not [A-Z_][A-Z0-9_]*.
func Sections(s []Section, env ...string) ([]byte, error) {
	for _, name := range env {
		if !isEnvName(name) {
			return nil, fmt.Errorf("%q: not the name of a variable: want capitals, digits and _, no digit first", name)
		}
	}
	var b bytes.Buffer
	for i, section := range s {
		if len(section.Header) == 0 && len(section.Lines) == 0 {
			return nil, fmt.Errorf("section %d: neither header nor lines", i+1)
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		indent := ""
		if len(section.Header) > 0 {
			if err := writeWords(&b, "", section.Header, env); err != nil {
				return nil, fmt.Errorf("section %d: %w", i+1, err)
			}
			indent = "    "
		}
		for j, line := range section.Lines {
			if err := writeWords(&b, indent, line, env); err != nil {
				return nil, fmt.Errorf("section %d, line %d: %w", i+1, j+1, err)
			}
		}
	}
	return b.Bytes(), nil
}

func writeWords(b *bytes.Buffer, indent string, words, env []string) error {
	if len(words) == 0 {
		return errors.New("a line without words")
	}
	b.WriteString(indent)
	for i, w := range words {
		if err := checkLine(w); err != nil {
			return err
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(sectionWord(w, env))
	}
	b.WriteByte('\n')
	return nil
}

// sectionWord writes each ${NAME} of env in double quotes and what is between
// them as it is; pieces that touch are one word to the reader.
func sectionWord(w string, env []string) string {
	if w == "" {
		return "''"
	}
	var b strings.Builder
	literal, at := w, 0 // what is not yet written, and how far it was searched
	for {
		start := strings.Index(literal[at:], "${")
		if start < 0 {
			b.WriteString(strongQuote(literal))
			return b.String()
		}
		start += at
		name, after, _ := strings.Cut(literal[start+len("${"):], "}")
		if !slices.Contains(env, name) || !strings.HasPrefix(literal[start:], "${"+name+"}") {
			at = start + len("${")
			continue
		}
		b.WriteString(strongQuote(literal[:start]))
		b.WriteString(`"${` + name + `}"`)
		literal, at = after, 0
	}
}

// strongQuote leaves alone what has no meaning bare. A bare '[' at the start
// of a line would open a scope. A single quote stands outside of quotes,
// escaped, since nothing is an escape within.
func strongQuote(s string) string {
	if s == "" || onlyOf(s, "_./:,@%+=-{}()<>!?&|*;~^") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
