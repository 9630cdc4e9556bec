package emit

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"
)

// YAML returns v as one document without a "---" line, which YAML 1.1 and 1.2
// readers read back as the same values of the same types.
//
// v is built of Map, []any, []string, string, bool, int, int64, float64 and
// nil; anything else, a duplicate key, NaN, an infinity and text that is not
// UTF-8 are refused with their path.
func YAML(v any) ([]byte, error) {
	if err := check("", v); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(node(v)); err != nil {
		return nil, fmt.Errorf("cannot write YAML: %w", err)
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("cannot write YAML: %w", err)
	}
	return b.Bytes(), nil
}

// node gives every scalar an explicit style: left to choose, the encoder
// writes text that begins with a blank line so that it cannot be read back
// (https://github.com/go-yaml/yaml/issues/643), and "=" and "<<" bare.
func node(v any) *yaml.Node {
	switch v := v.(type) {
	case bool:
		return plain("!!bool", strconv.FormatBool(v))
	case int:
		return plain("!!int", strconv.Itoa(v))
	case int64:
		return plain("!!int", strconv.FormatInt(v, 10))
	case float64:
		return plain("!!float", float(v))
	case string:
		return text(v)
	case []string:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range v {
			n.Content = append(n.Content, text(item))
		}
		return n
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range v {
			n.Content = append(n.Content, node(item))
		}
		return n
	case Map:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, p := range v {
			n.Content = append(n.Content, word(p.Key), node(p.Value))
		}
		return n
	}
	return plain("!!null", "null")
}

func plain(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

// text is a string as a value: a literal block if it is a text file, else a word.
func text(s string) *yaml.Node {
	if isBlock(s) {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Style: yaml.LiteralStyle}
	}
	return word(s)
}

// word is a string in one line: bare if no reader takes it for anything else, else in double quotes.
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

// isBlock reports whether s can stand in a literal block ("|") and be seen in
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
