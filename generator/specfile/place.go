package specfile

import (
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Place is a path in a document that knows its document, so that whoever
// checks a value can say what is wrong with it without knowing where it was
// written. A Place may name a key that the file does not have: problems with
// it are shown at the nearest thing that is there.
type Place struct {
	doc  *Document
	path []step
}

type step struct {
	key   string
	index int // of a list item; -1: the step is a key
}

// Key is the place of a mapping's key.
func (p Place) Key(key string) Place { return p.down(step{key: key, index: -1}) }

// Index is the place of a list's item, from 0.
func (p Place) Index(i int) Place { return p.down(step{index: i}) }

func (p Place) down(s step) Place {
	// The full slice expression: two children must not share the array.
	return Place{p.doc, append(p.path[:len(p.path):len(p.path)], s)}
}

func (p Place) up() Place { return Place{p.doc, p.path[:len(p.path)-1]} }

// Root is the place of the whole document.
func (p Place) Root() Place { return p.doc.Root() }

// Each are the places of a key in all items of the list here; this place
// itself if it has no list.
func (p Place) Each(key string) []Place {
	_, list, depth := p.find()
	if depth < len(p.path) || list.Kind != yaml.SequenceNode {
		return []Place{p}
	}
	all := make([]Place, len(list.Content))
	for i := range all {
		all[i] = p.Index(i).Key(key)
	}
	return all
}

// Or is the place that the value comes from: this one, or, if the file has
// nothing here, the one that the default follows from.
func (p Place) Or(from Place) Place {
	if p.Given() || !Known(p) {
		return p
	}
	return from
}

// Problem reports that what is written here is wrong, unless its shape is
// wrong already: the value is not known then. The text says what, and in
// parentheses what instead. A problem that other values have a part in is
// reported only if they are Known.
func (p Place) Problem(format string, args ...any) {
	if p.flaws()&misshapen == 0 {
		p.report(format, args...)
	}
}

// KeyProblem reports that the key itself is wrong, whatever its value.
func (p Place) KeyProblem(format string, args ...any) {
	key, value, _ := p.find()
	if key == nil {
		key = value
	}
	p.doc.add(key, p, format, args...)
}

// Warn reports something that works and should still be known.
func (p Place) Warn(format string, args ...any) {
	p.report(format, args...)
	p.doc.found[len(p.doc.found)-1].Warning = true
}

// Given says whether the file itself has something here.
func (p Place) Given() bool {
	_, _, depth := p.find()
	return depth == len(p.path)
}

// String is the path as people write it: roles.x.nodes[0].zone. A key that
// would be hard to see in it stands in quotes.
func (p Place) String() string {
	var b strings.Builder
	for _, s := range p.path {
		switch {
		case s.index >= 0:
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
			continue
		case b.Len() > 0:
			b.WriteByte('.')
		}
		if quoted := strconv.Quote(s.key); quoted != `"`+s.key+`"` || strings.ContainsAny(s.key, " .:[]") {
			b.WriteString(quoted)
		} else {
			b.WriteString(s.key)
		}
	}
	return b.String()
}

func (p Place) report(format string, args ...any) { p.doc.add(p.position(), p, format, args...) }

// position is the node to point at: a scalar or a value in brackets; for a
// list or mapping in block style its key, since such a value starts on the
// line of its first item. Where the path leads nowhere, the deepest ancestor.
func (p Place) position() *yaml.Node {
	key, value, _ := p.find()
	if key == nil || value.Kind == yaml.ScalarNode || value.Style&yaml.FlowStyle != 0 {
		return value
	}
	return key
}

// find walks as far as the document goes: the key and value reached (the key
// is nil at the root and for list items), and how many steps led there.
func (p Place) find() (key, value *yaml.Node, depth int) {
	value = p.doc.root
	for depth, step := range p.path {
		k, v := p.doc.child(value, step)
		if v == nil {
			return key, value, depth
		}
		key, value = k, v
	}
	return key, value, len(p.path)
}

func (d *Document) child(n *yaml.Node, s step) (key, value *yaml.Node) {
	switch {
	case n.Kind == yaml.SequenceNode && s.index >= 0 && s.index < len(n.Content):
		return nil, n.Content[s.index]
	case n.Kind == yaml.MappingNode && s.index < 0:
		if i, ok := d.keys(n)[s.key]; ok {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}

// keys says where in a mapping's content its keys are. It is remembered:
// looking through a mapping for every problem with one of its keys would take
// minutes for a file that is wrong on every line.
func (d *Document) keys(n *yaml.Node) map[string]int {
	keys, ok := d.index[n]
	if !ok {
		keys = make(map[string]int, len(n.Content)/2)
		for i := len(n.Content) - 2; i >= 0; i -= 2 { // backwards: the first of two counts
			keys[n.Content[i].Value] = i
		}
		d.index[n] = keys
	}
	return keys
}
