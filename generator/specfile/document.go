// Package specfile turns YAML written by people into Go values, or says
// everything that is wrong with it, and where.
package specfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// MaxSize is the largest file that is read, in bytes. A spec of a thousand
// nodes needs a tenth of it.
const MaxSize = 1 << 20

// Document is one YAML file with the problems found in it so far.
type Document struct {
	name  string
	lines []string
	root  *yaml.Node
	found Problems
	index map[*yaml.Node]map[string]int // of mappings that were looked into

	flaws   map[*yaml.Node]flaw
	missing map[missing]bool
}

// Parse reads a file. It never fails: a file that is not YAML, is empty, too
// large, not UTF-8 with Unix line ends, or has a second document, anchors,
// duplicate keys, merge keys or keys that are not text, gives a document with
// these problems in it.
func Parse(name string, src []byte) *Document {
	d := &Document{
		name:  name,
		root:  &yaml.Node{Kind: yaml.MappingNode, Line: 1, Column: 1},
		index: map[*yaml.Node]map[string]int{},
	}
	d.forget()
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	if !d.isText(src) {
		return d
	}
	d.lines = strings.Split(string(src), "\n")
	first, second, err := load(src)
	switch {
	case err != nil:
		d.syntax(err)
		return d
	case first == nil || first.Content[0].Tag == "!!null" && second == nil:
		d.addAt(1, 1, "the file is empty (pgha-gen init writes an example)")
		return d
	case second != nil:
		d.add(second, d.Root(), "a second document (a spec is one: remove the line --- and all on one side of it)")
		return d
	}
	d.root = first.Content[0]
	d.wellFormed(d.Root(), d.root)
	return d
}

// load reads the first two documents; nil stands for one that is not there.
func load(src []byte) (first, second *yaml.Node, err error) {
	// yaml.v3 panics on some malformed input that its scanner lets through.
	defer func() {
		if recover() != nil {
			err = errors.New("the parser gives up here")
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(src))
	for _, n := range []**yaml.Node{&first, &second} {
		var next yaml.Node
		if err := dec.Decode(&next); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, nil, err
		}
		*n = &next
	}
	return first, second, nil
}

// Root is the place of the whole document.
func (d *Document) Root() Place { return Place{doc: d} }

// Problems gives what was found, in file order: errors, and apart from them
// the warnings.
func (d *Document) Problems() (errs, warnings Problems) {
	for _, p := range d.found {
		if p.Warning {
			warnings = append(warnings, p)
		} else {
			errs = append(errs, p)
		}
	}
	errs.Sort()
	warnings.Sort()
	return errs, warnings
}

// add reports what is wrong with a node; path is the one to name.
func (d *Document) add(n *yaml.Node, path Place, format string, args ...any) {
	p := Problem{
		File: d.name, Line: max(n.Line, 1), Column: max(n.Column, 1),
		Path: path.String(), Text: fmt.Sprintf(format, args...), width: 1,
	}
	if p.Line <= len(d.lines) {
		p.source = d.lines[p.Line-1]
	}
	if n.Kind == yaml.ScalarNode && n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		p.width = max(utf8.RuneCountInString(n.Value), 1)
		if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			p.width += 2
		}
	}
	d.found = append(d.found, p)
}

func (d *Document) addAt(line, column int, format string, args ...any) {
	d.add(&yaml.Node{Line: line, Column: column}, d.Root(), format, args...)
}

var yamlErrorLine = regexp.MustCompile(`^(?:yaml: )?(?:line \d+: )?`)

// hints say what the YAML library's words nearly always mean.
var hints = []struct{ words, hint string }{
	{"mapping values are not allowed", "is the indent wrong, is there no colon above, or does a text with a colon want quotes?"},
	{"did not find expected key", "is it indented like its neighbours, and is each quote closed?"},
	{"did not find expected '-'", "is it indented like its neighbours?"},
	{"could not find expected ':'", "a key wants a colon and a blank behind it"},
	{"found unexpected end of stream", "a quote is not closed"},
	{"did not find expected ',' or ']'", "a bracket is not closed"},
	{"did not find expected ',' or '}'", "a brace is not closed"},
	{"found character that cannot start", "a text that begins with @, %, ` or a tab wants quotes"},
	{"unknown anchor", "a text that begins with * wants quotes"},
	{"found unknown escape character", "in double quotes a backslash is written \\\\; in single ones it means itself"},
}

// syntax reports an error of the YAML library. The line that it names is
// often the one where the mapping around the mistake begins; the line to show
// is the last of the shortest beginning of the file that gives the same
// error.
func (d *Document) syntax(err error) {
	line := 1 + sort.Search(len(d.lines)-1, func(i int) bool {
		_, _, e := load([]byte(strings.Join(d.lines[:i+1], "\n")))
		return e != nil && e.Error() == err.Error()
	})
	source := d.lines[line-1]
	indent := source[:len(source)-len(strings.TrimLeft(source, " \t"))]
	if i := strings.IndexByte(indent, '\t'); i >= 0 {
		d.addAt(line, i+1, "a tab in the indent (indent with blanks)")
		return
	}
	// YAML takes such a blank for a letter, so its error is often about the
	// next line.
	for _, i := range []int{line - 1, line} {
		if column := oddBlank(d.lines[max(i-1, 0)]); column > 0 {
			d.addAt(max(i, 1), column, "a blank that is not the usual one, such as a no-break space (write it anew)")
			return
		}
	}
	text := yamlErrorLine.ReplaceAllString(err.Error(), "")
	for _, h := range hints {
		if strings.HasPrefix(text, h.words) {
			text += " (" + h.hint + ")"
		}
	}
	d.addAt(line, len(indent)+1, "not YAML: %s", text)
}

