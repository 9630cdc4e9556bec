package emit

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"
)

// YAML returns v as one document without a "---" line, which YAML 1.1 and 1.2
// readers read back as the same values of the same types.
//
// v is built of Map, []any, []string, string, bool, int, float64 and nil;
// anything else, a duplicate key, NaN, an infinity and text that is not
// UTF-8 are refused with their path.
func YAML(v any) ([]byte, error) {
	n, err := node("", v)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(n); err != nil {
		return nil, fmt.Errorf("cannot write YAML: %w", err)
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("cannot write YAML: %w", err)
	}
	return b.Bytes(), nil
}

func plain(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

// text is a string as a value: a literal block if it is a text file, else a
// word.
func text(s string) *yaml.Node {
	if isBlock(s) {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Style: yaml.LiteralStyle}
	}
	return word(s)
}

// word is a string in one line: bare if no reader takes it for anything else,
// else in double quotes.
func word(s string) *yaml.Node {
	n := plain("!!str", s)
	if !isBareWord(s) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// isBareWord asks for a letter at the start, which rules out numbers, dates,
// ".inf", "~", "=", "<<" and all indicators; what is left are the words for
// bool, null and float in YAML 1.1 and its readers.
func isBareWord(s string) bool {
	if s == "" || !onlyOf(s[:1], "") || s[0] <= '9' || !onlyOf(s, "_./-") {
		return false
	}
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null", "nil", "none", "nan", "inf", "infinity":
		return false
	}
	return true
}

// isBlock says whether s can stand in a literal block ("|") and be seen in
// it as it is: whole lines of printable characters, no blank at the end of a
// line or indentation of the first, one line break at the end.
func isBlock(s string) bool {
	body, found := strings.CutSuffix(s, "\n")
	if !found || body == "" || strings.HasSuffix(body, "\n") || strings.HasPrefix(body, "\n") || body[0] == ' ' {
		return false
	}
	for line := range strings.SplitSeq(body, "\n") {
		if strings.HasPrefix(line, "\t") || strings.HasSuffix(line, "\t") || strings.HasSuffix(line, " ") {
			return false
		}
		for _, r := range line {
			if r != '\t' && !unicode.IsPrint(r) {
				return false
			}
		}
	}
	return true
}
