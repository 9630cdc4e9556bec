package operate

import (
	"fmt"
	"slices"
	"time"
)

// State is what is known of a cluster at one moment, in the order of the spec.
type State struct {
	Cluster   string               `json:"cluster"`
	At        time.Time            `json:"at"`
	Operator  time.Time            `json:"operator_certificate_end"`
	Machines  []Machine            `json:"machines"`
	Members   []Member             `json:"members"` // as Patroni's nodes know them
	Config    *Config              `json:"config"`  // nil: no node says
	Scheduled *ScheduledSwitchover `json:"scheduled_switchover,omitempty"`
	Unlisted  string               `json:"unlisted,omitempty"` // why the members are only those that answer
	DCS       []Voter              `json:"dcs"`
	Proxies   []Proxy              `json:"proxies"`
	Backups   *Backups             `json:"backups"` // nil: nothing is backed up, or no node says
}

// Machine is what a machine of the spec says of itself.
type Machine struct {
	Name         string          `json:"name"`
	Role         string          `json:"role"`
	Error        string          `json:"error,omitempty"` // why it does not answer
	Ready        bool            `json:"ready"`
	UserData     string          `json:"user_data"`      // the digest in force
	Spec         string          `json:"spec_user_data"` // that of the spec; empty: there is none
	Steps        map[string]Step `json:"steps"`          // what each said last
	Certificates []Certificate   `json:"certificates"`
	Disk         *Disk           `json:"disk"`

	backups *Backups // that it reports; nil: none
}

// Step is how a step of the boot protocol ended, or why it waits.
type Step struct {
	At     int64  `json:"at"` // milliseconds since 1970
	Status string `json:"status"`
	Detail string `json:"detail"`
}

// Certificate is one that a machine has.
type Certificate struct {
	File    string `json:"file"`
	Subject string `json:"subject"`
	End     int64  `json:"end"` // seconds since 1970
}

// Disk is a data disk, in bytes.
type Disk struct {
	Size int64 `json:"size"`
	Free int64 `json:"free"`
	Full bool  `json:"full"`
}

// Member is a node of Patroni's cluster.
type Member struct {
	Name     string `json:"name"`
	Role     string `json:"role"` // leader, sync_standby, quorum_standby, replica
	State    string `json:"state"`
	Timeline int    `json:"timeline,omitempty"`
	Lag      *int64 `json:"lag"` // bytes behind the leader; nil: unknown, or it leads
	// Parameters that a restart would change; nil: none. Empty: Patroni does
	// not say which.
	Pending map[string]Change `json:"pending_restart"`
	Tags    map[string]any    `json:"tags,omitempty"`
	Error   string            `json:"error,omitempty"` // why its REST API does not answer
	Node    *Node             `json:"node"`            // what it says itself; nil: it does not answer
	InSpec  bool              `json:"in_spec"`
}

// Change is a parameter with the value that PostgreSQL runs with, and the one
// that it is to have.
type Change struct {
	Old string `json:"old_value"`
	New string `json:"new_value"`
}

// Node is what Patroni on a node says of that node.
type Node struct {
	State    string `json:"state"`
	Role     string `json:"role"` // primary or replica
	Timeline int    `json:"timeline,omitempty"`
	Started  string `json:"started"`            // its PostgreSQL
	Receives string `json:"receives,omitempty"` // of a replica: streaming, or how else
	Position int64  `json:"position"`           // in the WAL: written or, on a replica, received; 0: unknown
	Patroni  string `json:"patroni"`
	Server   int    `json:"server_version"`
	Paused   bool   `json:"paused"`
	Failsafe bool   `json:"failsafe"` // the DCS is away, and the leader goes on by its nodes' consent
	Watchdog bool   `json:"watchdog_failed"`
}

// Config is what guards need of Patroni's dynamic configuration.
type Config struct {
	Paused      bool   `json:"pause"`
	Synchronous string `json:"synchronous_mode"` // on, quorum or off
	Strict      bool   `json:"synchronous_mode_strict"`
	SyncNodes   int    `json:"synchronous_node_count"`
	MaximumLag  int64  `json:"maximum_lag_on_failover"`
	LoopWait    int    `json:"loop_wait"`
	TTL         int    `json:"ttl"`
}