// oddBlank is the column of the first character in a line that looks like a
// blank and is another, or 0.
func oddBlank(line string) int {
	column := 0
	for _, r := range line {
		column++
		if r != ' ' && unicode.Is(unicode.Zs, r) {
			return column
		}
	}
	return 0
}

// isText says whether a file is UTF-8 text with Unix line ends, and reports
// one that is not.
func (d *Document) isText(src []byte) bool {
	if len(src) > MaxSize {
		d.addAt(1, 1, "the file has %d bytes (a spec has at most %d)", len(src), MaxSize)
		return false
	}
	if bytes.HasPrefix(src, []byte("\xff\xfe")) || bytes.HasPrefix(src, []byte("\xfe\xff")) {
		d.addAt(1, 1, "the file is UTF-16 (save it as UTF-8)")
		return false
	}
	line, column := 1, 1
	for i := 0; i < len(src); {
		r, size := utf8.DecodeRune(src[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			d.addAt(line, column, "not UTF-8 text: byte 0x%02x (save it as UTF-8)", src[i])
			return false
		case r == '\r':
			d.addAt(line, column, "a carriage return (save the file with Unix line ends: LF, not CRLF)")
			return false
		case r == '\n':
			line, column = line+1, 0
		case unicode.IsControl(r) && r != '\t', r == '\u2028', r == '\u2029': // YAML takes some for line ends
			d.addAt(line, column, "not text: control character %U (remove it)", r)
			return false
		}
		column++
		i += size
	}
	return true
}

// deepest is how many keys and list items may lead to a value; a spec has
// nine, and more in raw overrides.
const deepest = 50

// wellFormed reports what YAML allows and a spec does not.
func (d *Document) wellFormed(at Place, n *yaml.Node) {
	if len(at.path) > deepest {
		d.add(n, d.Root(), "nested too deep (want at most %d levels)", deepest)
		return
	}
	d.bareNode(at, n, "value")
	switch n.Kind {
	case yaml.ScalarNode:
		if kind := looksSecret(n.Value); kind != "" {
			d.add(n, at, "this looks like %s (a spec holds no secrets: put it into Lockbox and give its id)", kind)
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			d.wellFormed(at.Index(i), c)
		}
	case yaml.MappingNode:
		lines := map[string]int{}
		for k, v := range pairs(n) {
			if !d.isKey(at, k) {
				continue
			}
			here := at.Key(k.Value)
			if first, twice := lines[k.Value]; twice {
				d.add(k, here, "given twice (first on line %d: keep one)", first)
			} else {
				lines[k.Value] = k.Line
			}
			d.bareNode(here, k, "key")
			d.wellFormed(here, v)
		}
	}
}

// bareNode reports a tag, an anchor and an alias.
func (d *Document) bareNode(at Place, n *yaml.Node, what string) {
	if n.Style&yaml.TaggedStyle != 0 {
		d.add(n, at, "tags are not supported (remove the word that begins with !)")
	}
	if n.Anchor != "" || n.Kind == yaml.AliasNode {
		d.add(n, at, "anchors and aliases are not supported (write the %s out)", what)
	}
}

// isKey says whether a key of the mapping at a place is a text, and reports
// one that is not.
func (d *Document) isKey(at Place, k *yaml.Node) bool {
	switch {
	case k.Kind == yaml.AliasNode:
		d.bareNode(at, k, "key")
	case k.Kind != yaml.ScalarNode || k.Value == "":
		d.add(k, at, "a key that is not text")
	case k.Tag == "!!merge":
		d.add(k, at, "merge keys are not supported (write the values out)")
	default:
		return true
	}
	return false
}

// secretForms are the official patterns of Yandex Cloud's credentials (its
// security standard, 1.6) and the first line of every PEM private key.
var secretForms = []struct {
	kind string
	part string // what each has in it: to look for that first is much faster
	re   *regexp.Regexp
}{
	{"a private key", "PRIVATE KEY-----", regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----`)},
	{"an IAM token", "t1.", regexp.MustCompile(`\bt1\.[A-Za-z0-9_-]+=*\.[A-Za-z0-9_-]{86}=*`)},
	{"a session cookie", "c1.", regexp.MustCompile(`\bc1\.[A-Za-z0-9_-]+=*\.[A-Za-z0-9_-]{86}=*`)},
	{"an API key", "AQVN", regexp.MustCompile(`\bAQVN[A-Za-z0-9_-]{35,38}\b`)},
	{"an OAuth token", "_", regexp.MustCompile(`\by[0-6]_[-_A-Za-z0-9]{55}`)},
	{"a static access key", "YC", regexp.MustCompile(`\bYC[A-Za-z0-9_-]{38}\b`)},
	{"a password", "=", regexp.MustCompile(`(?i)\bpassword\s*=\s*[^\s']`)},
	{"a password", "://", regexp.MustCompile(`://[^/\s:@]+:[^/\s:@]+@`)},
	// As a command's variable or option; what begins with $ is only its name.
	{"a secret", "=", regexp.MustCompile(`(?i)\b\w*(?:password|passwd|passphrase|secrets?|secret_?key|access_?key|api_?key|token)=["']?[^\s"'$]`)},
}

func looksSecret(s string) string {
	for _, f := range secretForms {
		if strings.Contains(s, f.part) && f.re.MatchString(s) {
			return f.kind
		}
	}
	return ""
}

// WithoutReporting reads the document without keeping the problems that are
// found.
func (d *Document) WithoutReporting(read func(root Place)) {
	copied := *d
	copied.forget()
	read(copied.Root())
}

func (d *Document) forget() {
	d.found, d.flaws, d.missing = nil, map[*yaml.Node]flaw{}, map[missing]bool{}
}
