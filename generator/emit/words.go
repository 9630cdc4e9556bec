package emit

import (
	"bytes"
	"fmt"
	"strings"
)

// Words returns lines of words with one blank between them, for readers that
// split at blanks and know no quotes. Refused are words that are empty or
// hold more than letters, digits and ._/:-
func Words(lines [][]string) ([]byte, error) {
	var b bytes.Buffer
	for i, line := range lines {
		for _, w := range line {
			if w == "" || !onlyOf(w, "._/:-") {
				return nil, fmt.Errorf("line %d: %q is no plain word", i+1, w)
			}
		}
		fmt.Fprintln(&b, strings.Join(line, " "))
	}
	return b.Bytes(), nil
}