// ScheduledSwitchover is a switchover that waits for its time.
type ScheduledSwitchover struct {
	At   string `json:"at"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// Voter is a member of the DCS.
type Voter struct {
	Name    string   `json:"name"`
	Error   string   `json:"error,omitempty"` // why it does not answer, or what it says is wrong
	Healthy bool     `json:"healthy"`
	Leader  bool     `json:"leader"`
	Learner bool     `json:"learner,omitempty"`
	Version string   `json:"version,omitempty"`
	Size    int64    `json:"db_size"`
	InUse   int64    `json:"db_size_in_use"`
	Alarms  []string `json:"alarms,omitempty"`
	InSpec  bool     `json:"in_spec"`
	Listed  bool     `json:"listed"` // the members know it as one of them
}

// Proxy is what clients connect to.
type Proxy struct {
	Name    string   `json:"name"`
	Error   string   `json:"error,omitempty"`
	Writers []string `json:"writers_go_to"`
	Readers []string `json:"readers_go_to"`
}

// Leader is the member that leads, or nil.
func (s *State) Leader() *Member {
	for i, m := range s.Members {
		if m.Role == "leader" || m.Role == "standby_leader" {
			return &s.Members[i]
		}
	}
	return nil
}

// Member is the member of that name, or nil.
func (s *State) Member(name string) *Member {
	i := slices.IndexFunc(s.Members, func(m Member) bool { return m.Name == name })
	if i < 0 {
		return nil
	}
	return &s.Members[i]
}

// Leads says whether that node leads.
func (s *State) Leads(name string) bool {
	leader := s.Leader()
	return leader != nil && leader.Name == name
}

// Replicas are all members but the leader.
func (s *State) Replicas() []Member {
	var all []Member
	for _, m := range s.Members {
		if !m.leads() {
			all = append(all, m)
		}
	}
	return all
}

// Paused says whether Patroni does nothing by itself.
func (s *State) Paused() bool {
	if s.Config != nil {
		return s.Config.Paused
	}
	return slices.ContainsFunc(s.Members, func(m Member) bool { return m.Node != nil && m.Node.Paused })
}

// settleLimit is how long settling is waited for: a machine's clock may be wrong.
const settleLimit = 40 * time.Second

// settling says what changed on a node of the database so short a time ago that
// Patroni may not have said yet whether it needs a restart. The leader brings a
// change to the DCS, and each node looks there in its loop; two of these are
// waited for. Empty: nothing, or all nodes wait for a restart already.
func (s *State) settling() string {
	waits := func(m Member) bool { return m.Pending != nil || !m.InSpec }
	if s.Config == nil || !slices.ContainsFunc(s.Members, func(m Member) bool { return !waits(m) }) {
		return ""
	}
	needs := time.Duration(2*s.Config.LoopWait)*time.Second + 3*time.Second
	for _, m := range s.Machines {
		if s.Member(m.Name) == nil {
			continue
		}
		for _, step := range []string{"refresh", "converge"} {
			if age := s.At.Sub(time.UnixMilli(m.Steps[step].At)); age < needs {
				return fmt.Sprintf("%s took over a change %.0f s ago, and whether that needs a restart shows after %.0f s", m.Name, max(0, age.Seconds()), needs.Seconds())
			}
		}
	}
	return ""
}

// quorum is how many members of the DCS vote, and how many of them are healthy.
func (s *State) quorum() (voters, healthy int) {
	listed := slices.ContainsFunc(s.DCS, func(v Voter) bool { return v.Listed })
	for _, v := range s.DCS {
		if v.Learner || listed && !v.Listed {
			continue
		}
		voters++
		if v.Healthy {
			healthy++
		}
	}
	return voters, healthy
}

func (m *Member) leads() bool { return m.Role == "leader" || m.Role == "standby_leader" }

// synchronous says whether the leader may wait for this member at a commit.
func (m *Member) synchronous() bool { return m.Role == "sync_standby" || m.Role == "quorum_standby" }

// streams says whether the member follows the leader as it should.
func (m *Member) streams() bool { return !m.leads() && m.State == "streaming" }

// tag says whether a tag of Patroni's is true.
func (m *Member) tag(name string) bool {
	on, _ := m.Tags[name].(bool)
	return on
}

// zero says whether a tag that is a number is 0.
func (m *Member) zero(name string) bool {
	n, is := m.Tags[name].(float64)
	return is && n == 0
}

// neverLeads says whether its tags keep the member from leading.
func (m *Member) neverLeads() bool { return m.tag("nofailover") || m.zero("failover_priority") }

// neverSync says whether its tags keep the member from being synchronous.
func (m *Member) neverSync() bool { return m.tag("nosync") || m.zero("sync_priority") }
