package catalogue

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"pgha-gen/generator/specfile"
)

// Check refuses a value that PostgreSQL would refuse, or take for another: of
// the wrong type, unit or range, or none of an enum's words.
func (p Parameter) Check(value string) error {
	switch p.Type {
	case "bool":
		if !isBool(value) {
			return fmt.Errorf("want on or off, have %q", value)
		}
	case "enum":
		return p.checkWord(value)
	case "integer", "real":
		return p.checkNumber(value)
	case "string":
		return p.checkList(value)
	}
	return nil
}

// lists are strings that PostgreSQL splits at commas, with the words that it
// takes there (check_log_destination, check_log_connections).
var lists = map[string][]string{
	"log_destination": {"stderr", "csvlog", "jsonlog", "syslog"},
	"log_connections": {"receipt", "authentication", "authorization", "setup_durations", "all"},
}

func (p Parameter) checkList(value string) error {
	known := lists[p.Name]
	if known == nil || p.Name == "log_connections" && isBool(value) {
		return nil
	}
	for _, word := range strings.Split(value, ",") {
		word = strings.Trim(word, ` "`)
		if word != "" && !slices.Contains(known, strings.ToLower(word)) {
			return fmt.Errorf("want some of %s, have %q", strings.Join(known, ", "), word)
		}
	}
	return nil
}

// isBool is PostgreSQL's parse_bool: any case, any beginning that is not that
// of two words.
func isBool(value string) bool {
	v := strings.ToLower(value)
	if v == "" || v == "o" {
		return false
	}
	return v == "0" || v == "1" || slices.ContainsFunc([]string{"true", "false", "yes", "no", "on", "off"},
		func(word string) bool { return strings.HasPrefix(word, v) })
}

func (p Parameter) checkWord(value string) error {
	same := func(word string) bool { return strings.EqualFold(word, value) }
	if slices.ContainsFunc(p.Values, same) || slices.ContainsFunc(p.Also, same) {
		return nil
	}
	known := slices.DeleteFunc(slices.Clone(p.Values), func(v string) bool { return v == "" })
	text := fmt.Sprintf("want one of %s, have %q", strings.Join(known, ", "), value)
	if near := specfile.Nearest(value, known); near != "" {
		text += " (did you mean " + near + "?)"
	}
	return errors.New(text)
}

func (p Parameter) checkNumber(value string) error {
	n, err := p.Number(value)
	if err != nil {
		return err
	}
	if n < p.Min || n > p.Max {
		text := fmt.Sprintf("want %s to %s, have %q", p.show(p.Min, math.Ceil), p.show(p.Max, math.Floor), value)
		if p.Max > 1e300 { // any number that there is
			text = fmt.Sprintf("want at least %s, have %q", p.show(p.Min, math.Ceil), value)
		}
		if _, err := strconv.ParseFloat(value, 64); err == nil && p.Unit != "" && n != 0 && n != -1 {
			text += " (a number without a unit is in " + p.ownUnit() + ")"
		}
		return errors.New(text)
	}
	return p.checkHook(n, value)
}

// checkHook refuses numbers in the range that the server refuses all the same
// (the check hooks of guc_tables.c).
func (p Parameter) checkHook(n float64, value string) error {
	switch p.Name {
	case "commit_timestamp_buffers", "multixact_member_buffers", "multixact_offset_buffers", "notify_buffers",
		"serializable_buffers", "subtransaction_buffers", "transaction_buffers":
		if math.Mod(n, 16) != 0 {
			return fmt.Errorf("want a multiple of 128kB, have %q (a number without a unit is in pages of 8kB: a multiple of 16)", value)
		}
	case "vacuum_buffer_usage_limit":
		if n != 0 && n < 128 {
			return fmt.Errorf("want 0, or 128kB to 16GB, have %q", value)
		}
	case "max_stack_depth":
		if n > 7680 {
			return fmt.Errorf("want at most 7680kB, have %q (the stack of a process has 8MB)", value)
		}
	case "io_max_concurrency":
		if n == 0 {
			return fmt.Errorf("want -1 or at least 1, have %q", value)
		}
	}
	return nil
}

func (p Parameter) ownUnit() string {
	if strings.HasPrefix(p.Unit, "8") {
		return "pages of " + p.Unit
	}
	return p.Unit
}

// unit is one of PostgreSQL's (guc.c), with its size in the smallest of its
// kind, and what people and other programs call it, in lower case.
type unit struct {
	name string
	size float64
	also []string
}

