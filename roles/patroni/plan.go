package patroni

import (
	"fmt"
	"slices"
	"strconv"

	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
)

// Plan implements role.Settings. A node has one certificate, without a common
// name: for PostgreSQL, for the REST API, and as a client of etcd, which
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
			{Key: "PGBACKREST_VERSION", Value: s.Packages.PgBackRest},
			{Key: "APT_REPOSITORY", Value: string(s.APT.Repository)},
			{Key: "APT_MIRROR", Value: s.APT.Mirror},
		},
		Requires: s.requires(c),
		Exact:    s.exact(),

		Unit:       "patroni.service",
		User:       "postgres",
		DataMount:  "/var/lib/postgresql",
		Bucket:     c.Backup.Bucket,
		Bootstraps: true,
		Secrets:    s.secrets(c),
		Operator: &role.Operator{User: Administrator, Passwords: []role.OperatorPassword{
			{File: "restapi.password", Secret: environmentFile, Variable: "PATRONI_RESTAPI_PASSWORD"},
		}},
		Ports: []role.Port{
			// More than PostgreSQL's own limit no client can use, and with
			// silent ones it could lock out all others.
			{Number: s.Port, For: "PostgreSQL: HAProxy, replicas, clients that connect directly, operators (TLS)", Limit: s.connections(),
				From: slices.Concat(machines, role.Networks(c.Access.Clients, c.Access.Operators))},
			{Number: s.RESTPort, For: "Patroni's REST API: HAProxy's checks, the other nodes, operators, monitoring (TLS)", Limit: restConnections,
				From: slices.Concat(machines, role.Networks(c.Access.Operators, c.Access.Monitoring))},
		},
		Env: append(emit.Map{
			{Key: "PGHA_PGDATA", Value: s.dataDir()},
			{Key: "PGHA_POSTGRESQL_PORT", Value: s.Port},
			{Key: "PGHA_REST_PORT", Value: s.RESTPort},
			{Key: "PGHA_REACHED_BY", Value: s.reachedBy()},
			{Key: "PGHA_WATCHDOG", Value: string(s.Watchdog)},
			{Key: "PGHA_HUGE_PAGES", Value: s.hugePages()},
		}, append(s.agreementEnv(), s.backupEnv(c)...)...),
		Files:   files,
		Effects: s.effects(),

		Outages: s.outages(c),
		Expect:  s.expect(c.Durability),
		Try:     s.try(c),

		Joins:    "it copies the data from the leader, then streams",
		Leaves:   "if it leads, switch over first; then refresh the others, and delete the machine",
		Replaced: "replicas first, each once the one before streams; the leader last, after a switchover",

		Database: &role.DatabaseOffer{
			Port: s.Port, HealthPort: s.RESTPort, Connections: s.clientConnections(), Login: s.login(),
		},
	}, nil
}

// restConnections is how many connections to the REST API one address may
// hold: HAProxy and each Patroni node need a few at a time.
const restConnections = 16

// requires is what the image must have.
func (s *Settings) requires(c *role.Cluster) []string {
	all := []string{
		fmt.Sprintf("postgresql>=%d", s.PostgreSQL), fmt.Sprintf("postgresql<%d", s.PostgreSQL+1),
		"patroni>=" + leastPatroni,
	}
	if c.BacksUp() {
		all = append(all, "pgbackrest>="+leastPgBackRest)
	}
	return all
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
	if v := s.Packages.PgBackRest; v != "" {
		all = append(all, "pgbackrest="+v)
	}
	return all
}

func (s *Settings) secrets(c *role.Cluster) []role.Secret {
	all := []role.Secret{
		{File: "ca.crt", Kind: role.CA},
		// Clients see it through proxies, and verify the name that they
		// connected to.
		{File: "node.crt", PerNode: true, Kind: role.Certificate, ProxiedBy: c.Offering(role.Proxy), Names: c.EntryPoints()},
		{File: "node.key", PerNode: true, Kind: role.Key},
		{File: environmentFile, Kind: role.Environment, Variables: []string{
			"PATRONI_SUPERUSER_PASSWORD", "PATRONI_REPLICATION_PASSWORD",
			"PATRONI_REWIND_PASSWORD", "PATRONI_RESTAPI_PASSWORD",
		}},
	}
	for _, u := range s.applicationUsers() {
		all = append(all, role.Secret{File: passwordFile(u.Name), Kind: role.Password})
	}
	return append(all, passphrases(c)...)
}

// environmentFile has the passwords of Patroni's own users.
const environmentFile = "patroni.env"

func passwordFile(user string) string { return "password." + user }

// login is the owner of the spec's first database.
func (s *Settings) login() *role.Login {
	if len(s.Databases) == 0 {
		return nil
	}
	d := s.Databases[0]
	return &role.Login{Database: d.Name, User: d.Owner, Role: Name, Entry: passwordFile(d.Owner)}
}

// reachedBy says by what the nodes know each other. All by the same:
// pg_hba.conf and the certificates of verify-full connections must agree with
// it.
func (s *Settings) reachedBy() string {
	if slices.ContainsFunc(s.Members, func(n Node) bool { return !n.Address.IsValid() }) {
		return byName
	}
	return byAddress
}

// What reachedBy says.
const byName, byAddress = "name", "address"
