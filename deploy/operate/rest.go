package operate

import (
	"encoding/json"
	"strings"
)

// What Patroni's REST API answers, as far as it is read here
// (https://patroni.readthedocs.io/en/latest/rest_api.html).

// restNode is the answer to GET /patroni.
type restNode struct {
	State    string `json:"state"`
	Role     string `json:"role"`
	Timeline number `json:"timeline"`
	Server   int    `json:"server_version"`
	Started  string `json:"postmaster_start_time"`
	Receives string `json:"replication_state"`
	WAL      struct {
		Location number `json:"location"`          // of a primary
		Received number `json:"received_location"` // of a replica
		Replayed number `json:"replayed_location"`
	} `json:"xlog"`
	Pause    bool              `json:"pause"`
	Failsafe bool              `json:"failsafe_mode_is_active"`
	Watchdog bool              `json:"watchdog_failed"`
	Unlocked bool              `json:"cluster_unlocked"`
	Restart  bool              `json:"pending_restart"`
	Reason   map[string]reason `json:"pending_restart_reason"`
	Patroni  struct {
		Version string `json:"version"`
	} `json:"patroni"`
}

func (n *restNode) node() *Node {
	return &Node{
		State: n.State, Role: n.Role, Timeline: int(n.Timeline), Patroni: n.Patroni.Version, Server: n.Server,
		Started: n.Started, Receives: n.Receives,
		Position: max(int64(n.WAL.Location), int64(n.WAL.Received), int64(n.WAL.Replayed)),
		Paused:   n.Pause, Failsafe: n.Failsafe, Watchdog: n.Watchdog,
	}
}

// role is the role of a member by its own word alone. Who leads, only the DCS
// says: a primary that has lost its lock is not yet demoted.
func (n *restNode) role() string {
	if n.Role == "primary" && (!n.Unlocked || n.Failsafe) {
		return "leader"
	}
	return n.Role
}

func (n *restNode) pending() map[string]Change { return pending(n.Restart, n.Reason) }

// restCluster is the answer to GET /cluster.
type restCluster struct {
	Members   []restMember         `json:"members"`
	Scheduled *ScheduledSwitchover `json:"scheduled_switchover"`
}

type restMember struct {
	Name     string            `json:"name"`
	Role     string            `json:"role"`
	State    string            `json:"state"`
	Timeline number            `json:"timeline"`
	Lag      json.RawMessage   `json:"lag"` // a number, or "unknown"
	Restart  bool              `json:"pending_restart"`
	Reason   map[string]reason `json:"pending_restart_reason"`
	Tags     map[string]any    `json:"tags"`
}

func (m *restMember) member() Member {
	all := Member{Name: m.Name, Role: m.Role, State: m.State, Timeline: int(m.Timeline), Tags: m.Tags, Pending: pending(m.Restart, m.Reason)}
	var lag int64
	if json.Unmarshal(m.Lag, &lag) == nil && string(m.Lag) != "null" && len(m.Lag) > 0 {
		all.Lag = &lag
	}
	return all
}

// reason is why a restart is pending: a parameter's values, which Patroni gives
// as text or as a number.
type reason struct {
	Old json.RawMessage `json:"old_value"`
	New json.RawMessage `json:"new_value"`
}

func pending(restart bool, why map[string]reason) map[string]Change {
	if !restart {
		return nil
	}
	all := map[string]Change{}
	for name, r := range why {
		all[name] = Change{strings.Trim(string(r.Old), `"`), strings.Trim(string(r.New), `"`)}
	}
	return all
}

// restConfig is the answer to GET /config: the dynamic configuration.
type restConfig struct {
	Pause       bool            `json:"pause"`
	Synchronous json.RawMessage `json:"synchronous_mode"` // true, false or "quorum"
	Strict      bool            `json:"synchronous_mode_strict"`
	SyncNodes   *int            `json:"synchronous_node_count"`
	MaximumLag  *int64          `json:"maximum_lag_on_failover"`
	LoopWait    *int            `json:"loop_wait"`
	TTL         *int            `json:"ttl"`
}

// config fills in Patroni's own defaults.
func (r *restConfig) config() *Config {
	mode := map[string]string{"true": "on", "on": "on", "quorum": "quorum"}[strings.Trim(strings.ToLower(string(r.Synchronous)), `"`)]
	if mode == "" {
		mode = "off"
	}
	return &Config{
		Paused: r.Pause, Synchronous: mode, Strict: r.Strict,
		SyncNodes: or(r.SyncNodes, 1), MaximumLag: or(r.MaximumLag, 1<<20), LoopWait: or(r.LoopWait, 10), TTL: or(r.TTL, 30),
	}
}

func or[T any](value *T, otherwise T) T {
	if value == nil {
		return otherwise
	}
	return *value
}

// number is a whole number; anything else, such as "unknown", is 0.
type number int64

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(data []byte) error {
	var value int64
	if json.Unmarshal(data, &value) != nil {
		value = 0
	}
	*n = number(value)
	return nil
}

// Event is a change of the timeline: a promotion.
type Event struct {
	Timeline int    `json:"timeline"`
	Position int64  `json:"position"` // in the WAL, where the timeline ended
	Reason   string `json:"reason"`
	At       string `json:"at,omitempty"`
	Leader   string `json:"new_leader,omitempty"`
}

// events reads the answer to GET /history: a list of lists, of which old
// versions leave out the last one or two values.
func events(lines [][]any) []Event {
	var all []Event
	for _, line := range lines {
		var e Event
		for i, value := range line {
			text, _ := value.(string)
			n, _ := value.(float64)
			switch i {
			case 0:
				e.Timeline = int(n)
			case 1:
				e.Position = int64(n)
			case 2:
				e.Reason = text
			case 3:
				e.At = text
			case 4:
				e.Leader = text
			}
		}
		all = append(all, e)
	}
	return all
}
