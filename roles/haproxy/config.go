package haproxy

import (
	"bytes"
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
)

// The files of a machine.
const (
	folder     = "/etc/haproxy/"
	configFile = folder + "haproxy.cfg"
	caFile     = folder + "ca.crt"        // the cluster's CA certificates
	stateFile  = folder + "servers.state" // the state of servers that nobody has asked yet
)

// statistics are the connections that max_connections leaves to the port of
// statistics: a load balancer must see a proxy that is full as alive.
const statistics = 100

// node is a server of the database, as the template has it.
type node struct {
	Name, Host, FQDN string
	ByName           bool // it has no address; its name is looked up
}

// config is haproxy.cfg, of userdata/. It is the same on every HAProxy machine.
// What the template gets was checked before: texts are names, addresses and
// numbers, which hold nothing that HAProxy would not take as it is.
func (s *Settings) config(c *role.Cluster, db *role.DatabaseOffer) ([]byte, error) {
	t, err := template.New("haproxy.cfg").Option("missingkey=error").ParseFS(userdata, "userdata"+configFile)
	if err != nil {
		return nil, err
	}
	var nodes []node
	for _, n := range c.Offering(role.Database) {
		nodes = append(nodes, node{n.Name, n.Host(c), c.FQDN(n.Name), !n.Address.IsValid()})
	}
	var b bytes.Buffer
	err = t.Execute(&b, struct {
		*Settings
		Database                             *role.DatabaseOffer
		Nodes                                []node
		ByName, ReadFromPrimary, EndReaders  bool
		Connections, StatsConnections, Share int
		MaxReplicaLag                        int64
		StateFile, CAFile                    string
		Clients, Watchers, Balancers         []netip.Prefix
	}{
		Settings: s, Database: db, Nodes: nodes,
		ByName:          slices.ContainsFunc(nodes, func(n node) bool { return n.ByName }),
		ReadFromPrimary: s.ReplicasFallback == ToPrimary,
		EndReaders:      s.OnMarkedDown == Shutdown,
		Connections:     s.MaxConnections + statistics, StatsConnections: statistics, Share: s.MaxConnections / 2,
		MaxReplicaLag: int64(s.MaxReplicaLag),
		StateFile:     stateFile, CAFile: caFile,
		Clients: c.Access.Clients, Watchers: slices.Concat(c.Access.Monitoring, balancers), Balancers: balancers,
	})
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	for _, section := range []struct {
		header string
		with   map[string]string
	}{{"global", s.Global}, {"defaults", s.DefaultsSection}} {
		if lines, err = override(lines, section.header, section.with); err != nil {
			return nil, err
		}
	}
	if s.Extra != "" {
		lines = append(lines, "", strings.TrimRight(string(s.Extra), "\n"))
	}
	return []byte(strings.Join(lines, "\n") + "\n"), nil
}

// override replaces the lines of a section that start with a keyword of the
// spec, and adds those that are not there behind the others.
func override(lines []string, section string, with map[string]string) ([]string, error) {
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

// backends are those of haproxy.cfg, in its order. HAProxy numbers them behind
// the frontend before them, which is 2.
var backends = []string{"primary", "replicas"}

const firstBackend = 3

// stateColumns are those of version 1 of the format that HAProxy's command
// "show servers state" prints, and that it reads at its start.
var stateColumns = words("be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight",
	"srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state",
	"bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port")

// serversDown is the state that HAProxy starts with: servers are down until they
// have said what they are. Without it they count as up until they are asked.
func serversDown(c *role.Cluster, db *role.DatabaseOffer) []byte {
	lines := []string{"1", "# " + strings.Join(stateColumns, " ")}
	for i, backend := range backends {
		for j, n := range c.Offering(role.Database) {
			row := map[string]string{
				"be_id": strconv.Itoa(firstBackend + i), "be_name": backend, "srv_id": strconv.Itoa(j + 1), "srv_name": n.Name,
				"srv_uweight": "1", "srv_iweight": "1",
				"srv_check_state": "6", // checks are configured, and enabled
				// The last one failed to connect: after "unknown" no check ends.
				"srv_check_status": "8", "srv_check_result": "2",
				"srv_port": strconv.Itoa(db.Port), "srv_check_port": strconv.Itoa(db.HealthPort),
				"srv_addr": "-", "srv_fqdn": "-", "srvrecord": "-", "srv_check_addr": "-", "srv_agent_addr": "-",
			}
			if !n.Address.IsValid() {
				row["srv_fqdn"] = n.Host(c)
			}
			var fields []string
			for _, column := range stateColumns {
				fields = append(fields, cmp.Or(row[column], "0"))
			}
			lines = append(lines, strings.Join(fields, " "))
		}
	}
	return []byte(strings.Join(lines, "\n") + "\n")
}

// words splits each text at its blanks: a line of the configuration.
func words(texts ...string) []string {
	var all []string
	for _, t := range texts {
		all = append(all, strings.Fields(t)...)
	}
	return all
}
