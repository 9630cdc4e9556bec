//go:build linux

package session

import (
	"bytes"
	"fmt"

	"gopkg.in/yaml.v3"
)

// withAuthority is a spec with this certificate as secrets.ca: the lab's machines
// have an authority of the lab's own. All else stays as the operator wrote it.
func withAuthority(spec []byte, certificate string) ([]byte, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(spec, &document); err != nil {
		return nil, fmt.Errorf("cannot give the spec the lab's authority: %w", err)
	}
	if len(document.Content) == 0 {
		return nil, fmt.Errorf("cannot give the spec the lab's authority: it is empty")
	}
	set(set(document.Content[0], "secrets", yaml.Node{Kind: yaml.MappingNode}), "ca",
		yaml.Node{}).SetString(certificate)
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&document); err != nil {
		return nil, fmt.Errorf("cannot give the spec the lab's authority: %w", err)
	}
	return out.Bytes(), nil
}

// set is the value of a key of a mapping, which is added if it is not there.
func set(mapping *yaml.Node, key string, missing yaml.Node) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	mapping.Content = append(mapping.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, &missing)
	return &missing
}
