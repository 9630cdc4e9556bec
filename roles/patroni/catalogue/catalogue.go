// Package catalogue knows PostgreSQL's parameters, libraries and extensions,
// major version by major version, and says what is wrong with a value.
package catalogue

import (
	"bytes"
	"embed"
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// data is what each server says of itself; make.sh asks it.
//
//go:embed data
var data embed.FS

// Parameter is a row of pg_settings. Of one whose Type is empty, only the
// name is known.
type Parameter struct {
	Name     string
	Type     string // bool, integer, real, enum, string
	Context  string // who can change it, and when: internal, postmaster, sighup, ...
	Unit     string // of a number that has none: 8kB, ms
	Min, Max float64
	Values   []string // of an enum
	Also     []string // words that an enum takes and pg_settings does not show
}

// Restart says whether PostgreSQL takes a new value only when it starts.
func (p Parameter) Restart() bool { return p.Context == "postmaster" }

// PerSession says whether a session can have a value of its own: only then
// can a database or a user.
func (p Parameter) PerSession() bool {
	return slices.Contains([]string{"user", "superuser", "backend", "superuser-backend"}, p.Context)
}

// Preset says whether nobody can set it: it was fixed when PostgreSQL was
// built or the data directory made, or is found out.
func (p Parameter) Preset() bool { return p.Context == "internal" }

// Catalogue is what one major version has.
type Catalogue struct {
	parameters map[string]Parameter // by name in lower case: PostgreSQL takes any
	names      []string
	libraries  []library
	extensions []string
}

type library struct {
	name string
	init bool // does something when it is preloaded
}

// neighbours are read in place of a major version whose packages could not be
// asked. It then has every parameter, library and extension that one of
// them has. What
// both say of a parameter holds; where they differ, nothing is checked. So
// what came or went with that version alone is let through.
var neighbours = map[int][]int{14: {15, 17}, 16: {15, 17}}

// gone are parameters that no neighbour has any more.
var gone = map[int][]string{14: {"stats_temp_directory"}}

// Read gives the catalogue of a major version; nil if there is none.
func Read(major int) *Catalogue {
	like, ok := neighbours[major]
	if !ok {
		return read(major)
	}
	c := read(like[0])
	for _, n := range like[1:] {
		c.join(read(n))
	}
	for _, name := range gone[major] {
		c.add(Parameter{Name: name})
	}
	return c
}

func read(major int) *Catalogue {
	rows := table(strconv.Itoa(major) + ".csv")
	if rows == nil {
		return nil
	}
	c := &Catalogue{parameters: make(map[string]Parameter, len(rows))}
	for _, row := range rows {
		c.add(Parameter{
			Name: row[0], Type: row[1], Context: row[2], Unit: row[3],
			Min: number(row[4]), Max: number(row[5]),
			Values: words(row[6]), Also: words(row[7]),
		})
	}
	for _, row := range table(strconv.Itoa(major) + "-libraries.csv") {
		c.libraries = append(c.libraries, library{row[0], row[1] == "init"})
	}
	for _, row := range table(strconv.Itoa(major) + "-extensions.csv") {
		c.extensions = append(c.extensions, row[0])
	}
	return c
}

// table gives the rows of a file below its heading; nil if there is no file.
func table(name string) [][]string {
	src, err := data.ReadFile("data/" + name)
	if err != nil {
		return nil
	}
	rows, err := csv.NewReader(bytes.NewReader(src)).ReadAll()
	if err != nil {
		panic(fmt.Sprintf("internal error: catalogue: %s: %v", name, err))
	}
	return rows[1:]
}

func number(s string) float64 {
	if s == "" {
		return 0
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		panic(fmt.Sprintf("internal error: catalogue: %v", err))
	}
	return f
}

// words splits the values of an enum. An enum can have an empty one.
func words(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "|")
}

func (c *Catalogue) add(p Parameter) {
	c.parameters[strings.ToLower(p.Name)] = p
	c.names = append(c.names, p.Name)
}

// join merges another into c: the names and libraries of both, and of each
// parameter what both say alike.
func (c *Catalogue) join(other *Catalogue) {
	for _, name := range other.names {
		key := strings.ToLower(name)
		if mine, ok := c.parameters[key]; ok {
			c.parameters[key] = common(mine, other.parameters[key])
		} else {
			c.add(Parameter{Name: name, Context: other.parameters[key].Context})
		}
	}
	for _, name := range c.names {
		key := strings.ToLower(name)
		if _, ok := other.parameters[key]; !ok {
			c.parameters[key] = Parameter{Name: name, Context: c.parameters[key].Context}
		}
	}
	for _, l := range other.libraries {
		if !slices.Contains(c.libraries, l) {
			c.libraries = append(c.libraries, l)
		}
	}
	for _, e := range other.extensions {
		if !slices.Contains(c.extensions, e) {
			c.extensions = append(c.extensions, e)
		}
	}
	slices.Sort(c.extensions)
}

// common is what two versions say alike. It needs a restart if one of them
// does, and is preset only if both are.
func common(a, b Parameter) Parameter {
	context := a.Context
	if b.Restart() || a.Preset() {
		context = b.Context
	}
	if a.Type != b.Type || a.Unit != b.Unit || a.Min != b.Min || a.Max != b.Max ||
		!slices.Equal(a.Values, b.Values) || !slices.Equal(a.Also, b.Also) {
		return Parameter{Name: a.Name, Context: context}
	}
	a.Context = context
	return a
}

// Find gives the parameter of this name.
func (c *Catalogue) Find(name string) (Parameter, bool) {
	p, ok := c.parameters[strings.ToLower(name)]
	return p, ok
}

// Names are those of all parameters, as PostgreSQL spells them.
func (c *Catalogue) Names() []string { return slices.Clone(c.names) }

// HasLibrary says whether PostgreSQL's own packages bring this library.
func (c *Catalogue) HasLibrary(name string) bool {
	return slices.ContainsFunc(c.libraries, func(l library) bool { return l.name == name })
}

// Preloadable are the libraries that do something when they are preloaded.
func (c *Catalogue) Preloadable() []string {
	var all []string
	for _, l := range c.libraries {
		if l.init {
			all = append(all, l.name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Extensions are those that PostgreSQL's own packages bring, for CREATE
// EXTENSION.
func (c *Catalogue) Extensions() []string { return slices.Clone(c.extensions) }
