package patroni

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"pgha-gen/generator/cloudinit"
	"pgha-gen/generator/emit"
	"pgha-gen/generator/role"
	"pgha-gen/generator/specfile"
)

const secretsDir = "/run/pgha/secrets/"

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
	add("databases.json", emit.JSON, s.databasesFile(c))
	for _, f := range s.backupFiles(c) {
		data, err := emit.INI(f.sections)
		failed = errors.Join(failed, err)
		files = append(files, cloudinit.File{Path: f.path, Data: data})
	}
	return files, failed
}

// config is /etc/patroni/config.yml, and bootstrap what the node has beside
// it while it may bootstrap the cluster. Who the node is, and every password,
// come as environment at boot, which wins over the file (Patroni's docs,
// ENVIRONMENT.rst). What is here wins over etcd (dynamic_configuration.rst),
// but for what all nodes must have alike: that is in bootstrap, and the leader
// brings it to etcd.
func (s *Settings) config(c *role.Cluster) (config, bootstrap emit.Map, err error) {
	hba, err := s.hba(c)
	if err != nil {
		return nil, nil, err
	}
	config = emit.Map{
		{Key: "scope", Value: c.Name},
		{Key: "namespace", Value: "/service/"},
		{Key: "log", Value: emit.Map{{Key: "level", Value: "INFO"}}},
		{Key: "etcd3", Value: emit.Map{
			{Key: "hosts", Value: c.DCS().Endpoints},
			{Key: "protocol", Value: "https"},
			{Key: "cacert", Value: secretsDir + "ca.crt"},
			{Key: "cert", Value: secretsDir + "node.crt"},
			{Key: "key", Value: secretsDir + "node.key"},
		}},
		{Key: "restapi", Value: s.restAPI(c)},
		{Key: "ctl", Value: emit.Map{
			{Key: "cacert", Value: secretsDir + "ca.crt"},
			{Key: "certfile", Value: secretsDir + "node.crt"},
			{Key: "keyfile", Value: secretsDir + "node.key"},
		}},
		{Key: "bootstrap", Value: append(emit.Map{
			{Key: "dcs", Value: s.dcs(c)},
			{Key: "initdb", Value: s.initdb()},
			{Key: "post_bootstrap", Value: "/usr/lib/pgha/converge.py bootstrap"},
		}, foundedFrom(c)...)},
		{Key: "postgresql", Value: slices.Concat(emit.Map{
			{Key: "bin_dir", Value: fmt.Sprintf("/usr/lib/postgresql/%d/bin", s.PostgreSQL)},
			{Key: "bin_name", Value: emit.Map{
				{Key: "postgres", Value: "/usr/lib/pgha/postgres.sh"},
				{Key: "pg_basebackup", Value: "/usr/lib/pgha/pg_basebackup.sh"},
				{Key: "pg_rewind", Value: "/usr/lib/pgha/pg_rewind.sh"},
			}},
			{Key: "data_dir", Value: s.dataDir()},
			{Key: "pgpass", Value: "/run/patroni/pgpass"},
			// Both over the socket: a node's own address need not be in its
			// certificate.
			{Key: "use_unix_socket", Value: true},
			{Key: "use_unix_socket_repl", Value: true},
			{Key: "authentication", Value: emit.Map{
				{Key: "superuser", Value: authentication(Superuser)},
				{Key: "replication", Value: authentication(ReplicationUser)},
				{Key: "rewind", Value: authentication(RewindUser)},
			}},
		}, s.replicas(c), emit.Map{
			{Key: "use_pg_rewind", Value: true},
			{Key: "remove_data_directory_on_rewind_failure", Value: s.RecloneOnRewindFailure},
			{Key: "remove_data_directory_on_diverged_timelines", Value: s.RecloneOnRewindFailure},
			// What runs programs shall not come from etcd: here and empty, so
			// that it cannot.
			{Key: "callbacks", Value: emit.Map{}},
			{Key: "pre_promote", Value: ""},
			{Key: "before_stop", Value: ""},
			{Key: "recovery_conf", Value: emit.Map{}},
			{Key: "rewind", Value: []any{}},
			{Key: "parameters", Value: s.local(c)},
			{Key: "pg_hba", Value: hba},
			{Key: "pg_ident", Value: []any{"# No user is another one here."}}, // Patroni wants a line
		})},
		{Key: "watchdog", Value: emit.Map{
			{Key: "mode", Value: string(s.Watchdog)},
			{Key: "device", Value: "/dev/watchdog"},
			{Key: "safety_margin", Value: safetyMargin},
		}},
	}
	config = merge(config, s.Config)
	i := slices.IndexFunc(config, func(p emit.Pair) bool { return p.Key == "bootstrap" })
	bootstrap = emit.Map{config[i]}
	return slices.Delete(config, i, i+1), bootstrap, nil
}

