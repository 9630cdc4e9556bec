package catalogue

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var majors = []int{14, 15, 16, 17, 18}

// TestData looks at every row that make.sh wrote: a type, a context or a unit
// that this package does not know would be let through unchecked.
func TestData(t *testing.T) {
	types := []string{"bool", "integer", "real", "enum", "string"}
	contexts := []string{"internal", "postmaster", "sighup", "superuser-backend", "backend", "superuser", "user"}
	for _, major := range []int{15, 17, 18} {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			c := Read(major)
			if n := len(c.Names()); n < 350 || n != len(c.parameters) {
				t.Errorf("%d names of %d parameters, want more than 350 and no name twice", n, len(c.parameters))
			}
			units := 0
			for _, name := range c.Names() {
				p, _ := c.Find(name)
				if !slices.Contains(types, p.Type) || !slices.Contains(contexts, p.Context) {
					t.Errorf("%s: type %q, context %q", name, p.Type, p.Context)
				}
				if number := p.Type == "integer" || p.Type == "real"; number && !p.Preset() && p.Min > p.Max {
					t.Errorf("%s: from %v to %v", name, p.Min, p.Max)
				}
				if known, _, _ := p.kind(); (known != nil) != (p.Unit != "") {
					t.Errorf("%s: unit %q has no kind", name, p.Unit)
				}
				if p.Unit != "" {
					units++
				}
				if p.Type == "enum" != (len(p.Values) > 0) {
					t.Errorf("%s: type %s with the words %q", name, p.Type, p.Values)
				}
			}
			if units < 50 {
				t.Errorf("%d parameters have a unit, want 50", units)
			}
			if !c.HasLibrary("pg_stat_statements") || !c.HasLibrary("hstore") || c.HasLibrary("timescaledb") {
				t.Error("want the libraries of PostgreSQL's packages, and no other")
			}
			if all := c.Extensions(); !slices.Contains(all, "pg_trgm") || !slices.Contains(all, "uuid-ossp") || slices.Contains(all, "postgis") || !slices.IsSorted(all) {
				t.Errorf("want the extensions of PostgreSQL's packages, have %q", all)
			}
			if all := c.Preloadable(); !slices.Contains(all, "pg_stat_statements") || slices.Contains(all, "hstore") {
				t.Errorf("want those that preloading is for, have %q", all)
			}
		})
	}
	if Read(13) != nil {
		t.Error("there is a catalogue of PostgreSQL 13, which no spec can have")
	}
}

// TestNeighbours is about the versions whose packages were not to be had.
func TestNeighbours(t *testing.T) {
	tests := []struct {
		major            int
		name, typ, value string
		found            bool
		reason           string
	}{
		{16, "work_mem", "integer", "", true, "15 and 17 say the same of it"},
		{16, "scram_iterations", "", "any", true, "only 17 has it, so its values are not checked"},
		{16, "force_parallel_mode", "", "any", true, "only 15 has it"},
		{16, "maintenance_work_mem", "", "64kB", true, "the least is 1MB in 15, 64kB in 17"},
		{16, "io_method", "", "", false, "neither has it"},
		{14, "stats_temp_directory", "", "any", true, "gone in 15"},
		{15, "stats_temp_directory", "", "", false, "gone in 15"},
		{14, "archive_library", "string", "any", true, "new in 15, and let through all the same"},
	}
	for _, test := range tests {
		p, found := Read(test.major).Find(test.name)
		if found != test.found || p.Type != test.typ {
			t.Errorf("PostgreSQL %d: %s: found %v with type %q, want %v with %q (%s)", test.major, test.name, found, p.Type, test.found, test.typ, test.reason)
		}
		if err := p.Check(test.value); test.typ == "" && err != nil {
			t.Errorf("PostgreSQL %d: %s: %v (%s)", test.major, test.name, err, test.reason)
		}
	}
	contexts := []struct {
		a, b, want, reason string
	}{
		{"sighup", "postmaster", "postmaster", "a restart that one needs is needed"},
		{"postmaster", "user", "postmaster", "whichever it is"},
		{"internal", "user", "user", "in one of them it can be set"},
		{"user", "internal", "user", "whichever it is"},
		{"internal", "internal", "internal", "in none"},
	}
	for _, test := range contexts {
		if got := common(Parameter{Context: test.a}, Parameter{Context: test.b}).Context; got != test.want {
			t.Errorf("%s and %s: got %s, want %s (%s)", test.a, test.b, got, test.want, test.reason)
		}
	}
}

func TestNeighboursExtensions(t *testing.T) {
	for major, want := range map[int]bool{14: true, 15: true, 16: true, 17: false, 18: false} {
		// adminpack went with 17.
		if all := Read(major).Extensions(); slices.Contains(all, "adminpack") != want || !slices.Contains(all, "pg_trgm") {
			t.Errorf("PostgreSQL %d: want adminpack %v, and pg_trgm; have %q", major, want, all)
		}
	}
}

func TestPerSession(t *testing.T) {
	for name, want := range map[string]bool{
		"work_mem": true, "log_statement": true, "log_connections": true, "ignore_system_indexes": true,
		"shared_buffers": false, "autovacuum": false, "block_size": false,
	} {
		for _, major := range majors {
			if p, ok := Read(major).Find(name); !ok || p.PerSession() != want {
				t.Errorf("PostgreSQL %d: %s: found %v, per session %v, want %v", major, name, ok, p.PerSession(), want)
			}
		}
	}
}

