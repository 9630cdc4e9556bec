// Package cataloguetest lets a server of PostgreSQL judge the catalogue.
package cataloguetest

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pgha-gen/roles/patroni/catalogue"
)

// Try is the script that asks a server about the pairs of Pairs.
//
//go:embed try.sh
var Try string

// Described compares a catalogue with what postgres --describe-config prints:
// lines with a parameter's name, context, group, type, default, least, most.
// Parameters for developers are not among them.
func Described(c *catalogue.Catalogue, told string) (wrong []string) {
	lines := 0
	for line := range strings.Lines(told) {
		lines++
		word := strings.Split(line, "\t")
		if len(word) < 7 {
			return append(wrong, fmt.Sprintf("not a line of postgres --describe-config: %q", line))
		}
		name, context := word[0], word[1]
		kind := strings.TrimSuffix(strings.ToLower(word[3]), "ean") // BOOLEAN
		p, found := c.Find(name)
		if !found || p.Name != name || p.Context != context || p.Type != kind {
			wrong = append(wrong, fmt.Sprintf("%s: the server has %s %s, the catalogue %s %s", name, context, kind, p.Context, p.Type))
			continue
		}
		if kind != "integer" && kind != "real" {
			continue
		}
		least, errLeast := strconv.ParseFloat(word[5], 64)
		most, errMost := strconv.ParseFloat(word[6], 64)
		if errLeast != nil || errMost != nil || least != p.Min || most != p.Max {
			wrong = append(wrong, fmt.Sprintf("%s: the server takes %s to %s, the catalogue %v to %v", name, word[5], word[6], p.Min, p.Max))
		}
	}
	if lines < 300 {
		wrong = append(wrong, fmt.Sprintf("the server names %d parameters, want at least 300", lines))
	}
	return wrong
}

// inSum are parameters that cannot have their largest value: the server
// limits their sum.
var inSum = []string{"autovacuum_max_workers", "autovacuum_worker_slots", "max_connections", "max_wal_senders", "max_worker_processes"}

// Pairs are parameters with values, right and wrong: the limits, what is just
// beyond them, and, one after the other, what people write.
func Pairs(c *catalogue.Catalogue) string {
	numbers := []string{"lots", "8GB", "8GiB", "5min", "5m", "1.5MB", "8 GB", "25%", "0x10", "010", "1e2", "600B", "2500us", "16"}
	bools := []string{"Off", "tr", "o", "0", "2", "lots"}
	var b strings.Builder
	for i, name := range c.Names() {
		p, _ := c.Find(name)
		var values []string
		switch p.Type {
		case "bool":
			values = []string{bools[i%len(bools)], bools[(i+1)%len(bools)]}
		case "enum":
			values = slices.Concat(p.Also, []string{"lots"})
			for _, v := range p.Values {
				values = append(values, strings.ToUpper(v))
			}
		case "integer", "real":
			for _, n := range []float64{p.Min, p.Max, p.Min - 1, p.Max + 1} {
				if n != p.Max || !slices.Contains(inSum, name) {
					values = append(values, strconv.FormatFloat(n, 'f', -1, 64))
				}
			}
			values = append(values, numbers[i%len(numbers)], numbers[(i+5)%len(numbers)])
		}
		for _, v := range values {
			if v != "" && !p.Preset() && name != "bonjour" { // which no package is built with
				fmt.Fprintf(&b, "%s\t%s\n", name, v)
			}
		}
	}
	return b.String()
}

// Tried compares what the catalogue says of Pairs with what Try printed.
func Tried(c *catalogue.Catalogue, told string) (wrong []string) {
	yes, no := 0, 0
	for line := range strings.Lines(told) {
		// The console of a container ends lines as terminals do.
		word := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
		if len(word) != 3 {
			return append(wrong, fmt.Sprintf("not a line of try.sh: %q", line))
		}
		p, _ := c.Find(word[0])
		err := p.Check(word[1])
		if takes := word[2] == "yes"; takes != (err == nil) {
			wrong = append(wrong, fmt.Sprintf("%s = %q: the server says %s, the catalogue %v", word[0], word[1], word[2], err))
		} else if takes {
			yes++
		} else {
			no++
		}
	}
	if yes < 50 || no < 50 {
		wrong = append(wrong, fmt.Sprintf("both take %d values and refuse %d, want 50 each", yes, no))
	}
	return wrong
}
