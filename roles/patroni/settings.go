package patroni

import (
	"slices"

	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

// Settings is roles.patroni in the spec.
type Settings struct {
	PostgreSQL int      `yaml:"postgresql"`
	Packages   Packages `yaml:"packages"`
	APT        APT      `yaml:"apt"`
	Port       int      `yaml:"port"`
	RESTPort   int      `yaml:"rest_port"`

	TTL                    int           `yaml:"ttl"`
	LoopWait               int           `yaml:"loop_wait"`
	RetryTimeout           int           `yaml:"retry_timeout"`
	PrimaryStartTimeout    int           `yaml:"primary_start_timeout"`
	MaximumLagOnFailover   specfile.Size `yaml:"maximum_lag_on_failover"`
	Watchdog               Watchdog      `yaml:"watchdog"`
	Agreement              Agreement     `yaml:"agreement"`
	RecloneOnRewindFailure bool          `yaml:"reclone_on_rewind_failure"`

	Workload   Workload          `yaml:"workload"`
	Parameters map[string]string `yaml:"parameters"`
	Databases  []Database        `yaml:"databases"`
	Users      []User            `yaml:"users"`
	HBA        []string          `yaml:"pg_hba"`
	Config     map[string]any    `yaml:"config"`

	role.Common[role.Machine, Node]
}

// Packages are exact Debian versions; empty: the newest there is at the bake.
type Packages struct {
	PostgreSQL string `yaml:"postgresql"`
	Patroni    string `yaml:"patroni"`
	PgBackRest string `yaml:"pgbackrest"`
}

// APT is where the packages come from.
type APT struct {
	Repository Repository `yaml:"repository"`
	Mirror     string     `yaml:"mirror"`
}

// Repository is an APT repository that has PostgreSQL and Patroni.
type Repository string

// The values of Repository.
const (
	PGDG         Repository = "pgdg"         // the PostgreSQL project's own
	Distribution Repository = "distribution" // the base image's
)

// Values are all of them.
func (Repository) Values() []string { return []string{string(PGDG), string(Distribution)} }

// Watchdog is whether a node that cannot feed its watchdog is reset.
type Watchdog string

// The values of Watchdog, as Patroni has them.
const (
	WatchdogOff       Watchdog = "off"
	WatchdogAutomatic Watchdog = "automatic"
	WatchdogRequired  Watchdog = "required"
)

// Values are all of them.
func (Watchdog) Values() []string { return []string{"off", "automatic", "required"} }

// Agreement is failover by agreement: standbys that hear nothing of the leader
// remove its lease together. See docs/failover-by-agreement.md.
type Agreement struct {
	After specfile.Duration `yaml:"after"` // 0: there is none
}

// Workload is what the databases are used for; the words are pgtune's.
type Workload string

// The values of Workload.
const (
	Web   Workload = "web"   // many short reads
	OLTP  Workload = "oltp"  // many short transactions
	DW    Workload = "dw"    // few long queries over much data
	Mixed Workload = "mixed" // all of it
)

// Values are all of them.
func (Workload) Values() []string { return []string{"web", "oltp", "dw", "mixed"} }

// Database is a database that the leader creates.
type Database struct {
	Name       string            `yaml:"name,required"`
	Owner      string            `yaml:"owner,required"`
	Extensions []string          `yaml:"extensions"`
	Settings   map[string]string `yaml:"settings"` // ALTER DATABASE ... SET
}

// Defaults implements specfile.Defaulter.
func (d *Database) Defaults() { d.Extensions, d.Settings = []string{}, map[string]string{} }

// User is an application's user that the leader creates. Its password is the
// entry password.<name> of the Lockbox secret.
type User struct {
	Name            string            `yaml:"name,required"`
	Databases       []string          `yaml:"databases"` // beside those that it owns
	MemberOf        []string          `yaml:"member_of"` // such as pg_read_all_data
	Settings        map[string]string `yaml:"settings"`  // ALTER ROLE ... SET
	ConnectionLimit int               `yaml:"connection_limit"`
}

// noLimit is PostgreSQL's own word for it.
const noLimit = -1

// Defaults implements specfile.Defaulter.
func (u *User) Defaults() {
	u.Databases, u.MemberOf, u.Settings, u.ConnectionLimit = []string{}, []string{}, map[string]string{}, noLimit
}

// Node is a machine with its Patroni tags.
type Node struct {
	role.Node
	Tags Tags `yaml:"tags"`
}

// Defaults implements specfile.Defaulter.
func (n *Node) Defaults() { n.Tags = defaultTags() }

// Tags are Patroni's, with Patroni's defaults.
type Tags struct {
	NoFailover       bool   `yaml:"nofailover"`
	FailoverPriority int    `yaml:"failover_priority"`
	NoSync           bool   `yaml:"nosync"`
	SyncPriority     int    `yaml:"sync_priority"`
	NoLoadBalance    bool   `yaml:"noloadbalance"`
	CloneFrom        bool   `yaml:"clonefrom"`
	NoStream         bool   `yaml:"nostream"`
	ReplicateFrom    string `yaml:"replicatefrom"`
}

func defaultTags() Tags { return Tags{FailoverPriority: 1, SyncPriority: 1} }

func newSettings(c *role.Cluster) *Settings {
	s := &Settings{
		PostgreSQL: 18,
		APT:        APT{Repository: PGDG},
		Port:       5432,
		RESTPort:   8008,

		// Patroni's own: 1 MiB, above which a replica is too far behind to
		// lead.
		MaximumLagOnFailover:   specfile.MiB,
		Watchdog:               WatchdogAutomatic,
		RecloneOnRewindFailure: true,

		Workload:   OLTP,
		Parameters: map[string]string{},
		Databases:  []Database{},
		Users:      []User{},
		HBA:        []string{},
		Config:     map[string]any{},
	}
	s.Machine = role.Machine{
		Compute:  role.NewCompute(4, 16*specfile.GiB, 15*specfile.GiB),
		DataDisk: role.Disk{Type: role.SSD, Size: 100 * specfile.GiB},
	}
	t := presets[c.Failover]
	s.TTL, s.LoopWait, s.RetryTimeout, s.PrimaryStartTimeout = t.ttl, t.loopWait, t.retryTimeout, t.primaryStart
	return s
}

// presets keep loop_wait + 2*retry_timeout <= ttl, and ttl >= 20, Patroni's
// minimum. With a short loop_wait Patroni soon sees that PostgreSQL died; it
// costs etcd a renewal of one lease. primary_start_timeout is how long a
// crashed PostgreSQL may take to start again before another node takes over;
// Patroni's own is 300.
var presets = map[role.Failover]struct{ ttl, loopWait, retryTimeout, primaryStart int }{
	role.Fast:     {20, 2, 5, 5},
	role.Balanced: {30, 2, 10, 30},
	role.Safe:     {60, 2, 20, 120},
}

// UseDistribution makes a bake install PostgreSQL and Patroni from the base
// image's own repository.
func (s *Settings) UseDistribution() { s.APT.Repository = Distribution }

// applicationUsers are the owners of databases and the users of the spec,
// each once, with all databases that it may connect to.
func (s *Settings) applicationUsers() []User {
	var all, users []User
	index := map[string]int{}
	for _, d := range s.Databases {
		all = append(all, User{Name: d.Owner, Databases: []string{d.Name}})
	}
	for n, u := range append(all, s.Users...) {
		i, known := index[u.Name]
		if !known {
			i = len(users)
			index[u.Name] = i
			users = append(users, User{Name: u.Name, Settings: map[string]string{}, ConnectionLimit: noLimit})
		}
		for _, d := range u.Databases {
			if !slices.Contains(users[i].Databases, d) {
				users[i].Databases = append(users[i].Databases, d)
			}
		}
		if n >= len(all) {
			users[i].MemberOf, users[i].Settings, users[i].ConnectionLimit = u.MemberOf, u.Settings, u.ConnectionLimit
		}
	}
	return users
}
