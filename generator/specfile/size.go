package specfile

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
)

// Size is a number of bytes, written with a unit: 512MiB, 8GiB, 1TiB; MB, GB
// and TB mean the same, as they do to PostgreSQL and to the cloud's own
// tools.
type Size int64

// The units of Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

const sizeWanted = "a size such as 512MB or 8GB"

var sizeForm = regexp.MustCompile(`^(\d{1,12}) ?(kB|KB|KiB|MB|MiB|GB|GiB|TB|TiB)$`)

// UnmarshalText refuses numbers without a unit, 8 may be anything, and what
// no int64 holds.
func (s *Size) UnmarshalText(text []byte) error {
	m := sizeForm.FindSubmatch(text)
	if m == nil {
		return fmt.Errorf("want %s, have %q", sizeWanted, text)
	}
	n, _ := strconv.ParseInt(string(m[1]), 10, 64) // twelve digits fit
	unit := map[byte]Size{'k': KiB, 'K': KiB, 'M': MiB, 'G': GiB, 'T': TiB}[m[2][0]]
	if n > math.MaxInt64/int64(unit) {
		return fmt.Errorf("want a size below 8388608TB, have %q", text)
	}
	*s = Size(n) * unit
	return nil
}

// String is the size in the largest unit that leaves no fraction: 8GB.
func (s Size) String() string {
	for _, u := range []struct {
		size Size
		name string
	}{{TiB, "TB"}, {GiB, "GB"}, {MiB, "MB"}} {
		if s != 0 && s%u.size == 0 {
			return strconv.FormatInt(int64(s/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s/KiB), 10) + "kB"
}
