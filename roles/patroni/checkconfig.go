package patroni

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"pgha-gen/generator/spec"
)

// ours are the parts of Patroni's configuration that raw overrides may not
// touch: who the node is, where its secrets are, what the spec says elsewhere.
var ours = map[string]string{
	"name":                              "it comes from the machine",
	"scope":                             "use name",
	"namespace":                         "etcd is this cluster's own",
	"tags":                              "use the node's tags",
	"etcd":                              "Patroni speaks to etcd by etcd3",
	"etcd3":                             "it follows from roles.etcd",
	"restapi.listen":                    "it comes from the machine",
	"restapi.connect_address":           "it comes from the machine",
	"restapi.certfile":                  "it comes from Lockbox",
	"restapi.keyfile":                   "it comes from Lockbox",
	"restapi.cafile":                    "it comes from Lockbox",
	"restapi.authentication":            "it comes from Lockbox",
	"restapi.verify_client":             "HAProxy's checks have no certificate, and what changes something needs one",
	"restapi.allowlist":                 "the members need no list, and one refuses their own questions when etcd is gone",
	"restapi.allowlist_include_members": "the members alone may change something",
	"ctl.insecure":                      "patronictl would give its password to whoever answers",
	"ctl.cacert":                        "it comes from Lockbox",
	"ctl.certfile":                      "it comes from Lockbox",
	"ctl.keyfile":                       "it comes from Lockbox",
	"ctl.authentication":                "it comes from Lockbox",
	"watchdog.mode":                     "use watchdog",
	"postgresql.listen":                 "it comes from the machine",
	"postgresql.connect_address":        "it comes from the machine",
	"postgresql.authentication":         "it comes from Lockbox",
	"postgresql.data_dir":               "it is on the data disk",
	"postgresql.config_dir":             "it is on the data disk",
	"postgresql.custom_conf":            "use parameters: it would replace what pgha-gen guards",
	"postgresql.bin_dir":                "it follows from postgresql",
	"postgresql.bin_name":               "scripts of the image stand before PostgreSQL's programs",
	"postgresql.pgpass":                 "it is in memory",
	"postgresql.use_unix_socket_repl":   "a node's own address need not be in its certificate",
	"postgresql.use_unix_socket":        "pg_hba.conf lets the superuser in by the socket alone",
	"postgresql.remove_data_directory_on_rewind_failure":     "use reclone_on_rewind_failure",
	"postgresql.remove_data_directory_on_diverged_timelines": "use reclone_on_rewind_failure",
	"postgresql.pg_hba":                      "use pg_hba",
	"postgresql.parameters":                  "use parameters",
	"bootstrap.dcs.ttl":                      "use ttl",
	"bootstrap.dcs.loop_wait":                "use loop_wait",
	"bootstrap.dcs.retry_timeout":            "use retry_timeout",
	"bootstrap.dcs.primary_start_timeout":    "use primary_start_timeout",
	"bootstrap.dcs.master_start_timeout":     "use primary_start_timeout",
	"bootstrap.dcs.maximum_lag_on_failover":  "use maximum_lag_on_failover",
	"bootstrap.dcs.synchronous_mode":         "use durability",
	"bootstrap.dcs.synchronous_mode_strict":  "use durability",
	"bootstrap.dcs.postgresql.parameters":    "use parameters",
	"bootstrap.dcs.postgresql.pg_hba":        "use pg_hba",
	"bootstrap.dcs.postgresql.pg_ident":      "use config.postgresql.pg_ident",
	"bootstrap.dcs.postgresql.callbacks":     "use config.postgresql.callbacks",
	"bootstrap.dcs.postgresql.pre_promote":   "use config.postgresql.pre_promote",
	"bootstrap.dcs.postgresql.before_stop":   "use config.postgresql.before_stop",
	"bootstrap.dcs.postgresql.recovery_conf": "use config.postgresql.recovery_conf",
	"bootstrap.pg_hba":                       "use pg_hba",
	"kubernetes":                             "this is a cluster on etcd",
	"citus":                                  "the image has no Citus, and this is one cluster",
	"bootstrap.post_bootstrap":               "it creates the databases and users",
	"bootstrap.post_init":                    "post_bootstrap creates the databases and users",
	"bootstrap.users":                        "Patroni 4 ignores it (use users)",
}

