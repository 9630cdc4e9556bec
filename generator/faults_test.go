package generator_test

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"pgha-gen/generator"
	"pgha-gen/generator/specfile"
	"pgha-gen/internal/demo"
	"pgha-gen/internal/testkit"
	"pgha-gen/roles"
)

// TestOneFault breaks every value of every good spec, one at a time, and misspells
// every key: the one fault is reported, and nothing that is only due to a default
// in its place.
func TestOneFault(t *testing.T) {
	one := func(t *testing.T, src []byte) {
		broken := 0
		eachFault(t, src, true, func(f fault, found specfile.Problems) {
			if f.misspelt && !f.reported(found) {
				return // of a mapping that may have any key
			}
			want := []string{f.path}
			if slices.ContainsFunc(found, func(p specfile.Problem) bool { return p.Path == f.meant() && strings.HasPrefix(p.Text, "missing") }) {
				want = []string{f.meant(), f.path}
			}
			if diff := cmp.Diff(want, slices.Sorted(slices.Values(paths(found)))); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			broken++
		})
		if broken < 20 {
			t.Errorf("%d values broken, want more", broken)
		}
	}
	eachSpec(t, "good", one)
	t.Run("example", func(t *testing.T) { one(t, []byte(demo.Spec(t))) })
}

// TestSecondFault breaks every value of specs that are wrong already: that is
// reported all the same, but for what hidden.txt lists, which a person has looked at. In it
// stands first what was broken, then what cannot be judged for that.
func TestSecondFault(t *testing.T) {
	hidden := map[string]bool{}
	eachSpec(t, "bad", func(t *testing.T, src []byte) {
		if errs, _ := specfile.Parse("pgha.yaml", src).Problems(); len(errs) > 0 {
			return // of form
		}
		// A prediction needs a spec that is good otherwise.
		before := paths(slices.DeleteFunc(problems(src), func(p specfile.Problem) bool { return strings.Contains(p.Text, " the fault ") }))
		eachFault(t, src, false, func(f fault, found specfile.Problems) {
			if !f.reported(found) {
				return // what it is in is broken already
			}
			after := paths(found)
			for _, path := range before {
				if i := slices.Index(after, path); i >= 0 {
					after = slices.Delete(after, i, i+1)
				} else if !within(path, f.path) {
					hidden[generalised(f.path)+" hides "+generalised(path)] = true
				}
			}
			for _, path := range after {
				if path != f.path {
					t.Errorf("%s broken: %s has a problem now", f.path, path)
				}
			}
		})
	})
	testkit.Golden(t, "hidden.txt", strings.Join(slices.Sorted(maps.Keys(hidden)), "\n")+"\n")
}