// restAPI is who may ask Patroni for what. Reading needs no client
// certificate, so HAProxy needs none; what changes something needs one, a
// password, and a source that is let in.
func (s *Settings) restAPI(c *role.Cluster) emit.Map {
	return slices.Concat(emit.Map{
		{Key: "certfile", Value: secretsDir + "node.crt"},
		{Key: "keyfile", Value: secretsDir + "node.key"},
		{Key: "cafile", Value: secretsDir + "ca.crt"},
		{Key: "verify_client", Value: "optional"},
	}, s.sources(c), emit.Map{
		{Key: "authentication", Value: emit.Map{{Key: "username", Value: RESTUser}}},
		{Key: "server_tokens", Value: "ProductOnly"},
		// A connection that says nothing holds a thread. The firewall lets
		// one source hold restConnections of them.
		{Key: "thread_pool_size", Value: 8 * restConnections},
		{Key: "request_queue_size", Value: 128},
	})
}

// sources are those that may change something: the members, and operators.
// /failsafe takes who is in the allowlist and no member beside it (Patroni
// 4.0.0 and later), so with operators in it the nodes must be in it, too. But
// Patroni looks a name in it up once, when it reads its configuration. A node
// that was not there then, or has another address since, would be refused just
// when etcd is away: by name there is no list, and the firewall alone says who
// gets to the port.
func (s *Settings) sources(c *role.Cluster) emit.Map {
	members := emit.Pair{Key: "allowlist_include_members", Value: true}
	switch {
	case len(c.Access.Operators) == 0:
		return emit.Map{members}
	case s.reachedBy() == byName:
		return nil
	}
	allowed := slices.Concat(c.Sources(s.Machines().Nodes), role.Networks(c.Access.Operators))
	return emit.Map{{Key: "allowlist", Value: allowed}, members}
}

func (s *Settings) dataDir() string {
	return "/var/lib/postgresql/" + strconv.Itoa(s.PostgreSQL) + "/main"
}

// authentication is how Patroni connects to the other nodes: verified TLS,
// always.
func authentication(user string) emit.Map {
	return emit.Map{
		{Key: "username", Value: user},
		{Key: "sslmode", Value: "verify-full"},
		{Key: "sslrootcert", Value: secretsDir + "ca.crt"},
	}
}

// patroni are the tags that differ from Patroni's defaults.
func (t Tags) patroni() emit.Map {
	usual := specfile.Encode(defaultTags()).(emit.Map)
	return slices.DeleteFunc(specfile.Encode(t).(emit.Map), func(p emit.Pair) bool { return slices.Contains(usual, p) })
}

// merge lays the raw overrides of the spec over our configuration: mappings
// are merged, everything else is replaced, null removes a key.
func merge(base emit.Map, over map[string]any) emit.Map {
	for _, key := range slices.Sorted(maps.Keys(over)) {
		value := over[key]
		inner, isMap := value.(map[string]any)
		i := slices.IndexFunc(base, func(p emit.Pair) bool { return p.Key == key })
		switch {
		case i < 0 && value != nil:
			base = append(base, emit.Pair{Key: key, Value: specfile.Encode(value)})
		case i < 0:
		case value == nil:
			base = slices.Delete(base, i, i+1)
		default:
			if old, ok := base[i].Value.(emit.Map); ok && isMap {
				base[i].Value = merge(old, inner)
			} else {
				base[i].Value = specfile.Encode(value)
			}
		}
	}
	return base
}
