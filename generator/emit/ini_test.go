package emit_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/emit"
)

func TestINI(t *testing.T) {
	got, err := emit.INI(emit.Map{
		{Key: "global", Value: emit.Map{{Key: "repo1-path", Value: "/demo"}, {Key: "process-max", Value: 2}, {Key: "start-fast", Value: true}}},
		{Key: "global:restore", Value: emit.Map{{Key: "delta", Value: false}, {Key: "cmd", Value: "cat a=b # c"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `[global]
repo1-path=/demo
process-max=2
start-fast=y

[global:restore]
delta=n
cmd=cat a=b # c
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestINIRefuses(t *testing.T) {
	one := func(key string, value any) emit.Map {
		return emit.Map{{Key: "global", Value: emit.Map{{Key: key, Value: value}}}}
	}
	for _, tt := range []struct {
		name, reason string
		sections     emit.Map
		want         string
	}{
		{"section is no map", "a key outside of a section is read as nothing", emit.Map{{Key: "global", Value: 1}}, "global: cannot write a int: want a Map"},
		{"section twice", "pgBackRest takes the last", append(one("a", 1), one("b", 1)...), "[global]: there already"},
		{"key twice", "pgBackRest refuses the file", emit.Map{{Key: "global", Value: emit.Map{{Key: "a", Value: 1}, {Key: "a", Value: 2}}}}, "[global] a: there already"},
		{"name", "it would be another line", one("a\nb", 1), `"a\nb": not a name: want small letters, digits, :, _ and -`},
		{"section's name", "it would end the line", emit.Map{{Key: "x]", Value: emit.Map{}}}, `"x]": not a name: want small letters, digits, :, _ and -`},
		{"line break", "it would be another line", one("a", "x\ny"), `[global] a: "x\ny" holds the control character U+000A, which cannot be written in one line`},
		{"empty", "pgBackRest refuses it", one("a", ""), `[global] a: "" would be read otherwise: want text without spaces around it`},
		{"space", "it would be cut off", one("a", "x "), `[global] a: "x " would be read otherwise: want text without spaces around it`},
		{"type", "a list has several values", one("a", []any{}), "[global] a: cannot write a []interface {}: want string, int or bool"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := emit.INI(tt.sections)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s (%s)", err, tt.want, tt.reason)
			}
		})
	}
}