var (
	memory = []unit{
		{"B", 1, []string{"b", "byte", "bytes"}},
		{"kB", 1 << 10, []string{"k", "kb", "ki", "kib"}},
		{"MB", 1 << 20, []string{"m", "mb", "mi", "mib"}},
		{"GB", 1 << 30, []string{"g", "gb", "gi", "gib"}},
		{"TB", 1 << 40, []string{"t", "tb", "ti", "tib"}},
	}
	times = []unit{
		{"us", 1, []string{"us", "µs", "μs", "usec", "microseconds"}},
		{"ms", 1e3, []string{"ms", "msec", "msecs", "millisecond", "milliseconds"}},
		{"s", 1e6, []string{"s", "sec", "secs", "second", "seconds"}},
		{"min", 60e6, []string{"m", "min", "mins", "minute", "minutes"}},
		{"h", 3600e6, []string{"h", "hr", "hrs", "hour", "hours"}},
		{"d", 86400e6, []string{"d", "day", "days"}},
	}
)

// kind gives the units that values of the parameter can have, an example, and
// the size of its own unit; nothing if it has none.
func (p Parameter) kind() (units []unit, example string, own float64) {
	name, pages := strings.CutPrefix(p.Unit, "8")
	for _, k := range []struct {
		units   []unit
		example string
	}{{memory, "a size such as 64MB"}, {times, "a time such as 30s"}} {
		if size, ok := sizeOf(k.units, name); ok {
			if pages {
				size *= 8
			}
			return k.units, k.example, size
		}
	}
	return nil, "", 1
}

func sizeOf(units []unit, name string) (float64, bool) {
	i := slices.IndexFunc(units, func(u unit) bool { return u.name == name })
	if i < 0 {
		return 0, false
	}
	return units[i].size, true
}

var (
	numberForm = regexp.MustCompile(`^\s*([+-]?(?:0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?))\s*(.*?)\s*$`)
	wholeForm  = regexp.MustCompile(`^[+-]?[0-9]+$`)
)

// Number is a value in the parameter's own unit, as PostgreSQL reads it: with
// a unit or without one, 0600 octal, fractions of whole numbers rounded.
func (p Parameter) Number(value string) (float64, error) {
	units, want, own := p.kind()
	if units == nil {
		want = "a number"
		if p.Type == "integer" {
			want = "a whole number"
		}
	}
	m := numberForm.FindStringSubmatch(value)
	if m == nil {
		return 0, fmt.Errorf("want %s, have %q", want, value)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if hex := strings.ContainsAny(m[1], "xX"); hex || p.Type == "integer" && wholeForm.MatchString(m[1]) {
		var i int64
		i, err = strconv.ParseInt(m[1], 0, 64)
		n = float64(i)
	}
	if err != nil {
		return 0, fmt.Errorf("want %s, have %q (a number that begins with 0 is octal, and must be below 2^63)", want, value)
	}
	if m[2] != "" {
		size, ok := sizeOf(units, m[2])
		if !ok {
			return 0, fmt.Errorf("want %s, have %q (%s)", want, value, advice(units, m[1], m[2]))
		}
		n *= size / own
	}
	if p.Type == "integer" {
		n = math.RoundToEven(n)
	}
	return n, nil
}

// advice says what to write for a unit that PostgreSQL does not know.
func advice(units []unit, number, name string) string {
	if units == nil {
		return "it has no unit"
	}
	if name == "%" {
		return "PostgreSQL takes no percentage: write the size"
	}
	for _, u := range units {
		if slices.Contains(u.also, strings.ToLower(name)) {
			return "PostgreSQL's unit is " + u.name + ": write " + number + u.name
		}
	}
	var names []string
	for _, u := range units {
		names = append(names, u.name)
	}
	return "its units: " + strings.Join(names, ", ")
}

// show writes a limit for people: exactly in the largest unit that can, or
// rounded in one that leaves two digits.
func (p Parameter) show(n float64, round func(float64) float64) string {
	units, _, own := p.kind()
	if units == nil || n == 0 || n == -1 {
		return plain(n)
	}
	for _, whole := range []bool{true, false} {
		for _, u := range slices.Backward(units) {
			v := n * own / u.size
			if whole && v == math.Trunc(v) && v < 1e5 || !whole && v >= 10 {
				return strconv.FormatFloat(round(v), 'f', -1, 64) + u.name
			}
		}
	}
	return plain(n) + p.Unit
}

func plain(n float64) string {
	if math.Abs(n) < 1e15 {
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	return strconv.FormatFloat(n, 'g', -1, 64)
}
