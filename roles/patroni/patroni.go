// Package patroni is the role of the machines that run PostgreSQL, one of them
// leading, under Patroni.
package patroni

import (
	"embed"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/spec"
)

// Name is the role's key in the spec.
const Name = "patroni"

// The three users that Patroni works with, each with a password of its own.
const (
	Superuser       = "postgres"
	ReplicationUser = "replication_user"
	RewindUser      = "rewind_user"
	RESTUser        = "patroni" // of the REST API's unsafe verbs; no PostgreSQL user
)

//go:embed bake.sh all:rootfs
var files embed.FS

//go:embed reference.yaml
var reference string

// Role is Patroni's role.
func Role() *role.Role {
	return &role.Role{
		Name:         Name,
		Doc:          "PostgreSQL under Patroni: one node leads, the others follow and are ready to.",
		Files:        files,
		Reference:    reference,
		Offers:       []role.Capability{role.Database},
		Uses:         []role.Capability{role.DCS},
		Defects:      []role.Defects{defects},
		ReadsSecrets: true,
		New:          func(c *role.Cluster) role.Settings { return newSettings(c) },
	}
}

// Settings is roles.patroni in the spec.
type Settings struct {
	PostgreSQL int      `yaml:"postgresql"`
	Packages   Packages `yaml:"packages"`
	APT        APT      `yaml:"apt"`
	Port       int      `yaml:"port"`
	RESTPort   int      `yaml:"rest_port"`

	TTL                    int       `yaml:"ttl"`
	LoopWait               int       `yaml:"loop_wait"`
	RetryTimeout           int       `yaml:"retry_timeout"`
	PrimaryStartTimeout    int       `yaml:"primary_start_timeout"`
	MaximumLagOnFailover   spec.Size `yaml:"maximum_lag_on_failover"`
	Watchdog               Watchdog  `yaml:"watchdog"`
	RecloneOnRewindFailure bool      `yaml:"reclone_on_rewind_failure"`

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
func (Watchdog) Values() []string {
	return []string{string(WatchdogOff), string(WatchdogAutomatic), string(WatchdogRequired)}
}

// Database is a database that the bootstrap creates.
type Database struct {
	Name  string `yaml:"name,required"`
	Owner string `yaml:"owner,required"`
}

// User is an application's user that the bootstrap creates. Its password is
// the entry password.<name> of the Lockbox secret.
type User struct {
	Name      string   `yaml:"name,required"`
	Databases []string `yaml:"databases"` // beside those that it owns
	MemberOf  []string `yaml:"member_of"` // such as pg_read_all_data
}

// Node is a machine with its Patroni tags.
type Node struct {
	role.Node
	Tags Tags `yaml:"tags"`
}

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

// Defaults implements spec.Defaulter.
func (n *Node) Defaults() { n.Tags = defaultTags() }

// Defaults implements spec.Defaulter.
func (u *User) Defaults() { u.Databases, u.MemberOf = []string{}, []string{} }

func newSettings(c *role.Cluster) *Settings {
	s := &Settings{
		PostgreSQL: 18,
		APT:        APT{Repository: PGDG},
		Port:       5432,
		RESTPort:   8008,

		// Patroni's own: 1 MiB, above which a replica is too far behind to lead.
		MaximumLagOnFailover:   spec.MiB,
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
		Compute: role.Compute{
			Platform: "standard-v3", Cores: 4, CoreFraction: 100, Memory: 16 * spec.GiB,
			BootDisk: role.Disk{Type: role.SSD, Size: 15 * spec.GiB},
		},
		DataDisk: role.Disk{Type: role.SSD, Size: 100 * spec.GiB},
	}
	t := presets[c.Failover]
	s.TTL, s.LoopWait, s.RetryTimeout, s.PrimaryStartTimeout = t.ttl, t.loopWait, t.retryTimeout, t.primaryStart
	return s
}

// presets keep loop_wait + 2*retry_timeout <= ttl, and ttl >= 20, Patroni's
// minimum. With a short loop_wait Patroni soon sees that PostgreSQL died; it
// costs etcd a renewal of one lease. primary_start_timeout is how long a crashed PostgreSQL may take to
// start again before another node takes over; Patroni's own is 300.
var presets = map[role.Failover]struct{ ttl, loopWait, retryTimeout, primaryStart int }{
	role.Fast:     {20, 2, 5, 5},
	role.Balanced: {30, 2, 10, 30},
	role.Safe:     {60, 2, 20, 120},
}

// Plan implements role.Settings. A node has one certificate, without a
// common name: for PostgreSQL, for the REST API, and as a client of etcd, which
// refuses gateway requests of clients with a name once authentication is on.
func (s *Settings) Plan(c *role.Cluster) (*role.Plan, error) {
	files, err := s.files(c)
	if err != nil {
		return nil, err
	}
	machines := c.Sources(s.Machines().Nodes, c.Using(role.Database))
	return &role.Plan{
		Bake: emit.Map{
			{Key: "POSTGRESQL_MAJOR", Value: strconv.Itoa(s.PostgreSQL)},
			{Key: "POSTGRESQL_VERSION", Value: s.Packages.PostgreSQL},
			{Key: "PATRONI_VERSION", Value: s.Packages.Patroni},
			{Key: "APT_REPOSITORY", Value: string(s.APT.Repository)},
			{Key: "APT_MIRROR", Value: s.APT.Mirror},
		},
		Requires: []string{
			fmt.Sprintf("postgresql>=%d", s.PostgreSQL), fmt.Sprintf("postgresql<%d", s.PostgreSQL+1),
			"patroni>=" + leastPatroni,
		},
		Exact: s.exact(),

		Unit:       "patroni.service",
		User:       "postgres",
		DataMount:  "/var/lib/postgresql",
		Bootstraps: true,
		Secrets:    s.secrets(c),
		Ports: []role.Port{
			// More than PostgreSQL's own limit no client can use, and with silent
			// ones it could lock out all others.
			{Number: s.Port, For: "PostgreSQL: HAProxy, replicas, clients that connect directly, operators (TLS)", Limit: s.connections(),
				From: slices.Concat(machines, role.Networks(c.Access.Clients, c.Access.Operators))},
			{Number: s.RESTPort, For: "Patroni's REST API: HAProxy's checks, the other nodes, operators, monitoring (TLS)", Limit: restConnections,
				From: slices.Concat(machines, role.Networks(c.Access.Operators, c.Access.Monitoring))},
		},
		Env: emit.Map{
			{Key: "PGHA_PGDATA", Value: s.dataDir()},
			{Key: "PGHA_POSTGRESQL_PORT", Value: s.Port},
			{Key: "PGHA_REST_PORT", Value: s.RESTPort},
			{Key: "PGHA_REACHED_BY", Value: s.reachedBy()},
			{Key: "PGHA_WATCHDOG", Value: string(s.Watchdog)},
			{Key: "PGHA_HUGE_PAGES", Value: s.hugePages()},
		},
		Files: files,

		Expect: s.expect(c.Durability),
		Try:    s.try(c),
		Fixed:  fixed(),

		Database: &role.DatabaseOffer{
			Port: s.Port, HealthPort: s.RESTPort, Connections: s.clientConnections(), Login: s.login(),
		},
	}, nil
}

func (s *Settings) secrets(c *role.Cluster) []role.Secret {
	all := []role.Secret{
		{File: "ca.crt", Kind: role.CA},
		// Clients see it through proxies, and verify the name that they connected to.
		{File: "node.crt", PerNode: true, Kind: role.Certificate, ProxiedBy: c.Offering(role.Proxy)},
		{File: "node.key", PerNode: true, Kind: role.Key},
		{File: "patroni.env", Kind: role.Environment, Variables: []string{
			"PATRONI_SUPERUSER_PASSWORD", "PATRONI_REPLICATION_PASSWORD",
			"PATRONI_REWIND_PASSWORD", "PATRONI_RESTAPI_PASSWORD",
		}},
	}
	for _, u := range s.applicationUsers() {
		all = append(all, role.Secret{File: passwordFile(u.Name), Kind: role.Password})
	}
	return all
}

// login is the owner of the spec's first database.
func (s *Settings) login() *role.Login {
	if len(s.Databases) == 0 {
		return nil
	}
	d := s.Databases[0]
	return &role.Login{Database: d.Name, User: d.Owner, Role: Name, Entry: passwordFile(d.Owner)}
}

// reachedBy says by what the nodes know each other. All by the same: pg_hba.conf
// and the certificates of verify-full connections must agree with it.
func (s *Settings) reachedBy() string {
	for _, m := range s.Members {
		if !m.Address.IsValid() {
			return "name"
		}
	}
	return "address"
}

func passwordFile(user string) string { return "password." + user }

// applicationUsers are the users of the spec and the owners of databases, each
// once, with all databases that it may connect to.
func (s *Settings) applicationUsers() []User {
	var users []User
	index := map[string]int{}
	add := func(u User) {
		i, known := index[u.Name]
		if !known {
			i = len(users)
			index[u.Name] = i
			users = append(users, User{Name: u.Name, MemberOf: u.MemberOf})
		}
		for _, d := range u.Databases {
			if !slices.Contains(users[i].Databases, d) {
				users[i].Databases = append(users[i].Databases, d)
			}
		}
	}
	for _, d := range s.Databases {
		add(User{Name: d.Owner, Databases: []string{d.Name}})
	}
	for _, u := range s.Users {
		add(u)
		users[index[u.Name]].MemberOf = u.MemberOf
	}
	return users
}

// files are what the user-data of the nodes brings.
func (s *Settings) files(c *role.Cluster) ([]cloudinit.File, error) {
	main, bootstrap, err := s.config(c)
	if err != nil {
		return nil, err
	}
	files := []cloudinit.File{}
	var failed error
	add := func(name string, encode func(any) ([]byte, error), content any) {
		data, err := encode(content)
		failed = errors.Join(failed, err)
		files = append(files, cloudinit.File{Path: "/etc/patroni/" + name, Data: data})
	}
	add("config.yml", emit.YAML, main)
	add("bootstrap.yml", emit.YAML, bootstrap)
	for _, m := range s.Members {
		if tags := m.Tags.patroni(); len(tags) > 0 {
			add("nodes/"+m.Name+".yml", emit.YAML, emit.Map{{Key: "tags", Value: tags}})
		}
	}
	add("databases.json", emit.JSON, s.databasesFile())
	return files, failed
}

// patroni are the tags that differ from Patroni's defaults.
func (t Tags) patroni() emit.Map {
	m := emit.Map{}
	for _, tag := range []struct {
		key string
		set bool
	}{
		{"nofailover", t.NoFailover}, {"nosync", t.NoSync}, {"noloadbalance", t.NoLoadBalance},
		{"clonefrom", t.CloneFrom}, {"nostream", t.NoStream},
	} {
		if tag.set {
			m = append(m, emit.Pair{Key: tag.key, Value: true})
		}
	}
	d := defaultTags()
	if t.FailoverPriority != d.FailoverPriority {
		m = append(m, emit.Pair{Key: "failover_priority", Value: t.FailoverPriority})
	}
	if t.SyncPriority != d.SyncPriority {
		m = append(m, emit.Pair{Key: "sync_priority", Value: t.SyncPriority})
	}
	if t.ReplicateFrom != "" {
		m = append(m, emit.Pair{Key: "replicatefrom", Value: t.ReplicateFrom})
	}
	return m
}

// databasesFile is what post-bootstrap.sh creates.
func (s *Settings) databasesFile() emit.Map {
	users, databases := []any{}, []any{}
	for _, u := range s.applicationUsers() {
		users = append(users, emit.Map{
			{Key: "name", Value: u.Name}, {Key: "databases", Value: texts(u.Databases)}, {Key: "member_of", Value: texts(u.MemberOf)},
		})
	}
	for _, d := range s.Databases {
		databases = append(databases, emit.Map{{Key: "name", Value: d.Name}, {Key: "owner", Value: d.Owner}})
	}
	return emit.Map{{Key: "users", Value: users}, {Key: "databases", Value: databases}}
}

// exact are the packages that the spec pins.
func (s *Settings) exact() []string {
	var all []string
	if v := s.Packages.PostgreSQL; v != "" {
		all = append(all, "postgresql="+v)
	}
	if v := s.Packages.Patroni; v != "" {
		all = append(all, "patroni="+v)
	}
	return all
}
