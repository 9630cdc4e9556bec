package specfile_test

import (
	"math"
	"testing"

	"pgha-gen/generator/specfile"
)

func TestSize(t *testing.T) {
	tests := []struct {
		text, reason string
		want         specfile.Size
		back         string
		err          string
	}{
		{"512MB", "PostgreSQL's way", 512 * specfile.MiB, "512MB", ""},
		{"512MiB", "the other way means the same", 512 * specfile.MiB, "512MB", ""},
		{"8 GB", "one blank is common", 8 * specfile.GiB, "8GB", ""},
		{"1024GB", "printed in the largest unit", specfile.TiB, "1TB", ""},
		{"1536MiB", "that leaves no fraction", 1536 * specfile.MiB, "1536MB", ""},
		{"64kB", "PostgreSQL's kilobytes", 64 * specfile.KiB, "64kB", ""},
		{"64KiB", "all three spellings", 64 * specfile.KiB, "64kB", ""},
		{"64KB", "of them", 64 * specfile.KiB, "64kB", ""},
		{"0kB", "nothing is a size", 0, "0kB", ""},
		{"8388607TB", "the largest that an int64 holds", 8388607 * specfile.TiB, "8388607TB", ""},
		{"8388608TB", "one more would be negative", 0, "", `want a size below 8388608TB, have "8388608TB"`},
		{"8", "a number without a unit may be anything", 0, "", `want a size such as 512MB or 8GB, have "8"`},
		{"8G", "half a unit may be a thousand or 1024", 0, "", `want a size such as 512MB or 8GB, have "8G"`},
		{"1.5GB", "no fractions", 0, "", `want a size such as 512MB or 8GB, have "1.5GB"`},
		{"-1GB", "no debts", 0, "", `want a size such as 512MB or 8GB, have "-1GB"`},
		{"8GB\n", "nothing behind it", 0, "", `want a size such as 512MB or 8GB, have "8GB\n"`},
		{"", "nothing", 0, "", `want a size such as 512MB or 8GB, have ""`},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			var got specfile.Size
			err := got.UnmarshalText([]byte(test.text))
			if message(err) != test.err {
				t.Fatalf("%s: got error %q, want %q", test.reason, message(err), test.err)
			}
			if got != test.want || err == nil && got.String() != test.back {
				t.Errorf("%s: got %d, %s, want %d, %s", test.reason, got, got, test.want, test.back)
			}
		})
	}
}

func TestDuration(t *testing.T) {
	tests := []struct {
		text, reason string
		want         specfile.Duration
		back         string
		err          string
	}{
		{"500ms", "milliseconds", 500 * specfile.Millisecond, "500ms", ""},
		{"2000ms", "printed in the largest unit", 2 * specfile.Second, "2s", ""},
		{"90s", "that leaves no fraction", 90 * specfile.Second, "90s", ""},
		{"120s", "minutes", 2 * specfile.Minute, "2m", ""},
		{"24h", "hours are the largest", 24 * specfile.Hour, "24h", ""},
		{"0h", "no time is a time", 0, "0s", ""},
		{"2562047h", "the longest that an int64 holds", 2562047 * specfile.Hour, "2562047h", ""},
		{"2562048h", "one more does not", 0, "", `want a time below 2562048h, have "2562048h"`},
		{"1.5s", "HAProxy reads no fractions", 0, "", `want a time such as 500ms, 2s or 30m, have "1.5s"`},
		{"1m30s", "nor compounds", 0, "", `want a time such as 500ms, 2s or 30m, have "1m30s"`},
		{"10", "seconds to one program, milliseconds to another", 0, "", `want a time such as 500ms, 2s or 30m, have "10"`},
		{"1d", "days are not for all", 0, "", `want a time such as 500ms, 2s or 30m, have "1d"`},
		{"-1s", "no time before now", 0, "", `want a time such as 500ms, 2s or 30m, have "-1s"`},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			var got specfile.Duration
			err := got.UnmarshalText([]byte(test.text))
			if message(err) != test.err {
				t.Fatalf("%s: got error %q, want %q", test.reason, message(err), test.err)
			}
			if got != test.want || err == nil && got.String() != test.back {
				t.Errorf("%s: got %d, %s, want %d, %s", test.reason, got, got, test.want, test.back)
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// FuzzUnits holds that what a size or time prints, it reads, as the same.
func FuzzUnits(f *testing.F) {
	for _, n := range []int64{0, 1, 1 << 20, 3 << 30, math.MaxInt64} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, n int64) {
		if n < 0 {
			return
		}
		size := specfile.Size(n) / specfile.KiB * specfile.KiB // the least unit
		var s specfile.Size
		if err := s.UnmarshalText([]byte(size.String())); err == nil && s != size {
			t.Errorf("size %d was read back from %q as %d", size, size.String(), s)
		} else if err != nil && size < 1<<49 { // twelve digits of kB
			t.Error(err)
		}
		pause := specfile.Duration(n) / specfile.Millisecond * specfile.Millisecond
		var d specfile.Duration
		if err := d.UnmarshalText([]byte(pause.String())); err == nil && d != pause {
			t.Errorf("time %d was read back from %q as %d", pause, pause.String(), d)
		} else if err != nil && pause < 1e9*specfile.Millisecond { // nine digits of ms
			t.Error(err)
		}
	})
}
