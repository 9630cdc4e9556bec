//go:build linux

package labtest_test

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgha-gen/internal/testkit"
	"pgha-gen/lab/labtest"
)

func TestBegin(t *testing.T) {
	begins := labtest.Here(time.Minute)
	for _, test := range []struct {
		name, reason string
		end          time.Duration // from now; 0: there is none
		leftOut      bool
		most         time.Duration // until the context ends
	}{
		{"no end", "a developer waits for all tests", 0, false, max(4*begins, 5*time.Minute)},
		{"far end", "it is there for all of them", 24 * time.Hour, false, max(4*begins, 5*time.Minute)},
		{"end while it runs", "the run ends in time even if the test hangs", begins * 3 / 2, false, begins*3/2 + 2*time.Minute},
		{"no time", "it would be cut off in the middle", begins * 5 / 4, true, 0},
	} {
		list := filepath.Join(t.TempDir(), "left-out")
		t.Setenv("PGHA_TEST_LEFT_OUT", list)
		t.Setenv("PGHA_TEST_END", "")
		if test.end != 0 {
			t.Setenv("PGHA_TEST_END", strconv.FormatInt(time.Now().Add(test.end).Unix(), 10))
		}
		began := false
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := labtest.Begin(t, time.Minute)
			defer cancel()
			began = true
			end, _ := ctx.Deadline()
			if left := time.Until(end); left > test.most || left < test.most-5*time.Second {
				t.Errorf("it ends in %s, want %s: %s", left, test.most, test.reason)
			}
		})
		if began == test.leftOut {
			t.Errorf("%s: begun: %v; %s", test.name, began, test.reason)
		}
		if test.leftOut && !strings.HasPrefix(testkit.Text(t, list), "TestBegin/no_time: it may need ") {
			t.Errorf("left out: %s", testkit.Text(t, list))
		}
	}
}

// What the Makefile has run first is there.
func TestFirst(t *testing.T) {
	line := regexp.MustCompile(`(?m)^first = (\S+)$`).FindStringSubmatch(testkit.Text(t, "../../Makefile"))
	if line == nil {
		t.Fatal("the Makefile has no line first = TestA|TestB")
	}
	files, err := filepath.Glob("../*_test.go")
	testkit.OK(t, err)
	var tests strings.Builder
	for _, file := range files {
		tests.WriteString(testkit.Text(t, file))
	}
	for name := range strings.SplitSeq(line[1], "|") {
		if !strings.Contains(tests.String(), "\nfunc "+name+"(t *testing.T) {\n") {
			t.Errorf("the lab has no test %s", name)
		}
	}
}
