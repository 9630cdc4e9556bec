package cloud

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// node is a place in a tree of metadata: a value, or a folder of nodes.
type node struct {
	kind  kind
	value string
	items []item
}

type item struct {
	name string
	node node
}

type kind int

const (
	text     kind = iota
	number        // text that JSON has as a number
	iamToken      // the service account's token: made when it is asked for by its own path
	folder        // its names are the cloud's: device-name in paths, deviceName in JSON
	userKeys      // a folder whose names are the user's, the same everywhere
	list          // a folder of 0, 1, …; an array in JSON
)

func leaf(value string) node            { return node{kind: text, value: value} }
func dir(items ...item) node            { return node{kind: folder, items: items} }
func (n node) isDir() bool              { return n.kind >= folder }
func (n *node) add(name string, v node) { n.items = append(n.items, item{name, v}) }

func listOf(nodes ...node) node {
	n := node{kind: list}
	for i, v := range nodes {
		n.add(strconv.Itoa(i), v)
	}
	return n
}

func userKeysOf(values map[string]string) node {
	n := node{kind: userKeys}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		n.add(key, leaf(values[key]))
	}
	return n
}

// find walks down path, which has no leading slash. A slash at the end asks for
// a folder.
func (n node) find(path string) (node, bool) {
	for path != "" {
		name, rest, slash := strings.Cut(path, "/")
		i := slices.IndexFunc(n.items, func(it item) bool { return it.name == name })
		if i < 0 {
			return node{}, false
		}
		n, path = n.items[i].node, rest
		if slash && !n.isDir() {
			return node{}, false
		}
	}
	return n, true
}

// names lists a folder, each subfolder with a slash.
func (n node) names() []string {
	names := []string{}
	for _, it := range n.items {
		name := it.name
		if it.node.isDir() {
			name += "/"
		}
		names = append(names, name)
	}
	return names
}

// MarshalJSON gives the whole tree below n, but for tokens.
func (n node) MarshalJSON() ([]byte, error) {
	switch n.kind {
	case number:
		return []byte(n.value), nil
	case text, iamToken:
		return json.Marshal(n.value)
	case list:
		nodes := []node{}
		for _, it := range n.items {
			nodes = append(nodes, it.node)
		}
		return json.Marshal(nodes)
	}
	keys := map[string]node{}
	for _, it := range n.items {
		switch {
		case it.node.kind == iamToken:
		case n.kind == userKeys:
			keys[it.name] = it.node
		default:
			keys[camelCase(it.name)] = it.node
		}
	}
	return json.Marshal(keys)
}

// lines gives the tree below n as text: a path and a value on each line.
func (n node) lines(path string) string {
	switch {
	case n.kind == iamToken:
		return ""
	case !n.isDir():
		return path + " " + n.value + "\n"
	}
	var b strings.Builder
	for _, it := range n.items {
		b.WriteString(it.node.lines(strings.TrimPrefix(path+"/"+it.name, "/")))
	}
	return b.String()
}

// etagOf tells one body from another.
func etagOf(body []byte) string {
	h := fnv.New64a()
	h.Write(body)
	return fmt.Sprintf("%016x", h.Sum64())
}

// toJSON is for values made here of strings, numbers, lists and maps: they have
// a JSON form, or this package is wrong.
func toJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func camelCase(name string) string {
	words := strings.Split(name, "-")
	for i, w := range words[1:] {
		if w != "" {
			words[i+1] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, "")
}
