package emit

import (
	"bytes"
	"encoding/json"
	"fmt"

	"gopkg.in/yaml.v3"
)

// JSON returns v as JSON with keys in their order, two blanks of indentation
// and a final line break. It takes and refuses the same values as YAML.
func JSON(v any) ([]byte, error) {
	n, err := node("", v)
	if err != nil {
		return nil, err
	}
	var compact, b bytes.Buffer
	if err := writeJSON(&compact, n); err != nil {
		return nil, fmt.Errorf("cannot write JSON: %w", err)
	}
	if err := json.Indent(&b, compact.Bytes(), "", "  "); err != nil {
		return nil, fmt.Errorf("cannot write JSON: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

func writeJSON(b *bytes.Buffer, n *yaml.Node) error {
	open, end := byte('['), byte(']')
	switch {
	case n.Kind == yaml.MappingNode:
		open, end = '{', '}'
	case n.Tag == "!!str":
		enc := json.NewEncoder(b)
		enc.SetEscapeHTML(false)
		return enc.Encode(n.Value)
	case n.Kind == yaml.ScalarNode:
		b.WriteString(n.Value)
		return nil
	}
	b.WriteByte(open)
	for i, inner := range n.Content {
		switch {
		case n.Kind == yaml.MappingNode && i%2 == 1:
			b.WriteByte(':')
		case i > 0:
			b.WriteByte(',')
		}
		if err := writeJSON(b, inner); err != nil {
			return err
		}
	}
	b.WriteByte(end)
	return nil
}