// TestTwoFaults is for faults that have nothing to do with each other.
func TestTwoFaults(t *testing.T) {
	tests := []struct {
		name   string
		edits  []string // of the reference
		want   []string // the places
		reason string
	}{
		{"name and failover", []string{"name: demo =>name: Shop ", "failover: fast=>failover: fats"},
			[]string{"name", "failover"}, "the issue's own pair"},
		{"unknown key beside a bad value", []string{"    version: 3.5.15=>    version: 3.4.1\n    colour: red"},
			[]string{"roles.etcd.version", "roles.etcd.colour"}, "no value depends on a key that nobody knows"},
		{"unknown key elsewhere", []string{"    version: 3.5.15=>    colour: red", "    ttl: 20=>    ttl: 10"},
			[]string{"roles.etcd.colour", "roles.patroni.ttl"}, "roles do not share keys"},
		{"access and a node's name", []string{"clients: [10.128.0.0/24]=>clients: all", "name: demo-etcd-1=>name: Demo_1"},
			[]string{"access.clients", "roles.etcd.nodes[0].name"}, "who may connect says nothing of names"},
		{"a node and other nodes' address", []string{"name: demo-etcd-1=>name: []", "10.128.0.31=>10.128.0.11"},
			[]string{"roles.etcd.nodes[0].name", "roles.etcd.nodes[2].address"}, "the others are as they are"},
		{"images and secrets", []string{"builder: yandex=>builder: yandax", "etcd: e6qexampleetcd=>etcd: EE"},
			[]string{"secrets.lockbox.etcd", "images.builder"}, "an id is an id"},
		{"misspelt key that a problem is computed from", []string{"    ttl: 20=>    ttl: 29", "failover: fast=>failover: balanced", "    retry_timeout: 5=>    retry_timeot: 5"},
			[]string{"roles.patroni.retry_timeot"}, "the preset's 10 stands in for 5, and would not fit into ttl"},
		{"preset that a problem is computed from", []string{"failover: fast=>failover: balancd", "    ttl: 20=>", "    retry_timeout: 5=>    retry_timeout: 12"},
			[]string{"failover"}, "nobody knows the ttl"},
		{"version that a problem is computed from", []string{"    postgresql: 18=>    postgresql: newest", "max_connections: 300=>io_methd: worker"},
			[]string{"roles.patroni.postgresql"}, "nobody knows which parameters there are"},
		{"version that a package is checked by", []string{"    postgresql: 18=>    postgresql: seventeen", `postgresql: ""=>postgresql: 17.6-1`},
			[]string{"roles.patroni.postgresql"}, "as above"},
		{"region that a zone is checked by", []string{"  region: ru-central1=>  region: [kz1]", "    ru-central1-a: e9b=>    kz1-a: e9c\n    ru-central1-a: e9b"},
			[]string{"cloud.region"}, "kz1-a may be in it"},
		{"image in place of a family", []string{"family: ubuntu-2404-lts=>family: Ubuntu", `image_id: ""=>image_id: []`},
			[]string{"images.base.image_id"}, "an image wins over the family"},
		{"builder that a disk is checked by", []string{"builder: yandex=>builder: shh", "disk_size: 10GB=>disk_size: 20GB"},
			[]string{"images.builder"}, "over SSH the size counts for nothing"},
		{"port that a section is checked by", []string{"primary: 5431=>primary: [5434]", `extra: ""=>extra: "frontend x\n  bind :5431"`},
			[]string{"roles.haproxy.ports.primary"}, "as above"},
		{"heartbeat that a timeout is checked by", []string{"heartbeat_interval: 100ms=>heartbeat_interval: fast", "election_timeout: 1s=>election_timeout: 400ms"},
			[]string{"roles.etcd.heartbeat_interval"}, "five heartbeats of 50ms would fit"},
		{"port that another is checked by", []string{"primary: 5431=>primary: [5434]", "replicas: 5433=>replicas: 5431"},
			[]string{"roles.haproxy.ports.primary"}, "5431 is the default only"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, paths(problems([]byte(demo.Spec(t, test.edits...))))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

// fault is a value that was given a wrong shape, or a key that was misspelt.
type fault struct {
	path     string
	misspelt bool
}

const misspelling = "_x"

// meant is the place as it should be.
func (f fault) meant() string {
	if f.misspelt {
		return strings.TrimSuffix(f.path, misspelling)
	}
	return f.path
}

// reported says whether it is among the problems, as one of shape.
func (f fault) reported(found specfile.Problems) bool {
	return slices.ContainsFunc(found, func(p specfile.Problem) bool {
		unknown := strings.HasPrefix(p.Text, "unknown key (") || strings.HasPrefix(p.Text, "unknown role (")
		return p.Path == f.path && (unknown || !f.misspelt)
	})
}

// eachFault calls do for every fault that a spec can have, misspelt keys among them
// or not, with the problems that it has then.
func eachFault(t *testing.T, src []byte, misspelt bool, do func(fault fault, found specfile.Problems)) {
	t.Helper()
	var root yaml.Node
	testkit.OK(t, yaml.Unmarshal(src, &root))
	with := func(n *yaml.Node, other yaml.Node, f fault) {
		was := *n
		*n = other
		text, err := yaml.Marshal(&root)
		if err != nil {
			t.Fatal(err)
		}
		*n = was
		do(f, problems(text))
	}
	var walk func(path string, n *yaml.Node)
	walk = func(path string, n *yaml.Node) {
		switch {
		case strings.HasPrefix(path, "roles.patroni.config."):
			return // any shape is good there
		case n.Kind == yaml.ScalarNode:
			with(n, yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}, fault{path, false})
		case path != "":
			with(n, yaml.Node{Kind: yaml.ScalarNode, Value: "wrong"}, fault{path, false})
		}
		for i, c := range n.Content {
			switch {
			case n.Kind == yaml.SequenceNode:
				walk(path+"["+strconv.Itoa(i)+"]", c)
			case i%2 == 0:
				key := c.Value
				if strings.ContainsAny(key, " .:[]") {
					key = strconv.Quote(key)
				}
				at := strings.TrimPrefix(path+"."+key, ".")
				if misspelt {
					with(c, yaml.Node{Kind: yaml.ScalarNode, Value: c.Value + misspelling}, fault{at + misspelling, true})
				}
				walk(at, n.Content[i+1])
			}
		}
	}
	walk("", root.Content[0])
}

func problems(src []byte) (found specfile.Problems) {
	_, err := generator.Read("pgha.yaml", src, roles.All())
	errors.As(err, &found)
	return found
}

// paths are where problems are.
func paths(found specfile.Problems) []string {
	var all []string
	for _, p := range found {
		all = append(all, p.Path)
	}
	return all
}

// within says whether a path is another one or leads on from it.
func within(path, of string) bool {
	rest, ok := strings.CutPrefix(path, of)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

var indices = regexp.MustCompile(`\[\d+\]`)

// generalised is a path with all items of a list for one.
func generalised(path string) string { return indices.ReplaceAllString(path, "[]") }
