package emit

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

var envName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

// Env returns lines of KEY=value that systemd (EnvironmentFile=) and a POSIX
// shell (". file") read alike. Values are string, int or bool.
//
// Refused are names that are not [A-Z_][A-Z0-9_]*, duplicate names, control
// characters, and text that is not UTF-8 or holds a Unicode noncharacter.
func Env(vars Map) ([]byte, error) {
	var b bytes.Buffer
	seen := make(map[string]bool, len(vars))
	for _, p := range vars {
		if !envName.MatchString(p.Key) {
			return nil, fmt.Errorf("%q: not the name of a variable: want capitals, digits and _, no digit first", p.Key)
		}
		if seen[p.Key] {
			return nil, fmt.Errorf("%s: duplicate variable", p.Key)
		}
		seen[p.Key] = true
		switch p.Value.(type) {
		case string, int, bool:
		default:
			return nil, fmt.Errorf("%s: cannot write a %T: want string, int or bool", p.Key, p.Value)
		}
		s := fmt.Sprint(p.Value)
		if err := checkLine(s); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Key, err)
		}
		// systemd drops the whole file for one of them (unichar_is_valid in
		// src/basic/utf8.c).
		if i := strings.IndexFunc(s, isNoncharacter); i >= 0 {
			return nil, fmt.Errorf("%s: %q holds a Unicode noncharacter, which systemd refuses", p.Key, s)
		}
		fmt.Fprintf(&b, "%s=%s\n", p.Key, envQuote(s))
	}
	return b.Bytes(), nil
}

func isNoncharacter(r rune) bool {
	return 0xFDD0 <= r && r <= 0xFDEF || r&0xFFFE == 0xFFFE
}

// envQuote prefers single quotes, in which nothing has a meaning. In double
// quotes both readers take a backslash before these four characters, and no
// other, for an escape.
func envQuote(s string) string {
	switch {
	case onlyOf(s, "_./:,@%+=-"):
		return s
	case !strings.Contains(s, "'"):
		return "'" + s + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "`", "\\`", `$`, `\$`).Replace(s) + `"`
}
