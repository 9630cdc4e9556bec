package haproxy

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

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

// backends are those of config, in its order. HAProxy numbers them behind the
// frontend before them, which is 2.
var backends = []string{"primary", "replicas"}

const firstBackend = 3

// config is /etc/haproxy/haproxy.cfg. It is the same on every HAProxy machine,
// and valid from HAProxy 2.6 on.
func (s *Settings) config(c *role.Cluster, db *role.DatabaseOffer) ([]byte, error) {
	nodes := c.Offering(role.Database)
	sections := []emit.Section{
		{Header: words("global"), Lines: override([][]string{
			words("log stdout format raw daemon notice"),
			words("maxconn", strconv.Itoa(s.MaxConnections+statistics)),
			words("stats socket /run/haproxy/admin.sock mode 600 level admin"),
			words("server-state-file", stateFile),
			// All nodes are asked at once after a start, not one after another.
			words("max-spread-checks 10"),
			words("ssl-default-server-options ssl-min-ver TLSv1.2"),
			// After a reload, how long the old process may keep its sessions.
			words("hard-stop-after 30m"),
		}, s.Global)},
		{Header: words("defaults"), Lines: override([][]string{
			words("mode tcp"),
			words("log global"),
			words("option dontlognull"),
			words("load-server-state-from-file global"),
			// A connection that waits for a server leaves it when it is down.
			words("option redispatch"),
			// The next try would come a second later, to the same server: the
			// client's own comes sooner.
			words("retries 0"),
			words("timeout connect 4s"),
			// How long a client waits while PostgreSQL has no connection left.
			words("timeout queue 10s"),
			words("timeout check", s.Checks.Timeout.String()),
			words("timeout client", s.IdleTimeout.String()),
			words("timeout server", s.IdleTimeout.String()),
			words("timeout client-fin 30s"),
			words("timeout server-fin 30s"),
			// The cloud forgets an idle connection after 180 s; probes keep it,
			// and find the peers that are gone.
			words("option clitcpka"),
			words("clitcpka-idle 60s"),
			words("clitcpka-intvl 10s"),
			words("clitcpka-cnt 6"),
			words("option srvtcpka"),
			words("srvtcpka-idle 60s"),
			words("srvtcpka-intvl 10s"),
			words("srvtcpka-cnt 6"),
		}, s.DefaultsSection)},
	}
	if byName(nodes) {
		sections = append(sections, emit.Section{Header: words("resolvers cloud"), Lines: [][]string{
			words("parse-resolv-conf"),
			words("hold valid 10s"),
			words("hold other 30s"),
			words("hold refused 30s"),
			words("hold nx 30s"),
			words("hold timeout 30s"),
		}})
	}
	sections = append(sections, s.clients(c), s.primary(c, db), s.replicas(c, db), s.stats(c))
	data, err := emit.Sections(sections)
	if err != nil {
		return nil, err
	}
	if s.Extra != "" {
		data = append(data, '\n')
		data = append(data, strings.TrimRight(string(s.Extra), "\n")+"\n"...)
	}
	return data, nil
}

// clients is where clients connect to. It is one frontend, because
// max_connections is one limit.
func (s *Settings) clients(c *role.Cluster) emit.Section {
	share := strconv.Itoa(s.MaxConnections / 2)
	lines := [][]string{
		words("bind :"+strconv.Itoa(s.Ports.Primary), "name writers"),
		words("bind :"+strconv.Itoa(s.Ports.Replicas), "name readers"),
		words("maxconn", strconv.Itoa(s.MaxConnections)),
		// PostgreSQL behind sees only HAProxy's address, and cannot tell clients
		// apart.
		admit(c.Access.Clients...),
		// No client may take all connections. What is refused does not count, so
		// that one who tries again and again is served in the end.
		words("stick-table type ip size 100k expire 1m store conn_cur,conn_rate(1s)"),
		words("tcp-request connection reject if { src_conn_cur ge", share, "}"),
		words("tcp-request connection reject if { src_conn_rate ge", share, "}"),
		words("tcp-request connection track-sc0 src"),
		// In PostgreSQL's protocol the client speaks first. Who says nothing gets
		// no connection of PostgreSQL's.
		words("tcp-request inspect-delay 5s"),
		words("tcp-request content reject unless { req.len gt 0 }"),
	}
	if s.ReplicasFallback == ToPrimary {
		lines = append(lines, words("use_backend primary if { so_name readers } { nbsrv(replicas) eq 0 }"))
	}
	return emit.Section{Header: words("frontend clients"), Lines: append(lines,
		words("use_backend replicas if { so_name readers }"),
		words("default_backend primary"),
	)}
}

// admit refuses all connections but those from these networks.
func admit(from ...netip.Prefix) []string {
	return networks(words("tcp-request connection reject unless { src"), from)
}

func networks(line []string, all []netip.Prefix) []string {
	for _, p := range all {
		line = append(line, p.String())
	}
	return append(line, "}")
}

