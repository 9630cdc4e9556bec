package emit

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// HCLAttribute is the HCL file src with an attribute of its first block of a
// type set to a list of texts; all else stays as it is, byte for byte. Refused
// is a src that is not HCL or has no such block.
func HCLAttribute(src []byte, block, attribute string, list []string) ([]byte, error) {
	file, diagnostics := hclwrite.ParseConfig(src, "", hcl.InitialPos)
	if diagnostics.HasErrors() {
		return nil, fmt.Errorf("not HCL: %w", diagnostics)
	}
	for _, b := range file.Body().Blocks() {
		if b.Type() != block {
			continue
		}
		values := make([]cty.Value, len(list))
		for i, s := range list {
			values[i] = cty.StringVal(s)
		}
		b.Body().SetAttributeValue(attribute, cty.TupleVal(values))
		return file.Bytes(), nil
	}
	return nil, fmt.Errorf("no block %q to set %q in", block, attribute)
}
