package haproxy

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"text/template"

	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
)

// The files of a machine.
const (
	folder     = "/etc/haproxy/"
	configFile = folder + "haproxy.cfg"
	caFile     = folder + "ca.crt"        // the cluster's CA certificates
	stateFile  = folder + "servers.state" // the state of servers that nobody has asked yet
	// The state that HAProxy starts with: that file's at a start, at a reload
	// what the HAProxy before it knew (servers_state.py).
	startState = "/run/haproxy/servers.state"
)

// statistics are the connections that max_connections leaves to the port of
// statistics: a load balancer must see a proxy that is full as alive.
const statistics = 100

// node is a server of the database, as the templates have it.
type node struct {
	Number           int
	Name, Host, FQDN string
	ByName           bool // it has no address; its name is looked up
}

// files are what the user-data brings, the same on every HAProxy machine.
// The templates of userdata/ get numbers, addresses and names. A name that is
// more than one plain word is refused, as it was by the spec's checks already.
func (s *Settings) files(c *role.Cluster, db *role.DatabaseOffer) ([]cloudinit.File, error) {
	t, err := template.New("").Option("missingkey=error").ParseFS(userdata, "userdata"+folder+"*")
	if err != nil {
		return nil, err
	}
	var nodes []node
	for i, n := range c.Offering(role.Database) {
		nodes = append(nodes, node{i + 1, n.Name, n.Host(c), c.FQDN(n.Name), !n.Address.IsValid()})
		for _, word := range []string{n.Name, n.Host(c), c.FQDN(n.Name)} {
			if plain, err := emit.WordLine([]string{word}); err != nil || plain != word {
				return nil, fmt.Errorf("name %q cannot stand in haproxy.cfg as it is", word)
			}
		}
	}
	apart := statistics
	if c.Balanced() {
		apart *= 2 // with a port of its own
	}
	values := struct {
		*Settings
		Database                             *role.DatabaseOffer
		Nodes                                []node
		ByName, ReadFromPrimary, EndReaders  bool
		Balanced                             bool
		Connections, StatsConnections, Share int
		MaxReplicaLag                        int64
		StateFile, CAFile                    string
		Clients, Watchers, Balancers         []netip.Prefix
	}{
		Settings: s, Database: db, Nodes: nodes, Balanced: c.Balanced(),
		ByName:          slices.ContainsFunc(nodes, func(n node) bool { return n.ByName }),
		ReadFromPrimary: s.ReplicasFallback == ToPrimary,
		EndReaders:      s.OnMarkedDown == Shutdown,
		Connections:     s.MaxConnections + apart, StatsConnections: statistics, Share: s.MaxConnections / 2,
		MaxReplicaLag: int64(s.MaxReplicaLag),
		StateFile:     startState, CAFile: caFile,
		Clients: c.Access.Clients, Watchers: slices.Concat(c.Access.Monitoring, c.Access.Operators, balancers), Balancers: balancers,
	}
	var config, state bytes.Buffer
	if err := errors.Join(t.ExecuteTemplate(&config, "haproxy.cfg", values), t.ExecuteTemplate(&state, "servers.state", values)); err != nil {
		return nil, err
	}
	whole, err := s.override(config.String())
	return []cloudinit.File{
		{Path: configFile, Data: []byte(whole)},
		{Path: stateFile, Data: state.Bytes()},
		{Path: caFile, Data: []byte(c.Secrets.CA)},
	}, err
}

// override lays what the spec adds over a configuration.
func (s *Settings) override(config string) (string, error) {
	lines := strings.Split(strings.TrimRight(config, "\n"), "\n")
	lines, err := overrideSection(lines, "global", s.Global)
	if err != nil {
		return "", err
	}
	lines, err = overrideSection(lines, "defaults", s.DefaultsSection)
	if s.Extra != "" {
		lines = append(lines, "", strings.TrimRight(string(s.Extra), "\n"))
	}
	return strings.Join(lines, "\n") + "\n", err
}

// overrideSection replaces the lines of a section that start with a keyword
// of the spec, and adds those that are not there behind the others.
func overrideSection(lines []string, section string, with map[string]string) ([]string, error) {
	const indent = "    "
	start := slices.Index(lines, section) + 1
	end := start + slices.Index(lines[start:], "")
	for _, keyword := range slices.Sorted(maps.Keys(with)) {
		text, err := emit.WordLine(words(keyword, with[keyword]))
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(lines[start:end], func(l string) bool { return strings.HasPrefix(l+" ", indent+keyword+" ") })
		if i >= 0 {
			lines[start+i] = indent + text
			continue
		}
		lines = slices.Insert(lines, end, indent+text)
		end++
	}
	return lines, nil
}

// words are those of a line: a keyword, which can be several, and its arguments.
func words(keyword, arguments string) []string { return strings.Fields(keyword + " " + arguments) }
