package yc

import (
	"regexp"
	"strings"

	"pgha-gen/generator/cloud"
	"pgha-gen/generator/emit"
)

// A word may hold variables of the script, as the name between two characters
// that no word of a spec has.
const variableStart, variableEnd = "\x02", "\x03"

var variables = regexp.MustCompile(variableStart + "([A-Z0-9_]+)" + variableEnd)

var notInName = regexp.MustCompile(`[^A-Z0-9]+`)

// idOf is the id of what is given or created: of the latter the script has it
// in a variable.
func idOf(kind cloud.Kind, ref *cloud.Ref) string {
	if ref.ID != "" {
		return ref.ID
	}
	return variableStart + variableOf(kind, ref.Name) + variableEnd
}

// variableOf is the name of the variable that has the id.
func variableOf(kind cloud.Kind, name string) string {
	return notInName.ReplaceAllString(strings.ToUpper(string(kind)+" "+name), "_")
}

// quote is a word of a command. Refused is what emit.Shell refuses.
func quote(word string) (string, error) {
	found := variables.FindAllStringSubmatchIndex(word, -1)
	if found == nil {
		return emit.Shell(word)
	}
	var b strings.Builder
	plain := func(s string) error {
		if s == "" {
			return nil
		}
		quoted, err := emit.Shell(s)
		b.WriteString(quoted)
		return err
	}
	end := 0
	for _, at := range found {
		if err := plain(word[end:at[0]]); err != nil {
			return "", err
		}
		b.WriteString(`"$` + word[at[2]:at[3]] + `"`)
		end = at[1]
	}
	err := plain(word[end:])
	return b.String(), err
}
