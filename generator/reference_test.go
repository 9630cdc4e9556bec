package generator_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"pgha-gen/generator"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles"
)

// changes are the keys of the example that are there to show something: without
// them it is another cluster.
var changes = []struct{ path, reason string }{
	{"cloud.subnets", "subnets that are there are its own"},
	{"cloud.subnets.*", "and so are the zones of a cluster"},
	{"cloud.service_accounts", "so are accounts that are there"},
	{"cloud.service_accounts.*", "each of them"},
	{"secrets", "so are secrets"},
	{"secrets.lockbox", "and those that are there"},
	{"secrets.lockbox.*", "each of them"},
	{"secrets.ca", "and its authority"},
	{"roles.*", "and what it consists of"},
	{"roles.*.nodes[].address", "an address has no default"},
	{"roles.patroni.parameters", "shows how to set one"},
	{"roles.patroni.parameters.*", "shows one"},
	{"roles.patroni.databases", "none by default"},
	{"roles.patroni.users", "none by default"},
	{"roles.patroni.users[].databases", "none by default"},
	{"roles.patroni.users[].member_of", "none by default"},
}

// TestExampleIsTheDefaults takes each key out of the example, one at a time:
// the cluster stays the same, or the key is marked as required and is.
func TestExampleIsTheDefaults(t *testing.T) {
	src := reference()
	whole := understood(t, src)
	used := map[string]bool{}
	taken := 0
	for _, entry := range entries(t, src) {
		_, err := generator.Read("pgha.yaml", entry.without, roles.All())
		pattern := ""
		for _, c := range changes {
			if matches(c.path, entry.path) {
				pattern = c.path
			}
		}
		required := err != nil && strings.Contains(err.Error(), "missing (it has no default)")
		switch {
		case required && pattern != "":
			t.Errorf("%s: required, so it need not be in the list of changes", entry.path)
		case pattern != "":
			used[pattern] = true
		case required:
			if entry.comment != "" && !strings.HasPrefix(entry.comment, "# required") {
				t.Errorf("%s: required, but its comment does not say so: %s", entry.path, entry.comment)
			}
		case err != nil:
			t.Errorf("%s: cannot be left out: %v", entry.path, err)
		default:
			taken++
			if strings.HasPrefix(entry.comment, "# required") {
				t.Errorf("%s: marked as required, and can be left out", entry.path)
			}
			if diff := cmp.Diff(whole, understood(t, entry.without)); diff != "" {
				t.Errorf("%s: is not the default (-example +without):\n%s", entry.path, diff)
			}
		}
	}
	if taken < 100 {
		t.Errorf("%d keys were taken out, want more than 100", taken)
	}
	for _, c := range changes {
		if !used[c.path] {
			t.Errorf("%s: is in the list of changes for nothing (%s)", c.path, c.reason)
		}
	}
}

// entry is a key of a document, and the document without it.
type entry struct {
	path, comment string
	without       []byte
}

func entries(t *testing.T, src []byte) []entry {
	t.Helper()
	var doc yaml.Node
	testkit.OK(t, yaml.Unmarshal(src, &doc))
	comments := map[*yaml.Node]string{}
	uncomment(&doc, comments) // or the encoder would put some of them where they comment out a value
	var all []entry
	var walk func(path string, n *yaml.Node)
	walk = func(path string, n *yaml.Node) {
		if n.Kind == yaml.SequenceNode {
			for _, c := range n.Content {
				walk(path+"[]", c)
			}
		}
		if n.Kind != yaml.MappingNode {
			return
		}
		pairs := n.Content
		for i := 0; i < len(pairs); i += 2 {
			at := strings.TrimPrefix(path+"."+pairs[i].Value, ".")
			n.Content = append(append([]*yaml.Node{}, pairs[:i]...), pairs[i+2:]...)
			without, err := yaml.Marshal(&doc)
			if err != nil {
				t.Fatal(err)
			}
			n.Content = pairs
			all = append(all, entry{at, comments[pairs[i]] + comments[pairs[i+1]], without})
			walk(at, pairs[i+1])
		}
	}
	walk("", doc.Content[0])
	return all
}

// uncomment moves the comments behind values from a document to a map.
func uncomment(n *yaml.Node, to map[*yaml.Node]string) {
	to[n] = n.LineComment
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	for _, c := range n.Content {
		uncomment(c, to)
	}
}