func TestRestart(t *testing.T) {
	for name, want := range map[string]bool{
		"shared_buffers": true, "max_connections": true, "shared_preload_libraries": true, "wal_level": true,
		"work_mem": false, "archive_command": false, "jit": false, "log_connections": false,
	} {
		for _, major := range majors {
			if p, ok := Read(major).Find(name); !ok || p.Restart() != want {
				t.Errorf("PostgreSQL %d: %s: found %v, restart %v, want %v", major, name, ok, p.Restart(), want)
			}
		}
	}
}

func TestNumber(t *testing.T) {
	pages, kilobytes := Parameter{Type: "integer", Unit: "8kB"}, Parameter{Type: "integer", Unit: "kB"}
	millis, seconds, count := Parameter{Type: "integer", Unit: "ms"}, Parameter{Type: "integer", Unit: "s"}, Parameter{Type: "integer"}
	share, delay := Parameter{Type: "real"}, Parameter{Type: "real", Unit: "ms"}
	bad := math.NaN()
	tests := []struct {
		p      Parameter
		value  string
		want   float64
		reason string
	}{
		{pages, "16", 16, "in its own unit"},
		{pages, "128kB", 16, "sixteen pages"},
		{pages, "1GB", 131072, "1048576 kB in pages of 8"},
		{pages, "0.5 GB", 65536, "half of that"},
		{pages, " 1MB ", 128, "blanks around it"},
		{pages, "1TB", 134217728, "the largest unit"},
		{pages, "8192B", 1, "the smallest"},
		{kilobytes, "1.5MB", 1536, "a fraction"},
		{kilobytes, "1e3", 1000, "an exponent"},
		{kilobytes, "600B", 1, "rounded up"},
		{kilobytes, "500B", 0, "rounded down"},
		{kilobytes, "0x40", 64, "hexadecimal"},
		{kilobytes, "1s", bad, "a time is no size"},
		{kilobytes, "1KB", bad, "units are case-sensitive"},
		{kilobytes, "1 GB 2", bad, "one number"},
		{kilobytes, "GB", bad, "no number"},
		{kilobytes, "", bad, "nothing"},
		{millis, "1min", 60000, "a minute"},
		{millis, "1d", 86400000, "a day"},
		{millis, "1500us", 2, "rounded to even"},
		{millis, "1MB", bad, "a size is no time"},
		{seconds, "1h", 3600, "an hour"},
		{seconds, "-1", -1, "a sign"},
		{count, "+10", 10, "the other sign"},
		{count, "0600", 384, "octal, as modes of files are"},
		{count, "08", bad, "no octal digit"},
		{count, "10s", bad, "it has no unit"},
		{count, "99999999999999999999", bad, "more than 64 bits"},
		{share, "010", 10, "decimal: a real is never octal"},
		{share, "0x10", 16, "hexadecimal"},
		{share, ".5", 0.5, "no digit before the point"},
		{share, "1.", 1, "none behind it"},
		{share, "nan", bad, "PostgreSQL refuses it, too"},
		{share, "1e999", bad, "no such number"},
		{delay, "2.5", 2.5, "not rounded"},
		{delay, "2500us", 2.5, "nor in another unit"},
	}
	for _, test := range tests {
		got, err := test.p.Number(test.value)
		if math.IsNaN(test.want) != (err != nil) || err == nil && got != test.want {
			t.Errorf("%q in %q: got %v and %v, want %v (%s)", test.value, test.p.Unit, got, err, test.want, test.reason)
		}
	}
}

func TestBool(t *testing.T) {
	for value, want := range map[string]bool{
		"on": true, "OFF": true, "of": true, "t": true, "fals": true, "Yes": true, "n": true, "0": true, "1": true,
		"": false, "o": false, "2": false, "onn": false, "truest": false, " on": false,
	} {
		if got := isBool(value); got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}

// TestAdvice writes each unit as others call it, and wants PostgreSQL's name.
func TestAdvice(t *testing.T) {
	for _, units := range [][]unit{memory, times} {
		for _, u := range units {
			if len(u.also) == 0 {
				t.Errorf("%s has no other name", u.name)
			}
			for _, other := range u.also {
				if got := advice(units, "8", strings.ToUpper(other)); !strings.HasSuffix(got, "write 8"+u.name) {
					t.Errorf("%s: got %q, want 8%s", other, got, u.name)
				}
			}
		}
	}
}

func TestShow(t *testing.T) {
	for _, test := range []struct {
		unit  string
		n     float64
		round func(float64) float64
		want  string
	}{
		{"kB", 64, math.Ceil, "64kB"},
		{"kB", math.MaxInt32, math.Floor, "2047GB"},
		{"8kB", 16, math.Ceil, "128kB"},
		{"8kB", math.MaxInt32 / 2, math.Floor, "8191GB"},
		{"ms", math.MaxInt32, math.Floor, "24d"},
		{"s", 86400, math.Floor, "1d"},
		{"ms", -1, math.Ceil, "-1"},
		{"min", 0, math.Ceil, "0"},
		{"", math.MaxInt32, math.Floor, "2147483647"},
		{"", 0.9, math.Floor, "0.9"},
		{"", 1e300, math.Floor, "1e+300"},
	} {
		if got := (Parameter{Unit: test.unit}).show(test.n, test.round); got != test.want {
			t.Errorf("%v %s: got %s, want %s", test.n, test.unit, got, test.want)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for _, major := range []int{16, 18} {
		b.Run(strconv.Itoa(major), func(b *testing.B) {
			for b.Loop() {
				Read(major)
			}
		})
	}
}
