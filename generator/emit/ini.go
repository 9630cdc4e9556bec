package emit

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

var iniName = regexp.MustCompile(`^[a-z0-9][a-z0-9:_-]*$`)

// INI returns sections of KEY=value, as pgBackRest reads them: a value is all
// that stands behind the first =, without spaces around it. Each value of
// sections is a Map of string, int or bool; true is y and false is n.
//
// Refused are names that are not [a-z0-9][a-z0-9:_-]*, a name that is there
// twice, values that are empty or would be read otherwise, control characters,
// and text that is not UTF-8.
func INI(sections Map) ([]byte, error) {
	var b bytes.Buffer
	seen := map[string]bool{}
	once := func(path, name string) error {
		switch {
		case !iniName.MatchString(name):
			return fmt.Errorf("%q: not a name: want small letters, digits, :, _ and -", name)
		case seen[path]:
			return fmt.Errorf("%s: there already", path)
		}
		seen[path] = true
		return nil
	}
	for i, section := range sections {
		keys, ok := section.Value.(Map)
		if !ok {
			return nil, fmt.Errorf("%s: cannot write a %T: want a Map", section.Key, section.Value)
		}
		if err := once("["+section.Key+"]", section.Key); err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "[%s]\n", section.Key)
		for _, p := range keys {
			path := "[" + section.Key + "] " + p.Key
			if err := once(path, p.Key); err != nil {
				return nil, err
			}
			value, err := iniValue(p.Value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			fmt.Fprintf(&b, "%s=%s\n", p.Key, value)
		}
	}
	return b.Bytes(), nil
}

func iniValue(value any) (string, error) {
	switch v := value.(type) {
	case bool:
		return map[bool]string{true: "y", false: "n"}[v], nil
	case int:
		return fmt.Sprint(v), nil
	case string:
		if v == "" || strings.TrimSpace(v) != v {
			return "", fmt.Errorf("%q would be read otherwise: want text without spaces around it", v)
		}
		return v, checkLine(v)
	}
	return "", fmt.Errorf("cannot write a %T: want string, int or bool", value)
}
