package operate

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"pgha-gen/generator/role"
)

// Look asks every machine all that there is to ask, at the same time. A machine
// that does not answer is in the result with the reason.
func (c *Client) Look(ctx context.Context) *State {
	s := &State{Cluster: c.cluster.Name, At: c.world.Now(), Operator: c.operator.End}
	var wg sync.WaitGroup
	s.Machines = c.machines(ctx, &wg)
	dcs := c.askDCS(ctx, &wg)
	nodes := c.askDatabase(ctx, &wg)
	s.Proxies = c.proxies(ctx, &wg)
	wg.Wait()
	s.DCS = dcs.voters()
	s.database(nodes, c.Databases())
	var all []*Backups
	for _, m := range s.Machines {
		all = append(all, m.backups)
	}
	s.Backups = newest(all)
	return s
}

// LookDatabase asks the nodes of the database and the DCS alone, which is what
// guards need.
func (c *Client) LookDatabase(ctx context.Context) *State {
	s := &State{Cluster: c.cluster.Name, At: c.world.Now(), Operator: c.operator.End}
	var wg sync.WaitGroup
	dcs, nodes := c.askDCS(ctx, &wg), c.askDatabase(ctx, &wg)
	wg.Wait()
	s.DCS = dcs.voters()
	s.database(nodes, c.Databases())
	return s
}

