package emit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// JSON returns v as JSON with keys in their order, two blanks of indentation
// and a final line break. It takes and refuses the same values as YAML.
func JSON(v any) ([]byte, error) {
	if err := check("", v); err != nil {
		return nil, err
	}
	var compact, b bytes.Buffer
	if err := writeJSON(&compact, v); err != nil {
		return nil, fmt.Errorf("cannot write JSON: %w", err)
	}
	if err := json.Indent(&b, compact.Bytes(), "", "  "); err != nil {
		return nil, fmt.Errorf("cannot write JSON: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

func writeJSON(b *bytes.Buffer, v any) error {
	switch v := v.(type) {
	case float64:
		b.WriteString(float(v))
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case []string:
		items := make([]any, len(v))
		for i, item := range v {
			items[i] = item
		}
		return writeJSON(b, items)
	case []any:
		b.WriteByte('[')
		for i, item := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, item); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case Map:
		b.WriteByte('{')
		for i, p := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, p.Key); err != nil {
				return err
			}
			b.WriteByte(':')
			if err := writeJSON(b, p.Value); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	default:
		enc := json.NewEncoder(b)
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	}
	return nil
}
