package emit

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"pgha-gen/internal/testkit"
)

func TestYAML(t *testing.T) {
	tests := []struct {
		name, reason string
		value        any
		want         string
	}{
		{"order", "keys stay in the order in which they were given", Map{{"b", 1}, {"a", -2}}, "b: 1\na: -2\n"},
		{"types", "each type is read back as itself", []any{true, false, nil, 0, 1.0, 0.25, 1e21, 1e-7}, "- true\n- false\n- null\n- 0\n- 1.0\n- 0.25\n- 1.0e+21\n- 1.0e-07\n"},
		{"empty", "nothing in a collection is not null", Map{{"l", []any{}}, {"s", []string(nil)}, {"m", Map(nil)}}, "l: []\ns: []\nm: {}\n"},
		{"nested", "two blanks of indentation", Map{{"a", Map{{"b", []any{Map{{"c", "d"}, {"e", []string{"f"}}}}}}}}, "a:\n  b:\n    - c: d\n      e:\n        - f\n"},
		{"bare words", "people read them", []string{"word", "a-b_c.d/e", "demo1"}, "- word\n- a-b_c.d/e\n- demo1\n"},
		{"bool words", "YAML 1.1 takes them for bool or null", []string{"yes", "No", "ON", "off", "y", "N", "Null", "True"}, "- \"yes\"\n- \"No\"\n- \"ON\"\n- \"off\"\n- \"y\"\n- \"N\"\n- \"Null\"\n- \"True\"\n"},
		{"numbers as text", "a password of digits is text", []string{"0123", "1e3", "12:30", ".inf", "2001-01-01", "-", "", "0x_", "1a"}, "- \"0123\"\n- \"1e3\"\n- \"12:30\"\n- \".inf\"\n- \"2001-01-01\"\n- \"-\"\n- \"\"\n- \"0x_\"\n- \"1a\"\n"},
		{"keys", "a key is quoted like a value", Map{{"on", 1}, {"a b", 2}, {"8080", 3}}, "\"on\": 1\n\"a b\": 2\n\"8080\": 3\n"},
		{"text file", "a block, so that people can read it", Map{{"f", "# c\nglobal\n  x\ty\n\nend\n"}}, "f: |\n  # c\n  global\n    x\ty\n\n  end\n"},
		{"no line break at the end", "not a text file", Map{{"f", "a\nb"}}, "f: \"a\\nb\"\n"},
		{"two line breaks at the end", "needs a mark that readers get wrong", Map{{"f", "a\n\n"}}, "f: \"a\\n\\n\"\n"},
		{"blank first line", "the encoder's block could not be read back", []string{"\n# c\nglobal\n"}, "- \"\\n# c\\nglobal\\n\"\n"},
		{"indented first line", "needs a mark that readers get wrong", []string{" a\nb\n"}, "- \" a\\nb\\n\"\n"},
		{"blank at the end of a line", "nobody would see it in a block", []string{"a \nb\n"}, "- \"a \\nb\\n\"\n"},
		{"tab at the start of a line", "some readers refuse it in a block", []string{"a\n\tb\n"}, "- \"a\\n\\tb\\n\"\n"},
		{"control characters", "no reader takes them in a block", []string{"a\x00\n", "a\r\n", "a\u2028\n"}, "- \"a\\0\\n\"\n- \"a\\r\\n\"\n- \"a\\L\\n\"\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := YAML(test.value)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	tests := []struct {
		name, reason string
		value        any
		want         string
	}{
		{"other type", "a reader could not know it", Map{{"a", []any{Map{{"b", uint8(1)}}}}}, "a[0].b: cannot write a uint8"},
		{"other type at the top", "there is no path to name", map[string]any{}, "document: cannot write a map[string]interface {}"},
		{"duplicate key", "readers keep one of the two", Map{{"a", Map{{"b", 1}, {"b", 2}}}}, "a.b: duplicate key"},
		{"key not UTF-8", "the encoder would write base64", Map{{"a", Map{{"\xff", 1}}}}, `a: key "\xff" is not UTF-8`},
		{"text not UTF-8", "the encoder would write base64", Map{{"a", []string{"b", "\xff"}}}, `a[1]: "\xff" is not UTF-8`},
		{"NaN", "JSON has none", []any{math.NaN()}, "[0]: NaN is not a number"},
		{"infinity", "JSON has none", Map{{"a", math.Inf(-1)}}, "a: -Inf is not a number"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for format, write := range map[string]func(any) ([]byte, error){"YAML": YAML, "JSON": JSON} {
				if got, err := write(test.value); err == nil || !strings.HasPrefix(err.Error(), test.want) {
					t.Errorf("%s: got %q and error %v, want error %q: %s", format, got, err, test.want, test.reason)
				}
			}
		})
	}
}

