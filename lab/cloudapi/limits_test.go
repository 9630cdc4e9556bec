package cloudapi

import (
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"pgha-gen/internal/testkit"
)

// Each limit of the table is one of a field that there is, and its patterns can
// be read.
func TestLimitsAreOfFields(t *testing.T) {
	all, err := limits()
	testkit.OK(t, err)
	for name, fields := range all {
		// A choice of a message is a field of its own there, and none here.
		m, err := message(protoreflect.FullName(prefix + name))
		if err != nil {
			t.Errorf("%s: there is no such message", name)
			continue
		}
		for field, l := range fields {
			if m.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(field)) == nil {
				t.Errorf("%s has no field %s", name, field)
			}
			for _, pattern := range []string{l.Pattern, l.KeyPattern, l.ValuePattern} {
				if _, err := regexp.Compile(strings.ReplaceAll(pattern, "{,", "{0,")); err != nil {
					t.Errorf("%s.%s: %v", name, field, err)
				}
			}
		}
	}
	if len(all) < 50 {
		t.Errorf("the table is of %d messages alone", len(all))
	}
}
