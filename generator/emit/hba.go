package emit

import (
	"errors"
	"fmt"
	"strings"
)

// HBA returns one pg_hba.conf record without a line break. Words are given as
// they stand in the file: keywords ("all", "samerole"), "+role", "/regexp",
// "a,b", addresses, options, and what HBAName made of a database or user.
//
// Refused is a record that PostgreSQL would not read as just these words
// (https://www.postgresql.org/docs/current/auth-pg-hba-conf.html): a word
// that is empty or holds a control character or, outside of double quotes, a
// blank or '#'; a comma at either end, an open quote, a backslash at the end
// of the record, and a quoted name that begins with a slash.
func HBA(words ...string) (string, error) {
	if len(words) == 0 {
		return "", errors.New("cannot write an access record without words")
	}
	for _, w := range words {
		if err := checkHBAWord(w); err != nil {
			return "", fmt.Errorf("cannot write an access record: %w", err)
		}
	}
	record := strings.Join(words, " ")
	if strings.HasSuffix(record, `\`) {
		return "", fmt.Errorf(`cannot write an access record: %q ends with a backslash, which would continue the line`, record)
	}
	return record, nil
}

// HBAName returns a database or user name in double quotes, so that "all",
// "+x", "@x" and "a,b" are names and nothing else. For a name that begins
// with a slash there is no such way; HBA refuses it.
func HBAName(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

func checkHBAWord(w string) error {
	if w == "" {
		return errors.New("an empty word: want HBAName(\"\") or a keyword")
	}
	if err := checkLine(w); err != nil {
		return err
	}
	if strings.HasPrefix(w, ",") || strings.HasSuffix(w, ",") {
		return fmt.Errorf("%q has a comma at an end: the word beside it would join the list", w)
	}
	open := false
	for i, r := range w {
		switch {
		case r == '"':
			open = !open
			// The server compiles a regular expression without asking for
			// quotes (regcomp_auth_token in src/backend/libpq/hba.c).
			if open && strings.HasPrefix(w[i:], `"/`) {
				return fmt.Errorf("%s: a name that begins with a slash is read as a regular expression, quoted or not", w)
			}
		case !open && (r == ' ' || r == '#'):
			return fmt.Errorf("%q holds a blank or '#' outside of double quotes: want HBAName for a name", w)
		}
	}
	if open {
		return fmt.Errorf("%q has a double quote that is not closed: want HBAName for a name", w)
	}
	return nil
}
