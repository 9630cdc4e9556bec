//go:build linux

package labtest

import "testing"

func TestMoment(t *testing.T) {
	if at, err := moment("1795791130"); err != nil || at.Unix() != 1795791130 {
		t.Errorf("have %v, %v", at, err)
	}
	const want = `PGHA_TEST_END is "17:41", want seconds since 1970`
	if _, err := moment("17:41"); err == nil || err.Error() != want {
		t.Errorf("have %v, want %s", err, want)
	}
}
