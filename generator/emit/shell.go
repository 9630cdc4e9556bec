package emit

import (
	"errors"
	"fmt"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// Shell returns one command line for a POSIX shell, in which every word means
// itself. Refused are no words at all, and words that POSIX quoting cannot
// hold: those with control characters or other characters that do not print.
func Shell(words ...string) (string, error) {
	if len(words) == 0 {
		return "", errors.New("cannot write a command line without words")
	}
	quoted := make([]string, len(words))
	for i, w := range words {
		q, err := syntax.Quote(w, syntax.LangPOSIX)
		if err != nil {
			return "", fmt.Errorf("cannot write %q in a shell: %w", w, err)
		}
		quoted[i] = q
	}
	return strings.Join(quoted, " "), nil
}
