package emit

import (
	"errors"
	"strings"
)

// WordLine is a line of words in the format in which '#' starts a comment, a
// backslash escapes, and single quotes keep all as it is. A word means
// itself, whatever it holds. Refused are control characters, text that is not
// UTF-8, and a line without words.
func WordLine(words []string) (string, error) {
	if len(words) == 0 {
		return "", errors.New("a line without words")
	}
	quoted := make([]string, len(words))
	for i, w := range words {
		if err := checkLine(w); err != nil {
			return "", err
		}
		quoted[i] = strongQuote(w)
	}
	return strings.Join(quoted, " "), nil
}

// strongQuote puts a word into quotes unless all its characters are plain. A
// bare '[' at the start of a line would open a scope. A single quote stands
// escaped between two quoted parts, since nothing is an escape within quotes.
func strongQuote(s string) string {
	if s != "" && onlyOf(s, "_./:,@%+=-{}()<>!?&|*;~^") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
