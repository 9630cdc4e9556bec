package haproxy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/roles/patroni"
)

// authority is where user-data puts the cluster's CA certificates.
const authority = "/etc/haproxy/ca.crt"

// inside are the networks that may see statistics: private ones, the machine
// itself, and the probes of the cloud's load balancer.
var inside = []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "198.18.235.0/24", "198.18.248.0/24"}

// config is /etc/haproxy/haproxy.cfg. It is the same on every HAProxy machine,
// and valid from HAProxy 2.4 on.
func (s *Settings) config(c *role.Cluster) ([]byte, error) {
	db := c.Part(patroni.Name).(*patroni.Settings)
	sections := []emit.Section{
		{Header: words("global"), Lines: override([][]string{
			words("log stdout format raw daemon notice"),
			words("maxconn", strconv.Itoa(2*s.MaxConnections+100)),
			words("chroot /var/lib/haproxy"),
			words("user haproxy"),
			words("group haproxy"),
			words("stats socket /run/haproxy/admin.sock mode 660 level admin"),
			words("ssl-default-server-options ssl-min-ver TLSv1.2"),
			// After a reload, how long the old process may keep its sessions.
			words("hard-stop-after 30m"),
		}, s.Global)},
		{Header: words("defaults"), Lines: override([][]string{
			words("mode tcp"),
			words("log global"),
			words("option dontlognull"),
			words("option redispatch"),
			words("retries 2"),
			words("maxconn", strconv.Itoa(s.MaxConnections)),
			words("timeout connect 4s"),
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
	if byName(db.Nodes()) {
		sections = append(sections, emit.Section{Header: words("resolvers cloud"), Lines: [][]string{
			words("parse-resolv-conf"),
			words("hold valid 10s"),
			words("hold other 30s"),
			words("hold refused 30s"),
			words("hold nx 30s"),
			words("hold timeout 30s"),
		}})
	}
	replicas := [][]string{words("bind :" + strconv.Itoa(s.Ports.Replicas)), s.admit(c)}
	if s.ReplicasFallback == ToPrimary {
		replicas = append(replicas, words("use_backend primary if { nbsrv(replicas) eq 0 }"))
	}
	sections = append(sections,
		emit.Section{Header: words("frontend writers"), Lines: [][]string{
			words("bind :" + strconv.Itoa(s.Ports.Primary)), s.admit(c), words("default_backend primary"),
		}},
		emit.Section{Header: words("frontend readers"), Lines: append(replicas, words("default_backend replicas"))},
		s.backend(c, db, "primary", "first", "/primary", Shutdown),
		s.backend(c, db, "replicas", "leastconn", fmt.Sprintf("/replica?lag=%d", int64(s.MaxReplicaLag)), s.OnMarkedDown),
		emit.Section{Header: words("frontend stats"), Lines: [][]string{
			words("bind :" + strconv.Itoa(s.Ports.Stats)),
			words("mode http"),
			words("monitor-uri /health"),
			words("monitor fail if { nbsrv(primary) eq 0 }"),
			append(append(words("http-request deny unless { src"), inside...), "}"),
			words("http-request use-service prometheus-exporter if { path /metrics }"),
			words("stats enable"),
			words("stats uri /stats"),
			words("stats refresh 5s"),
			words("timeout client 30s"),
			words("no log"),
		}},
	)
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

// admit refuses everybody but the clients of the spec: PostgreSQL behind sees
// only HAProxy's address and cannot tell them apart.
func (s *Settings) admit(c *role.Cluster) []string {
	line := words("tcp-request connection reject unless { src")
	for _, p := range c.Access.Clients {
		line = append(line, p.String())
	}
	return append(line, "}")
}

func (s *Settings) backend(c *role.Cluster, db *patroni.Settings, name, balance, path string, down OnMarkedDown) emit.Section {
	server := words("default-server inter", s.Checks.Inter.String(), "fastinter", s.Checks.FastInter.String(),
		"downinter", s.Checks.DownInter.String(), "rise", strconv.Itoa(s.Checks.Rise), "fall", strconv.Itoa(s.Checks.Fall),
		"port", strconv.Itoa(db.RESTPort), "check-ssl verify required ca-file", authority)
	if down == Shutdown {
		server = append(server, words("on-marked-down shutdown-sessions")...)
	}
	lines := [][]string{
		words("balance", balance),
		words("option httpchk"),
		words("http-check send meth GET uri", path),
		words("http-check expect status 200"),
		server,
	}
	for _, n := range db.Nodes() {
		line := words("server", n.Name, n.Host(c)+":"+strconv.Itoa(db.Port), "check verifyhost", c.FQDN(n.Name))
		if n.Address == (netip.Addr{}) {
			// Start without the name too; the node may not be there yet.
			line = append(line, words("resolvers cloud init-addr last,libc,none")...)
		}
		lines = append(lines, line)
	}
	return emit.Section{Header: words("backend", name), Lines: lines}
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