func TestJSON(t *testing.T) {
	got, err := JSON(Map{{"b", "<a>&\u2028\n"}, {"a", []any{1, 2, 3.0, nil, true, "x"}}, {"s", []string{"y"}}, {"e", Map{}}, {"l", []any{}}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "b": "<a>&\u2028\n",
  "a": [
    1,
    2,
    3.0,
    null,
    true,
    "x"
  ],
  "s": [
    "y"
  ],
  "e": {},
  "l": []
}
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("JSON keeps order and HTML characters (-want +got):\n%s", diff)
	}
}

// surround puts s everywhere where a string can stand.
func surround(s string) []any {
	return []any{s, []string{s}, Map{{s, s}}, Map{{"k", []any{Map{{"a", s}, {"b", "end"}}}}}}
}

func surrounded(s string) any {
	return []any{s, []any{s}, map[string]any{s: s}, map[string]any{"k": []any{map[string]any{"a": s, "b": "end"}}}}
}

// PyYAML is what the machines read our files with.
func TestPyYAMLReadsTheSame(t *testing.T) {
	py := python(t, "yaml")
	type row struct {
		text []byte
		want any
	}
	var rows []row
	add := func(v, want any) {
		text, err := YAML(v)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row{text, want})
	}
	for _, s := range nasty(4000, true) {
		add(surround(s), surrounded(s))
		add(s, s)
	}
	for _, f := range []float64{0, 1, -1, 0.1, 1e6, 1e14, 1e15, 1e21, 1.5e300, 1e-5, 1e-7, 5e-324, math.MaxFloat64, -2.5, math.Copysign(0, -1)} {
		add(f, map[string]any{"float": fmt.Sprint(f)})
	}
	for _, i := range []int{0, 7, -7, 1234567890} {
		add(i, float64(i))
	}
	add([]any{true, false, nil}, []any{true, false, nil})

	var stdin bytes.Buffer
	for _, r := range rows {
		fmt.Fprintln(&stdin, base64.StdEncoding.EncodeToString(r.text))
	}
	lines := bufio.NewScanner(bytes.NewReader(output(t, stdin.Bytes(), py, "testdata/read_yaml.py")))
	lines.Buffer(nil, 1<<20)
	for _, r := range rows {
		if !lines.Scan() {
			t.Fatal("fewer answers than documents")
		}
		var got any
		testkit.OK(t, json.Unmarshal(lines.Bytes(), &got))
		if want, ok := r.want.(map[string]any); ok && want["float"] != nil {
			if !sameFloat(want["float"], got) {
				t.Errorf("%q: got %v, want the float %v", r.text, got, want["float"])
			}
			continue
		}
		if diff := cmp.Diff(r.want, got); diff != "" {
			t.Errorf("%q is read differently (-want +got):\n%s", r.text, diff)
		}
	}
}

// sameFloat compares numbers and not their texts, which Go and Python write differently.
func sameFloat(want, got any) bool {
	m, ok := got.(map[string]any)
	if !ok {
		return false
	}
	var a, b float64
	_, errA := fmt.Sscan(fmt.Sprint(want), &a)
	_, errB := fmt.Sscan(fmt.Sprint(m["float"]), &b)
	return errA == nil && errB == nil && math.Float64bits(a) == math.Float64bits(b)
}

func FuzzYAML(f *testing.F) {
	for _, s := range slices.Concat(nasty(200, true), []string{strings.Repeat("k", 129), " #\n", "\n#", "a\n...\n", "%TAG\n"}) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, err := YAML(surround(s))
		if !utf8.ValidString(s) {
			if err == nil {
				t.Fatalf("%q is not UTF-8 and was written: %q", s, text)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		var got any
		if err := yaml.Unmarshal(text, &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if diff := cmp.Diff(surrounded(s), got); diff != "" {
			t.Errorf("%q is read differently (-want +got):\n%s", text, diff)
		}
		var alone any
		if text, err = YAML(s); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, &alone); err != nil || alone != any(s) {
			t.Errorf("%q: got %q and error %v, want %q", text, alone, err, s)
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, s := range nasty(50, true) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		text, err := JSON(surround(s))
		if err != nil {
			t.Fatal(err)
		}
		var got any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if diff := cmp.Diff(surrounded(s), got); diff != "" {
			t.Errorf("%q is read differently (-want +got):\n%s", text, diff)
		}
	})
}
