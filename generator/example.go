package generator

import (
	"fmt"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"pgha-gen/generator/role"
)

const exampleName = "demo"

// exampleInit matches a value of the reference that a new cluster gets
// another one for, and the reason.
var exampleInit = regexp.MustCompile(`(?m): \S+ # (.*); init writes (\S+), (.*)$`)

// exampleCA matches the authority of the reference, whose key nobody has.
var exampleCA = regexp.MustCompile(`(?m)^  ca: \|\n(    .*\n)+`)

// exampleThere matches what the reference has of what is there, and created
// what a new cluster has instead, in which all is created.
var exampleThere = []struct {
	there   *regexp.Regexp
	created string
}{
	{regexp.MustCompile(`(?m): \S+( # .*; default: (\S+) where the subnets are created)$`), ": $2$1"},
	{regexp.MustCompile(`subnet_id: e9bexample`), `subnet_id: ""`},
	{regexp.MustCompile(`e9bexample`), "10.128.0.0/24"},
	{regexp.MustCompile(`(?m):( # .*)\n( +\w+: (?:aje|e6q)example\w+\n)+`), ": {}$1\n"},
}

var exampleWord = regexp.MustCompile(`\b` + exampleName + `\b`)

// exampleID matches an id of the reference. Its first letters tell what it is
// of. A new cluster gets a placeholder, which validate refuses.
var exampleID = regexp.MustCompile(`\b(b1g)example\w*`)

// decided are the keys that a person decides, beside those that a spec must
// have. * stands for a name that differs between clusters, [] for the items
// of a list.
var decided = map[string]bool{
	"access.operators": true, "access.monitoring": true, "failover": true, "durability": true, "secrets.ca": true,
	"roles.*.postgresql": true, "roles.*.databases": true, "roles.*.users": true,
	"roles.*.users[].databases": true, "roles.*.users[].member_of": true, "roles.*.nodes[].address": true,
}

const exampleHead = `# Set the keys below that are not comments. All others are behind a "# ", with their
# defaults or an example: remove the "# " to set one. Where a default follows from
# failover, the one of fast is shown.

`

// Example is a spec for a new cluster of the given name, made of the
// reference. Keys that nobody has to decide are comments; ids are
// placeholders, and there is no authority yet; a few values are better suited
// to something new. Refused is a name that no cluster with these roles can
// have.
func Example(name string, roles []*role.Role) ([]byte, error) {
	var names []string
	for _, r := range roles {
		names = append(names, r.Name)
	}
	if longest := role.LongestClusterName(names...); !role.IsClusterName(name, longest) {
		return nil, fmt.Errorf("%q cannot be a cluster's name (want a to z, 0 to 9 and -, a letter first, at most %d characters)", name, longest)
	}
	mine := exampleCA.ReplaceAllString(Reference(roles), `  ca: ""`+"\n")
	for _, e := range exampleThere {
		mine = e.there.ReplaceAllString(mine, e.created)
	}
	mine, err := leaveToDefaults(mine)
	if err != nil {
		return nil, err
	}
	mine = exampleInit.ReplaceAllString(mine, ": $2 # $1; $2 is $3")
	mine = exampleID.ReplaceAllString(mine, "$1"+role.Placeholder)
	return []byte(exampleHead + exampleWord.ReplaceAllString(mine, name)), nil
}

// leaveToDefaults makes comments of the keys that nobody has to decide.
func leaveToDefaults(text string) (string, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return "", fmt.Errorf("internal error: the reference: %w", err)
	}
	lines := strings.Split(text, "\n")
	// decides says whether a person decides n, the value of a key, or a part
	// of it.
	var decides func(path string, key, n *yaml.Node) bool
	decides = func(path string, key, n *yaml.Node) bool {
		if key != nil {
			at := lines[key.Line-1]
			if decided[path] || strings.HasPrefix(key.LineComment+n.LineComment, "# required") || exampleInit.MatchString(at) {
				return true
			}
		}
		for i := range n.Content {
			switch {
			case n.Kind == yaml.SequenceNode && decides(path+"[]", nil, n.Content[i]),
				n.Kind == yaml.MappingNode && i%2 == 1 && decides(below(path, n.Content[i-1].Value), n.Content[i-1], n.Content[i]):
				return true
			}
		}
		return false
	}
	// leave makes comments of such keys in n, which ends before the line end.
	var leave func(path string, n *yaml.Node, end int)
	leave = func(path string, n *yaml.Node, end int) {
		step := 1
		if n.Kind == yaml.MappingNode {
			step = 2
		}
		for i := 0; i < len(n.Content) && n.Style&yaml.FlowStyle == 0; i += step {
			next := end
			if i+step < len(n.Content) {
				next = n.Content[i+step].Line
			}
			switch c := n.Content[i]; {
			case n.Kind == yaml.SequenceNode:
				leave(path+"[]", c, next)
			case decides(below(path, c.Value), c, n.Content[i+1]):
				leave(below(path, c.Value), n.Content[i+1], next)
			default:
				comments(lines[c.Line-1:next-1], c.Column-1)
			}
		}
	}
	leave("", doc.Content[0], len(lines)+1)
	return strings.Join(lines, "\n"), nil
}

// below is the path of a key, as decided has it.
func below(path, key string) string {
	switch path {
	case "roles":
		key = "*"
	}
	return strings.TrimPrefix(path+"."+key, ".")
}

// comments makes comments of lines, all at the same column.
func comments(lines []string, column int) {
	for i, line := range lines {
		if len(line) > column && !strings.HasPrefix(strings.TrimLeft(line, " "), "#") {
			lines[i] = line[:column] + "# " + line[column:]
		}
	}
}
