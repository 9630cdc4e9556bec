package specfile

import "gopkg.in/yaml.v3"

// A flaw is why the value of a node is not known. A default stands in for it,
// by which nothing else must be judged.
type flaw uint8

const (
	misshapen flaw = 1 << iota // it has another shape than what is wanted here
	holds                      // something in it is misshapen, or missing
)

// missing is a key that is not in a mapping and may have been meant to be: it
// has no default, or an unknown key beside it may be a misspelling of it. The
// empty key stands for any.
type missing struct {
	from *yaml.Node
	key  string
}

// Known says whether the values at all these places are known, with all that
// is in them: nothing there had a wrong shape when it was decoded. A key that
// is left out is known, too, unless an unknown key may be a misspelling of
// it.
func Known(places ...Place) bool {
	for _, p := range places {
		if p.flaws() != 0 {
			return false
		}
	}
	return true
}

// wrongShape reports that the value does not have the shape that is wanted,
// so that it is not known.
func (p Place) wrongShape(format string, args ...any) {
	p.report(format, args...)
	p.mark(misshapen)
}

// lacks remembers that a key here (empty: any key) may only seem to be left
// out.
func (p Place) lacks(key string) {
	n := p.mark(holds)
	p.doc.missing[missing{n, key}] = true
}

func (p Place) mark(f flaw) *yaml.Node {
	n := p.doc.root
	for _, s := range p.path {
		p.doc.flaws[n] |= holds
		_, n = p.doc.child(n, s)
	}
	p.doc.flaws[n] |= f
	return n
}

// flaws are those of the value here; one that is part of a misshapen value is
// misshapen.
func (p Place) flaws() flaw {
	n := p.doc.root
	for _, s := range p.path {
		_, next := p.doc.child(n, s)
		switch {
		case p.doc.flaws[n]&misshapen != 0, next == nil && (p.doc.missing[missing{n, s.key}] || p.doc.missing[missing{n, ""}]):
			return misshapen
		case next == nil:
			return 0
		}
		n = next
	}
	return p.doc.flaws[n]
}