// matches compares paths step by step; * stands for one key.
func matches(pattern, path string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(path, ".")
	if len(p) != len(s) {
		return false
	}
	for i := range p {
		if p[i] != "*" && p[i] != s[i] {
			return false
		}
	}
	return true
}

// TestExampleHasEveryKey goes through the schema, which is made from what
// Decode reads.
func TestExampleHasEveryKey(t *testing.T) {
	given := map[string]bool{}
	for _, e := range entries(t, reference()) {
		given[e.path] = true
	}
	var schema map[string]any
	testkit.OK(t, json.Unmarshal(schemaText(t), &schema))
	count := 0
	var walk func(path string, s map[string]any)
	walk = func(path string, s map[string]any) {
		if items, ok := s["items"].(map[string]any); ok {
			walk(path+"[]", items)
		}
		properties, _ := s["properties"].(map[string]any)
		for key, v := range properties {
			at := strings.TrimPrefix(path+"."+key, ".")
			property := v.(map[string]any)
			if text, _ := property["description"].(string); len(text) < 5 {
				t.Errorf("%s: no sentence in the example, have %q", at, text)
			}
			if !given[at] {
				t.Errorf("%s: not in the example", at)
			}
			count++
			walk(at, property)
		}
	}
	walk("", schema)
	if count < 140 {
		t.Errorf("the schema has %d keys, want more than 140", count)
	}
}

func TestExampleOfAnotherName(t *testing.T) {
	text := exampleOf(t, "other")
	if bytes.Contains(bytes.ToLower(text), []byte("demo")) {
		t.Error("the example of the cluster other speaks of demo")
	}
	if c := demo.Read(t, filled(text)); c.Name != "other" {
		t.Errorf("got a cluster with the name %q, want other", c.Name)
	}
	const want = `"Other!" cannot be a cluster's name (want a to z, 0 to 9 and -, a letter first, at most 40 characters)`
	if _, err := generator.Example("Other!", roles.All()); err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}

func exampleOf(t *testing.T, name string) []byte {
	t.Helper()
	text, err := generator.Example(name, roles.All())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// filled puts an id in the place of the placeholder.
func filled(text []byte) []byte {
	return bytes.ReplaceAll(text, []byte(": b1g..."), []byte(": b1gone"))
}

// TestExampleSaysAll takes the # away: what init writes is the reference, each
// key of it, and what it leaves to defaults has the values that it shows.
func TestExampleSaysAll(t *testing.T) {
	text := filled(exampleOf(t, "demo"))
	shown := regexp.MustCompile(`(?m)^( *)# ( *[a-z0-9_-]+:( .*)?)$`).ReplaceAll(text, []byte("$1$2"))
	if bytes.Equal(text, shown) {
		t.Fatal("nothing is left to defaults")
	}
	// Only its parameters are an example, and 300 is what they would be.
	want := strings.Replace(understood(t, text), "    parameters: {}\n", "    parameters:\n      max_connections: \"300\"\n", 1)
	if diff := cmp.Diff(want, understood(t, shown)); diff != "" {
		t.Errorf("with and without the # (-without +with):\n%s", diff)
	}
	keys := regexp.MustCompile(`(?m)^ *(- )?[a-z_]+:`)
	ids := regexp.MustCompile(`(?m)^ +\w+: (aje|e6q)example\w*$`) // what is there already; init has all created
	if diff := cmp.Diff(keys.FindAllString(ids.ReplaceAllString(string(reference()), ""), -1), keys.FindAllString(string(shown), -1)); diff != "" {
		t.Errorf("keys (-reference +init):\n%s", diff)
	}
}

// TestExampleFollows changes one word of what init writes: what follows from it
// does.
func TestExampleFollows(t *testing.T) {
	for word, want := range map[string][]string{
		"fast":     {`election_timeout: "1s"`, "ttl: 20", "retry_timeout: 5", "primary_start_timeout: 5", "fall: 6"},
		"balanced": {`election_timeout: "1s"`, "ttl: 30", "retry_timeout: 10", "primary_start_timeout: 30", "fall: 8"},
		"safe":     {`election_timeout: "2500ms"`, "ttl: 60", "retry_timeout: 20", "primary_start_timeout: 120", "fall: 5"},
	} {
		src := bytes.Replace(filled(exampleOf(t, "demo")), []byte("\nfailover: fast "), []byte("\nfailover: "+word+" "), 1)
		got := understood(t, src)
		for _, line := range want {
			if !strings.Contains(got, " "+line+"\n") {
				t.Errorf("failover %s: no %s", word, line)
			}
		}
	}
}
