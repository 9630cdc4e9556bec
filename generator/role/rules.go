package role

import (
	"bytes"
	"fmt"

	"gopkg.in/yaml.v3"
)

// Rules reads the rules.yaml that a role embeds: lists that belong to the
// program, so that a mistake in one is a defect of the program.
func Rules[T any](src []byte) *T {
	rules := new(T)
	d := yaml.NewDecoder(bytes.NewReader(src))
	d.KnownFields(true)
	if err := d.Decode(rules); err != nil {
		panic(fmt.Sprintf("internal error: rules.yaml: %v", err))
	}
	return rules
}