// runs are the keys by which Patroni runs a program as postgres, and when. An
// operator may want that; whoever reviews the spec should see it.
var runs = map[string]string{
	"postgresql.callbacks":   "whenever a node's part changes",
	"postgresql.pre_promote": "before a replica leads: while it fails, none does",
	"postgresql.before_stop": "before PostgreSQL stops: a switchover waits for it",
	"bootstrap.method":       "instead of initdb",
}

// pinned are the keys that are written, empty or not, so that they do not come
// from etcd.
var pinned = []string{
	"postgresql.before_stop", "postgresql.callbacks", "postgresql.create_replica_methods", "postgresql.pg_ident",
	"postgresql.pre_promote", "postgresql.recovery_conf", "postgresql.rewind",
}

// weakCiphers are the words of an OpenSSL cipher list that let in what can be
// read or changed on the way.
var weakCiphers = regexp.MustCompile(`(?i)(^|[:, ])[+@]?(\w[\w+-]*)?(NULL|EXP(ORT)?\d*|LOW|RC4|DES|MD5|ADH|AECDH|ALL|COMPLEMENT\w*|SECLEVEL=0)\b`)

// sections are the top-level keys that Patroni reads (docs/yaml_configuration.rst).
var sections = []string{"bootstrap", "ctl", "log", "postgresql", "restapi", "thread_pool_size", "watchdog"}

// holdsOurs says whether the mapping at path has keys that are ours.
func holdsOurs(path string) bool {
	for ours := range ours {
		if strings.HasPrefix(ours, path+".") {
			return true
		}
	}
	return false
}

func (s *Settings) checkConfig(at spec.Place, path string, m map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		here := at.Key(key)
		full := strings.TrimPrefix(path+"."+key, ".")
		if why, ok := ours[full]; ok {
			here.KeyProblem("cannot be set here (%s)", why)
			continue
		}
		if secretKey.MatchString(key) {
			here.KeyProblem("a spec holds no secrets (put it into Lockbox)")
			continue
		}
		if path == "" && !slices.Contains(sections, key) {
			here.Unknown("section of Patroni's configuration", sections)
			continue
		}
		inner, ok := m[key].(map[string]any)
		if !ok && holdsOurs(full) {
			here.Problem("cannot be replaced as a whole (give the keys to change in it)")
			continue
		}
		s.checkValue(here, full, m[key])
		s.checkConfig(here, full, inner)
	}
}

var secretKey = regexp.MustCompile(`(?i)password|passwd|passphrase|secret|token$`)

// checkValue looks at what is allowed, and should not be in every form.
func (s *Settings) checkValue(at spec.Place, path string, value any) {
	if value == nil && slices.Contains(pinned, path) {
		at.Problem("null would let etcd say what runs here (leave it out)")
		return
	}
	if when := runs[path]; when != "" && !empty(value) {
		at.Warn("Patroni runs a program as postgres (%s): the image must have it, and who can write it has the cluster", when)
	}
	switch path {
	case "restapi.ciphers":
		if list, _ := value.(string); weakCiphers.MatchString(list) {
			at.Problem("%q lets in connections that can be read (leave it out: OpenSSL's own choice has no weak ones)", list)
		}
	case "postgresql.create_replica_methods":
		methods, _ := value.([]any)
		for i, m := range methods {
			if m != "basebackup" {
				at.Index(i).Warn("Patroni runs the program of %q as postgres (to make a replica): the image must have it, and who can write it has the cluster", m)
			}
		}
	case "postgresql.pg_ident":
		lines, _ := value.([]any)
		for i, line := range lines {
			text, _ := line.(string)
			words := hbaWords(text)
			if len(words) < 3 {
				at.Index(i).Problem("%q is no pg_ident.conf record (want map, system's user, database's user)", text)
				continue
			}
			for _, user := range hbaNames(words[2]) {
				if s.remoteUser(at, user) != "" {
					at.Index(i).Problem("%s may log in as %s, whose password nobody needs then (map to a user of this spec)", words[1], words[2])
				}
			}
		}
	case "restapi.thread_pool_size":
		if n, ok := value.(int); !ok || n < 2*restConnections {
			at.Warn("%v threads: as many connections that say nothing stop the cluster (want at least %d)", value, 2*restConnections)
		}
	case "bootstrap.dcs.failsafe_mode":
		if value != true {
			at.Warn("without failsafe_mode, losing etcd's quorum stops writes on a healthy leader (leave it out)")
		}
	}
}

// empty says whether a value turns a key off.
func empty(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		return len(v) == 0
	case string:
		return v == ""
	}
	return value == nil
}