// LookSettled is Look once Patroni can have said which parameters need a restart:
// some seconds after a machine took over a change. It says what it waits for.
func (c *Client) LookSettled(ctx context.Context, say func(format string, args ...any)) *State {
	end := c.world.Now().Add(settleLimit)
	for said := false; ; said = true {
		s := c.Look(ctx)
		why := s.settling()
		if why == "" || ctx.Err() != nil || s.At.After(end) {
			return s
		}
		if !said {
			say("waiting: %s", why)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (c *Client) machines(ctx context.Context, wg *sync.WaitGroup) []Machine {
	var all []Machine
	for _, g := range c.cluster.Groups {
		for _, n := range g.Nodes() {
			all = append(all, Machine{Name: n.Name, Role: g.Name, Spec: c.digests[g.Name]})
		}
	}
	for i := range all {
		wg.Go(func() {
			m := &all[i]
			var said machineStatus
			err := c.ask(ctx, http.MethodGet, c.url("http", m.Name, role.MetricsPort, "/status"), nil, &said)
			switch token := c.cluster.Token(); {
			case err != nil:
				m.Error = err.Error()
			case said.Role != m.Role || said.Token != token:
				m.Error = fmt.Sprintf("says that it is a machine of role %q of cluster %q, want %s of %s", said.Role, said.Token, m.Role, token)
			default:
				m.Ready, m.UserData, m.Steps = said.Ready, said.UserData, said.Steps
				m.Certificates, m.Disk = said.Certificates, said.Disk
				if said.Backups != nil {
					said.Backups.Node, m.backups = m.Name, said.Backups
				}
			}
		})
	}
	return all
}

// machineStatus is the answer to GET /status.
type machineStatus struct {
	Role         string          `json:"role"`
	Token        string          `json:"cluster_token"`
	Ready        bool            `json:"ready"`
	UserData     string          `json:"user_data"`
	Steps        map[string]Step `json:"steps"`
	Certificates []Certificate   `json:"certificates"`
	Disk         *Disk           `json:"disk"`
	Backups      *Backups        `json:"backup"`
}

// answers are what the nodes of the database say.
type answers struct {
	nodes    []nodeAnswer
	clusters []clusterAnswer
	configs  []configAnswer
}

type nodeAnswer struct {
	said restNode
	err  error
}
type clusterAnswer struct {
	said restCluster
	err  error
}
type configAnswer struct {
	said restConfig
	err  error
}

func (c *Client) askDatabase(ctx context.Context, wg *sync.WaitGroup) *answers {
	names := c.Databases()
	a := &answers{make([]nodeAnswer, len(names)), make([]clusterAnswer, len(names)), make([]configAnswer, len(names))}
	for i, name := range names {
		wg.Go(func() {
			a.nodes[i].err = c.ask(ctx, http.MethodGet, c.rest(name, "/patroni"), nil, &a.nodes[i].said)
		})
		wg.Go(func() {
			a.clusters[i].err = c.ask(ctx, http.MethodGet, c.rest(name, "/cluster"), nil, &a.clusters[i].said)
		})
		wg.Go(func() {
			a.configs[i].err = c.ask(ctx, http.MethodGet, c.rest(name, "/config"), nil, &a.configs[i].said)
		})
	}
	return a
}

// database puts together what the nodes say of themselves and of each other.
// Where none of them can read the DCS, the members are those of the spec.
func (s *State) database(a *answers, names []string) {
	at := slices.IndexFunc(a.clusters, func(c clusterAnswer) bool { return c.err == nil })
	if at >= 0 {
		for _, m := range a.clusters[at].said.Members {
			s.Members = append(s.Members, m.member())
		}
		s.Scheduled = a.clusters[at].said.Scheduled
	} else if len(a.clusters) > 0 {
		s.Unlisted = "no node can say who the members are: " + names[0] + " " + a.clusters[0].err.Error()
	}
	for i, name := range names {
		m := s.Member(name)
		if m == nil {
			s.Members = append(s.Members, Member{Name: name, Role: "none", State: "no member"})
			m = &s.Members[len(s.Members)-1]
			if n := a.nodes[i]; at < 0 && n.err == nil {
				m.Role, m.State, m.Timeline = n.said.role(), cmp.Or(n.said.Receives, n.said.State), int(n.said.Timeline)
			}
		}
		m.InSpec = true
		if err := a.nodes[i].err; err != nil {
			m.Error = err.Error()
			continue
		}
		m.Node = a.nodes[i].said.node()
		if pending := a.nodes[i].said.pending(); pending != nil && len(m.Pending) == 0 {
			m.Pending = pending
		}
	}
	slices.SortStableFunc(s.Members, func(a, b Member) int { return place(names, a.Name) - place(names, b.Name) })
	if i := slices.IndexFunc(a.configs, func(c configAnswer) bool { return c.err == nil }); i >= 0 {
		s.Config = a.configs[i].said.config()
	}
}

// place is where a name is in the spec; those that are not there come last.
func place(names []string, name string) int {
	if i := slices.Index(names, name); i >= 0 {
		return i
	}
	return len(names)
}

// members are those of the DCS as they were asked.
type members struct {
	names  []string
	status []dcsStatus
	health []dcsHealth
	lists  []dcsList
	errs   [][3]error
}

func (c *Client) askDCS(ctx context.Context, wg *sync.WaitGroup) *members {
	nodes := c.cluster.Offering(role.DCS)
	n := len(nodes)
	d := &members{make([]string, n), make([]dcsStatus, n), make([]dcsHealth, n), make([]dcsList, n), make([][3]error, n)}
	for i, node := range nodes {
		d.names[i] = node.Name
		at := func(path string) string { return c.etcd(i, path) }
		wg.Go(func() {
			d.errs[i][0] = c.ask(ctx, http.MethodPost, at("/v3/maintenance/status"), map[string]any{}, &d.status[i])
		})
		wg.Go(func() { d.errs[i][1] = c.ask(ctx, http.MethodGet, at("/health"), nil, &d.health[i]) })
		wg.Go(func() {
			d.errs[i][2] = c.ask(ctx, http.MethodPost, at("/v3/cluster/member/list"), map[string]any{"linearizable": false}, &d.lists[i])
		})
	}
	return d
}

// etcd is a URL of the gateway of a member, which is the i-th of the spec.
func (c *Client) etcd(i int, path string) string {
	port := 0
	if _, text, err := net.SplitHostPort(c.cluster.DCS().Endpoints[i]); err == nil {
		port, _ = strconv.Atoi(text)
	}
	return c.url("https", c.cluster.Offering(role.DCS)[i].Name, port, path)
}

// proxies asks those that offer statistics.
func (c *Client) proxies(ctx context.Context, wg *sync.WaitGroup) []Proxy {
	var all []Proxy
	for _, n := range c.cluster.Offering(role.Proxy) {
		all = append(all, Proxy{Name: n.Name})
	}
	for i := range all {
		wg.Go(func() {
			p := &all[i]
			var table []byte
			err := c.ask(ctx, http.MethodGet, c.url("http", p.Name, c.cluster.Proxy().Stats, "/stats;csv"), nil, &table)
			if err == nil {
				p.Writers, p.Readers, err = readStatistics(string(table))
			}
			if err != nil {
				p.Error = err.Error()
			}
		})
	}
	return all
}