// primary sends writers to the node that was the last to say that it leads.
//
// A node that answers, and does not lead, gets no new connection from this very
// check on. It keeps those that it has: a leader whose Patroni was restarted
// leads again after its first loop, and one that is demoted ends them itself,
// since Patroni restarts its PostgreSQL. A node that does not answer is down,
// and loses its sessions, after check.fall checks only: until then Patroni may
// be back.
func (s *Settings) primary(c *role.Cluster, db *role.DatabaseOffer) emit.Section {
	return s.backend(c, db, "primary", Shutdown,
		words("balance first"),
		words("option httpchk"),
		words("http-check send meth GET uri /primary"),
		words("http-check expect status 200 error-status L7OKC"),
		words("http-check set-var(proc.leader) srv_name"),
		// Not while nobody leads: use-server takes a node that does not say so
		// any more, too.
		words("use-server %[var(proc.leader)] if { nbsrv(primary) gt 0 }"),
	)
}

// replicas sends readers to the replicas. One that refuses a connection is
// passed over.
func (s *Settings) replicas(c *role.Cluster, db *role.DatabaseOffer) emit.Section {
	return s.backend(c, db, "replicas", s.OnMarkedDown,
		words("balance leastconn"),
		words("retries 1"),
		words("option redispatch 1"),
		words("option httpchk"),
		words("http-check send meth GET uri", fmt.Sprintf("/replica?lag=%d", int64(s.MaxReplicaLag))),
		words("http-check expect status 200"),
	)
}

func (s *Settings) backend(c *role.Cluster, db *role.DatabaseOffer, name string, down OnMarkedDown, lines ...[]string) emit.Section {
	server := words("default-server inter", s.Checks.Inter.String(), "fastinter", s.Checks.FastInter.String(),
		"downinter", s.Checks.DownInter.String(), "rise", strconv.Itoa(s.Checks.Rise), "fall", strconv.Itoa(s.Checks.Fall),
		"port", strconv.Itoa(db.HealthPort), "check-ssl verify required ca-file", caFile,
		// More would be refused by PostgreSQL; here they wait. Each HAProxy lets as
		// many through, so that one that is left can serve all clients.
		"maxconn", strconv.Itoa(db.Connections))
	if down == Shutdown {
		server = append(server, words("on-marked-down shutdown-sessions")...)
	}
	lines = append(lines, server)
	nodes := c.Offering(role.Database)
	if byName(nodes) {
		// A node whose name is found later must not count as up, either.
		// HAProxy knows this from 3.1 on.
		lines = append(lines, words(".if version_atleast(3.1)"), words("default-server init-state down"), words(".endif"))
	}
	for _, n := range nodes {
		line := words("server", n.Name, n.Host(c)+":"+strconv.Itoa(db.Port), "check verifyhost", c.FQDN(n.Name))
		if n.Address == (netip.Addr{}) {
			// Start without the name too; the node may not be there yet.
			line = append(line, words("resolvers cloud init-addr last,libc,none")...)
		}
		lines = append(lines, line)
	}
	return emit.Section{Header: words("backend", name), Lines: lines}
}

// local is the machine itself.
var local = netip.MustParsePrefix("127.0.0.0/8")

// stats is for those who watch HAProxy. It has two checks: /alive says that
// HAProxy runs, /health that a node leads. A load balancer needs the first: by
// the second it would give up all proxies whenever the leader changes.
func (s *Settings) stats(c *role.Cluster) emit.Section {
	watchers := append([]netip.Prefix{local}, c.Access.Monitoring...)
	return emit.Section{Header: words("frontend stats"), Lines: [][]string{
		words("bind :" + strconv.Itoa(s.Ports.Stats)),
		words("mode http"),
		words("maxconn", strconv.Itoa(statistics)),
		admit(append(watchers, balancers...)...),
		words("http-request return status 200 content-type text/plain string alive if { path /alive }"),
		words("http-request return status 503 content-type text/plain string no-leader if { path /health } { nbsrv(primary) eq 0 }"),
		words("http-request return status 200 content-type text/plain string ok if { path /health }"),
		networks(words("http-request deny if { src"), balancers),
		words("http-request use-service prometheus-exporter if { path /metrics }"),
		words("stats enable"),
		words("stats uri /stats"),
		words("stats refresh 5s"),
		words("timeout client 30s"),
		words("timeout http-request 10s"),
		words("no log"),
	}}
}

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

func byName(nodes []role.Node) bool {
	return slices.ContainsFunc(nodes, func(n role.Node) bool { return !n.Address.IsValid() })
}

// override replaces the lines of a section that start with a keyword of the
// spec, and adds those that we do not have.
func override(lines [][]string, with map[string]string) [][]string {
	for _, keyword := range slices.Sorted(maps.Keys(with)) {
		line := words(keyword, with[keyword])
		i := slices.IndexFunc(lines, func(l []string) bool {
			return strings.HasPrefix(strings.Join(l, " ")+" ", keyword+" ")
		})
		if i < 0 {
			lines = append(lines, line)
		} else {
			lines[i] = line
		}
	}
	return lines
}

// words splits each text at its blanks: a line of the configuration.
func words(texts ...string) []string {
	var all []string
	for _, t := range texts {
		all = append(all, strings.Fields(t)...)
	}
	return all
}
