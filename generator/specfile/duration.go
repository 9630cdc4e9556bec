package specfile

import (
	"fmt"
	"regexp"
	"time"
)

// Duration is a time with its unit: 500ms, 2s, 30m, 1h.
type Duration time.Duration

const durationWanted = "a time such as 500ms, 2s or 30m"

var durationForm = regexp.MustCompile(`^\d{1,9}(ms|s|m|h)$`)

// UnmarshalText refuses numbers without a unit, fractions and compounds: the
// programs that get the value do not read those.
func (d *Duration) UnmarshalText(text []byte) error {
	if !durationForm.Match(text) {
		return fmt.Errorf("want %s, have %q", durationWanted, text)
	}
	t, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("want a time below 2562048h, have %q", text)
	}
	*d = Duration(t)
	return nil
}

// String is the time in the largest unit that leaves no fraction.
func (d Duration) String() string {
	t := time.Duration(d)
	switch {
	case t != 0 && t%time.Hour == 0:
		return fmt.Sprintf("%dh", t/time.Hour)
	case t != 0 && t%time.Minute == 0:
		return fmt.Sprintf("%dm", t/time.Minute)
	case t%time.Second == 0:
		return fmt.Sprintf("%ds", t/time.Second)
	}
	return fmt.Sprintf("%dms", t/time.Millisecond)
}

// Seconds are the time's, with a fraction.
func (d Duration) Seconds() float64 { return time.Duration(d).Seconds() }

// The units of Duration.
const (
	Millisecond = Duration(time.Millisecond)
	Second      = Duration(time.Second)
	Minute      = Duration(time.Minute)
	Hour        = Duration(time.Hour)
)
