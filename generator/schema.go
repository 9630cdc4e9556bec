package generator

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// Schema is the JSON Schema of the spec, for editors. The sentence on each
// key is the one in the reference.
func Schema(roles []*role.Role) ([]byte, error) {
	sentences, err := describe(Reference(roles))
	if err != nil {
		return nil, err
	}
	// What several roles have, such as machine, is explained once.
	sentence := func(of *role.Role) func(string) string {
		return func(path string) string {
			for _, r := range append([]*role.Role{of}, roles...) {
				if s := sentences["roles."+r.Name+"."+path]; s != "" {
					return s
				}
			}
			return ""
		}
	}
	c := role.Defaults()
	properties := emit.Map{}
	for _, r := range roles {
		of := append(emit.Map{{Key: "description", Value: r.Doc}}, specfile.Schema(r.New(c), sentence(r))...)
		properties = properties.Set(r.Name, of)
	}
	schema := append(emit.Map{
		{Key: "$schema", Value: "https://json-schema.org/draft/2020-12/schema"},
		{Key: "title", Value: "pgha.yaml, format " + role.Format},
	}, specfile.Schema(c, func(path string) string { return sentences[path] })...)
	for i := range schema {
		if schema[i].Key != "properties" {
			continue
		}
		schema[i].Value = schema[i].Value.(emit.Map).Set("roles", emit.Map{
			{Key: "description", Value: sentences["roles"]}, {Key: "type", Value: "object"},
			{Key: "properties", Value: properties}, {Key: "additionalProperties", Value: false},
		})
	}
	return emit.JSON(schema)
}

// describe reads the sentences of the reference: path to comment, a list's
// items being path[].
func describe(reference string) (map[string]string, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(reference), &doc); err != nil {
		return nil, fmt.Errorf("internal error: the reference: %w", err)
	}
	sentences := map[string]string{}
	var walk func(path string, n *yaml.Node)
	walk = func(path string, n *yaml.Node) {
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				k, v := n.Content[i], n.Content[i+1]
				at := strings.TrimPrefix(path+"."+k.Value, ".")
				comment := k.LineComment + v.LineComment
				if v.Style == yaml.LiteralStyle { // no room for a comment behind it
					comment = k.HeadComment
				}
				comment = strings.TrimSpace(strings.TrimPrefix(comment, "#"))
				comment = strings.TrimPrefix(strings.TrimPrefix(comment, "required"), ": ")
				if comment != "" && sentences[at] == "" {
					sentences[at] = comment
				}
				walk(at, v)
			}
		case yaml.SequenceNode:
			for _, c := range n.Content {
				walk(path+"[]", c)
			}
		}
	}
	walk("", doc.Content[0])
	return sentences, nil
}
