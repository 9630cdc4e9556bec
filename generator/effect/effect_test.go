package effect_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pgha-gen/generator/effect"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name, reason, text string
		want               effect.Rules
		err                string
	}{
		{"lines", "the words are for people, and may be none", "# why\n\n/etc/a reload\n/etc/*.yml#a.*.b  restart  it waits # for you\n",
			effect.Rules{{"/etc/a", "", effect.Reload, ""}, {"/etc/*.yml", "a.*.b", effect.Restart, "it waits # for you"}}, ""},
		{"unknown effect", "a misspelt word would let a change through", "/etc/a reload\n/etc/b relaod\n", nil,
			`a.list:2: "relaod" is no effect (want one of ["reload" "dynamic" "rolling" "restart" "boot" "bootstrap" "machine" "refused"])`},
		{"no effect", "nor is none", "/etc/a\n", nil, `a.list:1: "" is no effect`},
		{"relative", "no such file is in user-data", "etc/a reload\n", nil, `a.list:1: "etc/a" is no absolute path`},
		{"broken pattern", "it would match nothing", "/etc/[ reload\n", nil, `a.list:1: "/etc/[" is no absolute path`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := effect.Parse("a.list", []byte(test.text))
			if err != nil && (test.err == "" || !strings.HasPrefix(err.Error(), test.err)) || err == nil && test.err != "" {
				t.Errorf("%s: got error %v, want %q", test.reason, err, test.err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// changed are the changes between two versions of a file, as key=effect.
func changed(t *testing.T, list, file, old, new string) string {
	t.Helper()
	rules, err := effect.Parse("a.list", []byte(list))
	if err != nil {
		t.Fatal(err)
	}
	files := [2]map[string][]byte{{}, {}}
	for i, text := range []string{old, new} {
		if text != "" {
			files[i][file] = []byte(text)
		}
	}
	changes, err := rules.Changes(files[0], files[1])
	if err != nil {
		return err.Error()
	}
	var all []string
	for _, c := range changes {
		all = append(all, c.Key+"="+string(c.Effect))
	}
	return strings.Join(all, " ")
}

func TestChanges(t *testing.T) {
	const list = "/a.env#B boot\n/a.env rolling\n/c.yml#d.e dynamic\n/c.yml#*.x restart\n/c.yml reload\n/n/*.json refused\n/plain machine\n"
	tests := []struct{ name, reason, file, old, new, want string }{
		{"variables", "each has its own rule", "/a.env", "A=1\nB=2\nC=3\n", "A=1\nB=3\nC=4\n", "B=boot C=rolling"},
		{"variables come and go", "both are changes", "/a.env", "A=1\n", "B=1\n", "A=rolling B=boot"},
		{"below a key", "a rule covers what is below it", "/c.yml", "d: {e: {f: 1}, g: 1}\n", "d: {e: {f: 2}, g: 2}\n", "d.e.f=dynamic d.g=reload"},
		{"a key that only starts so", "steps are compared whole", "/c.yml", "d: {ef: 1}\n", "d: {ef: 2}\n", "d.ef=reload"},
		{"any one step", "and no more", "/c.yml", "a: {x: 1}\nb: {c: {x: 1}}\n", "a: {x: 2}\nb: {c: {x: 2}}\n", "a.x=restart b.c.x=reload"},
		{"a list", "it is one value", "/c.yml", "d: {e: [1, 2]}\n", "d: {e: [1, 3]}\n", "d.e=dynamic"},
		{"a mapping becomes empty", "the key that held it is left", "/c.yml", "d: {e: {f: 1}}\n", "d: {e: {}}\n", "d.e=dynamic d.e.f=dynamic"},
		{"only written otherwise", "the file itself is another one", "/c.yml", "d: 1\n", "d:   1\n", "=reload"},
		{"a key with a dot", "it is two steps, as for refresh.py", "/c.yml", "{\"d.e\": 1}\n", "{\"d.e\": 2}\n", "d.e=dynamic"},
		{"file appears", "with all its keys", "/n/x.json", "", `{"a": 1, "b": {"c": 2}}`, "a=refused b.c=refused"},
		{"file goes", "nor is it any less a change", "/n/x.json", `{"a": 1}`, "", "a=refused"},
		{"plain text", "it has no keys", "/plain", "a\n", "b\n", "=machine"},
		{"same", "nothing changed", "/plain", "a\n", "a\n", ""},
		{"deeper path", "* is no slash", "/n/m/x.json", `{"a": 1}`, "", "no effects list has a line for /n/m/x.json#a"},
		{"unknown file", "an image that does not know it cannot take it", "/other", "", "a", "no effects list has a line for /other"},
		{"no YAML", "nothing is guessed", "/c.yml", "", "a: [", "cannot read /c.yml: yaml: line 1: did not find expected node content"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := changed(t, list, test.file, test.old, test.new); got != test.want {
				t.Errorf("%s: got %q, want %q", test.reason, got, test.want)
			}
		})
	}
}
